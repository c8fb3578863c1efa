//! Follows each chain, one process at a time, and commits what it finds.

mod backfill;
mod commit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use futures_util::StreamExt;
use nepto_chain::block::Proof;
use nepto_chain::follow::{self, FollowError, Known, Move};
use nepto_chain::rpc::{Endpoint, RpcError};
use nepto_chain::source::Source;
use nepto_chain::wake;
use nepto_kit::clock::backoff;
use nepto_kit::consumer::Heartbeat;
use nepto_kit::db::{DbError, Text};
use nepto_kit::domain::Watcher;
use nepto_kit::lease::Lease;
use nepto_proto::subject;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use self::backfill::Backfill;
use super::contracts::{self, next_gap};
use super::model::Contracts;
use super::ops::{Collector, contracts_of};
use super::status::{self, Live};
use super::store::{BlockRow, ContractRow, TipRow, block_id};
use crate::chains::{Chain, source_of};

/// A watcher that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(15);
/// How often the lease is renewed and the status published.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// One reading takes no longer than this, or has failed.
const READING_WITHIN: Duration = Duration::from_secs(120);
/// A loop that is silent for longer has stalled.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Between two tries while the nodes can't be asked.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Blocks that are read at once: first, and at most.
const SPAN_FIRST: u64 = 16;
const SPAN_MAX: u64 = 512;
/// What one reading should take, and hold, at most.
const READING_MAX: Duration = Duration::from_millis(1_500);
const READING_LOGS_MAX: usize = 10_000;

/// One watcher for each chain of the configuration.
pub fn watchers(collector: &Collector) -> anyhow::Result<Vec<Watcher>> {
    let watcher = |chain: &Chain| {
        let chain = ChainWatcher::new(collector, chain)?;
        Ok(Watcher { name: format!("chain {}", chain.id), watch: Box::pin(chain.serve()) })
    };
    collector.chains.iter().map(watcher).collect()
}

/// Follows one chain for as long as the process lives.
pub struct ChainWatcher {
    id: u64,
    collector: Collector,
    config: Chain,
    source: Source,
    contracts: Contracts,
    wake: Arc<Notify>,
    live: Live,
}

/// What is known of the chain, as it stands in the database.
pub struct State {
    tip: TipRow,
    known: Known,
    contracts: Vec<ContractRow>,
    span: Span,
}

/// How many blocks to read at once, by how long that takes.
struct Span(u64);

impl Span {
    fn note(&mut self, took: Duration, logs: usize) {
        if took > READING_MAX || logs > READING_LOGS_MAX {
            self.shrink();
        } else if took < READING_MAX / 3 && logs < READING_LOGS_MAX / 3 {
            self.0 = (self.0 * 2).min(SPAN_MAX);
        }
    }

    fn shrink(&mut self) {
        self.0 = (self.0 / 2).max(1);
    }
}

/// Why following stopped for now.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Another process committed an update.
    #[error("another watcher was faster")]
    Stale,
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(
        "{address} was collected as `{was}` and is now declared as `{is}`: what its events meant then can't be taken back; \
         declare it as `{was}`, or not at all"
    )]
    Redeclared { address: Address, was: String, is: &'static str },
    #[error("no node gives all of blocks {from} to {to}, which are still to be read")]
    Gap { from: u64, to: u64 },
    #[error("the database: {0}")]
    Database(DbError),
}

impl From<RpcError> for Stopped {
    fn from(error: RpcError) -> Self {
        Self::Follow(error.into())
    }
}

/// The lease of whoever follows a chain.
pub fn lease_of(chain: u64) -> String {
    format!("watcher:{chain}")
}

impl From<DbError> for Stopped {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Stale => Self::Stale,
            error => Self::Database(error),
        }
    }
}

impl ChainWatcher {
    pub fn new(collector: &Collector, config: &Chain) -> anyhow::Result<Self> {
        let source = source_of(config).map_err(|error| anyhow::anyhow!("chain {}: {error}", config.id))?;
        Ok(Self {
            id: config.id,
            collector: collector.clone(),
            config: config.clone(),
            source,
            contracts: contracts_of(config),
            wake: Arc::new(Notify::new()),
            live: Live::default(),
        })
    }

