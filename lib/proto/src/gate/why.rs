//! Why a gate lets somebody in or not: its rules again, each with what was found out.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::truth::Truth;
use crate::kinds::kinds;

kinds! {
    /// Why something is not known. It never grants and never takes anything.
    UnknownReason {
        /// Nobody asked.
        NotAsked = "not_asked",
        /// What the chain says of it was not collected yet, or not all of it.
        NotCollected = "not_collected",
        /// The nodes of the chain could not be asked.
        NodeAway = "node_away",
        /// The nodes of the chain contradict each other.
        Contradiction = "contradiction",
        /// There is more of it than is read.
        TooMuch = "too_much",
        /// It is in a block that may still change.
        NotSettled = "not_settled",
        /// It was found out too long ago.
        Stale = "stale",
        /// What was answered is not what was asked for.
        Unreadable = "unreadable",
    }
}

/// What was found out about one wallet, or about the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reading {
    /// The wallet (EIP-55), unless it is about the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// The contract (EIP-55) and chain, where several are added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What it has, in words; not if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownReason>,
    /// At the end of this block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// When that was so: the time of the block (RFC 3339, UTC).
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub at: Option<OffsetDateTime>,
    /// How long ago that is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
}

/// What was found out about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// Whether it holds.
    pub truth: Truth,
    /// The rule's place in the expression (RFC 6901).
    pub pointer: String,
    /// The rule in words.
    pub sentence: String,
    /// Of a clause: what was found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// If it does not hold, what is missing, as `9,999 of 10,000`; if it is unknown, what is known so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Of rules that are joined: each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub parts: Vec<Why>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_same_word_in_json() {
        for reason in UnknownReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
