//! The operator's listener, beside health, metrics and chains: what consumers could not process, background jobs, handles that
//! rest, invites.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::kinds::kinds;

/// A message that a consumer could not process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number in the stream `DLQ`.
    pub number: u64,
    /// Who gave it up.
    pub consumer: String,
    /// Where it goes when it is given back.
    pub subject: String,
    /// Why it was dead-lettered.
    pub reason: String,
    /// Of its body.
    pub bytes: u64,
    /// When it was dead-lettered.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A page of them, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// At most 200, and fewer where most that were looked at are not meant.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins (`after`); absent if there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Which dead letters are meant: those for which all of this is true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterFilter {
    /// Dead-lettered by this consumer.
    pub consumer: Option<String>,
    /// Would go back to this subject.
    pub subject: Option<String>,
    /// With this in the reason, letter for letter.
    pub reason: Option<String>,
    /// Dead-lettered at least so many seconds ago.
    pub older_than_s: Option<u64>,
    /// Dead-lettered at most so many seconds ago.
    pub newer_than_s: Option<u64>,
}

/// How many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedDeadLetters {
    /// Of the consumer that was asked for, or of all.
    pub letters: u64,
    /// The highest number so far; what is dead-lettered later has a higher one.
    pub last: u64,
    /// Of all letters, with their headers.
    pub bytes: u64,
    /// How many bytes there may be; past it consumers keep what they would dead-letter.
    pub bytes_max: Option<u64>,
}

/// One with what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownDeadLetter {
    /// As in a list.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// All of them; several values of one name are joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The body, if it is UTF-8: JSON of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The body, base64.
    pub body: String,
}

/// What became of some that were to be given back or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledDeadLetters {
    /// That were given back or dropped.
    pub settled: u64,
    /// That were looked at, those that are not meant included.
    pub looked_at: u64,
    /// Where to go on (`after`); absent if there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Those that could not be, each with its number and the reason. They stay.
    pub refused: Vec<String>,
}

/// A background job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// The domain that it belongs to.
    pub domain: String,
    /// `every 600 s`, or a cron expression with its time zone.
    pub schedule: String,
    /// When it runs next.
    #[serde(with = "time::serde::rfc3339")]
    pub due_at: OffsetDateTime,
    /// It runs only when an operator says so.
    pub is_paused: bool,
    /// It was asked to run, and will within a second or two.
    pub is_asked: bool,
    /// Since when it runs; absent if it does not.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub running_since: Option<OffsetDateTime>,
    /// The newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<JobRun>,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// The fencing token: a later run has a higher one.
    pub number: u64,
    /// When it should have begun.
    #[serde(with = "time::serde::rfc3339")]
    pub due_at: OffsetDateTime,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it ended; absent while it runs, and if it never said.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<OffsetDateTime>,
    /// How it ended.
    pub outcome: JobOutcome,
    /// What it did, or why it failed.
    pub detail: String,
    /// The process (`node.name`).
    pub node: String,
    /// An operator asked for it.
    pub is_manual: bool,
}

kinds! {
    /// How a run of a job ended.
    JobOutcome {
        /// It has not.
        Running = "running",
        /// Well.
        Ok = "ok",
        /// With an error.
        Failed = "failed",
        /// It took longer than it may.
        Timeout = "timeout",
        /// Its process was gone, or stood still, and another run took its place.
        Superseded = "superseded",
    }
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
