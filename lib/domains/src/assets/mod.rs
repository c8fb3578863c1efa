//! Who holds what on the watched chains: amounts, tokens, stakes, and how they came there.
//!
//! Five pipelines take what the collector publishes (`pipeline/`), decode it (`decode/`) and keep it (`store/`). What is said
//! about tokens is fetched when somebody asks for it (`metadata/`).
//!
//! What must hold:
//! - an event counts once, however often it is told, and the cursor of a pipeline is committed with what it did;
//! - after a reorganization everything is as if only the remaining blocks had ever been there;
//! - what is final and what may still change are told apart, everywhere;
//! - a pipeline that fails, hangs or is paused holds up no other, and no other chain;
//! - what is held depends on the events alone, never on the order in which they are heard of;
//! - an event that can't be decoded with certainty changes nothing and is dead-lettered with its reason, and its contract is
//!   not complete until that is settled.

mod config;
mod consumers;
mod decode;
mod messages;
mod metadata;
mod metrics;
mod model;
mod ops;
mod owners;
mod pipeline;
mod routes;
mod services;
mod shapes;
mod store;
#[cfg(test)]
mod tests;
mod transactions;
mod turns;

use nepto_kit::domain::{Api, Domain, Parts};

use nepto_proto::svc::collector::Pipeline;

pub use metadata::{is_image_file, is_image_name, kept_images};
pub use pipeline::lease_of;

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "assets",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let assets = parts.shared(ops::Assets::new)?;
            let metadata = metadata::Metadata::new(&assets);
            Ok(Api {
                services: services::services(&assets),
                routes: routes::routes(assets.clone())
                    .merge(messages::routes(assets.clone()))
                    .merge(transactions::routes(assets))
                    .merge(metadata::routes(metadata)),
            })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Assets::new)?))),
        jobs: Some(|parts| Ok(metadata::jobs(&metadata::Metadata::new(&parts.shared(ops::Assets::new)?)))),
        watchers: Some(|parts| transactions::watchers(&parts.shared(ops::Assets::new)?)),
        metrics: metrics::METRICS,
        ..Domain::NONE
    }
}

/// Deletes what is known through the updates of a chain, while nobody holds a [`lease_of`] it. How many rows that were.
pub async fn forget(parts: &Parts, chain: u64) -> anyhow::Result<u64> {
    let mut all = 0;
    for table in store::BY_CHAIN {
        all += parts.db()?.delete_under(table, &chain.to_string()).await?;
    }
    for table in store::BY_PIPELINE {
        for pipeline in Pipeline::ALL {
            all += parts.db()?.delete_under(table, &format!("'{}', {chain}", pipeline.as_str())).await?;
        }
    }
    Ok(all)
}
