//! A connection's stream, and what the connection is at: how long each side may take for its part, and what may be sent by whom
//! nobody knows yet.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::newcomer::Newcomer;
use super::shares::Share;
use crate::Failure;
use crate::config::{self, Http};

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For taking anything of an answer.
    pub write: Duration,
}

impl Patience {
    pub fn new(http: &Http) -> Self {
        Self {
            head: config::millis(http.head_timeout_ms),
            idle: config::millis(http.idle_timeout_ms),
            write: config::millis(http.write_timeout_ms),
        }
    }
}

/// What a connection is at.
pub struct Stage(AtomicU8);

impl Stage {
    /// A head is coming.
    pub const HEAD: u8 = 0;
    /// A request is being read and answered.
    pub const ANSWERING: u8 = 1;
    /// Nothing is asked.
    pub const WAITING: u8 = 2;
    /// It is a WebSocket, with times of its own, and nobody knows whose.
    pub const UPGRADED: u8 = 3;
    /// It is that of somebody.
    const KNOWN: u8 = 4;

    pub fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn is(&self, stage: u8) -> bool {
        self.get() == stage
    }

    fn is_socket(&self) -> bool {
        self.get() >= Self::UPGRADED
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self(AtomicU8::new(Self::HEAD))
    }
}

/// A connection that is about to become a WebSocket. Frames of strangers must not be collected: what it sends is bounded to a
/// hello until it is made.
#[derive(Clone)]
pub struct Acquaintance(Arc<Stage>);

impl Acquaintance {
    pub(super) const fn new(stage: Arc<Stage>) -> Self {
        Self(stage)
    }

    /// It has said who it is.
    pub fn make(&self) {
        self.0.set(Stage::KNOWN);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Acquaintance {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Failure::internal(anyhow::anyhow!("the listener does not say what is connected")))
    }
}

/// A stream that fails when the other end takes too long for a head, or takes nothing of an answer. hyper has one time
/// for the head and the pause before it, which must be long, as a proxy's connections pause.
pub struct Timed {
    stream: TcpStream,
    stage: Arc<Stage>,
    patience: Patience,
    head_due: Option<Pin<Box<Sleep>>>,
    write_due: Option<Pin<Box<Sleep>>>,
    /// What it sends until it is known.
    newcomer: Newcomer,
    _share: Share,
}

impl Timed {
    pub fn new(stream: TcpStream, share: Share, patience: Patience, stage: Arc<Stage>) -> Self {
        let head_due = Some(Box::pin(sleep(patience.head)));
        Self { stream, stage, patience, head_due, write_due: None, newcomer: Newcomer::default(), _share: share }
    }

    /// What writing came to; pending for too long is an error.
    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() || self.stage.is_socket() {
            self.write_due = None;
            return written;
        }
        let due = self.write_due.get_or_insert_with(|| Box::pin(sleep(self.patience.write)));
        ready!(due.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

fn no_hello() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "that is no hello")
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stage.is(Stage::HEAD) {
            if let Some(due) = &mut self.head_due
                && due.as_mut().poll(cx).is_ready()
            {
                let slow = io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long");
                return Poll::Ready(Err(slow));
            }
        } else {
            self.head_due = None;
        }
        // also where nothing more comes: what was sent too early is in a buffer already
        if self.stage.is(Stage::UPGRADED) && self.newcomer.frames(&[]).is_err() {
            return Poll::Ready(Err(no_hello()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let (this, came) = (&mut *self, &buf.filled()[before..]);
        if !came.is_empty() && this.stage.is(Stage::WAITING) {
            this.stage.set(Stage::HEAD);
            this.head_due = Some(Box::pin(sleep(this.patience.head)));
            this.newcomer = Newcomer::default();
        }
        match this.stage.get() {
            Stage::HEAD => this.newcomer.head(came),
            Stage::ANSWERING if !came.is_empty() => this.newcomer.ahead(),
            Stage::UPGRADED if this.newcomer.frames(came).is_err() => return Poll::Ready(Err(no_hello())),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
