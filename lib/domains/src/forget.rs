//! A chain that is begun anew: all that was collected of it goes.

use nepto_kit::{Ctx, dead_letters};
use nepto_proto::subject::{self, CHAIN_STREAM};

use crate::collector::Pipeline;
use crate::{assets, collector};

/// Deletes what is known of a chain, while nothing follows it. Accounts, messages, and what accounts want to hear about
/// stay. Broken off, it can be run again. How many rows that were.
pub async fn forget_chain(ctx: &Ctx, chain: u64) -> anyhow::Result<u64> {
    let collector = collector::forget(&collector::domain().parts(ctx).await?, chain).await?;
    let assets = assets::forget(&assets::domain().parts(ctx).await?, chain).await?;
    let stream = ctx.jetstream.get_stream(CHAIN_STREAM).await?;
    for pipeline in Pipeline::ALL {
        // steps are numbered anew: what is left of the old ones would be taken for others
        let subject = subject::chain(pipeline.as_str(), chain);
        dead_letters::drop_of(ctx, &subject).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        stream.purge().filter(subject).await?;
    }
    Ok(collector + assets)
}
