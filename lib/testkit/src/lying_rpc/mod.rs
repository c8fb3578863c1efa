//! An RPC that lies: between Nepto and a real chain, it tells the truth until told otherwise.

mod dialect;
mod distort;
mod http;
mod liar;
mod lie;
mod orders;
mod reply;
mod socket;
#[cfg(test)]
mod tests;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use dialect::{Dialect, Refusal};
pub use lie::{HeaderField, Lie};

use crate::rpc::Rpc;
use crate::{Anvil, Port};
use liar::Liar;
use lie::UPGRADE;

const HEAD_BYTES_MAX: usize = 4 * 1024;

/// A JSON-RPC server, over HTTP (single requests and batches) and WebSockets on one port, that asks a chain and passes on
/// what it says. Ends when dropped.
///
/// Lies that are told hold together, until [`truth`](Self::truth) or for as many requests as was said. A batch that one of
/// them breaks is broken as a whole.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use nepto_testkit::{Anvil, Lie, LyingRpc};
///
/// let anvil = Anvil::start().await?;
/// let rpc = LyingRpc::start(&anvil).await?;
/// rpc.tell(Lie::DropLogs { every: 2 });
/// rpc.tell_for(Lie::Close, 3);
/// assert_eq!(rpc.requests("eth_getLogs"), 0);
/// rpc.truth();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LyingRpc {
    address: SocketAddr,
    liar: Arc<Liar>,
    /// Connections of an earlier generation are dropped.
    generation: watch::Sender<u64>,
    _task: JoinSet<()>,
}

impl LyingRpc {
    /// One before a chain.
    pub async fn start(chain: &Anvil) -> Result<Self> {
        let port = Port::reserve()?;
        let address = port.address();
        let listener = port.listen()?;
        let liar = Arc::new(Liar::new(Rpc::new(chain.url())?));
        let (generation, received) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(accept(port, listener, chain.ws_url(), liar.clone(), received));
        Ok(Self { address, liar, generation, _task: task })
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it takes JSON-RPC over HTTP: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it takes JSON-RPC over WebSocket: `ws://127.0.0.1:<port>`.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Lies like this from now on, beside the lies told before.
    pub fn tell(&self, lie: Lie) {
        self.liar.orders().tell(lie, None);
    }

    /// Lies like this for the next requests that the lie has to do with; each of a batch counts.
    pub fn tell_for(&self, lie: Lie, requests: usize) {
        if requests > 0 {
            self.liar.orders().tell(lie, Some(requests));
        }
    }

    /// Tells the truth from now on.
    pub fn truth(&self) {
        self.liar.orders().truth();
    }

    /// How often a method was asked for, each of a batch counted; `eth_subscription` counts the new heads that were to be
    /// told.
    pub fn requests(&self, method: &str) -> usize {
        self.liar.orders().requests(method)
    }

    /// Drops every connection, of HTTP and WebSockets; new ones are served.
    pub fn drop_connections(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

/// Ends with the proxy, and every connection with it.
async fn accept(
    _port: Port,
    listener: TcpListener,
    chain: String,
    liar: Arc<Liar>,
    mut generation: watch::Receiver<u64>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            changed = generation.changed() => match changed {
                Ok(()) => open.shutdown().await,
                Err(_) => return,
            },
            client = listener.accept() => match client {
                // A client that goes away, or speaks something else, ends its connection.
                Ok((stream, _)) => { open.spawn(serve(stream, chain.clone(), liar.clone())); }
                // Out of descriptors, most likely: others may end soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, chain: String, liar: Arc<Liar>) -> Result<()> {
    stream.set_nodelay(true)?;
    if !wants_socket(&stream).await? {
        return http::serve(stream, liar).await;
    }
    if liar.orders().take(UPGRADE).is_empty() {
        return socket::serve(stream, &chain, liar).await;
    }
    stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    Ok(())
}

/// Whether a connection begins with the wish to be a WebSocket. Nothing of it is taken away.
async fn wants_socket(stream: &TcpStream) -> Result<bool> {
    let mut head = vec![0; HEAD_BYTES_MAX];
    loop {
        let count = stream.peek(&mut head).await?;
        let text = String::from_utf8_lossy(&head[..count]);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return Ok(head.to_ascii_lowercase().contains("upgrade: websocket"));
        }
        if count == 0 || count == HEAD_BYTES_MAX {
            bail!("not HTTP");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
