//! Profiles, handles, and who may write to whom.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::AccountId;
use crate::kinds::kinds;

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

kinds! {
    /// What an account decided about another one's messages.
    Consent {
        /// Not decided: messages arrive as requests, a few of them.
        Requested = "requested",
        /// Messages are welcome.
        Accepted = "accepted",
        /// Messages are refused.
        Blocked = "blocked",
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
