//! Signing in with a wallet, sessions, and the wallets of an account.
//!
//! What must hold:
//! - a session begins only with a fresh, single-use nonce and the signature of a wallet over every checked field;
//! - a wallet belongs to one account, an account has at least one wallet, and every wallet is vouched for from the root;
//! - a refresh token works once; a second use ends the session, except right after a lost answer;
//! - an account begins only with what the operator asks for, and who has one is never asked; an invite lets in as many
//!   accounts as it says, whatever fails or happens at the same moment;
//! - who is told that a session ended can rely on it: by then it is dead in Redis, on open sockets and here, and so are
//!   the sessions of a removed device. Events that say so may be late;
//! - a wallet that is a contract belongs to one chain, and what it signed holds for as long as it says so there: sessions,
//!   devices and links end with its word. A chain that can't be asked ends nothing, and lets nobody in.

mod config;
mod consumers;
mod invites;
mod issuer;
mod jobs;
mod model;
mod ops;
mod recheck;
mod routes;
mod services;
mod sessions;
mod sign_up;
mod signing;
mod store;
#[cfg(test)]
mod tests;
mod wallets;

use nepto_kit::domain::{Api, Domain};
use nepto_kit::service::Operation;
use nepto_proto::api::auth::Wallets;
use nepto_proto::{AccountId, DeviceId};
use serde::{Deserialize, Serialize};

pub use sign_up::sign_up_needs;
pub use signing::make_token_keys;

/// The domain.
pub fn domain() -> Domain {
    Domain {
        name: "auth",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        // the only facet that has the signing key
        api: Some(|parts| {
            let auth = parts.shared(ops::Auth::new)?;
            Ok(Api { services: services::services(&auth), routes: routes::routes(issuer::Issuer::new(auth)?) })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Auth::new)?))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Auth::new)?))),
        operators: Some(|parts| Ok(invites::routes(parts.shared(ops::Auth::new)?))),
        ..Domain::NONE
    }
}

/// Finds an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindAccount {
    /// By its id.
    Id(AccountId),
    /// By one of its wallets, EIP-55.
    Wallet(String),
}

/// An account and its wallets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAccount {
    /// Its id.
    pub account: AccountId,
    /// Its wallets.
    pub wallets: Wallets,
}

impl Operation for FindAccount {
    /// `None`: no such account.
    type Reply = Option<FoundAccount>;
    const DOMAIN: &'static str = "auth";
    const NAME: &'static str = "find_account";
}

/// The wallets that many accounts are known by, in one question: what is asked for a page of people. Without links and their
/// signatures, so that the answer fits into a message of NATS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootWallets {
    /// Whose; at most [`RootWallets::ACCOUNTS_MAX`].
    pub accounts: Vec<AccountId>,
}

impl RootWallets {
    /// As many as a page has.
    pub const ACCOUNTS_MAX: usize = 200;
}

/// The wallet that an account is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootWallet {
    /// Whose.
    pub account: AccountId,
    /// EIP-55.
    pub wallet: String,
}

impl Operation for RootWallets {
    /// In no order; what is no account is left out.
    type Reply = Vec<RootWallet>;
    const DOMAIN: &'static str = "auth";
    const NAME: &'static str = "root_wallets";
}

/// Ends the sessions of a device that was removed: they are dead everywhere when this is answered. Returns how many there
/// were.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndSessions {
    /// Whose.
    pub account: AccountId,
    /// Which device's.
    pub device: DeviceId,
}

impl Operation for EndSessions {
    type Reply = u32;
    const DOMAIN: &'static str = "auth";
    const NAME: &'static str = "end_sessions";
}
