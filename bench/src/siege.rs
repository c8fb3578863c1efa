//! Floods: many connections from one address that make a server work, or hold what others need.
//!
//! They run on a thread of their own that only gets what nobody else wants of the processors (`SCHED_IDLE`): what an attacker's
//! own machine works is no part of an attack, and here it is the same machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Where floods come from; everybody else is at 127.0.0.1, in another /24.
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
/// Connections that ask as fast as they are answered.
const ASKERS: usize = 32;
/// Connections that hold something.
const HOLDERS: usize = 4_000;
/// A connection that was closed is opened again after this: 4,000 of them are then 4,000 attempts a second at most.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The same for one that asks.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// What an attacker waits for at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// 32 connections ask for the description of the API.
    Description,
    /// 32 connections ask whether the server is ready.
    Readiness,
    /// 32 connections show tokens that are none.
    Tokens,
    /// 32 connections ask whether a page may ask, as browsers do.
    Preflights,
    /// 4,000 connections send half a body.
    Bodies,
    /// 4,000 connections send nothing.
    Silence,
    /// 4,000 WebSockets say no hello.
    Sockets,
}

impl Flood {
    /// What the table of results calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Description => "32 x openapi.json",
            Self::Readiness => "32 x readyz",
            Self::Tokens => "32 x bad tokens",
            Self::Preflights => "32 x preflights",
            Self::Bodies => "4,000 half bodies",
            Self::Silence => "4,000 silent",
            Self::Sockets => "4,000 sockets",
        }
    }

    const fn connections(self) -> usize {
        match self {
            Self::Description | Self::Readiness | Self::Tokens | Self::Preflights => ASKERS,
            Self::Bodies | Self::Silence | Self::Sockets => HOLDERS,
        }
    }

    /// What a connection says.
    const fn says(self) -> &'static str {
        match self {
            Self::Description => "GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n",
            Self::Readiness => "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
            Self::Tokens => {
                "GET /v1/accounts/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer eyJhbGciOiJFZERTQSJ9.e30.AA\r\n\r\n"
            }
            Self::Preflights => {
                "OPTIONS /v1/accounts/me HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\
                 Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
            }
            Self::Bodies => {
                "POST /v1/auth/sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            }
            Self::Silence => "",
            Self::Sockets => {
                "GET /v1/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: nepto.v1\r\n\r\n"
            }
        }
    }

    /// Whether it asks again when it was answered.
    const fn asks(self) -> bool {
        self.connections() == ASKERS
    }
}

/// A flood that goes on until it is ended.
pub struct Siege {
    stop: CancellationToken,
    asked: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Siege {
    /// Begins it against the server at this address, which is on this machine.
    pub fn begin(flood: Flood, url: &str) -> Result<Self> {
        let url = reqwest::Url::parse(url)?;
        let to = url.socket_addrs(|| None)?.into_iter().find(|to| to.ip().is_loopback() && to.is_ipv4());
        let to = to.context("floods are only for a server on this machine")?;
        let (stop, asked) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), asked.clone());
        let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
            idle_priority()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                for _ in 0..flood.connections() {
                    tokio::spawn(attack(flood, to, counted.clone()));
                }
                stopped.cancelled().await;
            });
            Ok(())
        })?;
        Ok(Self { stop, asked, thread })
    }

    /// Ends it; how often something was asked, or a connection tried.
    pub async fn end(self) -> Result<u64> {
        self.stop.cancel();
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        ended.map_err(|_| anyhow!("the flood panicked"))??;
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

/// This thread runs when no other one wants to: `chrt` of util-linux, as the system call is `unsafe`.
fn idle_priority() -> Result<()> {
    let thread = std::fs::read_link("/proc/thread-self")?;
    let thread = thread.file_name().context("this thread has no number")?;
    let set = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(thread).status();
    let set = set.context("`chrt` is needed, of the package util-linux")?;
    ensure!(set.success(), "`chrt --idle --pid 0` failed: {set}");
    Ok(())
}

async fn attack(flood: Flood, to: SocketAddr, asked: Arc<AtomicU64>) {
    loop {
        // whatever ends a connection, the next one begins
        let _ = converse(flood, to, &asked).await;
        sleep(if flood.asks() { ASK_AGAIN_AFTER } else { AGAIN_AFTER }).await;
    }
}

async fn converse(flood: Flood, to: SocketAddr, asked: &AtomicU64) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((FLOODER, 0).into())?;
    asked.fetch_add(1, Ordering::Relaxed);
    let mut stream = socket.connect(to).await?;
    loop {
        stream.write_all(flood.says().as_bytes()).await?;
        timeout(PATIENCE, answer(&mut stream, flood)).await??;
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads to the end of one answer, or of the connection if this flood asks nothing.
async fn answer(stream: &mut TcpStream, flood: Flood) -> Result<()> {
    let mut buffer = vec![0; 4 * 1024];
    let (mut read, mut whole) = (0, None);
    loop {
        let count = stream.read(&mut buffer[read.min(2 * 1024)..]).await?;
        ensure!(count > 0, "closed");
        if !flood.asks() {
            continue;
        }
        read += count;
        if whole.is_none() {
            whole = length(&buffer[..read.min(buffer.len())]);
        }
        if whole.is_some_and(|whole| read >= whole) {
            return Ok(());
        }
    }
}

/// Bytes of an answer, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(answer.get(..answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4)?).ok()?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Some(head.len() + lengths.next().and_then(|(_, length)| length.trim().parse::<usize>().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_length_that_its_head_says() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(length(answer), Some(answer.len()));
        assert_eq!(length(&answer[..20]), None);
        assert_eq!(length(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Some(29));
    }
}
