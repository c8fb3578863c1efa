//! What the watcher, other domains and operators ask of what was collected.

use std::sync::Arc;

use alloy_primitives::hex;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use futures_util::future::try_join_all;
use nepto_kit::domain::Parts;
use nepto_kit::{Ctx, Failure, crash};
use nepto_proto::chain as wire;
use nepto_proto::subject;
use nepto_proto::svc::collector::{FindGaps, Gap, Pipeline, ReplayUpdates, Replayed};
use prost::Message;

use super::contracts;
use super::model::{Contracts, WatchedContract, for_pipeline};
use super::store::{ContractRow, Store};
use crate::chains::{Chain, Chains, Contract};

/// Updates that are sent again at once.
const REPLAY_MAX: usize = 200;

/// What the domain can do, over its tables and the configured chains. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    pub ctx: Ctx,
    pub store: Store,
    pub chains: Arc<Chains>,
}

impl Collector {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        Ok(Self { store: Store::new(parts.db()?), chains: ctx.config.section(), ctx })
    }

    /// Publishes these updates to every pipeline. They are committed already: what does not get through is asked for later.
    pub async fn publish(&self, updates: &[wire::ChainUpdate]) -> anyhow::Result<()> {
        let mut acks = Vec::new();
        for update in updates {
            for pipeline in Pipeline::ALL {
                acks.push(self.send(update, pipeline, true).await?);
                crash::at("watcher", "published one");
            }
        }
        try_join_all(acks).await?;
        Ok(())
    }

    async fn send(
        &self,
        update: &wire::ChainUpdate,
        pipeline: Pipeline,
        once: bool,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let mut headers = HeaderMap::new();
        if once {
            // a restored database, or a fork, may give a number to another update: what it says is part of its id
            let hash = match &update.what {
                Some(wire::chain_update::What::Advance(advance)) => hex::encode(&advance.hash),
                _ => String::new(),
            };
            let id = format!("{}:{}:{}:{hash}", pipeline.as_str(), update.chain_id, update.number);
            headers.insert(NATS_MESSAGE_ID, id);
        }
        let subject = subject::chain(pipeline.as_str(), update.chain_id);
        let body = for_pipeline(update, pipeline).encode_to_vec();
        let ack = self.ctx.jetstream.publish_with_headers(subject, headers, body.into()).await?;
        Ok(async move { ack.await.map(drop).map_err(anyhow::Error::from) })
    }

    /// Looks for what is not collected yet, and publishes it as metrics: a gap that does not shrink is worth an alarm.
    pub async fn scan_gaps(&self) -> anyhow::Result<String> {
        let (mut heights, mut contracts) = (0, 0);
        for chain in self.chains.iter() {
            let rows = self.store.contracts(chain.id).await?;
            let missing = rows.iter().filter(|row| row.left_at.is_none() && !row.gaps.is_empty());
            let of_chain: u64 = missing.clone().flat_map(|row| &row.gaps).map(|gap| gap.to - gap.from + 1).sum();
            contracts += missing.count();
            heights += of_chain;
            metrics::gauge!("nepto_chain_gap_blocks", "chain" => chain.id.to_string()).set(of_chain as f64);
        }
        Ok(format!("{heights} blocks are still to be read for {contracts} contracts"))
    }

    /// What is not read yet of the contracts of a chain; all of it if the chain is not begun.
    pub async fn gaps(&self, request: &FindGaps) -> Result<Vec<Gap>, Failure> {
        let Some(chain) = self.chains.get(request.chain_id) else {
            return Ok(Vec::new());
        };
        let Some(tip) = self.store.tip(chain.id).await? else {
            let whole =
                |contract: &Contract| Gap { contract: contract.address, from: contract.start_block, to: u64::MAX };
            return Ok(chain.contracts.iter().map(whole).collect());
        };
        let stored = self.store.contracts(chain.id).await?;
        // the watcher may not have seen the configuration yet
        let changed = contracts::reconcile(&stored, &chain.contracts, tip.anchor, tip.height);
        let is_changed = |row: &&ContractRow| changed.iter().any(|newer| newer.address == row.address);
        let rows = stored.iter().filter(|row| !is_changed(row)).chain(&changed);
        let gaps = rows.filter(|row| row.left_at.is_none()).flat_map(|row| {
            let of = row.at();
            row.gaps.iter().map(move |gap| Gap { contract: of, from: gap.from, to: gap.to })
        });
        Ok(gaps.collect())
    }

    /// Sends updates once more to one pipeline.
    pub async fn replay(&self, request: &ReplayUpdates) -> Result<Replayed, Failure> {
        let tip = self.store.tip(request.chain_id).await?;
        let last = tip.map_or(0, |tip| tip.step);
        if request.from > last {
            return Ok(Replayed { sent: 0, last });
        }
        let updates = self.store.updates(request.chain_id, request.from, REPLAY_MAX).await?;
        let mut acks = Vec::new();
        for update in &updates {
            acks.push(self.send(update, request.pipeline, false).await.map_err(|e| Failure::unavailable("NATS", e))?);
        }
        let sent = acks.len() as u64;
        try_join_all(acks).await.map_err(|error| Failure::unavailable("NATS", error))?;
        metrics::counter!("nepto_chain_updates_replayed_total", "pipeline" => request.pipeline.as_str())
            .increment(sent);
        Ok(Replayed { sent, last })
    }
}

/// The contracts of a chain, by address.
pub fn contracts_of(chain: &Chain) -> Contracts {
    let watched = |contract: &Contract| {
        (contract.address, WatchedContract { kind: contract.kind, start_block: contract.start_block })
    };
    Contracts(chain.contracts.iter().map(watched).collect())
}
