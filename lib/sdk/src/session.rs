//! Keeps a connection alive: tries the gateways in turn, backs off, refreshes the token, notices silence.
//!
//! One task per device. It reads frames only while there is room for them, and writes at any time, so that a slow reader
//! never keeps acknowledgements from leaving.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use nepto_proto::limits::{HELLO_TIMEOUT, IDLE_TIMEOUT};
use nepto_proto::wire::{self, Cursor, Welcome, client_frame, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use nepto_sdk_core::is_signed_out;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::env::Env;
use crate::socket::{Calls, Incoming, Socket, SocketError};
use crate::waiting::Waiting;
use crate::{DisconnectReason, SdkError};

/// The longest wait before the second try; doubles.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait of all.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next wait is short again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// After this silence the gateway is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(30);
/// A write that takes longer goes into a dead link: nothing is heard on one either, but what waits to be written must not
/// keep that from being noticed.
const WRITE_WITHIN: Duration = Duration::from_secs(25);
/// A goodbye has so long.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// After a connection with too many bad requests, and as much again at random.
const ABUSE_PAUSE: Duration = Duration::from_secs(60);
/// Frames that wait to be written.
const OUT_MAX: usize = 64;
/// Frames that wait to be read.
const IN_MAX: usize = 64;

/// What a session needs from its owner.
pub trait Credentials: Send + Sync + 'static {
    /// The gateways, any of which will do. Asked at the start, and again when none of them could be reached.
    fn gateways(&self) -> impl Future<Output = Result<Vec<String>, SdkError>> + Send;
    /// An access token that is good for a while.
    fn access_token(&self) -> impl Future<Output = Result<String, SdkError>> + Send;
    /// Another access token than this one, which the gateway did not take.
    fn refreshed_token(&self, refused: &str) -> impl Future<Output = Result<String, SdkError>> + Send;
    /// Where the mailbox was left. Everything up to there is durable.
    fn cursor(&self) -> Result<Option<Cursor>, SdkError>;
}

/// What a session reports.
#[derive(Debug)]
pub enum SessionEvent {
    /// Connected and welcomed.
    Connected(Welcome),
    /// A frame that answers no request.
    Frame(server_frame::Kind),
    /// The gateway does not let a channel be followed. Everything else that it says of channels comes as frames, in order.
    NotFollowed {
        /// The channel, as it was asked for.
        channel: Vec<u8>,
        /// Why.
        error: wire::Error,
    },
    /// The connection ended; the next try comes after this time.
    Disconnected {
        /// What ended it.
        reason: DisconnectReason,
        /// How long until the next attempt: what the gateway asked for, or a backoff with jitter.
        retry_in: Duration,
    },
    /// The session is void. The last event.
    SignedOut(Option<ErrorCode>),
    /// The same device connected elsewhere. The last event.
    Superseded,
    /// The gateway could not make sense of this client. The last event.
    Refused(String),
    /// The owner failed to give what was needed. The last event.
    Failed(SdkError),
}

/// What the owner wants done.
enum Outgoing {
    /// Send a frame; somebody may wait for the answer.
    Frame(client_frame::Kind, Option<oneshot::Sender<server_frame::Kind>>),
    /// Say goodbye, after everything before it was sent.
    Close,
}

/// The way to the gateway, while there is one.
#[derive(Clone)]
pub struct Link {
    out: mpsc::Sender<Outgoing>,
    online: watch::Receiver<bool>,
}

impl Link {
    /// Whether there is a connection right now.
    pub fn is_online(&self) -> bool {
        // a session that ended leaves its last word behind
        self.online.has_changed().is_ok() && *self.online.borrow()
    }

    /// Waits until this changes. `false`: the session is over.
    pub async fn changed(&mut self) -> bool {
        self.online.changed().await.is_ok()
    }

