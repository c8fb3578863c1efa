//! One connection: the loop around a [`Session`].
//!
//! Frames of the client are worked off in their order; deliveries go on meanwhile. Nothing here waits without a bound: not
//! for the client, not for Redis, not for JetStream.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use nepto_kit::http::RequestId;
use nepto_kit::limit::Limit;
use nepto_kit::token::{self, Claims};
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::Control;
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::{ACK_WINDOW, HELLO_TIMEOUT, IDLE_TIMEOUT, PING_EVERY, PRESENCE_QUERY_MAX};
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, ClientFrame, Hello, client_frame, server_frame};
use nepto_proto::{AccountId, ClientMsgId, CloseCode, ErrorCode};
use prost::Message as _;
use redis::AsyncCommands;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tungstenite::error::ProtocolError;

use super::checks::{self, Refusal};
use super::gateway::{Gateway, Place};
use super::mailbox::{self, Page, StoreError, StoredEnvelope};
use super::presence::{self, Here};
use super::session::{Effect, Session};
use super::submit::{self, ReadSend};
use crate::accounts::Verdict;
use crate::keys::{DeviceList, DeviceSeen};

/// Answers of one connection under way at once; past it no further frame is read.
const WORK_MAX: usize = 64;
/// A read that failed, or found nothing twice where something must be, is repeated after this.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Typing is passed on at most this often.
const TYPING_EVERY: Duration = Duration::from_millis(300);
/// A stopping gateway waits so long for the answers of a connection.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Why the loop ended.
type Closed = CloseCode;

/// Serves a socket from its first frame to its close.
///
/// Each phase is boxed: a socket that idles should hold only what it still needs.
pub async fn serve(place: Place, mut socket: WebSocket) {
    let (here, begun) = match Box::pin(hello(place.gateway(), &mut socket)).await {
        Ok(begun) => begun,
        Err(code) => return Box::pin(close(&mut socket, code)).await,
    };
    let claims = begun.claims;
    let connection = Connection::new(place.gateway(), &mut socket, begun);
    let code = Box::pin(connection.run_to_close()).await;
    tracing::debug!(account = %claims.account, device = %claims.device, reason = code.reason(), "socket closed");
    Box::pin(close(&mut socket, code)).await;
    Box::pin(here.leave()).await;
}

async fn close(socket: &mut WebSocket, code: CloseCode) {
    metrics::counter!("nepto_gateway_closed_total", "reason" => code.reason()).increment(1);
    let frame = CloseFrame { code: code.get(), reason: code.reason().into() };
    let _ = timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
}

/// What a connection that has said hello begins with.
struct Begun {
    claims: Claims,
    epoch: u64,
    mailbox_epoch: u64,
    live: async_nats::Subscriber,
    session: Session,
}

async fn hello(gateway: &Gateway, socket: &mut WebSocket) -> Result<(Here, Begun), Closed> {
    let first = timeout(HELLO_TIMEOUT, socket.recv()).await.map_err(|_| CloseCode::Unauthenticated)?;
    let bytes = match first {
        Some(Ok(Message::Binary(bytes))) => bytes,
        Some(Err(error)) => return Err(broken(&error)),
        Some(Ok(Message::Close(_))) | None => return Err(CloseCode::Normal),
        Some(Ok(_)) => return Err(CloseCode::Malformed),
    };
    let frame = frame::decode_client(bytes).map_err(|_| CloseCode::Malformed)?;
    let Some(client_frame::Kind::Hello(hello)) = frame.kind else { return Err(CloseCode::Unauthenticated) };
    match open(gateway, &hello).await {
        Ok((here, begun, welcome)) => {
            let welcome = encode_server(frame.id, server_frame::Kind::Welcome(welcome));
            socket.send(Message::Binary(welcome)).await.map_err(|_| CloseCode::Normal)?;
            Ok((here, begun))
        }
        Err(failure) => {
            failure.log();
            let error = frame::error(failure.code, failure.detail.clone());
            let error = encode_server(frame.id, server_frame::Kind::Error(error));
            let _ = socket.send(Message::Binary(error)).await;
            Err(match failure.code {
                ErrorCode::SessionRevoked => CloseCode::SessionRevoked,
                ErrorCode::TokenInvalid | ErrorCode::TokenExpired => CloseCode::Unauthenticated,
                _ => CloseCode::Unavailable,
            })
        }
    }
}

