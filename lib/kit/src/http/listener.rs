//! A listener and its connections: who gets one, and what is answered there. How long each may take is in [`super::timed`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::gate::closing;
use super::pace::Pace;
use super::shares::{Bounds, Share, Shares};
use super::timed::{Acquaintance, Patience, Stage, Timed};
use super::{Origin, host};
use crate::Ctx;
use crate::config::Http;

/// After a connection that could not be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// A connection to a process that stops has so long for a last request.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(500);
/// Where nobody connects, the loop comes round so often.
const ROUND_EVERY: Duration = Duration::from_secs(30);
/// Connections that wait to be accepted: the most that Linux allows by itself. Who finds no place among them tries again after
/// a second, which a flood must not do to others.
const BACKLOG: u32 = 4_096;
/// Connections to the operator's listener: a few scrapers and a person.
const OPERATORS_MAX: usize = 256;
/// One of them may read nothing for so long.
const OPERATORS_WRITE: Duration = Duration::from_secs(900);
/// The head of a request. Tokens and proxies' headers are a few KB. What follows a head at once lies in the same buffer, also
/// what a socket sends before it may.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How many may connect, and how fast: of all, of one network, of one prefix.
pub struct Door {
    shares: Shares,
    /// New connections. Who is refused and comes again at once must not cost more than that.
    pace: Pace,
    /// Whether the other end is who it is, and not a proxy for everybody.
    peers_count: bool,
    /// For how long nobody need take what is written to them; that of the configuration, if nothing is said.
    write: Option<Duration>,
    /// Whether it closes before what is behind it ends. The operators' stays open, for who looks how a process stops.
    is_first: bool,
}

impl Door {
    /// Of the public listener.
    pub fn public(http: &Http) -> Self {
        let bounds = Bounds {
            all: http.connections_max,
            network: http.connections_per_address_max,
            prefix: http.connections_per_prefix_max,
        };
        Self {
            shares: Shares::new("connections", bounds),
            pace: Pace::new(http.connections_per_address_per_second, http.connections_per_prefix_per_second),
            peers_count: !http.behind_proxy,
            write: None,
            is_first: true,
        }
    }

    /// Of the operator's listener.
    pub fn operators() -> Self {
        let bounds = Bounds { all: OPERATORS_MAX, network: OPERATORS_MAX, prefix: OPERATORS_MAX };
        let pace = Pace::new(u32::MAX, u32::MAX);
        // who makes a backup has other things to write in between
        let shares = Shares::new("operators", bounds);
        Self { shares, pace, peers_count: false, write: Some(OPERATORS_WRITE), is_first: false }
    }

    fn enter(&self, peer: SocketAddr) -> Option<Share> {
        let origin: Option<Origin> = self.peers_count.then(|| peer.ip().into());
        if origin.is_some_and(|origin| !self.pace.at_once(origin, Instant::now())) {
            metrics::counter!("nepto_rate_limited_total", "kind" => "connections").increment(1);
            return None;
        }
        match self.shares.take(origin) {
            Ok(share) => Some(share),
            Err(full) => {
                tracing::debug!(%peer, ?full, "no place for a connection");
                None
            }
        }
    }
}

