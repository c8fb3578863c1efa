//! One message to a stream, and the stream's answer in our words.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;

use super::ApiError;

/// Error codes of the NATS server (`errors.json`).
mod err_code {
    /// There is a message where none was expected.
    pub const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// The stream refused to store. The server has one code for many reasons; a full mailbox is told by its words.
    pub const STORE_FAILED: u64 = 10_077;
    /// Those words (`store.go`, `ErrMaxMsgsPerSubject`).
    pub const MAXIMUM_PER_SUBJECT: &str = "maximum messages per subject exceeded";
    /// An id of the batch was seen before.
    pub const BATCH_CONTAINS_DUPLICATE: u64 = 10_201;
}

/// JetStream must answer in this time.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a stream did not take a message, or a batch that ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// An id of the batch was seen before.
    Duplicate,
    /// A mailbox is full.
    Full,
    /// There is one already where there may be one only.
    Exists,
    /// Anything else; it may have been stored.
    Other(String),
}

#[derive(Deserialize)]
struct PubAck {
    error: Option<ApiError>,
    #[serde(default)]
    duplicate: bool,
}

/// Publishes and waits for the answer: whether the message was there before.
pub async fn publish(
    nats: &async_nats::Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<bool, Refused> {
    let request = async_nats::Request::new().headers(headers).payload(payload).timeout(Some(STORE_TIMEOUT));
    let reply = nats.send_request(subject, request).await.map_err(|error| Refused::Other(error.to_string()))?;
    let ack: PubAck = serde_json::from_slice(&reply.payload).map_err(|error| Refused::Other(error.to_string()))?;
    match ack.error {
        None => Ok(ack.duplicate),
        Some(error) => Err(match error.err_code {
            err_code::STORE_FAILED if error.description == err_code::MAXIMUM_PER_SUBJECT => Refused::Full,
            err_code::BATCH_CONTAINS_DUPLICATE => Refused::Duplicate,
            err_code::WRONG_LAST_SEQUENCE => Refused::Exists,
            _ => Refused::Other(error.description),
        }),
    }
}
