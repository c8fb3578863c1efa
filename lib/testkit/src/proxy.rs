//! A TCP proxy that does what networks do: cut, stall and slow down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Port;

const BUFFER_BYTES: usize = 16 * 1024;
/// Slices of a throttled second.
const SLICES_PER_SECOND: u64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Cut,
    Stall,
    Throttle { bytes_per_second: u64 },
}

/// What the proxy shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Orders {
    mode: Mode,
    /// Where new connections lead.
    target: SocketAddr,
    /// Connections of an earlier generation are dropped.
    generation: u64,
}

/// Stands between a client and a server of this machine. Forwards until told otherwise; ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    obeyed: watch::Receiver<Orders>,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl FaultProxy {
    /// A proxy on a free port for a server that may start later.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let port = Port::reserve()?;
        let address = port.address();
        let listener = port.listen()?;
        let first = Orders { mode: Mode::Forward, target, generation: 0 };
        let (orders, received) = watch::channel(first);
        let (obey, obeyed) = watch::channel(first);
        let connections = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        let wire = Wire { orders: received, connections: connections.clone() };
        task.spawn(serve(port, Some(listener), wire, obey));
        Ok(Self { address, orders, obeyed, connections, _task: task })
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open through it now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Drops every connection and refuses new ones. Both have happened when this returns.
    pub async fn cut(&self) -> Result<()> {
        self.order(|orders| orders.mode = Mode::Cut).await
    }

    /// Drops every connection; new ones are served.
    pub async fn drop_connections(&self) -> Result<()> {
        self.order(|orders| orders.generation += 1).await
    }

    /// New connections lead to another server, as when a name changes; those that are open stay where they are.
    pub async fn turn_to(&self, target: SocketAddr) -> Result<()> {
        self.order(|orders| orders.target = target).await
    }

    /// Accepts connections, and moves not a byte on any. Nothing is lost: [`heal`](Self::heal) lets it flow on.
    pub async fn stall(&self) -> Result<()> {
        self.order(|orders| orders.mode = Mode::Stall).await
    }

    /// Moves at most so many bytes a second, in each direction of each connection.
    pub async fn throttle(&self, bytes_per_second: u64) -> Result<()> {
        let bytes_per_second = bytes_per_second.max(SLICES_PER_SECOND);
        self.order(|orders| orders.mode = Mode::Throttle { bytes_per_second }).await
    }

    /// Forwards again. Connections are accepted when this returns.
    pub async fn heal(&self) -> Result<()> {
        self.order(|orders| orders.mode = Mode::Forward).await
    }

    async fn order(&self, change: impl FnOnce(&mut Orders)) -> Result<()> {
        self.orders.send_modify(change);
        let mut obeyed = self.obeyed.clone();
        let done = obeyed.wait_for(|obeyed| *obeyed == *self.orders.borrow());
        timeout(Duration::from_secs(5), done).await.context("the proxy does not obey")??;
        Ok(())
    }
}

#[derive(Clone)]
struct Wire {
    orders: watch::Receiver<Orders>,
    connections: Arc<AtomicUsize>,
}