    /// Watches until the process stops.
    async fn serve(mut self) -> anyhow::Result<()> {
        let mut wakes = JoinSet::new();
        for endpoint in &self.config.ws {
            let (url, wake) = (endpoint.0.clone(), self.wake.clone());
            wakes.spawn(async move { wake::new_heads(url, &wake).await });
        }
        let mut hints = self.collector.ctx.nats.subscribe(subject::chain_hint(self.id)).await?;
        let wake = self.wake.clone();
        wakes.spawn(async move {
            while hints.next().await.is_some() {
                wake.notify_one();
            }
        });
        let lease = Lease::new(&self.collector.ctx, &lease_of(self.id), LEASE_TTL);
        lease.until_stop(self.run(&lease)).await;
        Ok(())
    }

    async fn run(&mut self, lease: &Lease) {
        let ctx = self.collector.ctx.clone();
        let beat = Heartbeat::of_loop(&ctx, format!("watcher of chain {}", self.id), SILENCE_MAX);
        let mut attempt = 0;
        loop {
            beat.beat(&ctx);
            if !lease.hold().await {
                tokio::time::sleep(RENEW_EVERY).await;
                continue;
            }
            let stopped = match self.follow(lease, &beat, &mut attempt).await {
                Ok(()) => continue,
                Err(stopped) => stopped,
            };
            attempt += 1;
            self.live.last_error = Some(stopped.to_string());
            match &stopped {
                Stopped::Stale => tracing::info!(chain = self.id, "another watcher was faster; reading again"),
                Stopped::Follow(FollowError::TooDeep { .. }) => {
                    metrics::counter!("nepto_chain_halted_total", "chain" => self.id.to_string()).increment(1);
                    tracing::error!(chain = self.id, error = %stopped, "nothing more is collected of this chain");
                }
                _ => tracing::warn!(chain = self.id, error = %stopped, attempt, "will be tried again"),
            }
            self.publish_status().await;
            let pause = match &stopped {
                Stopped::Follow(FollowError::Rpc(
                    RpcError::Limited(Some(wait)) | RpcError::Resting { left: wait, .. },
                )) => (*wait).min(RETRY_MAX),
                _ => backoff(&ctx.random, attempt, RETRY_FIRST, RETRY_MAX),
            };
            tokio::time::sleep(pause + RETRY_FIRST / 4).await;
        }
    }