async fn open(gateway: &Gateway, hello: &Hello) -> Result<(Here, Begun, wire::Welcome), Failure> {
    let ctx = &gateway.ctx;
    let claims = token::authenticate(ctx, &hello.access_token).await?;
    let (account, device) = (claims.account, claims.device);
    // first the subscription, then the mailbox: what is stored in between is seen twice rather than never
    let live = ctx.nats.subscribe(Live::all(account, device)).await;
    let live = live.map_err(|error| Failure::unavailable("NATS", error))?;
    let here = gateway.presence.appear(claims).await?;
    let mailbox_epoch = gateway.epoch_of(account);
    let resume = match &hello.resume {
        Some(cursor) if cursor.epoch == mailbox_epoch => gateway.resume_at(account, cursor.seq).await?,
        _ => 0,
    };
    if resume > 0 {
        gateway.acknowledge(account, device, mailbox_epoch, resume);
    }
    note_seen(ctx, claims);
    let welcome = wire::Welcome {
        account: account.to_vec(),
        device: device.into(),
        epoch: mailbox_epoch,
        server_time_ms: ctx.clock.now_ms().unsigned_abs(),
        window: ACK_WINDOW,
    };
    let begun = Begun { claims, epoch: here.epoch, mailbox_epoch, live, session: Session::new(resume) };
    Ok((here, begun, welcome))
}

/// Once a day, off the path of the connection.
fn note_seen(ctx: &Ctx, claims: Claims) {
    let ctx = ctx.clone();
    let (account, device) = (claims.account, claims.device);
    ctx.tasks.clone().spawn(async move {
        let first: redis::RedisResult<Option<String>> = redis::cmd("SET")
            .arg(format!("seen:{account}:{device}"))
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(86_400)
            .query_async(&mut ctx.redis.clone())
            .await;
        if let Ok(Some(_)) = first
            && let Err(failure) = ctx.call(&DeviceSeen { account, device }).await
        {
            failure.log();
        }
    });
}

/// A message on its way into the store.
type Checking = BoxFuture<'static, (u32, ReadSend, Result<checks::Cleared, Refusal>)>;
/// An answer in the making; `None` says nothing.
type Work = BoxFuture<'static, Option<Bytes>>;

struct Connection<'a> {
    gateway: &'a Gateway,
    socket: &'a mut WebSocket,
    claims: Claims,
    /// Of this connection.
    epoch: u64,
    /// Of the mailbox that it reads.
    mailbox_epoch: u64,
    live: async_nats::Subscriber,
    session: Session,
    reading: Option<BoxFuture<'static, anyhow::Result<Page>>>,
    checking: Option<Checking>,
    work: FuturesUnordered<Work>,
    errors: u32,
    heard_at: Instant,
    pinged_at: Instant,
    typed_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// A loop that only ends by closing.
enum Never {}

impl<'a> Connection<'a> {
    fn new(gateway: &'a Gateway, socket: &'a mut WebSocket, begun: Begun) -> Self {
        let Begun { claims, epoch, mailbox_epoch, live, session } = begun;
        let now = Instant::now();
        Self {
            gateway,
            socket,
            claims,
            epoch,
            mailbox_epoch,
            live,
            session,
            reading: None,
            checking: None,
            work: FuturesUnordered::new(),
            errors: 0,
            heard_at: now,
            pinged_at: now,
            typed_at: None,
            timer: Box::pin(sleep_until(now + PING_EVERY)),
            stopping: Box::pin(gateway.ctx.stop.clone().cancelled_owned()),
        }
    }

    async fn run_to_close(mut self) -> Closed {
        match self.run().await {
            Ok(never) => match never {},
            Err(code) => code,
        }
    }

