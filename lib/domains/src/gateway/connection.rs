//! One connection: the loop around a socket, the live subjects that it follows, and the sessions of the domains.
//!
//! Frames of the client go to their domains in their order; what is live goes on meanwhile. Nothing here waits without a
//! bound for the client.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use nepto_kit::Failure;
use nepto_kit::frames::{AnySession, Effect, Frame, Order, Outcome, Refusal, WORK_MAX};
use nepto_kit::subscriptions::{self, Arrivals, Listener};
use nepto_kit::token::Claims;
use nepto_proto::event::Control;
use nepto_proto::frame::{self, ClientKind, UnreadFrame, encode_server};
use nepto_proto::limits::{IDLE_TIMEOUT, PING_EVERY};
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, Hello, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tungstenite::Message;
use tungstenite::error::Error as SocketError;

use super::allowance::{self, Allowance, Passage};
use super::closing::{breaks_protocol, broken, close};
use super::hello::{Handshake, hello};
use super::permit::ConnectionPermit;
use super::routes::{Owner, UNEXPECTED};
use super::upgrade::Socket;
use super::{Gateway, hellos};

/// A stopping gateway waits so long for the answers of a connection.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// Tags the subject of the device itself; those that domains follow have the domain's place.
pub const OWN: u32 = u32::MAX;

/// Why the loop ended.
type Closed = CloseCode;

/// Serves a socket from its first frame to its close.
///
/// Each phase is boxed: a socket that idles should hold only what it still needs.
pub async fn serve(mut permit: ConnectionPermit, mut socket: Box<Socket>) {
    let gateway = permit.gateway().clone();
    let limits = &gateway.config;
    let mut allowance = Allowance::new(limits.frames_per_second, limits.frames_burst, Instant::now());
    let (guard, handshake) = match Box::pin(hello(&gateway, &mut socket, &mut allowance)).await {
        Ok(welcomed) => welcomed,
        Err(code) => return Box::pin(close(&mut socket, code)).await,
    };
    permit.greeted();
    let claims = handshake.claims;
    let who = (claims.account, claims.device);
    gateway.spent.resume(who, &mut allowance, Instant::now());
    let connection = Connection::new(&gateway, &mut socket, guard.epoch, handshake, allowance);
    let (code, allowance) = Box::pin(connection.run_to_close()).await;
    gateway.spent.keep(who, &allowance, Instant::now());
    if code == CloseCode::Abuse {
        hellos::bar(&gateway.ctx, claims.session).await;
    }
    tracing::debug!(account = %claims.account, device = %claims.device, reason = code.reason(), "socket closed");
    Box::pin(close(&mut socket, code)).await;
    Box::pin(guard.leave()).await;
}

/// A domain's side of the connection.
struct Seat {
    session: Box<dyn AnySession>,
    /// Its work in sequence that is under way.
    in_sequence: u32,
}

/// Work under way for the domain at a place.
struct Running {
    place: usize,
    order: Order,
    work: BoxFuture<'static, Outcome>,
}

impl Future for Running {
    type Output = (usize, Order, Outcome);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (place, order) = (self.place, self.order);
        self.work.as_mut().poll(context).map(|outcome| (place, order, outcome))
    }
}

/// What a connection waits for.
enum Event {
    Arrivals(Arrivals),
    Message(Option<Result<Message, SocketError>>),
    Done((usize, Order, Outcome)),
    Timer,
    Stopping,
}

