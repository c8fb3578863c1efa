//! Which events a consumer takes, and within which bounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nepto_proto::ErrorCode;
use nepto_proto::event::Event;

use super::Consumer;
use super::desk;
use crate::Failure;

/// Deliveries of one message that failed of its own accord until it is dead-lettered.
pub const DELIVERIES_MAX: i64 = 8;
/// A message is worked on for so long at most. Everything that a handler usually asks answers within 5 s or is given up.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Messages of one consumer that one process works on at once.
const CONCURRENCY: usize = 64;

/// Why a message was not worked off.
#[derive(Debug)]
pub(super) enum Fault {
    /// It will never work.
    Poison(String),
    /// It may work later.
    Retry(String),
    /// Something that it needs is out of reach: no fault of its own.
    Wait(String),
}

type Run = Arc<dyn Fn(bytes::Bytes) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;
type Key = Arc<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;

/// What is done about one kind of event.
#[derive(Default, Clone)]
pub(super) struct Kind {
    run: Option<Run>,
    key: Option<Key>,
}

/// A consumer of one or several kinds of events.
///
/// Kinds that belong to one thing go into one consumer, in order: two consumers overtake each other.
pub struct Events {
    pub(super) name: &'static str,
    pub(super) kinds: HashMap<String, Kind>,
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) deliveries_max: i64,
}

impl Events {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, kinds: HashMap::new(), timeout: TIMEOUT, concurrency: CONCURRENCY, deliveries_max: DELIVERIES_MAX }
    }

    /// Takes events of this kind. Each may come more than once.
    #[must_use]
    pub fn on<E: Event, F>(mut self, run: impl Fn(E) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let run = Arc::new(run);
        let run: Run = Arc::new(move |body| {
            let run = run.clone();
            Box::pin(async move {
                let event = serde_json::from_slice(&body).map_err(|error| Fault::Poison(error.to_string()))?;
                run(event).await.map_err(|failure| {
                    failure.log();
                    match failure.code {
                        ErrorCode::Unavailable | ErrorCode::Timeout => Fault::Wait(failure.to_string()),
                        _ => Fault::Retry(failure.to_string()),
                    }
                })
            })
        });
        self.kinds.entry(E::subject()).or_default().run = Some(run);
        self
    }

    /// Takes events of this kind with the same key one after the other, in the order of the stream, also while one of them is tried
    /// again. Those of other kinds with this key are in the same line. Events of other keys go on beside them.
    ///
    /// One process at a time works on such a consumer. Order is kept for as long as it lives and Redis answers; past that a newer
    /// event may come before an older one is tried again, so what must not be undone needs a version besides.
    #[must_use]
    pub fn ordered_by<E: Event, K: ToString>(mut self, key: impl Fn(&E) -> K + Send + Sync + 'static) -> Self {
        let key: Key = Arc::new(move |body| {
            let event: E = serde_json::from_slice(body).ok()?;
            Some(key(&event).to_string())
        });
        self.kinds.entry(E::subject()).or_default().key = Some(key);
        self
    }

    /// A message is worked on for so long at most; 30 s if nothing is said. What takes longer has failed, and is tried again.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Messages that one process works on at once, at least 1; 64 if nothing is said.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Deliveries of a message that fails until it is dead-lettered; [`DELIVERIES_MAX`] if nothing is said.
    #[must_use]
    pub fn deliveries_max(mut self, deliveries_max: i64) -> Self {
        self.deliveries_max = deliveries_max;
        self
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.kinds.values().any(|kind| kind.key.is_some())
    }

    /// What a message is in line with.
    pub(super) fn key_of(&self, subject: &str, body: &[u8]) -> Option<String> {
        self.kinds.get(subject)?.key.as_ref()?(body)
    }

    /// Works a message off.
    pub(super) async fn run(&self, subject: &str, body: bytes::Bytes) -> Result<(), Fault> {
        match self.kinds.get(subject).and_then(|kind| kind.run.as_ref()) {
            Some(run) => run(body).await,
            None => Err(Fault::Poison(format!("{} has no handler for {subject}", self.name))),
        }
    }
}

impl From<Events> for Consumer {
    fn from(events: Events) -> Self {
        Self::new(events.name, move |ctx| desk::serve(ctx, events))
    }
}