    async fn run(&mut self) -> Result<Never, Closed> {
        let start = self.session.start();
        self.apply(start).await?;
        loop {
            self.flush().await?;
            let takes_frames = self.checking.is_none() && self.work.len() < WORK_MAX;
            tokio::select! {
                message = self.live.next() => {
                    let message = message.ok_or(CloseCode::Unavailable)?;
                    self.on_live(message).await?;
                    // what else is there already goes out with the same flush
                    for _ in 0..ACK_WINDOW {
                        match self.live.next().now_or_never() {
                            Some(Some(message)) => self.on_live(message).await?,
                            _ => break,
                        }
                    }
                }
                message = self.socket.recv(), if takes_frames => self.on_message(message).await?,
                Some(answer) = self.work.next() => self.feed_answer(answer).await?,
                checked = pending(&mut self.checking) => self.on_checked(checked).await?,
                page = pending(&mut self.reading) => self.on_page(page).await?,
                () = self.timer.as_mut() => self.on_timer().await?,
                () = self.stopping.as_mut() => return Err(Box::pin(self.finish()).await),
            }
        }
    }

    async fn on_live(&mut self, message: async_nats::Message) -> Result<(), Closed> {
        match Live::parse(&message.subject) {
            Some(Live::Dm) => match StoredEnvelope::from_message(message) {
                Some(message) => {
                    let effect = self.session.live(message);
                    self.apply(effect).await
                }
                None => Ok(()),
            },
            Some(Live::Typing) => match wire::TypingFrom::decode(message.payload) {
                Ok(typing) => self.feed(encode_server(0, server_frame::Kind::TypingFrom(typing))).await,
                Err(_) => Ok(()),
            },
            Some(Live::Control) => match serde_json::from_slice(&message.payload) {
                Ok(control) => self.on_control(control).await,
                Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }

    async fn on_control(&mut self, control: Control) -> Result<(), Closed> {
        match control {
            Control::Superseded { epoch } if epoch > self.epoch => Err(CloseCode::Superseded),
            Control::Superseded { .. } => Ok(()),
            Control::Revoked { session } if session == self.claims.session => Err(CloseCode::SessionRevoked),
            Control::Revoked { .. } => Ok(()),
            Control::Nudge => {
                let effect = self.session.nudge();
                self.apply(effect).await
            }
            Control::MailboxAnew => Err(CloseCode::Unavailable),
            Control::PrekeysLow { ec, kyber } => {
                let low = wire::PrekeysLow { ec, kyber };
                self.feed(encode_server(0, server_frame::Kind::PrekeysLow(low))).await
            }
        }
    }

    async fn on_message(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Closed> {
        self.heard_at = Instant::now();
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let frame = frame::decode_client(bytes).map_err(|_| CloseCode::Malformed)?;
                self.on_frame(frame).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Text(_))) => Err(CloseCode::Malformed),
            Some(Ok(Message::Close(_))) | None => Err(CloseCode::Normal),
            Some(Err(error)) => Err(broken(&error)),
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame) -> Result<(), Closed> {
        use client_frame::Kind;
        match frame.kind {
            Some(Kind::SendDm(send)) => {
                let id = send.client_msg_id.clone();
                match submit::read(self.claims.account, send) {
                    Ok(send) => self.check(frame.id, send),
                    Err(failure) => self.refuse(frame.id, id, failure).await?,
                }
                Ok(())
            }
            Some(Kind::Ack(ack)) => {
                let mut effects = Vec::new();
                if self.session.acknowledge(ack.up_to, &mut effects).is_err() {
                    let failure = Failure::new(ErrorCode::AckBeyondDelivered, format!("up to {}", ack.up_to));
                    return self.refuse(frame.id, Vec::new(), failure).await;
                }
                self.apply(effects).await
            }
            Some(Kind::Typing(typing)) => self.on_typing(frame.id, &typing).await,
            Some(Kind::PresenceQuery(query)) => self.on_presence_query(frame.id, &query).await,
            Some(Kind::Hello(_)) => self.refuse(frame.id, Vec::new(), Failure::new(ErrorCode::AlreadyHello, "")).await,
            None => self.refuse(frame.id, Vec::new(), Failure::new(ErrorCode::UnknownFrame, "")).await,
        }
    }

    /// Looks a message's limits, consent and devices up. The next frame is read when that is done, so that messages are
    /// stored in the order in which they were sent.
    fn check(&mut self, reply_to: u32, send: ReadSend) {
        let ctx = self.gateway.ctx.clone();
        let from = (self.claims.account, self.claims.device);
        let request_id = RequestId::from(send.id.to_string().as_str());
        self.checking = Some(Box::pin(request_id.scope(async move {
            let verdict = checks::check(&ctx, from, send.to, send.id, &send.send).await;
            (reply_to, send, verdict)
        })));
    }

    async fn on_checked(
        &mut self,
        (reply_to, send, verdict): (u32, ReadSend, Result<checks::Cleared, Refusal>),
    ) -> Result<(), Closed> {
        let cleared = match verdict {
            Ok(cleared) => cleared,
            Err(Refusal::Mismatch(mismatch)) => {
                return self.feed(encode_server(reply_to, server_frame::Kind::Mismatch(mismatch))).await;
            }
            Err(Refusal::Failure(failure)) => return self.refuse(reply_to, send.id.to_vec(), failure).await,
        };
        let id = send.id;
        let (account, device) = (self.claims.account, self.claims.device);
        let (recipient, own) = send.into_submissions(account, device, cleared);
        let started = Instant::now();
        let to = recipient.to;
        let first = self.gateway.store.submit(recipient);
        let store = self.gateway.store.clone();
        self.work.push(Box::pin(async move {
            let fate = async {
                let stored = first.await?;
                match own {
                    None => Ok(stored),
                    Some(own) => match store.submit(own).await {
                        Ok(_) => Ok(stored),
                        // The recipient has the message. A device of one's own that never fetches must not stop that.
                        Err(StoreError::MailboxFull) => {
                            metrics::counter!("nepto_own_copies_dropped_total").increment(1);
                            Ok(stored)
                        }
                        Err(unavailable) => Err(unavailable),
                    },
                }
            };
            let kind = match fate.await {
                Ok(stored) => {
                    metrics::histogram!("nepto_dm_store_seconds").record(started.elapsed());
                    tracing::debug!(request_id = %id, from = %account, %device, %to, duplicate = stored.duplicate, "stored");
                    let client_msg_id = id.to_vec();
                    server_frame::Kind::Stored(wire::Stored { client_msg_id, duplicate: stored.duplicate })
                }
                Err(error) => {
                    tracing::warn!(request_id = %id, %error, "not stored");
                    let code = match error {
                        StoreError::MailboxFull => ErrorCode::MailboxFull,
                        StoreError::Unavailable(_) => ErrorCode::Unavailable,
                    };
                    server_frame::Kind::Error(frame::send_error(id, code, error.to_string()))
                }
            };
            Some(encode_server(reply_to, kind))
        }));
        Ok(())
    }

    async fn on_typing(&mut self, reply_to: u32, typing: &wire::Typing) -> Result<(), Closed> {
        let to = match AccountId::from_bytes(&typing.to) {
            Ok(to) => to,
            Err(error) => return self.refuse(reply_to, Vec::new(), error.into()).await,
        };
        let now = Instant::now();
        // a stop is always passed on, so that nobody types for ever
        if typing.active && self.typed_at.is_some_and(|at| now - at < TYPING_EVERY) {
            return Ok(());
        }
        self.typed_at = Some(now);
        let ctx = self.gateway.ctx.clone();
        let (account, device) = (self.claims.account, self.claims.device);
        let typing = wire::TypingFrom { from: account.to_vec(), from_device: device.into(), active: typing.active };
        self.work.push(Box::pin(async move {
            if let Err(error) = pass_typing_on(&ctx, account, to, typing).await {
                tracing::debug!(%error, "typing was not passed on");
            }
            None
        }));
        Ok(())
    }

    async fn on_presence_query(&mut self, reply_to: u32, query: &wire::PresenceQuery) -> Result<(), Closed> {
        if query.accounts.len() > PRESENCE_QUERY_MAX {
            let failure = Failure::new(ErrorCode::TooLarge, format!("at most {PRESENCE_QUERY_MAX} accounts"));
            return self.refuse(reply_to, Vec::new(), failure).await;
        }
        let accounts: Result<Vec<_>, _> = query.accounts.iter().map(|id| AccountId::from_bytes(id)).collect();
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => return self.refuse(reply_to, Vec::new(), error.into()).await,
        };
        let ctx = self.gateway.ctx.clone();
        let asker = self.claims.account;
        self.work.push(Box::pin(async move {
            let answer = async {
                let max = ctx.config.limits.presence_accounts_per_minute;
                let limit = Limit { kind: "presence", max, window: Duration::from_secs(60) };
                limit.take(&ctx.redis, &ctx.clock, &asker.to_string(), accounts.len() as u32).await?;
                presence::online(&ctx, asker, &accounts).await
            };
            let kind = match answer.await {
                Ok(online) => {
                    let online = online.into_iter().map(AccountId::to_vec).collect();
                    server_frame::Kind::Presence(wire::Presence { online })
                }
                Err(failure) => {
                    failure.log();
                    server_frame::Kind::Error(error_frame(failure, Vec::new()))
                }
            };
            Some(encode_server(reply_to, kind))
        }));
        Ok(())
    }

