//! Messages to streams, with the streams' own answers: one message, or several as one (NATS ADR-50, atomic batch publishing), of
//! which a stream stores all, in their order and with one sync of its disk, or none.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;

use crate::nats::{NotConnected, is_connected};

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// JetStream takes no larger batches.
pub const MESSAGES_MAX: usize = 1_000;
/// JetStream must answer in this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A message, alone or of a batch.
#[derive(Debug, Clone)]
pub struct Part {
    /// Of the stream that all parts of a batch go to.
    pub subject: String,
    /// With a `Nats-Msg-Id`, if it may be published twice.
    pub headers: HeaderMap,
    /// The payload, as it is stored.
    pub body: Bytes,
}

/// Why nothing was stored, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// JetStream says no. Of a batch, to all of it: a message of it was stored before, or there is no room, or … Each alone may
    /// do better.
    #[error("refused: {description} ({code})")]
    Refused {
        /// Of the server (`errors.json` of its sources).
        code: u64,
        /// Its words.
        description: String,
    },
    /// No connection, and nothing was sent; or no answer, or none that a stream gives: it may have been stored, or may still be.
    #[error("JetStream does not answer: {0}")]
    Unreachable(String),
}

/// A stream has a name and gives a sequence to what it stores. Whatever answers without them is no stream.
#[derive(Deserialize)]
struct Answer {
    stream: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A message that a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence; of a batch, that of the last message, and the others have those right before it.
    pub seq: u64,
    /// The stream had it before.
    pub duplicate: bool,
}

/// Publishes a batch, of at least one message; `id` is used once.
pub async fn publish(nats: &Client, id: &str, parts: Vec<Part>) -> Result<Stored, BatchError> {
    check(nats)?;
    let count = parts.len();
    let mut last = Err(BatchError::Unreachable("a batch without messages".to_owned()));
    for (index, mut part) in parts.into_iter().enumerate() {
        part.headers.insert(BATCH_ID, id);
        part.headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
        if index + 1 < count {
            let Part { subject, headers, body } = part;
            nats.publish_with_headers(subject, headers, body).await.map_err(unreachable)?;
        } else {
            part.headers.insert(BATCH_COMMIT, "1");
            last = store(nats, part).await;
        }
    }
    last
}

/// Publishes one message. Whether the stream had it before.
pub async fn publish_one(nats: &Client, part: Part) -> Result<bool, BatchError> {
    store(nats, part).await.map(|stored| stored.duplicate)
}

/// Publishes one message, and says where the stream has it.
pub async fn store(nats: &Client, Part { subject, headers, body }: Part) -> Result<Stored, BatchError> {
    check(nats)?;
    let request = Request::new().headers(headers).payload(body).timeout(Some(ANSWER_WITHIN));
    stored(&nats.send_request(subject, request).await.map_err(unreachable)?.payload)
}

/// What is refused now must not be stored later: nothing waits for a connection.
fn check(nats: &Client) -> Result<(), BatchError> {
    if is_connected(nats) { Ok(()) } else { Err(unreachable(NotConnected)) }
}

fn stored(answer: &[u8]) -> Result<Stored, BatchError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(unreachable)?;
    match answer {
        Answer { error: Some(Refusal { err_code: code, description }), .. } => {
            Err(BatchError::Refused { code, description })
        }
        Answer { stream: Some(_), seq: Some(seq), duplicate, .. } => Ok(Stored { seq, duplicate }),
        _ => Err(BatchError::Unreachable("an answer without the name of a stream".to_owned())),
    }
}

fn unreachable(error: impl std::fmt::Display) -> BatchError {
    BatchError::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests {
    use nepto_proto::subject::DEAD_LETTERS_STREAM;
    use nepto_testkit::{eventually, seconds};

    use super::*;
    use crate::testing::Ground;

    #[tokio::test]
    async fn what_finds_no_connection_is_refused_and_not_sent_with_the_next_one() {
        let ground = Ground::new().await;
        let client = &ground.ctx.nats;
        let part = |body: &'static str| Part {
            subject: "dlq.EVENTS.somebody".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        publish_one(client, part("before")).await.unwrap();
        ground.nats.kill9().unwrap();
        eventually(seconds(5), async || Ok(!is_connected(client))).await.unwrap();
        let refused = Err(BatchError::Unreachable(NotConnected.to_string()));
        assert_eq!(publish_one(client, part("meanwhile")).await, refused);
        ground.nats.restart().await.unwrap();
        // the client sends in order: had it kept the other one, that would be stored first
        eventually(seconds(10), async || Ok(publish_one(client, part("after")).await.is_ok())).await.unwrap();
        let stream = ground.ctx.jetstream.get_stream(DEAD_LETTERS_STREAM).await.unwrap();
        assert_eq!(stream.get_raw_message(2).await.unwrap().payload, "after");
    }

    #[test]
    fn only_a_stream_says_that_something_is_stored() {
        let at_7 = |duplicate| Ok(Stored { seq: 7, duplicate });
        assert_eq!(stored(br#"{"stream":"EVENTS","seq":7}"#), at_7(false));
        assert_eq!(stored(br#"{"stream":"EVENTS","seq":7,"duplicate":true}"#), at_7(true));
        assert_eq!(stored(br#"{"stream":"EVENTS","seq":7,"batch":"b","count":3}"#), at_7(false));
        let refused = stored(br#"{"stream":"","seq":0,"error":{"code":400,"err_code":10071,"description":"wrong"}}"#);
        assert_eq!(refused, Err(BatchError::Refused { code: 10_071, description: "wrong".to_owned() }));
        for answer in ["", "{}", "null", "+ACK", r#"{"seq":7}"#, r#"{"stream":"EVENTS"}"#, r#"{"status":"ok"}"#] {
            assert!(matches!(stored(answer.as_bytes()), Err(BatchError::Unreachable(_))), "{answer}");
        }
    }
}
