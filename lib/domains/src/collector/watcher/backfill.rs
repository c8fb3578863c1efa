//! Reading older blocks: for contracts that came later, and because an operator asks for it.

use std::time::Duration;

use nepto_chain::rpc::RpcError;
use nepto_chain::source::Verdict;
use nepto_kit::Ctx;

use super::{ChainWatcher, State, Stopped};
use crate::collector::contracts::{add, next_gap};
use crate::collector::model::Contracts;
use crate::collector::ops::Collector;
use crate::collector::store::GapRow;

/// Between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl ChainWatcher {
    /// Reads a piece of the newest gap; whether there was one.
    pub(super) async fn fill_some(&self, state: &mut State) -> Result<bool, Stopped> {
        let Some((gap, addresses)) = next_gap(&state.contracts, state.span.0) else { return Ok(false) };
        let started = tokio::time::Instant::now();
        let filled = Contracts(addresses.iter().filter_map(|at| Some((*at, *self.contracts.0.get(at)?))).collect());
        let blocks = self.read(gap, &filled).await.inspect_err(|_| state.span.shrink())?;
        let logs = blocks.iter().map(|block| block.logs.len()).sum();
        state.span.note(started.elapsed(), logs);
        self.commit_fill(state, gap, &blocks, &filled).await?;
        Ok(true)
    }

    /// All blocks of a gap, in one chain; the last is what most endpoints know at its height.
    async fn read(&self, gap: GapRow, contracts: &Contracts) -> Result<Vec<nepto_chain::block::Block>, RpcError> {
        let GapRow { from, to } = gap;
        let parent = self.source.header(from).await?.parent();
        let blocks = self.source.blocks(from, to, parent, &contracts.watch()).await?;
        let last = blocks.last().ok_or(RpcError::Missing)?;
        if last.header.number() != to {
            return Err(RpcError::Missing);
        }
        if self.source.pool().endpoints().len() > 1
            && self.source.verdict(to, last.header.hash()).await != Verdict::Ours
        {
            return Err(RpcError::Lie(format!("most endpoints know another block {to}")));
        }
        Ok(blocks)
    }
}

/// Reads a range of blocks of one chain, for every contract that has not seen them yet.
pub struct Backfill {
    watcher: ChainWatcher,
    state: State,
    from: u64,
    to: u64,
    total: u64,
    logs_before: u64,
}

impl Backfill {
    /// Prepares it: `None` for `to` means the newest block. Fails if the chain is not configured or not begun.
    pub async fn new(ctx: &Ctx, chain_id: u64, from: u64, to: Option<u64>) -> anyhow::Result<Self> {
        let collector = Collector::new(&crate::collector::domain().open(ctx).await?)?;
        let chain = collector.chains.get(chain_id);
        let chain = chain.ok_or_else(|| anyhow::anyhow!("chain {chain_id} is not in the configuration"))?;
        let watcher = ChainWatcher::new(&collector, chain)?;
        let state = watcher.load().await?.ok_or_else(|| anyhow::anyhow!("the chain can't be read yet"))?;
        let to = to.unwrap_or(state.tip.height).min(state.tip.height);
        let logs_before = state.tip.logs;
        let mut backfill = Self { watcher, state, from: from.max(1), to, total: 0, logs_before };
        backfill.widen().await?;
        backfill.total = backfill.left();
        Ok(backfill)
    }

    /// Heights to read, counted once for each contract.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Logs that were read since the beginning.
    pub fn logs(&self) -> u64 {
        self.state.tip.logs.saturating_sub(self.logs_before)
    }

    /// Contracts that begin later than the range miss it.
    async fn widen(&mut self) -> Result<(), Stopped> {
        let mut changed = Vec::new();
        for row in self.state.contracts.iter().filter(|row| row.left_at.is_none() && row.start_block > self.from) {
            let mut row = row.clone();
            add(&mut row.gaps, self.from, self.to.min(row.start_block - 1));
            if self.to >= row.start_block - 1 {
                row.start_block = self.from;
            }
            changed.push(row);
        }
        if changed.is_empty() { Ok(()) } else { self.watcher.commit_contracts(&mut self.state, changed).await }
    }

    fn left(&self) -> u64 {
        let within = |gap: &GapRow| (gap.to.min(self.to) + 1).saturating_sub(gap.from.max(self.from));
        let active = self.state.contracts.iter().filter(|row| row.left_at.is_none());
        active.flat_map(|row| &row.gaps).map(within).sum()
    }

    /// Reads a piece and answers what is left; 0 is the end. A node that fails is tried again.
    pub async fn proceed(&mut self) -> anyhow::Result<u64> {
        loop {
            if self.left() == 0 {
                return Ok(0);
            }
            match self.watcher.fill_some(&mut self.state).await {
                Ok(_) => return Ok(self.left()),
                Err(Stopped::Stale) => {
                    if let Some(state) = self.watcher.load().await? {
                        self.state = state;
                    }
                }
                Err(Stopped::Follow(error)) => {
                    tracing::warn!(%error, "will be tried again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