    /// Sends a frame and waits for its answer.
    pub async fn request(&self, kind: client_frame::Kind, within: Duration) -> Result<server_frame::Kind, SdkError> {
        if !self.is_online() {
            return Err(SdkError::NotConnected);
        }
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.out.send(Outgoing::Frame(kind, Some(reply))).await.map_err(|_| SdkError::NotConnected)?;
            answer.await.map_err(|_| SdkError::NotConnected)
        };
        tokio::time::timeout(within, asked).await.map_err(|_| SdkError::Timeout)?
    }

    /// Sends a frame that needs no answer.
    pub async fn notify(&self, kind: client_frame::Kind) -> Result<(), SdkError> {
        if !self.is_online() {
            return Err(SdkError::NotConnected);
        }
        self.out.send(Outgoing::Frame(kind, None)).await.map_err(|_| SdkError::NotConnected)
    }

    /// Ends the session, after everything that was handed over before is sent. Returns when it is over.
    pub async fn close(&self) {
        let _ = self.out.send(Outgoing::Close).await;
        self.out.closed().await;
    }
}

/// Begins a session. It ends with the token, or when its events are not wanted any more.
pub fn start(credentials: impl Credentials, env: Env, stop: CancellationToken) -> (Link, mpsc::Receiver<SessionEvent>) {
    let (out, outgoing) = mpsc::channel(OUT_MAX);
    let (events, incoming) = mpsc::channel(IN_MAX);
    let (online, watching) = watch::channel(false);
    let (urls, waiting) = (Vec::new(), Waiting::default());
    let session = Session { urls, credentials, env, outgoing, events, online, waiting };
    tokio::spawn(async move {
        stop.run_until_cancelled(session.run()).await;
    });
    (Link { out, online: watching }, incoming)
}

struct Session<C> {
    urls: Vec<String>,
    credentials: C,
    env: Env,
    outgoing: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<SessionEvent>,
    online: watch::Sender<bool>,
    waiting: Waiting,
}

/// How a connection ended.
enum End {
    /// Try again, after the usual wait or after this one.
    Again(DisconnectReason, Option<Duration>),
    /// Nothing is tried any more; this is the last event.
    Over(SessionEvent),
    /// The owner dropped its end: nobody listens any more.
    Unwanted,
}

impl<C: Credentials> Session<C> {
    async fn run(mut self) {
        let (mut failures, mut next_url) = (0u32, 0usize);
        let mut refused = None;
        loop {
            let mut began = None;
            let end = match self.gateway(next_url, failures).await {
                Ok(url) => self.connection(&url, &mut refused, &mut began).await,
                Err(error) => no_token(error),
            };
            next_url = next_url.wrapping_add(1);
            self.online.send_replace(false);
            let (reason, asked) = match end {
                End::Again(reason, asked) => (reason, asked),
                End::Over(event) => {
                    let _ = self.events.send(event).await;
                    return;
                }
                End::Unwanted => return,
            };
            failures = match began {
                Some(at) if Instant::now().duration_since(at) >= GOOD_AFTER => 0,
                _ => failures.saturating_add(1),
            };
            // gateways fail on their own: the wait grows once per round through all of them
            let rounds = failures.div_ceil(self.urls.len().max(1) as u32);
            let retry_in = asked.unwrap_or_else(|| self.env.jitter(backoff(rounds)));
            tracing::info!(?reason, ?retry_in, "disconnected");
            if self.events.send(SessionEvent::Disconnected { reason, retry_in }).await.is_err() {
                return;
            }
            if !self.wait(retry_in).await {
                return;
            }
        }
    }

    /// The gateway whose turn it is. When all failed since the last good connection, the list may be an old one.
    async fn gateway(&mut self, turn: usize, failures: u32) -> Result<String, SdkError> {
        if self.urls.is_empty() || (failures > 0 && (failures as usize).is_multiple_of(self.urls.len())) {
            match self.credentials.gateways().await {
                Ok(urls) if !urls.is_empty() => self.urls = urls,
                Err(error) if self.urls.is_empty() => return Err(error),
                _ => {}
            }
        }
        let url = self.urls.get(turn % self.urls.len().max(1)).cloned();
        url.ok_or_else(|| SdkError::Network("the server names no gateway".into()))
    }

