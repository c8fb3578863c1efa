//! All SurrealQL about tracked transactions.

use alloy_primitives::{Address, B256};
use nepto_kit::db::{DbError, Id, Text, vars};
use nepto_kit::outbox;
use nepto_proto::api::assets::TransactionState;
use nepto_proto::{AccountId, ErrorCode};
use surrealdb::types::SurrealValue;

use crate::assets::store::{Store, Transactions};

/// A transaction that an account wants to hear about.
#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct TransactionRow {
    id: Id<Transactions>,
    pub account: Text<AccountId>,
    pub chain: u64,
    pub hash: Text<B256>,
    pub state: Text<TransactionState>,
    /// The block that it is in.
    pub block: Option<u64>,
    /// Whether it did what it should, once it is in a block.
    pub succeeded: Option<bool>,
    /// Its sender and place, once a node knew it.
    pub sender: Option<Text<Address>>,
    pub nonce: Option<u64>,
    /// Whether nothing more is expected of it.
    pub is_settled: bool,
    /// In this state since.
    pub since_ms: i64,
    pub created_at_ms: i64,
    /// When it is its turn again.
    pub next_look_ms: i64,
}

/// Whose turn was taken.
#[derive(Debug, Clone, SurrealValue)]
struct Turn {
    id: Id<Transactions>,
    next_look_ms: i64,
}

impl TransactionRow {
    /// One that nothing is known of.
    pub fn new(account: AccountId, chain: u64, hash: B256, now_ms: i64) -> Self {
        Self {
            id: id(account, chain, hash),
            account: Text(account),
            chain,
            hash: Text(hash),
            state: Text(TransactionState::Pending),
            block: None,
            succeeded: None,
            sender: None,
            nonce: None,
            is_settled: false,
            since_ms: now_ms,
            created_at_ms: now_ms,
            next_look_ms: now_ms,
        }
    }
}

fn id(account: AccountId, chain: u64, hash: B256) -> Id<Transactions> {
    Id((Text(account), chain, Text(hash)))
}

impl Store {
    /// Adds one unless it is there; throws `track_limit`.
    pub async fn track(&self, row: &TransactionRow, max: i64) -> Result<(), DbError> {
        let open = "SELECT VALUE id FROM transaction:[$account, NONE]..[$account, []] WHERE !is_settled";
        self.db()
            .transaction(vars! { id: row.id, account: row.account, max: max, row: row.clone() })
            .then("IF record::exists($id) { RETURN NONE }")
            .then(&format!("LET $open = array::len(({open}))"))
            .refuse_if("$open >= $max", ErrorCode::TrackLimit)
            .then("CREATE $id CONTENT $row RETURN NONE")
            .execute()
            .await
    }

    pub async fn tracked(&self, account: AccountId, chain: u64, hash: B256) -> Result<Option<TransactionRow>, DbError> {
        self.db().run("SELECT * FROM ONLY $id", vars! { id: id(account, chain, hash) }).await
    }

    /// Those of an account, the latest first.
    pub async fn all_tracked(&self, account: AccountId) -> Result<Vec<TransactionRow>, DbError> {
        let statement = "SELECT * FROM transaction:[$account, NONE]..[$account, []]
            ORDER BY created_at_ms DESC LIMIT 200";
        self.db().rows(statement, vars! { account: account.to_string() }).await
    }

    /// Those of a chain that are not settled and have waited longest for their turn, up to a bound. Whose turn comes again
    /// when, `next` says.
    pub async fn take_turns(
        &self,
        chain: u64,
        now_ms: i64,
        limit: i64,
        next: impl Fn(&TransactionRow) -> i64,
    ) -> Result<Vec<TransactionRow>, DbError> {
        let statement = "SELECT * FROM transaction
            WHERE is_settled = false AND chain = $chain AND next_look_ms <= $now ORDER BY next_look_ms LIMIT $limit";
        let variables = vars! { chain: chain, now: now_ms, limit: limit };
        let mut rows: Vec<TransactionRow> = self.db().rows(statement, variables).await?;
        for row in &mut rows {
            row.next_look_ms = next(row);
        }
        let turns: Vec<Turn> = rows.iter().map(|row| Turn { id: row.id, next_look_ms: row.next_look_ms }).collect();
        let statement = "FOR $turn IN $turns { UPDATE $turn.id SET next_look_ms = $turn.next_look_ms RETURN NONE }";
        self.db().execute(statement, vars! { turns: turns }).await?;
        Ok(rows)
    }

    /// Writes what is known now, with the event that says so.
    pub async fn update(&self, row: &TransactionRow, event: Option<outbox::Row>) -> Result<(), DbError> {
        let update = self.db().transaction(vars! { id: row.id, row: row.clone() });
        update.then("UPDATE $id CONTENT $row RETURN NONE").emit(event).execute().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets;
    use crate::testing::database;

    #[tokio::test]
    async fn everybody_gets_a_turn_however_many_ask() {
        let store = Store::new(&database(assets::domain()).await);
        let account = |number: u128| AccountId::from_bytes(&number.to_be_bytes()).unwrap();
        for (number, chain) in [(1, 5), (2, 5), (3, 5), (4, 6)] {
            let row = TransactionRow::new(account(number), chain, B256::repeat_byte(number as u8), 100);
            store.track(&row, 10).await.unwrap();
        }
        let mut seen = Vec::new();
        for now in [100, 101, 102] {
            let rows = store.take_turns(5, now, 2, |_| now + 10).await.unwrap();
            seen.extend(rows.into_iter().map(|row| (now, row.account.0.to_string())));
        }
        seen.sort();
        let of = |number| account(number).to_string();
        assert_eq!(seen, [(100, of(1)), (100, of(2)), (101, of(3))]);
        assert_eq!(store.take_turns(5, 110, 9, |_| 120).await.unwrap().len(), 2);
    }
}
