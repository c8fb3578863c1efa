//! What a domain has to do with sockets: which frames it takes, and what comes of them.
//!
//! A gateway holds the connections and knows no domain. A [`FrameHandler`] says which kinds of frames and which live subjects
//! are its domain's; for each connection it opens a session, which is told what happens and answers with [`Effects`]. A session
//! never waits: what takes time is work, which the gateway runs beside the connection and whose result comes back to
//! [`FrameSession::done`].
//!
//! What must hold:
//! - a session is told one thing at a time, and what it asks for is done in the order in which it asked;
//! - while work in sequence runs, its domain gets no further frame of this connection;
//! - a connection that has [`WORK_MAX`] under way reads no further frames, and one that has twice as many hears nothing live.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nepto_proto::frame::{self, ClientKind, encode_server};
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, Hello, Welcome, server_frame};
use nepto_proto::{AccountId, CloseCode, DeviceId};

use crate::subscriptions::Message;
use crate::token::Claims;
use crate::{Ctx, Failure};

/// Work of one connection under way at once; past it no further frame is read.
pub const WORK_MAX: usize = 64;

/// What a domain brings to the sockets.
pub struct Frames {
    /// Takes the domain's frames and live notices.
    pub handler: Arc<dyn FrameHandler>,
    /// What must run beside the connections for as long as the process does, each with its name.
    pub parts: Vec<Part>,
}

/// A loop with its name.
pub type Part = (String, BoxFuture<'static, anyhow::Result<()>>);

/// Makes a domain's [`Frames`] in a process that serves sockets. There is no database.
pub type MountFrames = fn(Ctx, Arc<dyn Connections>) -> BoxFuture<'static, anyhow::Result<Frames>>;

/// What a gateway tells domains of the connections that it holds.
pub trait Connections: Send + Sync {
    /// The devices that are connected here. Costs as much as there are.
    fn devices(&self) -> Vec<(AccountId, DeviceId)>;
}

/// A domain behind the sockets of a process.
pub trait FrameHandler: Send + Sync {
    /// The domain's name, for logs and for errors at the start.
    fn domain(&self) -> &'static str;

    /// The kinds of client frames that are its own. Two domains with the same one don't start.
    fn kinds(&self) -> &'static [FrameKind];

    /// What reaches a device under `live.<account>.<device>.*` and is for this domain. Other subjects are subscribed to by a
    /// session, see [`Effects::subscribe`].
    fn live(&self) -> &'static [Live] {
        &[]
    }

    /// A device is let in and hears already what is live; what this fails with is the answer to its hello. Whoever opens a
    /// socket waits for this.
    fn open<'a>(&'a self, opening: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>>;
}

/// A kind of client frame, and what one costs (`gateway.frames_per_second`).
#[derive(Debug, Clone, Copy)]
pub struct FrameKind {
    /// Its field number in the `oneof` of `ClientFrame`: the ranges stand in nepto.proto.
    pub number: u32,
    /// What one frame of it costs the connection.
    pub price: Price,
}

impl FrameKind {
    /// The kind that a message is.
    pub const fn of<M: ClientKind>(price: Price) -> Self {
        Self { number: M::NUMBER, price }
    }
}

/// What a frame costs its connection before anybody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Nothing, however large: it has limits of its own.
    Free,
    /// So much, and more where it is large. 0 is for what a client that keeps to the protocol sends without end.
    Units(u32),
}

/// A connection that is being opened.
pub struct Opening<'a> {
    /// Whose connection it is, from its access token.
    pub claims: Claims,
    /// What the client said.
    pub hello: &'a Hello,
    /// What it will be answered: each domain fills in what is its own.
    pub welcome: &'a mut Welcome,
}

/// A client's frame of one of the domain's kinds.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Chosen by the client; what answers it says so.
    pub id: u32,
    /// The field number of its kind, as in [`FrameKind::number`].
    pub kind: u32,
    /// The message as protobuf, a slice of what came in.
    pub message: Bytes,
}

impl Frame {
    /// Reads the message. What is not one closes the connection.
    pub fn read<M: ClientKind>(&self) -> Result<M, CloseCode> {
        M::read(self.message.clone()).map_err(|_| CloseCode::Malformed)
    }
}

