//! The collector: what happened on the chains, block by block, complete and in order.
//!
//! A watcher follows each chain (`lib/chain`), proves that no log of a block is missing, and commits what it found as numbered
//! *updates*: the chain grew, blocks were orphaned, older blocks hold more. Each of the five pipelines gets every update,
//! with the logs that are its own, over the stream `CHAIN`.
//!
//! What must hold:
//! - updates of a chain are numbered without gaps, and an update is committed together with what it says about blocks;
//! - a block counts as collected only with all its logs: proven by its receipts, or excluded by its bloom filter;
//! - nothing below a final block changes;
//! - the stream carries what is new, the database keeps everything: a pipeline that missed updates asks for them;
//! - a chain that can't be followed holds up no other.

mod contracts;
mod hooks;
mod jobs;
mod metrics;
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

use nepto_kit::config::Declared;
use nepto_kit::domain::{Api, Domain, Parts};

use crate::chains::Chains;

pub use model::pipeline_of;
pub use watcher::{Backfill, lease_of};

const SECTIONS: &[Declared] = &[Declared::of::<Chains>()];

/// The domain: what it has for each role.
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
        metrics: metrics::METRICS,
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
