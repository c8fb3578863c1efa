//! The collector: what happened on the chains, block by block, complete and in order.
//!
//! A watcher follows each chain (`lib/chain`), proves that no log of a block is missing, and commits what it found as numbered
//! *steps*: the chain grew, blocks were given up, older blocks hold more. Each of the five pipelines is told every step, with
//! the logs that are its own, over the stream `CHAIN`.
//!
//! What must hold:
//! - steps of a chain are numbered without gaps, and a step is committed together with what it says about blocks;
//! - a block counts as collected only with all its logs: proven by its receipts, or excluded by its bloom filter;
//! - nothing below a final block changes;
//! - the stream carries what is new, the database keeps everything: a pipeline that missed steps asks for them;
//! - a chain that can't be followed holds up no other.

mod contracts;
mod hooks;
mod jobs;
mod model;
mod ops;
mod parts;
mod services;
mod sightings;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod watcher;

use alloy_primitives::Address;
use nepto_kit::config::Declared;
use nepto_kit::domain::{Api, Domain, Parts};
use nepto_kit::service::Operation;
use serde::{Deserialize, Serialize};

use crate::chains::Chains;

pub use model::pipeline_of;
pub use ops::source_of;
pub use watcher::{Backfill, lease_of};

const SECTIONS: &[Declared] = &[Declared::of::<Chains>()];

/// The domain.
pub fn domain() -> Domain {
    Domain {
        name: "collector",
        schema: store::SCHEMA,
        sections: SECTIONS,
        api: Some(|parts| {
            let collector = parts.shared(ops::Collector::new)?;
            let hooks = hooks::Hooks::load(&collector.chains)?;
            Ok(Api { services: services::services(&collector), routes: hooks::routes(collector, hooks) })
        }),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Collector::new)?))),
        watchers: Some(|parts| watcher::watchers(&parts.shared(ops::Collector::new)?)),
        operators: Some(|parts| Ok(status::routes(parts.shared(ops::Collector::new)?))),
        ..Domain::NONE
    }
}

/// Deletes all that is known of a chain, while nobody holds its [`lease_of`]. How many rows that were.
pub async fn forget(parts: &Parts, chain: u64) -> anyhow::Result<u64> {
    let mut all = 0;
    for table in store::TABLES {
        all += parts.db()?.delete_under(table, &chain.to_string()).await?;
    }
    Ok(all)
}

/// The five, each a durable consumer of its own for every chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// Fungible tokens.
    Erc20,
    /// Tokens of which each is one.
    Erc721,
    /// Tokens of many kinds.
    Erc1155,
    /// Stakes and rewards.
    Staking,
    /// Messages with payments.
    Multisend,
}

impl Pipeline {
    /// All, in the order of `nats/streams.toml`.
    pub const ALL: [Self; 5] = [Self::Erc20, Self::Erc721, Self::Erc1155, Self::Staking, Self::Multisend];

    /// Its name: the consumer, the subject, the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erc20 => "erc20",
            Self::Erc721 => "erc721",
            Self::Erc1155 => "erc1155",
            Self::Staking => "staking",
            Self::Multisend => "multisend",
        }
    }
}

/// Asks for steps once more, from a number on; they come over the stream `CHAIN`. Answers how many were sent, and the last
/// that there is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplaySteps {
    /// For whom.
    pub pipeline: Pipeline,
    /// Of which chain.
    pub chain_id: u64,
    /// The first one wanted.
    pub from: u64,
}

/// Asks for the older blocks that are still to be read for the contracts of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindGaps {
    /// Which chain.
    pub chain_id: u64,
}

/// Blocks that are still to be read for a contract: what was in them is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// For which.
    pub contract: Address,
    /// The first block.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Operation for FindGaps {
    type Reply = Vec<Gap>;
    const DOMAIN: &'static str = "collector";
    const NAME: &'static str = "find_gaps";
}

/// What [`ReplaySteps`] did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Replayed {
    /// Steps that were sent.
    pub sent: u64,
    /// The last step of the chain.
    pub last: u64,
}

impl Operation for ReplaySteps {
    type Reply = Replayed;
    const DOMAIN: &'static str = "collector";
    const NAME: &'static str = "replay_steps";
}