/// Opens a listener. From here on connections wait until they are accepted.
pub fn listen(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = bind(address).map_err(|error| {
        anyhow::anyhow!("{what} can't listen on {address}: {error}; choose another port in the configuration")
    })?;
    tracing::info!(what, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// Serves until it is this door's time to close, and then until the requests under way are answered; those of the public door
/// count as visits.
pub async fn serve(ctx: &Ctx, what: &str, listener: TcpListener, door: Door, router: Router) -> anyhow::Result<()> {
    let patience = Patience::new(&ctx.config.http);
    let patience = Patience { write: door.write.unwrap_or(patience.write), ..patience };
    let (closes, connections) = match door.is_first {
        true => (&ctx.closing, ctx.visits.clone()),
        false => (&ctx.stop, TaskTracker::new()),
    };
    // visits can't be over while one more may be let in
    let open = connections.token();
    let round = ctx.health.round(what);
    loop {
        round.begin();
        let (stream, peer) = tokio::select! {
            () = closes.cancelled() => break,
            () = sleep(ROUND_EVERY) => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of open files, or a client that was gone before it was served
                    tracing::warn!(what, %error, "a connection was not accepted");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            },
        };
        match door.enter(peer) {
            Some(share) => {
                connections.spawn(converse(stream, peer, share, patience, router.clone(), closes.clone()));
            }
            None => refuse(&stream),
        }
    }
    // unless the service manager keeps the port, whoever still comes is to go elsewhere at once
    drop(listener);
    drop(open);
    connections.close();
    connections.wait().await;
    Ok(())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Closes without a word: who has its share already is told nothing that costs anything. With a reset instead of four more
/// packets (RFC 9293, 3.9.1), after which the kernel keeps nothing of it either.
fn refuse(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a refused connection lingers");
    }
}

/// Serves one connection until one side closes it, or a WebSocket takes it over.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    share: Share,
    patience: Patience,
    router: Router,
    closes: CancellationToken,
) {
    // Without it a frame that follows another waits for the client's delayed ACK: 40 ms (RFC 896, RFC 1122 4.2.3.2).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stage = Arc::new(Stage::default());
    let is_last = closes.clone();
    let stream = Timed::new(stream, share, patience, stage.clone());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Acquaintance::new(stage.clone()));
        stage.set(Stage::ANSWERING);
        let (checked, stage, is_last) = (host::check(&request), stage.clone(), is_last.clone());
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let answer = match checked {
                Ok(()) => answer.await?,
                Err(failure) => closing(failure.into_response()),
            };
            let upgrades = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            stage.set(if upgrades { Stage::UPGRADED } else { Stage::WAITING });
            Ok::<_, Infallible>(if is_last.is_cancelled() && !upgrades { closing(answer) } else { answer })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        // first what has come already
        biased;
        served = connection.as_mut() => served,
        () = last_request(&closes) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Waits until the process stops, and then a little. Who connected just before, or has a connection that is kept, may have asked
