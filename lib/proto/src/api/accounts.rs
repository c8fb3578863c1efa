//! Profiles, handles, and who may write to whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::AccountId;

/// An account, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// The account's id, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// The wallet that names it, EIP-55.
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub wallet: String,
    /// Unique, if it chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "alice"))]
    pub handle: Option<String>,
    /// Free text, if it chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "Alice"))]
    pub display_name: Option<String>,
}

/// Changes the own profile. What is absent stays; an empty text removes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateProfile {
    /// 3 to 32 of `a-z 0-9 _`, starting with a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "alice"))]
    pub handle: Option<String>,
    /// Up to 64 characters on one line, all of which show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "Alice"))]
    pub display_name: Option<String>,
}

/// What an account decided about another one's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Not decided: messages arrive as requests, a few of them.
    Requested,
    /// Messages are welcome.
    Accepted,
    /// Messages are refused.
    Blocked,
}

impl Consent {
    const ALL: [Self; 3] = [Self::Requested, Self::Accepted, Self::Blocked];

    /// As it is written in JSON, and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Consent {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|consent| consent.as_str() == text).ok_or(())
    }
}

/// Somebody the account has met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// The other one.
    pub account: Account,
    /// What was decided.
    pub consent: Consent,
    /// When it was decided, or when they met (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Decides about a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetConsent {
    /// `accepted` or `blocked`; `requested` forgets the decision.
    pub consent: Consent,
}

/// A page of contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contacts {
    /// By account id.
    pub contacts: Vec<Contact>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub next: Option<AccountId>,
}
