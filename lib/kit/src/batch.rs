//! Several messages as one (NATS ADR-50, atomic batch publishing): a stream stores all of them, in their order and with
//! one sync of its disk, or none.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;

const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// JetStream takes no larger batches.
pub const MESSAGES_MAX: usize = 1_000;
/// JetStream must answer in this time.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// A message of a batch.
#[derive(Debug, Clone)]
pub struct Part {
    /// Of the stream that all parts go to.
    pub subject: String,
    /// With a `Nats-Msg-Id`, if it may be published twice.
    pub headers: HeaderMap,
    /// The payload, as it is stored.
    pub body: Bytes,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// JetStream says no to the batch: a message of it was stored before, or there is no room, or … Each alone may do
    /// better.
    #[error("the batch was refused: {0}")]
    Refused(String),
    /// No answer: it may have been stored.
    #[error("JetStream does not answer: {0}")]
    Unreachable(String),
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    description: String,
}

/// Publishes a batch; `id` is used once.
pub async fn publish(nats: &Client, id: &str, parts: Vec<Part>) -> Result<(), BatchError> {
    let unreachable = |error: &dyn std::fmt::Display| BatchError::Unreachable(error.to_string());
    let count = parts.len();
    for (index, Part { subject, mut headers, body }) in parts.into_iter().enumerate() {
        headers.insert(BATCH_ID, id);
        headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
        if index + 1 < count {
            nats.publish_with_headers(subject, headers, body).await.map_err(|error| unreachable(&error))?;
            continue;
        }
        headers.insert(BATCH_COMMIT, "1");
        let request = Request::new().headers(headers).payload(body).timeout(Some(COMMIT_WITHIN));
        let answer = nats.send_request(subject, request).await.map_err(|error| unreachable(&error))?;
        let answer: Answer = serde_json::from_slice(&answer.payload).map_err(|error| unreachable(&error))?;
        if let Some(refusal) = answer.error {
            return Err(BatchError::Refused(refusal.description));
        }
    }
    Ok(())
}
