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

mod consumers;
mod invites;
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

use std::sync::Arc;

use nepto_chain::rpc::RpcError;
use nepto_chain::signature::{Nodes, OnChain};
use nepto_kit::config::Chain;
use nepto_kit::domain::{Domain, Facets, Parts};
use nepto_kit::service::Operation;
use nepto_proto::api::auth::Wallets;
use nepto_proto::{AccountId, DeviceId};
use serde::{Deserialize, Serialize};

pub use sign_up::needs as sign_up_needs;
pub use signing::make_token_keys;

use crate::chains::{finality_of, urls_of};

/// The domain.
pub fn domain() -> Domain {
    Domain { name: "auth", schema: store::SCHEMA, mount }
}

fn mount(parts: &Parts) -> anyhow::Result<Facets> {
    let chains = parts.ctx.config.chains.iter().map(nodes_of).collect::<Result<Vec<_>, _>>()?;
    let auth = ops::Auth::new(parts, Arc::new(OnChain::new(chains)))?;
    Ok(Facets {
        services: services::services(&auth),
        consumers: consumers::consumers(&auth),
        jobs: jobs::jobs(&auth),
        admin: invites::routes(auth.clone()),
        routes: routes::routes(auth),
        ..Facets::default()
    })
}

/// The nodes of a chain, to ask contract wallets. They are not those that blocks are collected from: each pool knows for
/// itself how its endpoints do.
fn nodes_of(chain: &Chain) -> Result<(u64, Nodes), RpcError> {
    Ok((chain.id, Nodes::new(urls_of(chain), finality_of(chain), chain.concurrency_max)?))
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
