//! The operator's listener, beside health, metrics and chains: what consumers gave up, handles that rest,
//! invites.

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

/// A handle that rested and is free now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedHandle {
    /// The one that somebody had, which may only look like the one that was asked for.
    pub handle: String,
}

/// Makes invite codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeInvites {
    /// How many; 1 to [`INVITES_AT_ONCE_MAX`].
    pub count: u32,
    /// New accounts that each lets in; 1 to [`INVITE_USES_MAX`].
    pub uses: u32,
    /// How long each is good; 1 second to [`INVITE_EXPIRES_AFTER_S_MAX`].
    pub expires_after_s: u64,
}

/// Codes of one request.
pub const INVITES_AT_ONCE_MAX: u32 = 500;
/// Accounts of one code.
pub const INVITE_USES_MAX: u32 = 10_000;
/// A code is good for a year at most.
pub const INVITE_EXPIRES_AFTER_S_MAX: u64 = 365 * 86_400;

/// New invite codes. They are shown once: what is kept is a hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewInvites {
    /// To be given to people.
    pub codes: Vec<String>,
    /// The [`Invite::id`] of each code, in the same order.
    pub ids: Vec<String>,
    /// When they stop working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// An invite code that still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The beginning of its hash, to name it by.
    pub id: String,
    /// New accounts that it still lets in.
    pub uses_left: u32,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A page of them, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invites {
    /// At most 200; the next page begins after the last id.
    pub invites: Vec<Invite>,
}
