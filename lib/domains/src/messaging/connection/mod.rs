//! One connection: the loop around a [`Session`].
//!
//! Frames of the client are worked off in their order; deliveries go on meanwhile. Nothing here waits without a bound: not
//! for the client, not for Redis, not for JetStream.

mod closing;
mod open;
mod pieces;
mod price;
mod requests;
mod typing;

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use nepto_kit::Failure;
use nepto_kit::subscriptions::{self, Arrivals, Subscription};
use nepto_kit::token::Claims;
use nepto_proto::event::Control;
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::{IDLE_TIMEOUT, PING_EVERY};
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, ClientFrame, client_frame, server_frame};
use nepto_proto::{AccountId, ClientMsgId, CloseCode, ErrorCode};
use prost::Message as _;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tungstenite::Message;
use tungstenite::error::Error as SocketError;

use self::closing::{breaks_protocol, broken, close};
use self::open::{Begun, hello};
pub use self::pieces::Pieces;
use self::price::Passage;
pub use self::price::{Allowance, Spent};
use self::requests::Checking;
use self::typing::Typing;
use super::acked::Acked;
use super::config;
use super::gateway::{Gateway, Place};
use super::handshake::Socket;
use super::hellos;
use super::mailbox::{self, Missed, Page, StoredEnvelope, missed};
use super::session::{Effect, Session};
use super::submit;

/// Answers of one connection under way at once; past it no further frame is read.
const WORK_MAX: usize = 64;
/// A read that failed, or found nothing twice where something must be, is repeated after this.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// A stopping gateway waits so long for the answers of a connection.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Why the loop ended.
type Closed = CloseCode;

/// Serves a socket from its first frame to its close.
///
/// Each phase is boxed: a socket that idles should hold only what it still needs.
pub async fn serve(mut place: Place, mut socket: Socket) {
    let gateway = place.gateway().clone();
    let limits = gateway.ctx.config.section::<config::Gateway>();
    let mut allowance = Allowance::new(limits.frames_per_second, limits.frames_burst, Instant::now());
    let (here, begun) = match Box::pin(hello(&gateway, &mut socket, &mut allowance)).await {
        Ok(begun) => begun,
        Err(code) => return Box::pin(close(&mut socket, code)).await,
    };
    place.greeted();
    let claims = begun.claims;
    let who = (claims.account, claims.device);
    gateway.spent.resume(who, &mut allowance, Instant::now());
    let connection = Connection::new(&gateway, &mut socket, begun, allowance);
    let (code, allowance) = Box::pin(connection.run_to_close()).await;
    gateway.spent.keep(who, &allowance, Instant::now());
    if code == CloseCode::Abuse {
        hellos::bar(&gateway.ctx, claims.session).await;
    }
    tracing::debug!(account = %claims.account, device = %claims.device, reason = code.reason(), "socket closed");
    Box::pin(close(&mut socket, code)).await;
    Box::pin(here.leave()).await;
}

/// An answer in the making; `None` says nothing.
type Work = BoxFuture<'static, Option<Bytes>>;

