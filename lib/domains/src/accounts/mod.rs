//! Profiles, handles, and who may write to whom.
//!
//! What must hold:
//! - a handle belongs to one account, and so does what looks like it; one that was given up rests before it moves;
//! - writing to somebody means accepting their answers; being written to means nothing until one accepts;
//! - only what was stored is writing: what was refused makes nobody known to anybody;
//! - whoever one comes to know by one's own doing, by writing or by deciding, is a new contact, so many of which a day has;
//! - a block holds in both directions: who blocked can't write either, and learns why.

mod admin;
mod config;
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

use nepto_kit::domain::{Api, Domain};
use nepto_kit::service::Operation;
use nepto_proto::AccountId;
use serde::{Deserialize, Serialize};

pub use model::{Standing, Verdict};
#[cfg(test)]
pub(crate) use {config::Limits, ops::Accounts, store::writing_key};

/// The domain.
pub fn domain() -> Domain {
    Domain {
        name: "accounts",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let accounts = parts.shared(ops::Accounts::new)?;
            Ok(Api { services: services::services(&accounts), routes: routes::routes(accounts) })
        }),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Accounts::new)?))),
        operators: Some(|parts| Ok(admin::routes(parts.shared(ops::Accounts::new)?))),
        ..Domain::NONE
    }
}

/// Whether `from` may write to `to`. Changes nothing. An answer that is settled is also put into Redis, under
/// [`Verdict::cache_key`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MayWrite {
    /// The sender.
    pub from: AccountId,
    /// The recipient; the caller knows that it exists.
    pub to: AccountId,
}

impl Operation for MayWrite {
    type Reply = Standing;
    const DOMAIN: &'static str = "accounts";
    const NAME: &'static str = "standing";
}

/// A message of `from` is about to be stored for `to`, where [`Standing::settled`] was false: somebody new is one of the
/// day's, and answers are accepted already, because they may be faster than [`Wrote`]. Fails with `rate_limited`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BeginsToWrite {
    /// The sender.
    pub from: AccountId,
    /// The recipient.
    pub to: AccountId,
}

impl Operation for BeginsToWrite {
    type Reply = ();
    const DOMAIN: &'static str = "accounts";
    const NAME: &'static str = "begins_to_write";
}

/// It is stored: the sender accepts answers, and the recipient has something to decide about. Again does no harm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wrote {
    /// The sender.
    pub from: AccountId,
    /// The recipient.
    pub to: AccountId,
}

impl Operation for Wrote {
    type Reply = ();
    const DOMAIN: &'static str = "accounts";
    const NAME: &'static str = "wrote";
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
