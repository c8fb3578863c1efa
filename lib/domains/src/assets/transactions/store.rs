//! All SurrealQL about tracked transactions.

use alloy_primitives::B256;
use nepto_kit::db::{DbError, RecordId, array, vars};
use nepto_kit::outbox;
use nepto_proto::AccountId;
use nepto_proto::api::assets::TransactionState;
use surrealdb::types::SurrealValue;

use crate::assets::store::Store;

/// A transaction that an account wants to hear about.
#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct TransactionRow {
    pub account: String,
    pub chain: i64,
    pub hash: String,
    pub state: String,
    /// The block that it is in.
    pub block: Option<i64>,
    /// Whether it did what it should, once it is in a block.
    pub succeeded: Option<bool>,
    /// Its sender and place, once a node knew it.
    pub sender: Option<String>,
    pub nonce: Option<i64>,
    /// Whether nothing more is expected of it.
    pub is_settled: bool,
    /// In this state since.
    pub since_ms: i64,
    pub created_at_ms: i64,
}

impl TransactionRow {
    /// One that nothing is known of.
    pub fn new(account: AccountId, chain: u64, hash: B256, now_ms: i64) -> Self {
        Self {
            account: account.to_string(),
            chain: chain as i64,
            hash: hash.to_string(),
            state: TransactionState::Pending.as_str().to_owned(),
            block: None,
            succeeded: None,
            sender: None,
            nonce: None,
            is_settled: false,
            since_ms: now_ms,
            created_at_ms: now_ms,
        }
    }

    fn id(&self) -> RecordId {
        RecordId::new("transaction", array![self.account.clone(), self.chain, self.hash.clone()])
    }
}

fn id(account: AccountId, chain: u64, hash: B256) -> RecordId {
    RecordId::new("transaction", array![account.to_string(), chain as i64, hash.to_string()])
}

impl Store {
    /// Adds one unless it is there; throws `track_limit`.
    pub async fn track(&self, row: &TransactionRow, max: i64) -> Result<(), DbError> {
        let statement = "{
            IF record::exists($id) { RETURN NONE };
            LET $open = array::len((SELECT VALUE id FROM transaction:[$account, NONE]..[$account, []] WHERE !is_settled));
            IF $open >= $max { THROW 'track_limit' };
            CREATE $id CONTENT $row RETURN NONE;
        }";
        let variables = vars! { id: row.id(), account: row.account.clone(), max: max, row: row.clone() };
        self.db().execute(statement, variables).await
    }

    pub async fn tracked(&self, account: AccountId, chain: u64, hash: B256) -> Result<Option<TransactionRow>, DbError> {
        self.db().run("SELECT * OMIT id FROM ONLY $id", vars! { id: id(account, chain, hash) }).await
    }

    /// Those of an account, the latest first.
    pub async fn all_tracked(&self, account: AccountId) -> Result<Vec<TransactionRow>, DbError> {
        let statement = "SELECT * OMIT id FROM transaction:[$account, NONE]..[$account, []]
            ORDER BY created_at_ms DESC LIMIT 200";
        self.db().run(statement, vars! { account: account.to_string() }).await
    }

    /// Those of a chain that are not settled, up to a bound.
    pub async fn unsettled(&self, chain: u64, limit: i64) -> Result<Vec<TransactionRow>, DbError> {
        let statement = "SELECT * OMIT id FROM transaction WHERE is_settled = false AND chain = $chain LIMIT $limit";
        self.db().run(statement, vars! { chain: chain as i64, limit: limit }).await
    }

    /// Writes what is known now, with the event that says so.
    pub async fn update(&self, row: &TransactionRow, event: Option<outbox::Row>) -> Result<(), DbError> {
        let statement = format!("{{ UPDATE $id CONTENT $row RETURN NONE; {} }}", outbox::INSERT);
        let events: Vec<outbox::Row> = event.into_iter().collect();
        self.db().execute(&statement, vars! { id: row.id(), row: row.clone(), events: events }).await
    }
}