struct Connection<'a> {
    gateway: &'a Gateway,
    socket: &'a mut Socket,
    claims: Claims,
    /// Of this connection: a newer one of the same device has a higher one.
    epoch: u64,
    listener: Listener,
    /// In the order of the gateway's handlers.
    seats: Box<[Seat]>,
    running: FuturesUnordered<Running>,
    /// Work that a stop waits for.
    awaited: usize,
    /// Read, and to be handled once its domain is done with what comes before it. Until then nothing more is read.
    held: Option<Box<(usize, Frame)>>,
    errors: u32,
    heard_at: Instant,
    pinged_at: Instant,
    allowance: Allowance,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<'a> Connection<'a> {
    fn new(
        gateway: &'a Gateway,
        socket: &'a mut Socket,
        epoch: u64,
        handshake: Handshake,
        allowance: Allowance,
    ) -> Self {
        let Handshake { claims, listener, sessions } = handshake;
        let now = Instant::now();
        Self {
            gateway,
            socket,
            claims,
            epoch,
            listener,
            seats: sessions.into_iter().map(|session| Seat { session, in_sequence: 0 }).collect(),
            running: FuturesUnordered::new(),
            awaited: 0,
            held: None,
            errors: 0,
            heard_at: now,
            pinged_at: now,
            allowance,
            timer: Box::pin(sleep_until(now + PING_EVERY)),
            stopping: Box::pin(gateway.ctx.closing.clone().cancelled_owned()),
        }
    }

    async fn run_to_close(mut self) -> (Closed, Allowance) {
        let Err(code) = self.run().await;
        (code, self.allowance)
    }

    /// Only ends by closing.
    async fn run(&mut self) -> Result<Infallible, Closed> {
        Box::pin(self.start()).await?;
        loop {
            self.flush().await?;
            let takes_frames = self.held.is_none() && self.running.len() < WORK_MAX;
            let takes_live = self.running.len() < 2 * WORK_MAX;
            let event = tokio::select! {
                arrivals = self.listener.next(), if takes_live => Event::Arrivals(arrivals),
                message = self.socket.next(), if takes_frames => Event::Message(message),
                Some(done) = self.running.next() => Event::Done(done),
                () = self.timer.as_mut() => Event::Timer,
                () = self.stopping.as_mut() => Event::Stopping,
            };
            // boxed: nothing happens on most sockets most of the time, and a future holds room for all that it may come to
            Box::pin(self.on_event(event)).await?;
        }
    }

    async fn start(&mut self) -> Result<(), Closed> {
        for place in 0..self.seats.len() {
            self.drive(place, |session, effects| session.start(effects)).await?;
        }
        Ok(())
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Closed> {
        match event {
            Event::Arrivals(arrivals) => self.on_arrivals(arrivals).await,
            Event::Message(message) => self.on_message(message).await,
            Event::Done(done) => self.on_done(done).await,
            Event::Timer => self.on_timer().await,
            Event::Stopping => Err(self.finish().await),
        }
    }

    /// Tells a domain something, and does what it asks for.
    async fn drive(
        &mut self,
        place: usize,
        notify: impl FnOnce(&mut dyn AnySession, &mut Vec<Effect>) -> Result<(), CloseCode>,
    ) -> Result<(), Closed> {
        let mut effects = Vec::new();
        let outcome = notify(&mut *self.seats[place].session, &mut effects);
        for effect in effects {
            self.apply(place, effect).await?;
        }
        outcome
    }

    async fn apply(&mut self, place: usize, effect: Effect) -> Result<(), Closed> {
        match effect {
            Effect::Send(frame) => self.feed(frame).await?,
            Effect::Refuse(refusal) => self.refuse(refusal).await?,
            Effect::Spend(cost) => self.spend(cost).map(drop)?,
            Effect::Run(order, work) => {
                self.seats[place].in_sequence += u32::from(order == Order::InSequence);
                self.awaited += usize::from(order != Order::Background);
                self.running.push(Running { place, order, work });
            }
            Effect::Subscribe(subject) => {
                let subscribed = self.listener.subscribe(&subject, place as u32);
                let work = subscribed.map(|outcome| Outcome::Subscribed(subject, outcome));
                self.running.push(Running { place, order: Order::Background, work: Box::pin(work) });
            }
            Effect::Unsubscribe(subject) => self.listener.unsubscribe(&subject, place as u32),
        }
        Ok(())
    }

    /// What is there already goes out with the same flush.
    async fn on_arrivals(&mut self, arrivals: Arrivals) -> Result<(), Closed> {
        let Arrivals { subject, tag, messages, missed } = arrivals;
        if tag != OWN {
            let place = tag as usize;
            for message in &messages {
                self.drive(place, |session, effects| session.live(message, effects)).await?;
            }
            if missed {
                self.drive(place, |session, effects| session.missed(&subject, effects)).await?;
            }
            return Ok(());
        }
        for message in &messages {
            self.on_live(message).await?;
        }
        if missed {
            self.check_newest()?;
            for place in 0..self.seats.len() {
                self.drive(place, |session, effects| session.missed(&subject, effects)).await?;
            }
        }
        Ok(())
    }

    async fn on_live(&mut self, message: &Arc<subscriptions::Message>) -> Result<(), Closed> {
        match Live::parse(message.subject()) {
            Some(Live::Control) => match serde_json::from_slice(&message.payload) {
                Ok(Control::Superseded { epoch }) if epoch > self.epoch => Err(CloseCode::Superseded),
                Ok(Control::Revoked { session }) if session == self.claims.session => Err(CloseCode::SessionRevoked),
                Ok(_) | Err(_) => Ok(()),
            },
            Some(live) => match self.gateway.routes.of_live(live) {
                Some(place) => self.drive(place, |session, effects| session.live(message, effects)).await,
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// That another connection of the device is newer may have been missed.
    fn check_newest(&self) -> Result<(), Closed> {
        let Claims { account, device, .. } = self.claims;
        match self.gateway.presence.newest_here(account, device) {
            Some(newest) if newest > self.epoch => Err(CloseCode::Superseded),
            _ => Ok(()),
        }
    }

    async fn on_message(&mut self, message: Option<Result<Message, SocketError>>) -> Result<(), Closed> {
        self.heard_at = Instant::now();
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let length = bytes.len();
                let routes = &self.gateway.routes;
                let frame = frame::open_envelope(bytes, |kind| routes.knows(kind)).map_err(|_| CloseCode::Malformed)?;
                self.on_frame(frame, length).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.spend(allowance::CONTROL).map(drop),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => Err(CloseCode::Malformed),
            Some(Ok(Message::Close(_))) | None => Err(CloseCode::Normal),
            Some(Err(error)) => Err(broken(&error)),
        }
    }

    async fn on_frame(&mut self, frame: UnreadFrame, bytes: usize) -> Result<(), Closed> {
        let UnreadFrame { id, kind } = frame;
        let owned = kind.and_then(|(kind, message)| {
            let (owner, price) = self.gateway.routes.of_kind(kind)?;
            Some((owner, price, Frame { id, kind, message }))
        });
        let price = owned.as_ref().map_or(UNEXPECTED, |(_, price, _)| *price);
        let wait = self.spend(allowance::cost(price, bytes))?;
        let failure = wait.map(|wait| Failure::rate_limited(wait, "too many frames on this connection"));
        match (owned, failure) {
            (Some((Owner::Domain(place), _, frame)), Some(failure)) => {
                self.drive(place, |session, effects| session.limited(frame, failure, effects)).await
            }
            (_, Some(failure)) => self.refuse_frame(id, failure).await,
            (Some((Owner::Domain(place), _, frame)), None) if self.seats[place].in_sequence > 0 => {
                self.held = Some(Box::new((place, frame)));
                Ok(())
            }
            (Some((Owner::Domain(place), _, frame)), None) => {
                self.drive(place, |session, effects| session.frame(frame, effects)).await
            }
            (Some((Owner::Gateway, _, frame)), None) if frame.kind == Hello::NUMBER => {
                self.refuse_frame(id, Failure::new(ErrorCode::AlreadyHello, "")).await
            }
            (Some((Owner::Gateway, ..)), None) => {
                self.feed(encode_server(id, server_frame::Kind::Pong(wire::Pong {}))).await
            }
            (None, None) => self.refuse_frame(id, Failure::new(ErrorCode::UnknownFrame, "")).await,
        }
    }

    /// Something is done, and what else is ready: messages are stored in groups, and answered so.
    async fn on_done(&mut self, done: (usize, Order, Outcome)) -> Result<(), Closed> {
        let mut done = Some(done);
        let mut left = WORK_MAX;
        while let Some((place, order, outcome)) = done.take() {
            self.settle(place, order, outcome).await?;
            left -= 1;
            if left > 0 {
                done = self.running.next().now_or_never().flatten();
            }
        }
        Ok(())
    }

    async fn settle(&mut self, place: usize, order: Order, outcome: Outcome) -> Result<(), Closed> {
        self.awaited -= usize::from(order != Order::Background);
        self.seats[place].in_sequence -= u32::from(order == Order::InSequence);
        match outcome {
            Outcome::Answer(Some(frame)) => self.feed(frame).await?,
            Outcome::Answer(None) => {}
            Outcome::Done(done) => self.notify_done(place, done).await?,
            Outcome::Subscribed(subject, outcome) => {
                self.drive(place, |session, effects| session.subscribed(&subject, outcome, effects)).await?;
            }
        }
        match self.held.take_if(|held| self.seats[held.0].in_sequence == 0) {
            Some(held) => {
                let (place, frame) = *held;
                self.drive(place, |session, effects| session.frame(frame, effects)).await
            }
            None => Ok(()),
        }
    }

    async fn notify_done(&mut self, place: usize, done: Box<dyn Any + Send>) -> Result<(), Closed> {
        self.drive(place, |session, effects| session.done(done, effects)).await
    }

    async fn on_timer(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        if now - self.heard_at >= IDLE_TIMEOUT {
            return Err(CloseCode::Idle);
        }
        if now - self.pinged_at >= PING_EVERY {
            self.check_newest()?;
            for place in 0..self.seats.len() {
                self.drive(place, |session, effects| session.tick(effects)).await?;
            }
            self.pinged_at = now;
            self.feed_message(Message::Ping(Bytes::new())).await?;
        }
        let next = (self.pinged_at + PING_EVERY).min(self.heard_at + IDLE_TIMEOUT);
        self.timer.as_mut().reset(next);
        Ok(())
    }

    /// The gateway stops: tell the client, answer what it still waits for, close.
    async fn finish(&mut self) -> Closed {
        let spread = self.gateway.config.reconnect_spread_ms;
        let reconnect_in_ms = self.gateway.ctx.random.below(u64::from(spread.max(1))) as u32;
        let drain = encode_server(0, server_frame::Kind::Drain(wire::Drain { reconnect_in_ms }));
        let finish = async {
            self.feed(drain).await?;
            loop {
                // at once: the client need not wait for what is slow to hear that it should go
                self.flush().await?;
                if self.awaited == 0 {
                    return Ok::<_, Closed>(());
                }
                let Some((place, order, outcome)) = self.running.next().await else { return Ok(()) };
                if order != Order::Background {
                    self.settle(place, order, outcome).await?;
                }
            }
        };
        match timeout(FINISH_WITHIN, finish).await {
            Ok(Err(code)) => code,
            Ok(Ok(())) | Err(_) => CloseCode::Restart,
        }
    }

    async fn refuse_frame(&mut self, reply_to: u32, failure: Failure) -> Result<(), Closed> {
        self.refuse(Refusal { reply_to, failure, client_msg_id: Vec::new() }).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Closed> {
        refusal.failure.log();
        let code = refusal.failure.code;
        self.feed(refusal.into_frame()).await?;
        self.spend(allowance::REFUSAL)?;
        self.errors += u32::from(breaks_protocol(code));
        if self.errors > self.gateway.config.errors_max { Err(CloseCode::Abuse) } else { Ok(()) }
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

    async fn feed(&mut self, frame: Bytes) -> Result<(), Closed> {
        self.feed_message(Message::Binary(frame)).await
    }

    async fn feed_message(&mut self, message: Message) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.config.write_timeout_ms);
        match timeout(limit, self.socket.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseCode::Normal),
            Err(_) => Err(CloseCode::SlowReader),
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let limit = Duration::from_millis(self.gateway.config.write_timeout_ms);
        match timeout(limit, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseCode::Normal),
            Err(_) => Err(CloseCode::SlowReader),
        }
    }
}