/// Counts a connection while it lives, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Accepts while not cut. Ends with the proxy, and every connection with it.
async fn serve(port: Port, mut listener: Option<TcpListener>, mut wire: Wire, obey: watch::Sender<Orders>) {
    let mut open = JoinSet::new();
    let mut generation = 0;
    loop {
        let orders = *wire.orders.borrow_and_update();
        if orders.mode == Mode::Cut {
            listener = None;
        } else if listener.is_none() {
            let Ok(reopened) = port.listen() else { return };
            listener = Some(reopened);
        }
        if orders.mode == Mode::Cut || orders.generation != generation {
            generation = orders.generation;
            open.shutdown().await;
        }
        obey.send_replace(orders);
        tokio::select! {
            changed = wire.orders.changed() => if changed.is_err() { return },
            client = accept(listener.as_ref()) => {
                wire.connections.fetch_add(1, Ordering::SeqCst);
                open.spawn(connection(client, wire.clone(), Counted(wire.connections.clone())));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Out of descriptors, most likely: others may end soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(client: TcpStream, wire: Wire, _counted: Counted) {
    let target = wire.orders.borrow().target;
    let Ok(server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, wire.orders.clone());
    let down = pump(from_server, to_client, wire.orders);
    // A way that breaks ends the connection; one that was closed in order leaves the other open.
    let _ = tokio::try_join!(up, down);
}

/// Moves bytes one way until the end of the stream, then closes that way.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut orders: watch::Receiver<Orders>) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let share = match flowing(&mut orders).await? {
            Mode::Throttle { bytes_per_second } => (bytes_per_second / SLICES_PER_SECOND) as usize,
            _ => BUFFER_BYTES,
        };
        let count = tokio::select! {
            count = from.read(&mut buffer[..share.clamp(1, BUFFER_BYTES)]) => count?,
            changed = orders.changed() => { changed?; continue }
        };
        // The orders may have changed while nothing came.
        if let Mode::Throttle { bytes_per_second } = flowing(&mut orders).await? {
            tokio::time::sleep(Duration::from_secs_f64(count as f64 / bytes_per_second as f64)).await;
        }
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// The mode, once it is one in which bytes move.
async fn flowing(orders: &mut watch::Receiver<Orders>) -> Result<Mode> {
    Ok(orders.wait_for(|orders| orders.mode != Mode::Stall).await?.mode)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that says everything back.
    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (address, tasks)
    }

    async fn say(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
        stream.write_all(bytes).await?;
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, bytes);
        Ok(())
    }

    #[tokio::test]
    async fn it_forwards_and_closes_when_a_side_closes() {
        let (server, _tasks) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut client, &[7; 60_000]).await.unwrap();
        assert_eq!(proxy.connections(), 1);
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        crate::eventually(crate::seconds(5), async || Ok(proxy.connections() == 0)).await.unwrap();
    }

    #[tokio::test]
    async fn cut_drops_and_refuses_until_healed() {
        let (server, _tasks) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        for _ in 0..3 {
            let mut client = TcpStream::connect(proxy.address()).await.unwrap();
            say(&mut client, b"hello").await.unwrap();
            proxy.cut().await.unwrap();
            assert_eq!(proxy.connections(), 0);
            assert!(say(&mut client, b"anybody?").await.is_err());
            assert!(TcpStream::connect(proxy.address()).await.is_err());
            proxy.heal().await.unwrap();
        }
    }

    #[tokio::test]
    async fn dropped_connections_may_come_back_at_once() {
        let (server, _tasks) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut client, b"hello").await.unwrap();
        proxy.drop_connections().await.unwrap();
        assert!(say(&mut client, b"anybody?").await.is_err());
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut client, b"hello").await.unwrap();
    }

    #[tokio::test]
    async fn turned_to_another_server_only_new_connections_go_there() {
        let (server, _tasks) = echo().await;
        let nobody = Port::reserve().unwrap();
        let proxy = FaultProxy::start(server).await.unwrap();
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut old, b"hello").await.unwrap();
        proxy.turn_to(nobody.address()).await.unwrap();
        say(&mut old, b"hello").await.unwrap();
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut new, b"hello").await.is_err());
    }

    #[tokio::test]
    async fn a_stall_holds_bytes_and_loses_none() {
        let (server, _tasks) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut client, b"hello").await.unwrap();
        proxy.stall().await.unwrap();
        let mut late = TcpStream::connect(proxy.address()).await.unwrap();
        for client in [&mut client, &mut late] {
            client.write_all(b"held").await.unwrap();
            timeout(Duration::from_millis(100), client.read(&mut [0; 4])).await.unwrap_err();
        }
        proxy.heal().await.unwrap();
        for client in [&mut client, &mut late] {
            let mut back = [0; 4];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"held");
        }
    }

    #[tokio::test]
    async fn a_throttle_bounds_the_rate() {
        let (server, _tasks) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        proxy.throttle(50_000).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let started = Instant::now();
        say(&mut client, &[7; 20_000]).await.unwrap();
        let took = started.elapsed();
        assert!(took > Duration::from_millis(350) && took < Duration::from_secs(5), "{took:?}");
    }
}
