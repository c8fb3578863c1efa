//! Signing in and out, and the wallets of an account.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::Base64;
use super::keys::DeviceSetup;
use crate::certificate::{SignedMessage, WalletLink};
use crate::{AccountId, DeviceId, SessionId};

/// A nonce for one sign-in message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nonce {
    /// Put it into the message; it works once.
    #[cfg_attr(feature = "openapi", schema(example = "q2RtYXl4bGJ3N2tz"))]
    pub nonce: String,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// Signs in, and on a new device registers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The message with its `urn:nepto:device:…` resource, and the wallet's signature: also the device's certificate.
    pub signed: SignedMessage,
    /// The device's name and repeated-use keys.
    pub device: DeviceSetup,
    /// An invite code, for a wallet that has no account here yet; else it is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

/// A session and its tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// The account of the wallet.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// The number of this device within its account.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 127))]
    pub device: DeviceId,
    /// The id of this session, as the list of sessions has it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub session: SessionId,
    /// For `Authorization: Bearer` and the socket's `Hello`: a JWT (RFC 7519, EdDSA).
    #[cfg_attr(feature = "openapi", schema(example = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI…"))]
    pub access_token: String,
    /// When to have refreshed it.
    #[serde(with = "time::serde::rfc3339")]
    pub access_expires_at: OffsetDateTime,
    /// Works once, for this device only.
    pub refresh_token: String,
    /// When a new sign-in is needed, unless refreshed before.
    #[serde(with = "time::serde::rfc3339")]
    pub refresh_expires_at: OffsetDateTime,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("account", &self.account)
            .field("device", &self.device)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Exchanges a refresh token for new tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The newest one.
    pub refresh_token: String,
    /// The device it was given to.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 127))]
    pub device: DeviceId,
    /// XEdDSA by the device's identity key, 64 bytes, over `nepto refresh v1`, the server's domain and the base64url of the
    /// token's SHA-256, a line each. Without it the token is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Base64>,
}

/// What a device signs to refresh its tokens: the server that it means, and the one token that it is good for.
pub fn refresh_text(domain: &str, refresh_token: &str) -> String {
    let token = URL_SAFE_NO_PAD.encode(Sha256::digest(refresh_token));
    format!("nepto refresh v1\n{domain}\n{token}")
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresh").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Ends this session, or all of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    /// All sessions of the account, on all devices.
    #[serde(default)]
    pub everywhere: bool,
}

/// A signed-in session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// The session's id, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub session: SessionId,
    /// The device it belongs to.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 127))]
    pub device: DeviceId,
    /// The wallet that signed it in, EIP-55.
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub wallet: String,
    /// When it signed in (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Its last refresh.
    #[serde(with = "time::serde::rfc3339")]
    pub refreshed_at: OffsetDateTime,
}

/// The signed-in sessions of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sessions {
    /// The sessions, the newest first.
    pub sessions: Vec<Session>,
}

/// The wallets of an account and the proofs that tie them together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Wallets {
    /// The wallet that names the account, EIP-55.
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub root: String,
    /// All wallets, the root first.
    pub wallets: Vec<String>,
    /// Why the others belong to it.
    pub links: Vec<WalletLink>,
}

/// Removes a device by a wallet's signature alone, without a session: for who is locked out at the device limit or lost
/// the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeByWallet {
    /// With the resource `urn:nepto:revoke:<device>`.
    pub signed: SignedMessage,
}