    async fn on_page(&mut self, page: anyhow::Result<Page>) -> Result<(), Closed> {
        match page {
            Ok(page) => {
                let mut effects = Vec::new();
                self.session.read(page, &mut effects);
                let lags = self.session.reads_in_vain() > 1;
                self.apply_after(effects, lags.then_some(READ_AGAIN_AFTER)).await
            }
            Err(error) => {
                tracing::warn!(account = %self.claims.account, error = format!("{error:#}"), "a mailbox was not read; trying again");
                let effect = self.session.read_failed();
                self.apply_after(effect, Some(READ_AGAIN_AFTER)).await
            }
        }
    }

    async fn on_timer(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        if now - self.heard_at >= IDLE_TIMEOUT {
            return Err(CloseCode::Idle);
        }
        if now - self.pinged_at >= PING_EVERY {
            self.pinged_at = now;
            self.feed_message(Message::Ping(Bytes::new())).await?;
        }
        let next = (self.pinged_at + PING_EVERY).min(self.heard_at + IDLE_TIMEOUT);
        self.timer.as_mut().reset(next);
        Ok(())
    }

    /// The gateway stops: tell the client, answer what it still waits for, close.
    async fn finish(&mut self) -> Closed {
        let spread = self.gateway.ctx.config.gateway.reconnect_spread_ms;
        let reconnect_in_ms = self.gateway.ctx.random.below(u64::from(spread.max(1))) as u32;
        let drain = encode_server(0, server_frame::Kind::Drain(wire::Drain { reconnect_in_ms }));
        let finish = async {
            self.feed(drain).await?;
            if let Some(checking) = self.checking.take() {
                let checked = checking.await;
                self.on_checked(checked).await?;
            }
            while let Some(answer) = self.work.next().await {
                self.feed_answer(answer).await?;
            }
            self.flush().await
        };
        match timeout(FINISH_WITHIN, finish).await {
            Ok(Err(code)) => code,
            Ok(Ok(())) | Err(_) => CloseCode::Restart,
        }
    }

