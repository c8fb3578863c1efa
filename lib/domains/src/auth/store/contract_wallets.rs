//! Wallets that signed as contracts: on which chain, and when they are asked again.

use nepto_kit::db::{DbError, Id, RecordId, Table, vars};
use nepto_proto::ErrorCode;
use surrealdb::types::SurrealValue;

use super::Store;

/// The table `contract_wallet`; ids are `contract_wallet:[address]`.
#[derive(Debug)]
struct ContractWallets;

impl Table for ContractWallets {
    const NAME: &'static str = "contract_wallet";
    type Key = String;
}

/// A wallet that signed as a contract.
#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct ContractWalletRow {
    id: Id<ContractWallets>,
    /// The one chain that it is asked on.
    pub chain_id: u64,
    /// The highest block at which it said yes to something.
    pub block: u64,
    /// When it is asked again.
    pub due_at_ms: i64,
}

impl ContractWalletRow {
    /// Its address, EIP-55.
    pub fn wallet(&self) -> &str {
        &self.id.0
    }
}

impl Store {
    /// What is known of a wallet as a contract.
    pub async fn contract_wallet(&self, wallet: &str) -> Result<Option<ContractWalletRow>, DbError> {
        self.db.run("SELECT * FROM ONLY $id", vars! { id: contract_wallet_id(wallet) }).await
    }

    /// Notes that a wallet said yes as a contract, and that it is to be asked again. Throws `wallet_chain` if it did so on
    /// another chain before.
    pub async fn note_contract_wallet(
        &self,
        wallet: &str,
        chain_id: u64,
        block: u64,
        due_at_ms: i64,
    ) -> Result<(), DbError> {
        let id = contract_wallet_id(wallet);
        self.db
            .transaction(vars! { id: id, chain_id: chain_id, block: block, due: due_at_ms })
            .then("LET $known = (SELECT * FROM ONLY $id)")
            .refuse_if("$known AND $known.chain_id != $chain_id", ErrorCode::WalletChain)
            .then(
                "UPSERT $id SET chain_id = $chain_id, block = math::max([$known.block ?? 0, $block]),
                    due_at_ms = math::min([$known.due_at_ms ?? $due, $due])",
            )
            .execute()
            .await
    }

    /// Wallets that are to be asked again by now, those that wait longest first, up to a bound.
    pub async fn due_contract_wallets(&self, now_ms: i64, limit: i64) -> Result<Vec<ContractWalletRow>, DbError> {
        let statement = "SELECT * FROM contract_wallet WHERE due_at_ms <= $now ORDER BY due_at_ms LIMIT $limit";
        self.db.rows(statement, vars! { now: now_ms, limit: limit }).await
    }

    /// Notes when a wallet is to be asked next, unless somebody wanted that sooner meanwhile.
    pub async fn contract_wallet_asked(&self, row: &ContractWalletRow, due_at_ms: i64) -> Result<(), DbError> {
        let statement = "UPDATE $id SET due_at_ms = $due WHERE due_at_ms = $seen AND block = $block";
        let seen = vars! { id: row.id.clone(), due: due_at_ms, seen: row.due_at_ms, block: row.block };
        self.db.execute(statement, seen).await
    }

    /// Forgets a wallet that belongs to no account any more.
    pub async fn forget_contract_wallet(&self, row: &ContractWalletRow) -> Result<(), DbError> {
        self.db.execute("DELETE $id", vars! { id: row.id.clone() }).await
    }
}

pub(super) fn contract_wallet_id(wallet: &str) -> RecordId {
    Id::<ContractWallets>(wallet.to_owned()).record()
}