    /// Lets time pass. Who wants to send meanwhile learns at once that there is no connection. `false`: it is over.
    async fn wait(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                unsent = self.outgoing.recv() => {
                    if !matches!(unsent, Some(Outgoing::Frame(..))) {
                        return false;
                    }
                }
            }
        }
    }

    async fn connection(&mut self, url: &str, refused: &mut Option<String>, began: &mut Option<Instant>) -> End {
        let token = match refused.take() {
            Some(old) => self.credentials.refreshed_token(&old).await,
            None => self.credentials.access_token().await,
        };
        let token = match token {
            Ok(token) => token,
            Err(error) => return no_token(error),
        };
        let cursor = match self.credentials.cursor() {
            Ok(cursor) => cursor,
            Err(error) => return End::Over(SessionEvent::Failed(error)),
        };
        let opening = Socket::open(url, &token, cursor, HELLO_TIMEOUT);
        let (socket, welcome) = match self.waiting.for_answer(url, opening).await {
            Ok(opened) => opened,
            Err(error) => return self.ended(error, token, refused),
        };
        *began = Some(Instant::now());
        if self.events.send(SessionEvent::Connected(welcome)).await.is_err() {
            return End::Unwanted;
        }
        self.online.send_replace(true);
        match self.pump(socket).await {
            Ok(end) => end,
            Err(error) => self.ended(error, token, refused),
        }
    }

    async fn pump(&mut self, mut socket: Socket) -> Result<End, SocketError> {
        let (mut calls, mut asked) = (Calls::default(), AskedChannels::default());
        let mut heard = Instant::now();
        let mut pinged = false;
        let mut drain: Option<Instant> = None;
        let events = self.events.clone();
        loop {
            let room = match events.try_reserve() {
                Ok(room) => Some(room),
                Err(mpsc::error::TrySendError::Full(())) => None,
                Err(mpsc::error::TrySendError::Closed(())) => return Ok(End::Unwanted),
            };
            let silence = heard + if pinged { IDLE_TIMEOUT } else { PING_AFTER };
            tokio::select! {
                incoming = socket.recv(), if room.is_some() => {
                    heard = Instant::now();
                    pinged = false;
                    let incoming = match (incoming, drain) {
                        // the announced restart
                        (Err(_), Some(at)) => return Ok(End::drained(at)),
                        (incoming, _) => incoming?,
                    };
                    let Incoming::Frame(frame) = incoming else { continue };
                    let about = asked.answered(frame.reply_to);
                    match (calls.complete(frame), room, about) {
                        (Some(server_frame::Kind::Drain(notice)), ..) => {
                            drain = Some(heard + Duration::from_millis(notice.reconnect_in_ms.into()));
                        }
                        (Some(server_frame::Kind::Error(error)), Some(room), Some(channel)) => {
                            room.send(SessionEvent::NotFollowed { channel, error });
                        }
                        (Some(kind), Some(room), _) => room.send(SessionEvent::Frame(kind)),
                        _ => {}
                    }
                }
                // room was made: look again
                permit = events.reserve(), if room.is_none() => {
                    if permit.is_err() {
                        return Ok(End::Unwanted);
                    }
                    heard = Instant::now();
                }
                outgoing = self.outgoing.recv() => {
                    if !in_time(self.write(&mut socket, (&mut calls, &mut asked), outgoing)).await? {
                        farewell(socket).await;
                        return Ok(End::Unwanted);
                    }
                }
                () = sleep_until(silence), if room.is_some() => {
                    if pinged {
                        return Ok(End::Again(DisconnectReason::Idle, None));
                    }
                    pinged = true;
                    in_time(socket.ping()).await?;
                }
                () = sleep_until(drain.unwrap_or(silence)), if drain.is_some() => {
                    farewell(socket).await;
                    return Ok(End::Again(DisconnectReason::Drain, Some(Duration::ZERO)));
                }
            }
        }
    }

    /// Writes a frame and what waits behind it, then flushes once. `false`: that was all.
    async fn write(
        &mut self,
        socket: &mut Socket,
        (calls, asked): (&mut Calls, &mut AskedChannels),
        first: Option<Outgoing>,
    ) -> Result<bool, SocketError> {
        let mut next = first;
        let more = loop {
            let Some(Outgoing::Frame(kind, reply)) = next else { break false };
            let channel = channel_of(&kind);
            match (socket.feed(kind).await, reply) {
                (Ok(id), Some(reply)) => calls.insert(id, reply),
                (Ok(id), None) => asked.insert(id, channel),
                // too large: only its sender is told, by dropping the reply
                (Err(SocketError::Frame(_)), _) => {}
                (Err(error), _) => return Err(error),
            }
            next = match self.outgoing.try_recv() {
                Ok(outgoing) => Some(outgoing),
                Err(_) => break true,
            };
        };
        socket.flush().await?;
        Ok(more)
    }

    fn ended(&self, error: SocketError, token: String, refused: &mut Option<String>) -> End {
        if let Some(code) = error.code().filter(|code| is_signed_out(*code)) {
            return End::Over(SessionEvent::SignedOut(Some(code)));
        }
        let token_refused = matches!(
            error.code(),
            Some(ErrorCode::TokenExpired | ErrorCode::TokenInvalid | ErrorCode::Unauthenticated)
        );
        match error.close_code() {
            Some(CloseCode::Superseded) => return End::Over(SessionEvent::Superseded),
            // connecting again would repeat it
            Some(CloseCode::Malformed | CloseCode::TooLarge) => {
                return End::Over(SessionEvent::Refused(error.to_string()));
            }
            Some(CloseCode::Abuse) => {
                let pause = ABUSE_PAUSE + self.env.jitter(ABUSE_PAUSE);
                return End::Again(DisconnectReason::Lost(error.to_string()), Some(pause));
            }
            Some(CloseCode::Idle) => return End::Again(DisconnectReason::Idle, None),
            Some(CloseCode::Restart) => return End::Again(DisconnectReason::Drain, None),
            Some(CloseCode::Unauthenticated) => {}
            _ if token_refused => {}
            _ => return End::Again(DisconnectReason::Lost(error.to_string()), None),
        }
        *refused = Some(token);
        End::Again(DisconnectReason::Token, None)
    }
}