    async fn apply(&mut self, effects: impl IntoIterator<Item = Effect>) -> Result<(), Closed> {
        self.apply_after(effects, None).await
    }

    async fn apply_after(
        &mut self,
        effects: impl IntoIterator<Item = Effect>,
        pause: Option<Duration>,
    ) -> Result<(), Closed> {
        for effect in effects {
            match effect {
                Effect::Deliver(message) => {
                    self.trace_delivery(&message);
                    let frame = frame::encode_deliver(message.seq, message.stored_at_ms, &message.envelope);
                    metrics::counter!("nepto_dm_delivered_total").increment(1);
                    self.feed(frame).await?;
                }
                Effect::CaughtUp(seq) => {
                    self.feed(encode_server(0, server_frame::Kind::CaughtUp(wire::CaughtUp { seq }))).await?;
                }
                Effect::Purge(up_to) => {
                    let Claims { account, device, .. } = self.claims;
                    self.gateway.acknowledge(account, device, self.mailbox_epoch, up_to);
                }
                Effect::Read { after, limit } => {
                    let ctx = self.gateway.ctx.clone();
                    let (account, device) = (self.claims.account, self.claims.device);
                    self.reading = Some(Box::pin(async move {
                        if let Some(pause) = pause {
                            sleep(pause).await;
                        }
                        let shard = ctx.config.nats.shards.of(account);
                        mailbox::read(&ctx.nats, shard, account, device, after, limit).await
                    }));
                }
            }
        }
        Ok(())
    }

