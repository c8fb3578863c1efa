//! Reading letters in their order, many at once.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures_util::StreamExt;
use nepto_proto::api::operator::{DeadLetter, DeadLetterFilter};
use time::OffsetDateTime;

use super::{REASON_HEADER, SUBJECT_HEADER, stream, unavailable};
use crate::{Ctx, Failure};

/// Letters that are read at once.
const READ_MAX: usize = 500;
/// And their bytes, about.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A reader that was left behind goes by itself after this.
const LEFT_BEHIND: Duration = Duration::from_secs(30);

/// JetStream's header of a message that comes without its body.
const SIZE_HEADER: &str = "Nats-Msg-Size";

/// A dead letter, as the stream has it.
pub struct Letter {
    pub number: u64,
    subject: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    at: OffsetDateTime,
}

impl From<StreamMessage> for Letter {
    fn from(message: StreamMessage) -> Self {
        Self {
            number: message.sequence,
            subject: message.subject.to_string(),
            headers: message.headers,
            body: message.payload,
            at: message.time,
        }
    }
}

impl Letter {
    /// Where it goes when it is given back.
    pub fn back_to(&self) -> Option<&str> {
        self.headers.get(SUBJECT_HEADER).map(|subject| subject.as_str())
    }

    pub fn show(&self) -> DeadLetter {
        let header = |name: &str| self.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        let bytes = self.headers.get(SIZE_HEADER).and_then(|size| size.as_str().parse().ok());
        DeadLetter {
            number: self.number,
            consumer: self.subject.rsplit('.').next().unwrap_or_default().to_owned(),
            subject: header(SUBJECT_HEADER),
            reason: header(REASON_HEADER),
            bytes: bytes.unwrap_or(self.body.len() as u64),
            at: self.at,
        }
    }

    pub fn is_of(&self, filter: &DeadLetterFilter, now: OffsetDateTime) -> bool {
        let has = |name: &str, wanted: &Option<String>, matches: fn(&str, &str) -> bool| {
            wanted.as_ref().is_none_or(|wanted| {
                self.headers.get(name).is_some_and(|header| matches(header.as_str(), wanted.as_str()))
            })
        };
        let age = now - self.at;
        has(SUBJECT_HEADER, &filter.subject, |subject, wanted| subject == wanted)
            && has(REASON_HEADER, &filter.reason, |reason, wanted| reason.contains(wanted))
            && filter.older_than_s.is_none_or(|seconds| age >= Duration::from_secs(seconds))
            && filter.newer_than_s.is_none_or(|seconds| age <= Duration::from_secs(seconds))
    }
}

/// The subject of the letters of a consumer, or of all.
pub fn subject_of(filter: &DeadLetterFilter) -> String {
    format!("dlq.*.{}", filter.consumer.as_deref().unwrap_or("*"))
}

/// Reads the letters of a consumer, or all, in their order.
pub struct Reader {
    consumer: Consumer<pull::Config>,
    /// That are still to be read.
    pub left: u64,
}

impl Reader {
    /// Begins behind a number. Without `bodies` they stay on the server.
    pub async fn after(ctx: &Ctx, filter: &DeadLetterFilter, after: u64, bodies: bool) -> Result<Self, Failure> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) },
            filter_subject: subject_of(filter),
            ack_policy: AckPolicy::None,
            headers_only: !bodies,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: LEFT_BEHIND,
            ..pull::Config::default()
        };
        let consumer = stream(ctx).await?.create_consumer(config).await.map_err(unavailable)?;
        let left = consumer.cached_info().num_pending;
        Ok(Self { consumer, left })
    }

    /// The next letters; none if there are no more.
    pub async fn next(&mut self) -> Result<Vec<Letter>, Failure> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        // as many as there are, and not one more: whoever asks for that waits
        let count = usize::try_from(self.left).map_or(READ_MAX, |left| left.min(READ_MAX));
        let batch = self.consumer.fetch().max_messages(count).max_bytes(READ_BYTES_MAX);
        let mut batch = batch.messages().await.map_err(unavailable)?;
        let mut letters = Vec::new();
        while let Some(message) = batch.next().await {
            match message {
                Ok(message) => letters.push(self.read(&message)?),
                // the bound in bytes ends a batch
                Err(_) if !letters.is_empty() => break,
                Err(error) => return Err(unavailable(anyhow::anyhow!("the letters can't be read: {error}"))),
            }
        }
        if letters.is_empty() {
            self.left = 0;
        }
        Ok(letters)
    }

    fn read(&mut self, message: &Message) -> Result<Letter, Failure> {
        let info = message.info().map_err(|error| unavailable(anyhow::anyhow!("{error}")))?;
        self.left = info.pending;
        Ok(Letter {
            number: info.stream_sequence,
            subject: message.subject.to_string(),
            headers: message.headers.clone().unwrap_or_default(),
            body: message.payload.clone(),
            at: info.published,
        })
    }

    /// Ends it; one that is not ended goes by itself.
    pub async fn end(self, ctx: &Ctx) {
        let name = &self.consumer.cached_info().name;
        if let Ok(stream) = stream(ctx).await
            && let Err(error) = stream.delete_consumer(name).await
        {
            tracing::debug!(%error, "a reader of dead letters goes by itself");
        }
    }
}