struct Connection<'a> {
    gateway: &'a Gateway,
    socket: &'a mut Socket,
    claims: Claims,
    /// Of this connection.
    epoch: u64,
    /// Of the mailbox that it reads.
    mailbox_epoch: u64,
    live: Subscription,
    session: Session,
    /// Devices that miss messages, still to be told.
    missed: Vec<Missed>,
    /// This device was told that it is one of them, and has acknowledged nothing since.
    misses: bool,
    reading: Option<BoxFuture<'static, anyhow::Result<Page>>>,
    checking: Option<Checking>,
    /// The last recipient, if they have accepted us: it is likely that of the next message.
    contact: Option<AccountId>,
    work: FuturesUnordered<Work>,
    errors: u32,
    heard_at: Instant,
    pinged_at: Instant,
    allowance: Allowance,
    typing: Typing,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<'a> Connection<'a> {
    fn new(gateway: &'a Gateway, socket: &'a mut Socket, begun: Begun, allowance: Allowance) -> Self {
        let Begun { claims, epoch, mailbox_epoch, live, session, missed } = begun;
        let now = Instant::now();
        Self {
            gateway,
            socket,
            claims,
            epoch,
            mailbox_epoch,
            live,
            session,
            missed,
            misses: false,
            reading: None,
            checking: None,
            contact: None,
            work: FuturesUnordered::new(),
            errors: 0,
            heard_at: now,
            pinged_at: now,
            allowance,
            typing: Typing::default(),
            timer: Box::pin(sleep_until(now + PING_EVERY)),
            stopping: Box::pin(gateway.ctx.stop.clone().cancelled_owned()),
        }
    }

    async fn run_to_close(mut self) -> (Closed, Allowance) {
        let Err(code) = self.run().await;
        (code, self.allowance)
    }

    /// Only ends by closing.
    async fn run(&mut self) -> Result<Infallible, Closed> {
        for missed in std::mem::take(&mut self.missed) {
            self.tell_missed(missed).await?;
        }
        let start = self.session.start();
        self.apply(start).await?;
        loop {
            self.flush().await?;
            let takes_frames = self.checking.is_none() && self.work.len() < WORK_MAX;
            tokio::select! {
                arrivals = self.live.next() => self.on_arrivals(arrivals).await?,
                message = self.socket.next(), if takes_frames => self.on_message(message).await?,
                Some(answer) = self.work.next() => self.feed_answers(answer).await?,
                checked = pending(&mut self.checking) => self.on_checked(checked).await?,
                page = pending(&mut self.reading) => self.on_page(page).await?,
                () = self.timer.as_mut() => self.on_timer().await?,
                () = self.stopping.as_mut() => return Err(Box::pin(self.finish()).await),
            }
        }
    }

    /// What is there already goes out with the same flush.
    async fn on_arrivals(&mut self, arrivals: Arrivals) -> Result<(), Closed> {
        for message in arrivals.messages {
            self.on_live(message).await?;
        }
        if !arrivals.missed {
            return Ok(());
        }
        self.check_place()?;
        let effect = self.session.nudge();
        self.apply(effect).await
    }

    /// Words to a session may be missed: whether the mailbox is still the one that it reads, and the socket its device's last.
    fn check_place(&self) -> Result<(), Closed> {
        let Claims { account, device, .. } = self.claims;
        if self.gateway.epoch_of(account) != self.mailbox_epoch {
            return Err(CloseCode::Unavailable);
        }
        if self.gateway.presence.newest_here(account, device).is_some_and(|newest| newest > self.epoch) {
            return Err(CloseCode::Superseded);
        }
        Ok(())
    }

    async fn on_live(&mut self, message: subscriptions::Message) -> Result<(), Closed> {
        match Live::parse(message.subject()) {
            Some(Live::Dm) => match StoredEnvelope::from_live(message) {
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
            Control::DevicesChanged => {
                self.feed(encode_server(0, server_frame::Kind::DevicesChanged(wire::DevicesChanged {}))).await
            }
            Control::Missed { device, since_ms } => self.tell_missed(Missed { device, since_ms }).await,
            Control::PrekeysLow { ec, kyber } => {
                let low = wire::PrekeysLow { ec, kyber };
                self.feed(encode_server(0, server_frame::Kind::PrekeysLow(low))).await
            }
        }
    }

    async fn tell_missed(&mut self, missed: Missed) -> Result<(), Closed> {
        self.misses |= missed.device == self.claims.device;
        let missed = wire::Missed { device: missed.device.into(), since_ms: missed.since_ms };
        self.feed(encode_server(0, server_frame::Kind::Missed(missed))).await
    }

    /// It has taken in what it was told before it acknowledged something. What it acknowledged makes room at once: a full mailbox
    /// must not wait for the next purge, or what is sent meanwhile misses a device that is there.
    fn forget_missed(&mut self, up_to: u64) {
        if std::mem::take(&mut self.misses) {
            let (ctx, Claims { account, device, .. }) = (self.gateway.ctx.clone(), self.claims);
            ctx.tasks.clone().spawn(async move {
                let forgotten = async {
                    mailbox::purge(&ctx, account, device, up_to).await?;
                    missed::forget(&ctx, account, device).await
                };
                if let Err(error) = forgotten.await {
                    // it is told again with the next connection
                    tracing::warn!(%account, %device, error = format!("{error:#}"), "a mark was not removed");
                }
            });
        }
    }

    async fn on_message(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), Closed> {
        self.heard_at = Instant::now();
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let length = bytes.len();
                let frame = frame::decode_client(bytes).map_err(|_| CloseCode::Malformed)?;
                self.on_frame(frame, length).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.spend(price::CONTROL).map(drop),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => Err(CloseCode::Malformed),
            Some(Ok(Message::Close(_))) | None => Err(CloseCode::Normal),
            Some(Err(error)) => Err(broken(&error)),
        }
    }

    async fn on_frame(&mut self, frame: ClientFrame, bytes: usize) -> Result<(), Closed> {
        use client_frame::Kind;
        if let Some(wait) = self.spend(price::of(frame.kind.as_ref(), bytes))? {
            let id = if let Some(Kind::SendDm(send)) = frame.kind { send.client_msg_id } else { Vec::new() };
            let failure = Failure::rate_limited(wait, "too many frames on this connection");
            return self.refuse(frame.id, id, failure).await;
        }
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
                if effects.is_empty() {
                    return self.spend(price::EMPTY_ACK).map(drop);
                }
                self.forget_missed(ack.up_to);
                self.apply(effects).await
            }
            Some(Kind::Typing(typing)) => self.on_typing(frame.id, &typing).await,
            Some(Kind::PresenceQuery(query)) => self.on_presence_query(frame.id, &query).await,
            Some(Kind::Ping(_)) => self.feed(encode_server(frame.id, server_frame::Kind::Pong(wire::Pong {}))).await,
            Some(Kind::Hello(_)) => self.refuse(frame.id, Vec::new(), Failure::new(ErrorCode::AlreadyHello, "")).await,
            None => self.refuse(frame.id, Vec::new(), Failure::new(ErrorCode::UnknownFrame, "")).await,
        }
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
            self.check_place()?;
            self.pinged_at = now;
            self.feed_message(Message::Ping(Bytes::new())).await?;
        }
        let next = (self.pinged_at + PING_EVERY).min(self.heard_at + IDLE_TIMEOUT);
        self.timer.as_mut().reset(next);
        Ok(())
    }

    /// The gateway stops: tell the client, answer what it still waits for, close.
    async fn finish(&mut self) -> Closed {
        let spread = self.gateway.ctx.config.section::<config::Gateway>().reconnect_spread_ms;
        let reconnect_in_ms = self.gateway.ctx.random.below(u64::from(spread.max(1))) as u32;
        let drain = encode_server(0, server_frame::Kind::Drain(wire::Drain { reconnect_in_ms }));
        let finish = async {
            self.feed(drain).await?;
            if let Some(checking) = self.checking.take() {
                let checked = checking.await;
                self.on_checked(checked).await?;
            }
            while let Some(answer) = self.work.next().await {
                self.feed_answers(answer).await?;
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
                Effect::Purge { up_to, stored_at_ms, messages } => {
                    let Claims { account, device, .. } = self.claims;
                    let part = Acked { up_to, stored_at_ms: stored_at_ms.cast_signed(), messages };
                    self.gateway.acknowledge(account, device, self.mailbox_epoch, part);
                }
                Effect::Read { after, limit } => {
                    let (ctx, reads) = (self.gateway.ctx.clone(), self.gateway.reads.clone());
                    let (account, device) = (self.claims.account, self.claims.device);
                    self.reading = Some(Box::pin(async move {
                        if let Some(pause) = pause {
                            sleep(pause).await;
                        }
                        let _turn = reads.acquire().await;
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
        self.spend(price::REFUSAL)?;
        self.errors += u32::from(breaks_protocol(failure_code));
        if self.errors > self.gateway.ctx.config.section::<config::Gateway>().errors_max {
            Err(CloseCode::Abuse)
        } else {
            Ok(())
        }
    }

    /// What a frame costs; how long to wait if it is too much.
    fn spend(&mut self, cost: u32) -> Result<Option<Duration>, Closed> {
        match self.allowance.spend(cost, Instant::now()) {
            Passage::Free => Ok(None),
            Passage::Limited(wait) => {
                metrics::counter!("nepto_rate_limited_total", "kind" => "frames").increment(1);
                Ok(Some(wait))
            }
            Passage::Over => Err(CloseCode::Abuse),
        }
    }

    /// An answer, and what else is ready: messages are stored in groups, and answered so.
    async fn feed_answers(&mut self, answer: Option<Bytes>) -> Result<(), Closed> {
        let mut ready = Some(answer);
        while let Some(answer) = ready {
            if let Some(frame) = answer {
                self.feed(frame).await?;
            }
            ready = self.work.next().now_or_never().flatten();
        }
        Ok(())
    }

    async fn feed(&mut self, frame: Bytes) -> Result<(), Closed> {
        self.feed_message(Message::Binary(frame)).await
    }

    async fn feed_message(&mut self, message: Message) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.ctx.config.section::<config::Gateway>().write_timeout_ms);
        match timeout(limit, self.socket.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseCode::Normal),
            Err(_) => Err(CloseCode::SlowReader),
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.ctx.config.section::<config::Gateway>().write_timeout_ms);
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
