//! Whether each shard's stream stores: what the writers saw, and a probe where the last thing that they saw was a failure.
//!
//! A stream whose disk had no room for a moment stores and answers nothing until NATS is started again, while every other
//! stream goes on, also the one that `/readyz` writes to. What must hold: such a stream turns its check red, and the check is green
//! again once the stream stores, whether or not anybody sends something.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use nepto_kit::batch::{self, BatchError, Part};
use nepto_proto::subject::Shard;
use tokio::time::{Instant, timeout};

use super::publish::Refused;
use super::purge_subject;

/// A stream that stores nothing for so long turns its check red. Less is a leader that changes, or a restart.
const FAILING_MAX: Duration = Duration::from_secs(5);
/// A probe is stored in this time, or counts as refused: less than a check may take.
const PROBE_WITHIN: Duration = Duration::from_millis(1_500);

/// What is known of one shard's stream.
#[derive(Debug)]
pub struct StreamStores {
    shard: Shard,
    name: String,
    /// Since when nothing was stored that should have been; `None` if the last was.
    failing: Mutex<Option<Failing>>,
}

#[derive(Debug, Clone)]
struct Failing {
    since: Instant,
    /// Of the newest failure.
    reason: String,
}

impl StreamStores {
    pub fn new(shard: Shard) -> Self {
        Self { shard, name: shard.stream(), failing: Mutex::default() }
    }

    /// Notes what came of a store. What was there before, or finds its mailbox full, says nothing about the disk.
    pub fn note(&self, outcome: Result<bool, &Refused>) {
        match outcome {
            Ok(false) => self.stored(),
            Err(Refused::Other(reason)) => {
                metrics::counter!("nepto_store_failed_total", "stream" => self.name.clone()).increment(1);
                self.failed(reason);
            }
            Ok(true) | Err(Refused::Duplicate | Refused::Full | Refused::Exists) => {}
        }
    }

    fn stored(&self) {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(failing) = failing {
            let for_s = failing.since.elapsed().as_secs();
            tracing::info!(stream = self.name, for_s, "the stream stores again");
        }
    }

    fn failed(&self, reason: &str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *failing {
            Some(failing) => reason.clone_into(&mut failing.reason),
            None => {
                tracing::warn!(stream = self.name, reason, "the stream did not store a message");
                *failing = Some(Failing { since: Instant::now(), reason: reason.to_owned() });
            }
        }
    }

    fn failing(&self) -> Option<Failing> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What `/readyz` says. Costs nothing while messages are stored.
    pub async fn check(&self, nats: &async_nats::Client, now: Instant) -> Result<(), String> {
        if self.failing().is_none() {
            return Ok(());
        }
        match timeout(PROBE_WITHIN, self.probe(nats)).await {
            Ok(Ok(())) => self.stored(),
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("JetStream does not answer in time"),
        }
        match self.failing() {
            Some(Failing { since, reason }) if now.saturating_duration_since(since) >= FAILING_MAX => {
                Err(format!("it stores nothing: {reason}"))
            }
            _ => Ok(()),
        }
    }

    /// Stores a message that is in nobody's mailbox, synced like any other, and removes it.
    async fn probe(&self, nats: &async_nats::Client) -> Result<(), BatchError> {
        let subject = self.shard.probe();
        let probe = Part { subject: subject.clone(), headers: HeaderMap::new(), body: Bytes::new() };
        batch::publish_one(nats, probe).await?;
        if let Err(error) = purge_subject(nats, self.shard, subject, None).await {
            // it expires like any message
            tracing::debug!(error = format!("{error:#}"), "a probe was not removed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::{self, stream};
    use nepto_proto::subject::Shards;
    use nepto_testkit::Nats;

    use super::*;

    fn stores() -> StreamStores {
        StreamStores::new(Shards::new(1).unwrap().all().next().unwrap())
    }

    fn no_room() -> Refused {
        Refused::Other("no space left on device".to_owned())
    }

    #[test]
    fn only_a_store_ends_a_failure_and_only_a_failure_of_the_store_begins_one() {
        let stores = stores();
        for says_nothing in [Ok(true), Err(&Refused::Full), Err(&Refused::Duplicate), Err(&Refused::Exists)] {
            stores.note(says_nothing);
            assert!(stores.failing().is_none(), "{says_nothing:?}");
        }
        stores.note(Err(&no_room()));
        let since = stores.failing().unwrap().since;
        for says_nothing in [Ok(true), Err(&Refused::Full), Err(&Refused::Duplicate), Err(&Refused::Exists)] {
            stores.note(says_nothing);
            assert!(stores.failing().is_some(), "{says_nothing:?}");
        }
        stores.note(Err(&Refused::Other("another".to_owned())));
        let failing = stores.failing().unwrap();
        assert_eq!((failing.since, failing.reason.as_str()), (since, "another"));
        stores.note(Ok(false));
        assert!(stores.failing().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_refuses_is_red_after_a_while_and_green_when_it_stores() {
        let (server, stores) = (Nats::start().await.unwrap(), stores());
        let nats = server.client().await.unwrap();
        let js = jetstream::new(nats.clone());
        let config = stream::Config {
            name: stores.name.clone(),
            subjects: vec!["missed.0.*.*".to_owned()],
            discard: stream::DiscardPolicy::New,
            ..stream::Config::default()
        };
        js.create_stream(config.clone()).await.unwrap();
        let bounded = async |max_bytes: i64| {
            js.update_stream(stream::Config { max_bytes, ..config.clone() }).await.unwrap();
        };
        bounded(1).await;
        let (now, later) = (Instant::now(), Instant::now() + FAILING_MAX + Duration::from_secs(1));
        assert_eq!(stores.check(&nats, later).await, Ok(()), "nothing was sent, so nothing is known");
        stores.note(Err(&no_room()));
        assert_eq!(stores.check(&nats, now).await, Ok(()), "it may pass");
        let error = stores.check(&nats, later).await.unwrap_err();
        assert!(error.contains("maximum bytes exceeded"), "{error}");
        bounded(-1).await;
        assert_eq!(stores.check(&nats, later).await, Ok(()));
        assert!(stores.failing().is_none());
        let left = js.get_stream(&stores.name).await.unwrap().cached_info().state.messages;
        assert_eq!(left, 0, "the probe is gone");
    }
}
