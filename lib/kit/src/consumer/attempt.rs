//! One message: its attempts, and what becomes of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures_util::FutureExt;
use nepto_proto::subject::EVENTS_STREAM;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::events::{Events, Fault};
use crate::clock::backoff;
use crate::{Ctx, dead_letters, traces};

/// Between two attempts, doubled with each.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// And at the most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Everything that attempts share.
pub struct Bench {
    pub ctx: Ctx,
    pub events: Events,
    /// As many places as messages are worked on at once.
    pub places: Semaphore,
}

/// How an attempt ended for the message.
enum Settled {
    /// Nothing more is to be done here.
    Over(&'static str),
    /// The next attempt is made here, after this time: it keeps its place in line.
    Again(Duration),
}

impl Bench {
    pub fn new(ctx: Ctx, events: Events) -> Arc<Self> {
        Arc::new(Self { ctx, places: Semaphore::new(events.concurrency), events })
    }

    /// Works a message off. One that `keeps_its_place` is tried again here until that is settled; any other goes back to JetStream.
    /// A process that stops gives back what it is not working on this moment.
    pub async fn work_off(&self, message: &Message, keeps_its_place: bool) {
        let delivered = message.info().map_or(1, |info| info.delivered);
        let (mut deliveries, mut attempt) = (delivered, u32::try_from(delivered).unwrap_or(u32::MAX));
        loop {
            let place = self.ctx.stop.run_until_cancelled(self.places.acquire()).await;
            let Some(Ok(place)) = place else { return self.give_back(message).await };
            let fault = self.attempt(message).await.err();
            drop(place);
            let is_its_own = matches!(fault, Some(Fault::Retry(_)));
            match self.settle(message, fault, deliveries, attempt, keeps_its_place).await {
                Ok(Settled::Over(outcome)) => return self.count(outcome),
                Ok(Settled::Again(wait)) => {
                    self.count("retried");
                    if self.ctx.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                        return self.give_back(message).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(consumer = self.events.name, %error, "not acknowledged; it will come again");
                    return;
                }
            }
            attempt = attempt.saturating_add(1);
            deliveries += i64::from(is_its_own);
        }
    }

    fn count(&self, outcome: &'static str) {
        metrics::counter!("nepto_consumed_total", "consumer" => self.events.name, "outcome" => outcome).increment(1);
    }

    async fn attempt(&self, message: &Message) -> Result<(), Fault> {
        let span = tracing::info_span!("consumer", consumer = self.events.name);
        traces::continue_from(&span, message.headers.as_ref());
        let run = AssertUnwindSafe(self.events.run(&message.subject, message.payload.clone())).catch_unwind();
        match timeout(self.events.timeout, run).instrument(span).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Fault::Retry("its handler panicked; the log says where".to_owned())),
            Err(_) => {
                let limit = self.events.timeout;
                Err(Fault::Retry(format!("its handler took longer than {limit:?}")))
            }
        }
    }

    async fn settle(
        &self,
        message: &Message,
        fault: Option<Fault>,
        deliveries: i64,
        attempt: u32,
        keeps_its_place: bool,
    ) -> Result<Settled, async_nats::Error> {
        let consumer = self.events.name;
        let wait = backoff(&self.ctx.random, attempt, RETRY_FIRST, RETRY_AFTER_MAX);
        match fault {
            None => message.double_ack().await.map(|()| Settled::Over("done")),
            Some(Fault::Retry(reason)) if deliveries >= self.events.deliveries_max => {
                self.dead_letter(message, &reason, deliveries, wait).await
            }
            Some(Fault::Poison(reason)) => self.dead_letter(message, &reason, deliveries, wait).await,
            Some(Fault::Retry(reason) | Fault::Wait(reason)) => {
                tracing::warn!(consumer, reason, deliveries, "will be tried again");
                if keeps_its_place {
                    return Ok(Settled::Again(wait));
                }
                message.ack_with(AckKind::Nak(Some(wait))).await.map(|()| Settled::Over("retried"))
            }
        }
    }

    async fn dead_letter(
        &self,
        message: &Message,
        reason: &str,
        deliveries: i64,
        wait: Duration,
    ) -> Result<Settled, async_nats::Error> {
        let consumer = self.events.name;
        match dead_letters::publish(&self.ctx, EVENTS_STREAM, consumer, message, reason).await {
            Ok(()) => {
                tracing::error!(consumer, reason, deliveries, "dead-lettered");
                message.ack_with(AckKind::Term).await.map(|()| Settled::Over("dead"))
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    consumer,
                    reason,
                    error,
                    "can't be dead-lettered, so it stays where it is; make room in DLQ: `nepto admin dead-letters`"
                );
                message.ack_with(AckKind::Nak(Some(wait))).await.map(|()| Settled::Over("kept"))
            }
        }
    }

    /// Another process gets it at once.
    pub async fn give_back(&self, message: &Message) {
        if let Err(error) = message.ack_with(AckKind::Nak(None)).await {
            tracing::debug!(consumer = self.events.name, %error, "not given back; it will come again");
        }
    }
}