    /// The last line about a message; its id is only read where somebody looks for it.
    fn trace_delivery(&self, message: &StoredEnvelope) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Ok(envelope) = wire::Envelope::decode(message.envelope.clone())
            && let Ok(id) = ClientMsgId::from_bytes(&envelope.client_msg_id)
        {
            let Claims { account, device, .. } = self.claims;
            tracing::debug!(request_id = %id, to = %account, %device, seq = message.seq, "delivered");
        }
    }

    async fn refuse(&mut self, reply_to: u32, client_msg_id: Vec<u8>, failure: Failure) -> Result<(), Closed> {
        failure.log();
        let failure_code = failure.code;
        let error = error_frame(failure, client_msg_id);
        self.feed(encode_server(reply_to, server_frame::Kind::Error(error))).await?;
        self.errors += u32::from(breaks_protocol(failure_code));
        if self.errors > self.gateway.ctx.config.gateway.errors_max { Err(CloseCode::Abuse) } else { Ok(()) }
    }

    async fn feed_answer(&mut self, answer: Option<Bytes>) -> Result<(), Closed> {
        match answer {
            Some(frame) => self.feed(frame).await,
            None => Ok(()),
        }
    }

    async fn feed(&mut self, frame: Bytes) -> Result<(), Closed> {
        self.feed_message(Message::Binary(frame)).await
    }

    async fn feed_message(&mut self, message: Message) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.ctx.config.gateway.write_timeout_ms);
        match timeout(limit, self.socket.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseCode::Normal),
            Err(_) => Err(CloseCode::SlowReader),
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.ctx.config.gateway.write_timeout_ms);
        match timeout(limit, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseCode::Normal),
            Err(_) => Err(CloseCode::SlowReader),
        }
    }
}

/// The future in a slot, which is empty afterwards; an empty slot waits for ever.
async fn pending<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

/// A refusal as the client sees it; `client_msg_id` is that of the message, if it was one.
fn error_frame(failure: Failure, client_msg_id: Vec<u8>) -> wire::Error {
    let retry_after_ms = failure.retry_after.map_or(0, |wait| wait.as_millis() as u32);
    let detail = if failure.detail.is_empty() { failure.code.title().into() } else { failure.detail };
    wire::Error { retry_after_ms, client_msg_id, ..frame::error(failure.code, detail) }
}

/// Refusals that a correct client never sees; too many of them end the connection.
fn breaks_protocol(code: ErrorCode) -> bool {
    use ErrorCode::{AckBeyondDelivered, AlreadyHello, Malformed, ToSelf, TooLarge, UnknownFrame};
    matches!(code, Malformed | UnknownFrame | TooLarge | AckBeyondDelivered | AlreadyHello | ToSelf)
}

/// Why a connection broke: too large a message, one against RFC 6455, or the network.
fn broken(error: &axum::Error) -> CloseCode {
    use std::error::Error;
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        match error.downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => return CloseCode::TooLarge,
            Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return CloseCode::Normal;
            }
            Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => return CloseCode::Malformed,
            _ => source = error.source(),
        }
    }
    CloseCode::Normal
}

/// To all devices of somebody who has accepted us. What Redis does not know is not worth asking for.
async fn pass_typing_on(ctx: &Ctx, from: AccountId, to: AccountId, typing: wire::TypingFrom) -> anyhow::Result<()> {
    let keys = [Verdict::cache_key(from, to), DeviceList::cache_key(to)];
    let known: Vec<Option<String>> = ctx.redis.clone().mget(&keys[..]).await?;
    let [Some(verdict), Some(devices)] = known.as_slice() else { return Ok(()) };
    if Verdict::parse(verdict) != Some(Verdict::Accepted) {
        return Ok(());
    }
    let payload = Bytes::from(typing.encode_to_vec());
    for (device, _) in DeviceList::decode(devices).unwrap_or_default().devices {
        ctx.nats.publish(Live::Typing.subject(to, device), payload.clone()).await?;
    }
    Ok(())
}
