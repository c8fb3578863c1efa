//! The five pipelines: each takes the updates of each chain in order, and commits what they do together with its cursor.
//!
//! An update that was taken is passed over; one that is missing is asked for. So it does not matter how often or in which order
//! the stream delivers, and a pipeline that stood still for days, or whose messages are lost, catches up by itself. An event
//! that can't be decoded is dead-lettered in `DLQ`, and the rest goes on.

mod decoding;
mod linked_wallets;
mod worker;

use std::sync::Arc;

use futures_util::future::join_all;
use nepto_kit::consumer::Consumer;
use nepto_proto::svc::collector::Pipeline;

#[cfg(test)]
pub use self::decoding::read;
use self::linked_wallets::LinkedWallets;
use self::worker::PipelineWorker;
pub use self::worker::lease_of;
use super::ops::Assets;

/// A consumer for each pipeline, with a [`PipelineWorker`] for each chain.
pub fn consumers(assets: &Assets) -> Vec<Consumer> {
    let linked = Arc::new(LinkedWallets::default());
    let consumer = |pipeline: Pipeline| {
        let (assets, linked) = (assets.clone(), linked.clone());
        Consumer::new(pipeline.as_str(), move |ctx| async move {
            let chains: Vec<u64> = assets.chains.iter().map(|chain| chain.id).collect();
            let workers =
                chains.into_iter().map(|chain| PipelineWorker::new(&assets, pipeline, chain, linked.clone()).serve());
            let workers = async {
                // before, a change would be nobody's
                ctx.stop.run_until_cancelled(linked.known()).await;
                join_all(workers).await;
                ctx.stop.cancelled().await;
            };
            tokio::select! {
                () = workers => {}
                () = linked.keep_up(&assets.store) => {}
            }
            Ok(())
        })
    };
    Pipeline::ALL.into_iter().map(consumer).collect()
}
