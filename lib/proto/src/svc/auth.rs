//! What `auth` answers: accounts, their wallets and sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Operation, operations};
use crate::api::auth::Wallets;
use crate::{AccountId, DeviceId, SessionId};

/// Finds an account. Answers `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindAccount {
    /// By the account's id.
    Id(AccountId),
    /// By one of its wallets, EIP-55.
    Wallet(String),
}

impl Operation for FindAccount {
    type Reply = Option<FoundAccount>;
    const DOMAIN: &'static str = "auth";
    const NAME: &'static str = "find_account";
}

/// An account and its wallets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAccount {
    /// The account's id.
    pub account: AccountId,
    /// All of them, with the links between them that others check.
    pub wallets: Wallets,
}

operations! { "auth"
    /// The wallets that many accounts are known by, in one question: what is asked for a page of people. Without links and their
    /// signatures, so that the answer fits into a message of NATS. In no order; what is no account is left out.
    "root_wallets" RootWallets {
        /// At most [`RootWallets::ACCOUNTS_MAX`] ids.
        accounts: Vec<AccountId>,
    } -> Vec<RootWallet>;

    /// Ends the sessions of a device that was removed: they are dead everywhere when this is answered. Returns how many there
    /// were.
    "end_sessions" EndSessions {
        /// The account that the device belonged to.
        account: AccountId,
        /// The device's number.
        device: DeviceId,
    } -> u32;

    /// Whether a session lives. The answer is also put into Redis, under [`SessionState::key`].
    "check_session" CheckSession {
        /// The account of the access token.
        account: AccountId,
        /// The session of the access token.
        session: SessionId,
    } -> SessionState;
}

impl RootWallets {
    /// As many as a page has.
    pub const ACCOUNTS_MAX: usize = 200;
}

/// The wallet that an account is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootWallet {
    /// The account's id.
    pub account: AccountId,
    /// Its first wallet, EIP-55.
    pub wallet: String,
}

/// Whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Its access tokens are good until they expire.
    Live,
    /// It was signed out, or never was. Its tokens are void at once.
    Revoked,
}

impl SessionState {
    /// How long Redis remembers it.
    pub const CACHE_TTL: Duration = Duration::from_secs(300);

    /// The key of a session.
    pub fn key(session: SessionId) -> String {
        format!("session:{session}")
    }

    /// The value of the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Revoked => "revoked",
        }
    }
}
