//! JSON bodies of the HTTP API, shared by server and client. Every request refuses unknown fields.

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod chain;
pub mod channels;
pub mod communities;
pub mod endpoint;
pub mod endpoints;
pub mod keys;
pub mod media;
pub mod operator;
#[cfg(feature = "openapi")]
mod parameters;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ErrorCode;

/// Bytes, as base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("not base64url without padding"))
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// An error, as RFC 9457 asks for it, media type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:nepto:error:<code>`
    pub r#type: String,
    /// The same sentence for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable; programs branch on it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: ErrorCode,
    /// What went wrong here, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How long to wait before a retry, where a retry makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What some codes say beside.
    #[serde(flatten)]
    pub extensions: Extensions,
}

/// What problems of some codes say beside (RFC 9457, 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Extensions {
    /// With `device_limit` at sign-in: the devices of the account, one of which must go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<keys::OwnDevice>,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:nepto:error:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            retry_after_ms: None,
            extensions: Extensions::default(),
        }
    }
}

/// What a client needs to know of a server before it signs in: `GET /v1/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerInfo {
    /// The authority that sign-in messages must name.
    #[cfg_attr(feature = "openapi", schema(example = "chat.example.org"))]
    pub domain: String,
    /// The URI that sign-in messages must name.
    pub uri: String,
    /// EIP-155 chain ids that sign-in messages may name.
    pub chains: Vec<u64>,
    /// WebSocket addresses; any of them serves any client.
    pub sockets: Vec<String>,
    /// The server's clock, milliseconds since 1970.
    pub server_time_ms: u64,
    /// What a wallet without an account must show.
    #[serde(default)]
    pub sign_up: SignUp,
    /// The server's version, for people who compare it with their client's; empty of a server that does not say it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = "0.1.0"))]
    pub version: String,
}

/// What a wallet needs that has no account here yet. Who has one is never asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignUp {
    /// What is asked for.
    pub proof: SignUpProof,
    /// The same in words, for people; empty if it is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// With `balance`, `nft` and `age`: EIP-155.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: Option<u64>,
    /// With `nft`, and with `balance` unless it is the chain's own coin: EIP-55.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: Option<String>,
    /// With an `nft` that is one kind of an ERC-1155: decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "42"))]
    pub token: Option<String>,
    /// With `balance`: base units. With `nft`: tokens. With `age`: transactions. Decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// With `balance` and `nft`: so many blocks ago as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_blocks: Option<u64>,
    /// With `age`: the transactions must be so old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days: Option<u32>,
}

/// What a new account needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignUpProof {
    /// Nothing is asked for.
    #[default]
    None,
    /// An invite code, which stands for any other proof as well.
    Invite,
    /// Money on a chain.
    Balance,
    /// A token of a collection.
    Nft,
    /// A wallet that has been used for some time.
    Age,
    /// Something that this client does not know; `text` says what.
    #[serde(other)]
    Other,
}