/// In which order work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The domain gets no further frame of this connection until it is done.
    InSequence,
    /// Beside everything else; a gateway that stops waits for it.
    Parallel,
    /// Beside everything else, and nobody waits for it when the gateway stops.
    Background,
}

/// A domain's side of one connection. Whatever fails with a code closes the connection with it, after the effects.
pub trait FrameSession: Send + 'static {
    /// What its work results in.
    type Done: Send + 'static;

    /// The client was welcomed: what is sent from now on comes after `Welcome`.
    fn start(&mut self, _effects: &mut Effects<Self::Done>) -> Result<(), CloseCode> {
        Ok(())
    }

    /// A frame of one of the domain's kinds.
    fn frame(&mut self, frame: Frame, effects: &mut Effects<Self::Done>) -> Result<(), CloseCode>;

    /// A frame that is refused because the connection sends too much: what the client is told.
    fn limited(&mut self, frame: Frame, failure: Failure, effects: &mut Effects<Self::Done>) -> Result<(), CloseCode> {
        effects.refuse(frame.id, failure);
        Ok(())
    }

    /// Something live of the domain's, or of a subject that the session subscribed to.
    fn live(&mut self, _message: &Arc<Message>, _effects: &mut Effects<Self::Done>) -> Result<(), CloseCode> {
        Ok(())
    }

    /// Something may have been missed of what is live for the device, or of a subject that the session subscribed to.
    fn missed(&mut self, _subject: &str, _effects: &mut Effects<Self::Done>) -> Result<(), CloseCode> {
        Ok(())
    }

    /// Whether a subject is subscribed: if it is, what is published from now on arrives.
    fn subscribed(
        &mut self,
        _subject: &str,
        _outcome: Result<(), Failure>,
        _effects: &mut Effects<Self::Done>,
    ) -> Result<(), CloseCode> {
        Ok(())
    }

    /// Work that was begun with [`Effects::run`] is done.
    fn done(&mut self, done: Self::Done, effects: &mut Effects<Self::Done>) -> Result<(), CloseCode>;

    /// Comes with every ping of the gateway: the slow way to learn what a lost notice would have said.
    fn tick(&mut self, _effects: &mut Effects<Self::Done>) -> Result<(), CloseCode> {
        Ok(())
    }
}

/// What a session asks the gateway for. Domains say it through [`Effects`].
pub enum Effect {
    /// Send this encoded frame.
    Send(Bytes),
    /// Send this refusal, and count it: too many close the connection.
    Refuse(Refusal),
    /// Count this against what the connection may spend.
    Spend(u32),
    /// Run this beside the connection.
    Run(Order, BoxFuture<'static, Outcome>),
    /// Listen to this subject.
    Subscribe(String),
    /// Listen to this subject no more.
    Unsubscribe(String),
}

/// A request that was not done.
pub struct Refusal {
    /// The id of the frame that asked.
    pub reply_to: u32,
    /// Why it was not done; the client gets its code and detail.
    pub failure: Failure,
    /// If it was a message of this id.
    pub client_msg_id: Vec<u8>,
}

impl Refusal {
    /// As the client sees it.
    pub fn into_frame(self) -> Bytes {
        let Self { reply_to, failure, client_msg_id } = self;
        let retry_after_ms = failure.retry_after.map_or(0, |wait| wait.as_millis() as u32);
        let detail = if failure.detail.is_empty() { failure.code.title().into() } else { failure.detail };
        let error = wire::Error { retry_after_ms, client_msg_id, ..frame::error(failure.code, detail) };
        encode_server(reply_to, server_frame::Kind::Error(error))
    }
}

/// What work results in.
pub enum Outcome {
    /// A frame to send, or nothing.
    Answer(Option<Bytes>),
    /// Something for the session that asked for it.
    Done(Box<dyn Any + Send>),
    /// A subject is subscribed, or is not.
    Subscribed(String, Result<(), Failure>),
}

/// Collects what a session asks for; its work results in `D`.
pub struct Effects<'a, D> {
    collected: &'a mut Vec<Effect>,
    done: PhantomData<fn(D)>,
}

