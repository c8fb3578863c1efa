//! "Your transfer is pending, mined, final, dropped": transactions that an account wants to hear about.
//!
//! A transaction is dropped only when another one of its sender is final at its place (its nonce). A node that does not know it says
//! nothing: it may lag, and the transaction may wait elsewhere.

mod routes;
mod store;
mod tracker;

use std::time::Duration;

use alloy_primitives::B256;
use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_proto::api::assets::Transaction;
use nepto_proto::{AccountId, ErrorCode};

use super::ops::Assets;

pub use routes::routes;
pub use store::TransactionRow;
pub use tracker::watchers;

/// Transactions of one account that are looked after at once.
const TRACKED_MAX: i64 = 100;
/// One that is neither final nor dropped after this is looked after no longer.
const TRACKED_FOR: Duration = Duration::from_secs(7 * 86_400);

impl Assets {
    /// Looks after a transaction from now on. Asking again changes nothing.
    pub async fn track(&self, account: AccountId, chain: u64, hash: B256) -> Result<Transaction, Failure> {
        self.chain(chain)?;
        let row = TransactionRow::new(account, chain, hash, self.ctx.clock.now_ms());
        self.store.track(&row, TRACKED_MAX).await?;
        self.transaction(account, chain, hash).await
    }

    pub async fn transaction(&self, account: AccountId, chain: u64, hash: B256) -> Result<Transaction, Failure> {
        let row = self.store.tracked(account, chain, hash).await?;
        let row =
            row.ok_or_else(|| Failure::new(ErrorCode::NotFound, "this transaction is not looked after for you"))?;
        Ok(row.show())
    }

    pub async fn transactions(&self, account: AccountId) -> Result<Vec<Transaction>, Failure> {
        Ok(self.store.all_tracked(account).await?.iter().map(TransactionRow::show).collect())
    }
}

impl TransactionRow {
    fn show(&self) -> Transaction {
        Transaction {
            chain_id: self.chain,
            hash: self.hash.0.to_string(),
            state: self.state.0,
            block: self.block,
            succeeded: self.succeeded,
            since: from_ms(self.since_ms),
        }
    }
}
