//! Storing events with group commit.
//!
//! What must hold: an event is acknowledged only after JetStream acknowledged it; events that one caller submits one after the other
//! are stored in that order; what waited too long is refused and not stored later, because what allowed it may be over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use futures_util::future::join_all;
use nepto_kit::batch::{self, BatchError, Part};
use nepto_kit::clock::Random;
use nepto_kit::group::{Collector, Item};
use nepto_kit::nats::connected;
use nepto_kit::{Ctx, Failure};
use nepto_proto::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events that wait at most; a full queue is answered with `unavailable`.
const QUEUE_MAX: usize = 8_192;
/// Events of one group commit.
const GROUP_MAX: usize = 500;
/// Bytes of one, about.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// From this many events on an atomic batch is cheaper than a sync for each (`bench/README.md`).
const BATCH_MIN: usize = 8;
/// From the question whether it is allowed to its publishing.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A stream that stores nothing for so long turns its check red, while somebody tries.
const FAILING_MAX: Duration = Duration::from_secs(5);
/// A failure that is older says nothing any more.
const FAILED_LATELY: Duration = Duration::from_secs(60);

/// An id of the batch was seen before (`errors.json` of the NATS server).
const BATCH_CONTAINS_DUPLICATE: u64 = 10_201;

/// An event on its way to the stream.
#[derive(Debug)]
pub struct Submission {
    /// The channel's subject.
    pub subject: String,
    /// What JetStream knows a repetition by; `None` where one changes nothing.
    pub id: Option<String>,
    /// An encoded `ChannelEvent`.
    pub event: Bytes,
    /// When it was asked whether it is allowed.
    pub allowed_at: Instant,
}

/// Why an event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It was not sent, so it is not stored.
    #[error("not sent: {0}")]
    NotSent(&'static str),
    /// No acknowledgement: it may have been stored. A retry with the same id is safe.
    #[error("the stream does not answer: {0}")]
    Unavailable(String),
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotSent(_) => {
                let mut failure = Self::new(ErrorCode::Unavailable, "too much waits to be stored; try again");
                failure.retry_after = Some(Duration::from_secs(1));
                failure
            }
            PublishError::Unavailable(_) => Self::unavailable("JetStream", error),
        }
    }
}

struct Pending {
    submission: Submission,
    done: oneshot::Sender<Result<batch::Stored, PublishError>>,
}

impl Item for Pending {
    fn bytes(&self) -> usize {
        self.submission.event.len()
    }
}

/// The way to the stream. Cheap to clone; its writer ends with the last one.
#[derive(Clone)]
pub struct Publisher {
    queue: mpsc::Sender<Pending>,
    failing: Arc<Failing>,
}

impl Publisher {
    /// With the writer that must run for anything to be stored.
    pub fn new(ctx: &Ctx) -> (Self, Writer) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let failing = Arc::new(Failing::default());
        let waiting = Collector::new(receiver, GROUP_MAX, GROUP_BYTES_MAX);
        let writer = Writer { nats: ctx.nats.clone(), random: ctx.random.clone(), waiting, failing: failing.clone() };
        (Self { queue, failing }, writer)
    }

    /// Queues an event, in the order of the calls; the future is its outcome.
    pub fn submit(
        &self,
        submission: Submission,
    ) -> impl Future<Output = Result<batch::Stored, PublishError>> + Send + use<> {
        let (done, outcome) = oneshot::channel();
        let queued = self.queue.try_send(Pending { submission, done });
        async move {
            queued.map_err(|_| PublishError::NotSent("the queue is full"))?;
            outcome.await.unwrap_or(Err(PublishError::NotSent("this process is stopping")))
        }
    }

    /// What `/readyz` says of the stream.
    pub fn check(&self) -> Result<(), String> {
        self.failing.check(Instant::now())
    }
}

/// Stores what is submitted.
pub struct Writer {
    nats: async_nats::Client,
    random: Random,
    waiting: Collector<Pending>,
    failing: Arc<Failing>,
}