/// already, or be about to, and would take an end without an answer for a failure. Whatever is answered from then on tells it to close.
async fn last_request(closes: &CancellationToken) {
    closes.cancelled().await;
    sleep(LAST_REQUEST_WITHIN).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(5), idle: Duration::from_secs(75), write: Duration::from_secs(15) };
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// A connection to a router, and our end of it.
    async fn conversation() -> TcpStream {
        conversation_until(CancellationToken::new()).await
    }

    /// The same, of a process that stops then.
    async fn conversation_until(closes: CancellationToken) -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/large", get(|| async { vec![7_u8; 64 * 1024 * 1024] }));
        let share = Door::operators().enter(peer).unwrap();
        tokio::spawn(converse(stream, peer, share, PATIENCE, router, closes));
        ours
    }

    /// What is said until the connection is closed, and when that is.
    async fn heard(ours: &mut TcpStream) -> (String, Duration) {
        let started = Instant::now();
        let mut heard = Vec::new();
        // a connection that is given up may end with a reset
        let _ = ours.read_to_end(&mut heard).await;
        (String::from_utf8_lossy(&heard).into_owned(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_of_it_is_not_waited_for() {
        for said in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
            let mut ours = conversation().await;
            ours.write_all(said.as_bytes()).await.unwrap();
            let (heard, after) = heard(&mut ours).await;
            assert_eq!(heard, "", "{said:?}");
            assert!((PATIENCE.head..PATIENCE.head * 2).contains(&after), "{said:?}: {after:?}");
        }
    }

    #[tokio::test]
    async fn who_does_not_say_which_host_is_meant_is_refused_and_heard_no_further() {
        for (hosts, status) in
            [("Host: a\r\n", "200"), ("", "400"), ("Host: a\r\nHost: a\r\n", "400"), ("Host: a b\r\n", "400")]
        {
            let mut ours = conversation().await;
            let request = format!("GET / HTTP/1.1\r\n{hosts}\r\n");
            let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            ours.write_all((request + last).as_bytes()).await.unwrap();
            let (heard, _) = heard(&mut ours).await;
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {heard}");
            let answers = heard.matches("HTTP/1.1 ").count();
            assert_eq!(answers, if status == "200" { 2 } else { 1 }, "{hosts:?}: {heard}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_before_the_end_is_answered_and_who_says_nothing_is_not_waited_for() {
        let closes = CancellationToken::new();
        let mut asks = conversation_until(closes.clone()).await;
        let mut silent = conversation_until(closes.clone()).await;
        closes.cancel();
        sleep(LAST_REQUEST_WITHIN / 2).await;
        asks.write_all(REQUEST).await.unwrap();
        assert!(heard(&mut asks).await.0.starts_with("HTTP/1.1 200"));
        let (said, after) = heard(&mut silent).await;
        assert_eq!(said, "");
        assert!(after < LAST_REQUEST_WITHIN * 2, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_gets_a_last_answer_that_says_so() {
        let closes = CancellationToken::new();
        let mut ours = conversation_until(closes.clone()).await;
        let mut first = Vec::new();
        ours.write_all(REQUEST).await.unwrap();
        while !first.ends_with(b"hello") {
            assert_ne!(ours.read_buf(&mut first).await.unwrap(), 0, "closed too early");
        }
        closes.cancel();
        sleep(LAST_REQUEST_WITHIN / 2).await;
        ours.write_all(REQUEST).await.unwrap();
        let mut last = String::new();
        // to its end, which is no reset
        ours.read_to_string(&mut last).await.unwrap();
        assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close\r\n"), "{last}");
        assert!(!String::from_utf8(first).unwrap().contains("connection:"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_pause_between_requests_and_then_must_not_dawdle() {
        let mut ours = conversation().await;
        ours.write_all(REQUEST).await.unwrap();
        ours.read_exact(&mut [0; 12]).await.unwrap();
        sleep(PATIENCE.idle - Duration::from_secs(1)).await;
        ours.write_all(REQUEST).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        ours.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let (said, after) = heard(&mut ours).await;
        assert_eq!(said.matches("HTTP/1.1 200").count(), 1, "{said}");
        assert!(after < PATIENCE.head * 2, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
        let mut ours = conversation().await;
        let started = Instant::now();
        let mut closed = false;
        for byte in b"GET / HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat_n(&b'a', 100)) {
            sleep(Duration::from_millis(500)).await;
            if ours.write_all(&[*byte]).await.is_err() {
                closed = true;
                break;
            }
        }
        assert!(closed && started.elapsed() < PATIENCE.head * 2, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_left() {
        let mut ours = conversation().await;
        ours.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        sleep(PATIENCE.write * 2).await;
        let (said, _) = heard(&mut ours).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.len() < 64 * 1024 * 1024, "{} bytes", said.len());
    }

    #[tokio::test]
    async fn a_full_door_closes_and_opens_again() {
        let http = Http { connections_per_address_max: 2, ..Http::default() };
        let door = Door::public(&http);
        let peer = |host| SocketAddr::from(([192, 0, 2, host], 5_000));
        let held = [door.enter(peer(1)).unwrap(), door.enter(peer(1)).unwrap()];
        assert!(door.enter(peer(1)).is_none());
        assert!(door.enter(peer(2)).is_some());
        drop(held);
        assert!(door.enter(peer(1)).is_some());
        let quick = Door::public(&Http { connections_per_address_per_second: 2, ..http.clone() });
        let held = [quick.enter(peer(1)), quick.enter(peer(1))];
        drop(held);
        assert!(quick.enter(peer(1)).is_none(), "there are places, but it comes too often");
        assert!(quick.enter(peer(2)).is_some());
        let proxied = Door::public(&Http { behind_proxy: true, ..http });
        assert!((0..20).map(|_| proxied.enter(peer(1))).collect::<Option<Vec<_>>>().is_some());
    }
}