/// Channels that were asked for on a connection, by the frame that did it: a refusal does not say which one it is about.
#[derive(Default)]
struct AskedChannels(HashMap<u32, Vec<u8>>);

impl AskedChannels {
    /// Of one channel only the newest frame is answered for sure.
    fn insert(&mut self, id: u32, channel: Option<Vec<u8>>) {
        if let Some(channel) = channel {
            self.0.retain(|_, other| *other != channel);
            self.0.insert(id, channel);
        }
    }

    /// The channel that this answer is about.
    fn answered(&mut self, reply_to: u32) -> Option<Vec<u8>> {
        self.0.remove(&reply_to)
    }
}

/// The channel that a frame asks to follow.
fn channel_of(kind: &client_frame::Kind) -> Option<Vec<u8>> {
    match kind {
        client_frame::Kind::ChannelFollow(follow) if !follow.leave => Some(follow.channel.clone()),
        _ => None,
    }
}

/// Nothing is written without a bound.
async fn in_time<T>(write: impl Future<Output = Result<T, SocketError>>) -> Result<T, SocketError> {
    timeout(WRITE_WITHIN, write).await.map_err(|_| SocketError::Timeout)?
}

async fn farewell(socket: Socket) {
    let _ = timeout(CLOSE_WITHIN, socket.close()).await;
}

impl End {
    fn drained(at: Instant) -> Self {
        Self::Again(DisconnectReason::Drain, Some(at.saturating_duration_since(Instant::now())))
    }
}

fn no_token(error: SdkError) -> End {
    match error {
        SdkError::SignedOut => End::Over(SessionEvent::SignedOut(None)),
        SdkError::Store(_) => End::Over(SessionEvent::Failed(error)),
        other => match other.code().filter(|code| is_signed_out(*code)) {
            Some(code) => End::Over(SessionEvent::SignedOut(Some(code))),
            None => End::Again(DisconnectReason::Lost(other.to_string()), None),
        },
    }
}

/// 200 ms, 400 ms, … 30 s.
fn backoff(rounds: u32) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(2u32.saturating_pow(rounds.saturating_sub(1).min(16)));
    doubled.min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_about_the_newest_frame_of_its_channel() {
        let mut asked = AskedChannels::default();
        asked.insert(1, Some(vec![1]));
        asked.insert(2, Some(vec![2]));
        asked.insert(3, Some(vec![1]));
        asked.insert(4, None);
        assert_eq!(asked.answered(1), None, "asked for again since");
        assert_eq!((asked.answered(3), asked.answered(3)), (Some(vec![1]), None));
        assert_eq!((asked.answered(2), asked.answered(4), asked.answered(0)), (Some(vec![2]), None, None));
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let all: Vec<u128> = (1..12).map(|rounds| backoff(rounds).as_millis()).collect();
        assert_eq!(all[..4], [200, 400, 800, 1600]);
        assert_eq!(all[10], 30_000);
        assert_eq!(backoff(0), BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
