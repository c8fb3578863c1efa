//! Durable consumers: fetch, run, acknowledge.
//!
//! What must hold:
//! - as many messages as a consumer's `concurrency` are worked on at once, and more are fetched as soon as there is room: a slow
//!   message holds back nothing but itself, and what comes after it for the same key;
//! - a message is worked on for no longer than the consumer's `timeout`, and while it is, JetStream hears that it is in progress
//!   and gives it to nobody else;
//! - what fails of its own accord is tried [`DELIVERIES_MAX`] times with growing delays and then dead-lettered (`DLQ`), where an
//!   operator reads, replays or drops it. What can't be dead-lettered stays where it is and is tried again;
//! - while something that it needs is out of reach, a message waits for as long as it takes;
//! - a consumer that was deleted or does not fetch turns `/readyz` red.

mod attempt;
mod desk;
mod events;
mod heartbeat;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use nepto_proto::event::Event;

use crate::{Ctx, Failure};

pub use self::events::{DELIVERIES_MAX, Events};
pub use self::heartbeat::Heartbeat;

type Serve = Box<dyn FnOnce(Ctx) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// A queue worker, one for each durable consumer of `nats/streams.toml`.
pub struct Consumer {
    /// The name of its durable consumer in `nats/streams.toml`.
    pub name: &'static str,
    serve: Serve,
}

impl Consumer {
    /// A worker with a loop of its own.
    pub fn new<F>(name: &'static str, serve: impl FnOnce(Ctx) -> F + Send + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, serve: Box::new(move |ctx| Box::pin(serve(ctx))) }
    }

    /// A consumer of events, to be told which, and within which bounds.
    pub fn events(name: &'static str) -> Events {
        Events::new(name)
    }

    /// A consumer of one kind of event, within the usual bounds. Each event may come more than once.
    pub fn of_event<E: Event, F>(name: &'static str, run: impl Fn(E) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self::events(name).on(run).into()
    }

    /// Works until the process stops.
    pub async fn serve(self, ctx: Ctx) -> anyhow::Result<()> {
        (self.serve)(ctx).await
    }
}