impl Writer {
    /// Runs until nobody can submit any more, or the process stops and all that was submitted is stored.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                () = stop.cancelled(), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    continue;
                }
                first = self.waiting.first() => first,
            };
            let Some(mut group) = first else { return };
            // a connection that was lost a moment ago is back soon, and without one everything is refused
            let _ = connected(&self.nats).await;
            self.waiting.fill(&mut group);
            let now = Instant::now();
            let in_time = |pending: &Pending| now - pending.submission.allowed_at < WAIT_MAX;
            let (group, late): (Vec<_>, Vec<_>) = group.items.into_iter().partition(in_time);
            for pending in late {
                // who asked may be gone
                let _ = pending.done.send(Err(PublishError::NotSent("it waited too long")));
            }
            metrics::histogram!("nepto_channel_group_messages").record(group.len() as f64);
            if group.len() >= BATCH_MIN { self.store_batch(group).await } else { self.store_each(group).await }
        }
    }

    async fn store_batch(&self, group: Vec<Pending>) {
        let parts = group.iter().map(|pending| pending.submission.part()).collect();
        match self.noted(batch::publish(&self.nats, &self.random.alphanumeric(24), parts).await) {
            Ok(last) => {
                let first = last.seq + 1 - group.len() as u64;
                for (seq, pending) in (first..).zip(group) {
                    let _ = pending.done.send(Ok(batch::Stored { seq, duplicate: false }));
                }
            }
            Err(BatchError::Refused { code: BATCH_CONTAINS_DUPLICATE, .. }) => self.store_each(group).await,
            Err(error) => {
                for pending in group {
                    let _ = pending.done.send(Err(PublishError::Unavailable(error.to_string())));
                }
            }
        }
    }

    /// All at once, sent in their order.
    async fn store_each(&self, group: Vec<Pending>) {
        let stored = join_all(group.iter().map(|pending| batch::store(&self.nats, pending.submission.part()))).await;
        for (pending, stored) in group.into_iter().zip(stored) {
            let stored = self.noted(stored).map_err(|error| PublishError::Unavailable(error.to_string()));
            let _ = pending.done.send(stored);
        }
    }

    fn noted(&self, outcome: Result<batch::Stored, BatchError>) -> Result<batch::Stored, BatchError> {
        match &outcome {
            Ok(_) => self.failing.stored(),
            Err(BatchError::Refused { code: BATCH_CONTAINS_DUPLICATE, .. }) => {}
            Err(error) => {
                metrics::counter!("nepto_channel_store_failed_total").increment(1);
                self.failing.failed(error.to_string(), Instant::now());
            }
        }
        outcome
    }
}

impl Submission {
    fn part(&self) -> Part {
        let mut headers = HeaderMap::new();
        if let Some(id) = &self.id {
            headers.insert(NATS_MESSAGE_ID, id.as_str());
        }
        Part { subject: self.subject.clone(), headers, body: self.event.clone() }
    }
}

/// Since when nothing was stored that should have been, when that was tried last, and what came of it.
#[derive(Debug, Default)]
struct Failing(Mutex<Option<(Instant, Instant, String)>>);

impl Failing {
    fn stored(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, reason: String, now: Instant) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or(now, |(since, ..)| *since);
        *failing = Some((since, now, reason));
    }

    fn check(&self, now: Instant) -> Result<(), String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((since, last, reason))
                if now.saturating_duration_since(*since) >= FAILING_MAX
                    && now.saturating_duration_since(*last) < FAILED_LATELY =>
            {
                Err(format!("it stores nothing: {reason}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_red_that_stores_nothing_for_a_while_and_only_as_long_as_somebody_tries() {
        let (failing, began) = (Failing::default(), Instant::now());
        assert_eq!(failing.check(began), Ok(()));
        failing.failed("first".to_owned(), began);
        assert_eq!(failing.check(began), Ok(()), "it may pass");
        let later = began + FAILING_MAX;
        failing.failed("second".to_owned(), later);
        assert_eq!(failing.check(later), Err("it stores nothing: second".to_owned()));
        assert_eq!(failing.check(later + FAILED_LATELY), Ok(()), "nobody tried since");
        failing.stored();
        assert_eq!(failing.check(later), Ok(()));
    }
}