    /// Follows until the lease is lost or something fails.
    async fn follow(&mut self, lease: &Lease, beat: &Heartbeat, attempt: &mut u32) -> Result<(), Stopped> {
        let Some(mut state) = self.load().await? else {
            self.live.last_error =
                Some("no block of the chain can be read yet, or its first contract is still to come".into());
            self.publish_status().await;
            tokio::time::sleep(Duration::from_millis(self.config.poll_ms)).await;
            return Ok(());
        };
        let mut renewed = tokio::time::Instant::now();
        loop {
            beat.beat(&self.collector.ctx);
            if renewed.elapsed() > RENEW_EVERY {
                renewed = tokio::time::Instant::now();
                self.publish_status().await;
                if !lease.hold().await {
                    return Ok(());
                }
            }
            let step = tokio::time::timeout(READING_WITHIN, self.step(&mut state)).await;
            let is_idle = step.unwrap_or_else(|_| Err(RpcError::Failed("reading took too long".into()).into()))?;
            *attempt = 0;
            if is_idle {
                self.publish_status().await;
                let poll = tokio::time::sleep(Duration::from_millis(self.config.poll_ms));
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = poll => {}
                }
            }
        }
    }

    /// One move of the chain, or a piece of an older gap; whether there was nothing to do.
    async fn step(&mut self, state: &mut State) -> Result<bool, Stopped> {
        let started = tokio::time::Instant::now();
        let watch = self.contracts.watch();
        let (next, last_error) = match follow::next(&self.source, &state.known, &watch, state.span.0).await {
            Ok(next) => (next, None),
            // mostly a node that lags for a moment: said where one looks, and nowhere else
            Err(error @ FollowError::NoBlock { .. }) => (Move::Wait, Some(error.to_string())),
            Err(error) => {
                state.span.shrink();
                return Err(error.into());
            }
        };
        if let Move::Advance { blocks, head, .. } = &next {
            let logs = blocks.iter().map(|block| block.logs.len()).sum();
            self.live.head = *head;
            if *head > state.tip.height + state.span.0 {
                state.span.note(started.elapsed(), logs);
            }
        } else {
            let heads = self.source.pool().endpoints().iter().map(Endpoint::head);
            self.live.head = heads.fold(self.live.head.max(state.tip.height), u64::max);
        }
        metrics::gauge!("nepto_chain_head", "chain" => self.id.to_string()).set(self.live.head as f64);
        let is_idle = if next == Move::Wait {
            !self.fill(state).await?
        } else {
            self.commit_move(state, next).await?;
            false
        };
        self.live.last_error = last_error;
        Ok(is_idle)
    }

    /// A piece of an older gap; whether there was one.
    async fn fill(&self, state: &mut State) -> Result<bool, Stopped> {
        let gap = next_gap(&state.contracts, state.span.0).map(|(gap, _)| gap);
        self.fill_some(state).await.map_err(|stopped| match (stopped, gap) {
            (Stopped::Follow(FollowError::Rpc(RpcError::Missing | RpcError::NoBlock(_))), Some(gap)) => {
                Stopped::Gap { from: gap.from, to: gap.to }
            }
            (stopped, _) => stopped,
        })
    }

    /// What the database knows; begins the chain if it knows nothing.
    async fn load(&self) -> Result<Option<State>, Stopped> {
        let store = &self.collector.store;
        let Some(tip) = store.tip(self.id).await? else {
            let begun = self.begin().await?;
            return if begun { Box::pin(self.load()).await } else { Ok(None) };
        };
        let hashes: BTreeMap<u64, B256> = store.window(self.id).await?;
        let stored = store.contracts(self.id).await?;
        if let Some((contract, was)) = contracts::redeclared(&stored, &self.config.contracts) {
            let (address, is) = (contract.address, contract.kind.as_str());
            return Err(Stopped::Redeclared { address, was: was.to_owned(), is });
        }
        let changed = contracts::reconcile(&stored, &self.config.contracts, tip.anchor, tip.height);
        let known = Known { hashes, final_height: tip.final_height };
        let mut state = State { tip, known, contracts: stored, span: Span(SPAN_FIRST) };
        if !changed.is_empty() {
            self.commit_contracts(&mut state, changed).await?;
        }
        Ok(Some(state))
    }

    /// Takes the block below the first that is wanted as the one to stand on; whether it is there.
    async fn begin(&self) -> Result<bool, Stopped> {
        let first = self.config.contracts.iter().map(|contract| contract.start_block).min();
        let heads = self.source.heads().await?;
        let head = heads.iter().map(|head| head.number()).max().unwrap_or_default();
        let height = first.map_or(head, |first| first.saturating_sub(1));
        if height > head {
            return Ok(false);
        }
        let anchor = self.source.header(height).await?;
        let final_height = self.source.final_height(head).await?.min(height);
        let now_ms = self.collector.ctx.clock.now_ms();
        let tip = TipRow {
            chain: self.id,
            step: 0,
            anchor: height,
            height,
            hash: Text(anchor.hash()),
            final_height,
            proven: 0,
            compared: 0,
            logs: 0,
            reverts: 0,
            deepest_revert: 0,
            at_ms: now_ms,
        };
        let block = BlockRow {
            id: block_id(self.id, height),
            number: height,
            hash: Text(anchor.hash()),
            proof: status::proof_name(Proof::Bloom).to_owned(),
            logs: 0,
            seen_at_ms: now_ms,
        };
        self.collector.store.begin(tip, block).await?;
        tracing::info!(chain = self.id, above = height, "the chain is begun");
        Ok(true)
    }

    /// Publishes how it goes, for operators.
    async fn publish_status(&mut self) {
        self.live.endpoints = self.source.pool().status();
        status::publish(&self.collector.ctx, self.id, &self.live).await;
    }
}
