//! Turning moves of a chain into updates, and committing them.

use nepto_chain::block::Block;
use nepto_chain::follow::{Known, Move};
use nepto_kit::crash;
use nepto_kit::db::Text;
use nepto_proto::chain as wire;

use super::{ChainWatcher, State, Stopped};
use crate::collector::contracts::close;
use crate::collector::model::{Contracts, UpdateBuilder};
use crate::collector::status::proof_name;
use crate::collector::store::{BlockRow, Change, ContractRow, GapRow, TipRow, block_id};

impl ChainWatcher {
    /// Commits what the chain did, then publishes to the pipelines.
    pub(super) async fn commit_move(&self, state: &mut State, next: Move) -> Result<(), Stopped> {
        crash::at("watcher", moved(&next));
        let mut known = state.known.clone();
        known.apply(&next, self.config.window_blocks);
        let mut builder = self.builder(&state.tip, known.final_height);
        let mut tip = state.tip.clone();
        let mut rows = Vec::new();
        let mut contracts = Vec::new();
        let updates = match &next {
            Move::Advance { blocks, .. } => {
                count(&mut tip, blocks);
                rows = self.rows(blocks, &known.hashes.keys().next().copied());
                builder.advance(blocks, &self.contracts)
            }
            Move::Revert { to } => {
                let depth = state.tip.height.saturating_sub(*to);
                tip.reverts += 1;
                tip.deepest_revert = tip.deepest_revert.max(depth);
                tracing::warn!(chain = self.id, to, depth, "blocks were orphaned");
                metrics::counter!("nepto_chain_reverted_blocks_total", "chain" => self.id.to_string()).increment(depth);
                contracts = above(&state.contracts, *to);
                builder.revert(*to)
            }
            Move::Finalize { .. } => builder.finalize(),
            Move::Wait => return Ok(()),
        };
        let (height, hash) = known.tip().unwrap_or_default();
        tip.step = builder.last;
        tip.height = height;
        tip.hash = Text(hash);
        tip.final_height = known.final_height;
        let lowest = |known: &Known| known.hashes.first_key_value().map(|(lowest, _)| *lowest);
        let forgotten = match &next {
            Move::Revert { to } => Some(to + 1..state.tip.height + 1),
            _ => lowest(&state.known).zip(lowest(&known)).map(|(old, floor)| old..floor),
        };
        let forget = forgotten.into_iter().collect();
        let change = Change { before: state.tip.clone(), tip, updates, blocks: rows, forget, contracts };
        self.commit(state, change).await?;
        state.known = known;
        if let Move::Advance { blocks, .. } = &next {
            self.note_sightings(blocks).await;
        }
        Ok(())
    }

    /// Notes what was collected beside what providers told. Not a part of what must hold.
    async fn note_sightings(&self, blocks: &[Block]) {
        if self.config.hooks.is_empty() {
            return;
        }
        let now_ms = self.collector.ctx.clock.now_ms();
        match self.collector.store.note_collected(self.id, blocks, now_ms).await {
            Ok(leads) => {
                for lead_ms in leads {
                    metrics::histogram!("nepto_hint_lead_seconds").record(lead_ms as f64 / 1_000.0);
                }
            }
            Err(error) => tracing::warn!(chain = self.id, %error, "who saw what was not noted"),
        }
    }

    /// Commits logs of older blocks for contracts that had missed them.
    pub(super) async fn commit_fill(
        &self,
        state: &mut State,
        gap: GapRow,
        blocks: &[Block],
        filled: &Contracts,
    ) -> Result<(), Stopped> {
        let mut builder = self.builder(&state.tip, state.known.final_height);
        crash::at("watcher", "gap read");
        let updates = builder.fill(blocks, &self.contracts);
        let mut tip = state.tip.clone();
        tip.step = builder.last;
        count(&mut tip, blocks);
        let mut contracts = state.contracts.clone();
        contracts.retain_mut(|row| {
            let is_filled = filled.0.contains_key(&row.at());
            if is_filled {
                close(&mut row.gaps, gap.from, gap.to);
            }
            is_filled
        });
        self.commit(state, Change { contracts, ..self.change(state, tip, updates) }).await?;
        crash::at("watcher", "gap filled");
        Ok(())
    }

    /// Commits which contracts are watched.
    pub(super) async fn commit_contracts(&self, state: &mut State, rows: Vec<ContractRow>) -> Result<(), Stopped> {
        let change = Change { contracts: rows, ..self.change(state, state.tip.clone(), Vec::new()) };
        self.commit(state, change).await
    }

    fn change(&self, state: &State, tip: TipRow, updates: Vec<wire::ChainUpdate>) -> Change {
        Change {
            before: state.tip.clone(),
            tip,
            updates,
            blocks: Vec::new(),
            forget: Vec::new(),
            contracts: Vec::new(),
        }
    }

    async fn commit(&self, state: &mut State, mut change: Change) -> Result<(), Stopped> {
        change.tip.at_ms = self.collector.ctx.clock.now_ms();
        self.collector.store.commit(&change).await?;
        crash::at("watcher", "committed");
        for row in change.contracts {
            match state.contracts.iter_mut().find(|known| known.address == row.address) {
                Some(known) => *known = row,
                None => state.contracts.push(row),
            }
        }
        state.tip = change.tip;
        let chain = self.id.to_string();
        metrics::gauge!("nepto_chain_height", "chain" => chain.clone()).set(state.tip.height as f64);
        metrics::gauge!("nepto_chain_final_height", "chain" => chain).set(state.tip.final_height as f64);
        if let Err(error) = self.collector.publish(&change.updates).await {
            tracing::warn!(chain = self.id, %error, "the pipelines were not told; they will ask");
        }
        crash::at("watcher", "published");
        Ok(())
    }

    fn builder(&self, tip: &TipRow, final_height: u64) -> UpdateBuilder {
        UpdateBuilder { chain_id: self.id, last: tip.step, final_height }
    }

    /// The rows of new blocks, from the lowest on that is kept.
    fn rows(&self, blocks: &[Block], floor: &Option<u64>) -> Vec<BlockRow> {
        let seen_at_ms = self.collector.ctx.clock.now_ms();
        let kept = blocks.iter().filter(|block| floor.is_some_and(|floor| block.header.number() >= floor));
        let row = |block: &Block| BlockRow {
            id: block_id(self.id, block.header.number()),
            number: block.header.number(),
            hash: Text(block.header.hash()),
            proof: proof_name(block.proof).to_owned(),
            logs: block.logs.len() as u64,
            seen_at_ms,
        };
        kept.map(row).collect()
    }
}

/// What was found, before any of it is committed.
const fn moved(next: &Move) -> &'static str {
    match next {
        Move::Advance { .. } => "advance read",
        Move::Revert { .. } => "fork found",
        Move::Finalize { .. } => "finality found",
        Move::Wait => "nothing found",
    }
}

fn count(tip: &mut TipRow, blocks: &[Block]) {
    for block in blocks {
        match block.proof.is_complete() {
            true => tip.proven += 1,
            false => tip.compared += 1,
        }
        tip.logs += block.logs.len() as u64;
    }
}

/// Contracts whose gaps reach above a height. What comes there now is collected for them as for all.
fn above(rows: &[ContractRow], height: u64) -> Vec<ContractRow> {
    let reaches = rows.iter().filter(|row| row.gaps.iter().any(|gap| gap.to > height));
    let without = |row: &ContractRow| {
        let mut row = row.clone();
        close(&mut row.gaps, height + 1, u64::MAX);
        row
    };
    reaches.map(without).collect()
}
