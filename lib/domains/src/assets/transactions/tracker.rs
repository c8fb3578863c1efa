//! Asks the nodes what became of transactions.

use std::time::Duration;

use alloy_primitives::{Address, B256, U64};
use futures_util::{StreamExt, stream};
use nepto_chain::rpc::RpcError;
use nepto_chain::source::{Source, Verdict};
use nepto_kit::db::Text;
use nepto_kit::domain::Watcher;
use nepto_kit::lease::Lease;
use nepto_kit::outbox;
use nepto_proto::api::assets::TransactionState;
use nepto_proto::event::TransactionChanged;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{TRACKED_FOR, TransactionRow};
use crate::assets::ops::Assets;
use crate::chains::{Chain, source_of};

/// How often a new one is looked at, and how often one that has been in its state for long.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// Transactions of one look, and questions at once.
const LOOK_MAX: i64 = 1_000;
const QUESTIONS_AT_ONCE: usize = 4;
/// A tracker that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// One for each chain.
pub fn watchers(assets: &Assets) -> anyhow::Result<Vec<Watcher>> {
    let watcher = |chain: &Chain| {
        let source = source_of(chain).map_err(|error| anyhow::anyhow!("chain {}: {error}", chain.id))?;
        let tracker = Tracker { assets: assets.clone(), chain: chain.id, source };
        Ok(Watcher { name: format!("transactions of chain {}", chain.id), watch: Box::pin(tracker.serve()) })
    };
    assets.chains.iter().map(watcher).collect()
}

struct Tracker {
    assets: Assets,
    chain: u64,
    source: Source,
}

/// What `eth_getTransactionReceipt` answers, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcReceipt {
    block_hash: B256,
    block_number: U64,
    status: Option<U64>,
}

/// What `eth_getTransactionByHash` answers, as far as it is needed.
#[derive(Deserialize)]
struct RpcTransaction {
    from: Address,
    nonce: U64,
}

/// How long one waits for its next turn that has been in its state for so long: a sixteenth of that.
fn wait_ms(age_ms: i64) -> i64 {
    (age_ms / 16).clamp(LOOK_EVERY.as_millis() as i64, LOOK_AT_LEAST_EVERY.as_millis() as i64)
}

impl Tracker {
    async fn serve(self) -> anyhow::Result<()> {
        let lease = Lease::new(&self.assets.ctx, &format!("tracker:{}", self.chain), LEASE_TTL);
        lease.until_stop(self.run(&lease)).await;
        Ok(())
    }

    async fn run(&self, lease: &Lease) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if lease.hold().await
                && let Err(error) = self.look().await
            {
                tracing::warn!(chain = self.chain, error = format!("{error:#}"), "transactions are not looked after");
            }
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        let now_ms = self.assets.ctx.clock.now_ms();
        let next = |row: &TransactionRow| now_ms + wait_ms(now_ms - row.since_ms);
        let rows = self.assets.store.take_turns(self.chain, now_ms, LOOK_MAX, next).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let heads = self.source.heads().await?;
        let head = heads.iter().map(|head| head.number()).max().unwrap_or_default();
        let final_height = self.source.final_height(head).await?;
        let looks = stream::iter(rows).map(|row| self.look_at(row, final_height)).buffer_unordered(QUESTIONS_AT_ONCE);
        let outcomes: Vec<anyhow::Result<()>> = looks.collect().await;
        outcomes.into_iter().collect()
    }

    async fn look_at(&self, before: TransactionRow, final_height: u64) -> anyhow::Result<()> {
        let ctx = &self.assets.ctx;
        let now_ms = ctx.clock.now_ms();
        let mut row = before.clone();
        self.ask(&mut row, final_height).await?;
        if now_ms - row.created_at_ms > TRACKED_FOR.as_millis() as i64 {
            row.is_settled = true;
        }
        if row == before {
            return Ok(());
        }
        let changed = row.state != before.state;
        if changed {
            row.since_ms = now_ms;
            row.next_look_ms = now_ms;
        }
        let event = || {
            let (hash, state) = (row.hash.0.to_string(), row.state.0);
            let event = TransactionChanged { account: row.account.0, chain_id: self.chain, hash, state };
            outbox::Row::new(&event, &ctx.clock, &ctx.random)
        };
        let event = changed.then(event).transpose()?;
        self.assets.store.update(&row, event).await?;
        self.assets.outbox.wake();
        Ok(())
    }

    /// Writes what the nodes say into a row.
    async fn ask(&self, row: &mut TransactionRow, final_height: u64) -> Result<(), RpcError> {
        let hash = json!([row.hash.0]);
        match self.answer::<RpcReceipt>("eth_getTransactionReceipt", &hash).await? {
            Some(receipt) => {
                let number = receipt.block_number.to::<u64>();
                // a node on another branch speaks of another block
                if self.source.verdict(number, receipt.block_hash).await != Verdict::Ours {
                    return Ok(());
                }
                row.block = Some(number);
                row.succeeded = receipt.status.map(|status| status == U64::from(1));
                row.is_settled = number <= final_height;
                let state = if row.is_settled { TransactionState::Final } else { TransactionState::Mined };
                row.state = Text(state);
            }
            None => {
                // it was in a block that was orphaned, or never in one
                (row.block, row.succeeded) = (None, None);
                row.state = Text(TransactionState::Pending);
                if let Some(known) = self.answer::<RpcTransaction>("eth_getTransactionByHash", &hash).await? {
                    row.sender = Some(Text(known.from));
                    row.nonce = Some(known.nonce.to());
                } else if self.is_replaced(row, final_height).await? {
                    row.state = Text(TransactionState::Dropped);
                    row.is_settled = true;
                }
            }
        }
        Ok(())
    }

    /// Whether another transaction of its sender is final at its place.
    async fn is_replaced(&self, row: &TransactionRow, final_height: u64) -> Result<bool, RpcError> {
        let (Some(Text(sender)), Some(nonce)) = (row.sender, row.nonce) else { return Ok(false) };
        let params = json!([sender, U64::from(final_height)]);
        let used: Option<U64> = self.answer("eth_getTransactionCount", &params).await?;
        Ok(used.is_some_and(|used| used.to::<u64>() > nonce))
    }

    /// The first answer that is not `null`; `None` if every node says so.
    async fn answer<T: for<'de> Deserialize<'de>>(&self, method: &str, params: &Value) -> Result<Option<T>, RpcError> {
        let validate = |answer: &str| {
            let read: Option<T> = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
            read.ok_or(RpcError::Missing)
        };
        match self.source.pool().ask(method, params, None, validate).await {
            Ok(answer) => Ok(Some(answer)),
            Err(RpcError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
