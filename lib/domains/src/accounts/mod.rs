//! Profiles, handles, and who may write to whom.
//!
//! What must hold:
//! - a handle belongs to one account, and so does what looks like it; one that was given up rests before it moves;
//! - writing to somebody means accepting their answers; being written to means nothing until one accepts;
//! - a block holds in both directions: who blocked can't write either, and learns why.

mod admin;
#[cfg(test)]
mod handle_tests;
mod handles;
mod jobs;
mod model;
mod ops;
mod routes;
mod services;
mod store;
#[cfg(test)]
mod tests;

use nepto_kit::domain::{Domain, Facets, Parts};
use nepto_kit::service::Operation;
use nepto_proto::AccountId;
use serde::{Deserialize, Serialize};

pub use model::Verdict;

/// The domain.
pub fn domain() -> Domain {
    Domain { name: "accounts", schema: store::SCHEMA, mount }
}

fn mount(parts: &Parts) -> anyhow::Result<Facets> {
    let accounts = ops::Accounts::new(parts);
    Ok(Facets {
        services: services::services(&accounts),
        jobs: jobs::jobs(&accounts),
        admin: admin::routes(accounts.clone()),
        routes: routes::routes(accounts),
        ..Facets::default()
    })
}

/// Whether `from` may write to `to`, and makes them known to each other. Also puts the answer into Redis, under
/// [`Verdict::cache_key`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MayWrite {
    /// The sender.
    pub from: AccountId,
    /// The recipient; the caller knows that it exists.
    pub to: AccountId,
}

impl Operation for MayWrite {
    type Reply = Verdict;
    const DOMAIN: &'static str = "accounts";
    const NAME: &'static str = "may_write";
}

/// Which of these accounts have accepted the asker, and so show it that they are online.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhoAccepts {
    /// Who asks.
    pub asker: AccountId,
    /// About whom.
    pub accounts: Vec<AccountId>,
}

impl Operation for WhoAccepts {
    type Reply = Vec<AccountId>;
    const DOMAIN: &'static str = "accounts";
    const NAME: &'static str = "who_accepts";
}
