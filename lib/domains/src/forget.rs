//! A chain that is started over: all that was collected of it goes.

use nepto_kit::{Ctx, dead_letters, lease};
use nepto_proto::subject::{self, CHAIN_STREAM};
use nepto_proto::svc::collector::Pipeline;

use crate::{assets, collector};

/// Deletes what is known of a chain, while nothing follows it. Accounts, messages, and what accounts want to hear about
/// stay. Broken off, it can be run again. How many rows that were.
pub async fn forget_chain(ctx: &Ctx, chain: u64) -> anyhow::Result<u64> {
    let watcher = (collector::lease_of(chain), "watcher");
    let workers = Pipeline::ALL.map(|pipeline| (assets::lease_of(pipeline, chain), "worker"));
    for (name, role) in [watcher].into_iter().chain(workers) {
        let is_held = lease::is_held(ctx, &name).await?;
        anyhow::ensure!(!is_held, "a {role} follows chain {chain}, or did until a moment ago: stop it first");
    }
    let collector = collector::forget(&collector::domain().open(ctx).await?, chain).await?;
    let assets = assets::forget(&assets::domain().open(ctx).await?, chain).await?;
    let stream = ctx.jetstream.get_stream(CHAIN_STREAM).await?;
    for pipeline in Pipeline::ALL {
        // updates will be numbered from 1: what is left of the old ones would be taken for the new
        let (letters, updates) =
            (subject::dead_letter(CHAIN_STREAM, pipeline.as_str()), subject::chain(pipeline.as_str(), chain));
        dead_letters::drop_of(ctx, &letters, &updates).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        stream.purge().filter(updates).await?;
    }
    Ok(collector + assets)
}
