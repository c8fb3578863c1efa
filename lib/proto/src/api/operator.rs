//! The operator's listener, beside health, metrics and chains: what consumers gave up.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A message that a consumer gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number in the stream `DLQ`.
    pub number: u64,
    /// Who gave it up.
    pub consumer: String,
    /// Where it goes when it is given back.
    pub subject: String,
    /// Why it was given up.
    pub reason: String,
    /// Of its body.
    pub bytes: u64,
    /// When it was given up.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A page of them, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// At most 200; the next page begins after the last number.
    pub letters: Vec<DeadLetter>,
}