impl<'a, D: Send + 'static> Effects<'a, D> {
    /// Effects are appended here, in the order in which they are asked for.
    pub fn new(collected: &'a mut Vec<Effect>) -> Self {
        Self { collected, done: PhantomData }
    }

    /// Sends a frame. Many sockets share the bytes of one.
    pub fn send(&mut self, frame: Bytes) {
        self.collected.push(Effect::Send(frame));
    }

    /// Answers a request with an encoded frame.
    pub fn reply(&mut self, reply_to: u32, kind: server_frame::Kind) {
        self.send(encode_server(reply_to, kind));
    }

    /// Refuses a request, which costs the client something.
    pub fn refuse(&mut self, reply_to: u32, failure: Failure) {
        self.refuse_message(reply_to, failure, Vec::new());
    }

    /// Refuses a message of this id.
    pub fn refuse_message(&mut self, reply_to: u32, failure: Failure, client_msg_id: Vec<u8>) {
        self.collected.push(Effect::Refuse(Refusal { reply_to, failure, client_msg_id }));
    }

    /// Makes the connection pay for what it caused, beside the price of the frame.
    pub fn spend(&mut self, cost: u32) {
        self.collected.push(Effect::Spend(cost));
    }

    /// Runs something whose result comes back to [`FrameSession::done`].
    pub fn run(&mut self, order: Order, work: impl Future<Output = D> + Send + 'static) {
        let work = work.map(|done| Outcome::Done(Box::new(done)));
        self.collected.push(Effect::Run(order, Box::pin(work)));
    }

    /// Runs something that ends with a frame to send, or with nothing.
    pub fn answer(&mut self, order: Order, work: impl Future<Output = Option<Bytes>> + Send + 'static) {
        self.collected.push(Effect::Run(order, Box::pin(work.map(Outcome::Answer))));
    }

    /// Listens to a subject, which the process subscribes to once for all; [`FrameSession::subscribed`] says when.
    pub fn subscribe(&mut self, subject: String) {
        self.collected.push(Effect::Subscribe(subject));
    }

    /// Listens to a subject no more. What is on its way may still come.
    pub fn unsubscribe(&mut self, subject: String) {
        self.collected.push(Effect::Unsubscribe(subject));
    }
}

/// A [`FrameSession`] of any domain, as a gateway holds it.
#[expect(missing_docs, reason = "the same as in FrameSession")]
pub trait AnySession: Send {
    fn start(&mut self, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn frame(&mut self, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn limited(&mut self, frame: Frame, failure: Failure, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn live(&mut self, message: &Arc<Message>, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn missed(&mut self, subject: &str, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn subscribed(
        &mut self,
        subject: &str,
        outcome: Result<(), Failure>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CloseCode>;
    fn done(&mut self, done: Box<dyn Any + Send>, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
    fn tick(&mut self, effects: &mut Vec<Effect>) -> Result<(), CloseCode>;
}

impl<S: FrameSession> AnySession for S {
    fn start(&mut self, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::start(self, &mut Effects::new(effects))
    }

    fn frame(&mut self, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::frame(self, frame, &mut Effects::new(effects))
    }

    fn limited(&mut self, frame: Frame, failure: Failure, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::limited(self, frame, failure, &mut Effects::new(effects))
    }

    fn live(&mut self, message: &Arc<Message>, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::live(self, message, &mut Effects::new(effects))
    }

    fn missed(&mut self, subject: &str, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::missed(self, subject, &mut Effects::new(effects))
    }

    fn subscribed(
        &mut self,
        subject: &str,
        outcome: Result<(), Failure>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CloseCode> {
        FrameSession::subscribed(self, subject, outcome, &mut Effects::new(effects))
    }

    fn done(&mut self, done: Box<dyn Any + Send>, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        match done.downcast::<S::Done>() {
            Ok(done) => FrameSession::done(self, *done, &mut Effects::new(effects)),
            // only a session's own work comes back to it
            Err(_) => Ok(()),
        }
    }

    fn tick(&mut self, effects: &mut Vec<Effect>) -> Result<(), CloseCode> {
        FrameSession::tick(self, &mut Effects::new(effects))
    }
}
