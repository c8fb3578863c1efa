//! All SurrealQL and Redis of this domain.
//!
//! Amounts are kept twice over. `delta` has what changed for a holder, in the order in which a pipeline took it (`seq`): a row
//! for each block that may still be given up, and one for all that is final at once. Rows are only added, and a
//! reorganization takes out those of its blocks. `held` has a row for each holding with the sum of its final deltas up to
//! `folded`, so that nobody adds up a long history. What is held is the one plus the deltas that came later. Adding rows is
//! three times as fast as changing them, and a fold changes a row once for many deltas. A holding names its pipeline, so
//! `folded` is a `seq` of that one alone.

mod apply;
mod deltas;
mod downward;
mod linked;
mod metadata;
mod packed;
mod read;
mod rows;
mod schema;
mod shapes;
mod turns;

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::{Bytes, Db, DbError, RecordId, array, key, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

#[cfg(test)]
pub use apply::Fold;
pub use apply::{Applied, Change, folds};
pub use downward::Descent;
pub use linked::Linked;
pub use metadata::{AttributeRow, TokenRow};
#[cfg(test)]
pub use read::HOLDERS;
pub use read::{FoldedSum, HOLDINGS_MAX, Tail, held, newest};
pub use rows::{PartRow, SentRow, message_of};
pub use schema::{BY_CHAIN, BY_PIPELINE, SCHEMA};

use super::model::{Amount, Holding};

/// How far a pipeline is with a chain.
#[derive(Debug, Clone, PartialEq, Eq, SurrealValue)]
pub struct CursorRow {
    pub pipeline: String,
    pub chain: i64,
    /// The last step of the collector.
    pub step: i64,
    /// The last change here: steps, and what was put aside before.
    pub seq: i64,
    pub height: i64,
    pub hash: String,
    pub final_height: i64,
    /// Changes up to here are folded.
    pub folded: i64,
    pub events: i64,
    pub dead_letters: i64,
    /// How what it did is kept: [`FORM`], or nothing of before.
    pub form: Option<i64>,
}

/// How rows are kept. A pipeline that finds another form deletes what it did, and takes all steps anew.
pub const FORM: i64 = 2;

impl CursorRow {
    /// The cursor of a pipeline that has taken nothing of a chain.
    pub fn new(pipeline: Pipeline, chain: u64) -> Self {
        Self {
            pipeline: pipeline.as_str().to_owned(),
            chain: chain as i64,
            step: 0,
            seq: 0,
            height: 0,
            hash: String::new(),
            final_height: 0,
            folded: 0,
            events: 0,
            dead_letters: 0,
            form: Some(FORM),
        }
    }
}

/// The sum of a holding's deltas up to `folded`.
#[derive(Debug, Clone, SurrealValue)]
pub struct HeldRow {
    id: RecordId,
    /// Nothing where nothing is held: a list of holders does not pass over those who left.
    scope: Option<String>,
    /// As in the key; lists of holders are in its order.
    holder: String,
    amount: Bytes,
    folded: i64,
}

impl HeldRow {
    fn new(chain: u64, holding: &Holding, amount: Amount, folded: i64) -> Self {
        Self {
            id: held_id(chain, holding),
            scope: (amount != Amount::ZERO).then(|| scope(chain, holding)),
            holder: hex(&holding.holder),
            amount: amount_bytes(amount),
            folded,
        }
    }
}

/// The database of this domain.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    pub fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    pub(super) const fn db(&self) -> &Db {
        &self.db
    }

    /// The cursors of a chain.
    pub async fn cursors(&self, chain: u64) -> Result<Vec<CursorRow>, DbError> {
        self.db.run("SELECT * OMIT id FROM cursor WHERE chain = $chain", vars! { chain: chain as i64 }).await
    }

    pub async fn cursor(&self, pipeline: Pipeline, chain: u64) -> Result<Option<CursorRow>, DbError> {
        let cursor = cursor_id(pipeline, chain);
        self.db.run("SELECT * OMIT id FROM ONLY $cursor", vars! { cursor: cursor }).await
    }

    /// Deletes what a pipeline did, its cursor last, so that it takes all steps anew. Broken off, it is done again.
    pub async fn begin_anew(&self, pipeline: Pipeline, chain: u64) -> Result<(), DbError> {
        let of = pipeline.as_str();
        for table in ["applied", "reverted", "retried"] {
            self.db.delete_under(table, &format!("'{of}', {chain}")).await?;
        }
        for table in ["delta", "shape"] {
            self.db.delete_under(table, &format!("{chain}, '{of}'")).await?;
        }
        self.db.execute("DELETE $cursor RETURN NONE", vars! { cursor: cursor_id(pipeline, chain) }).await
    }
}

pub fn cursor_id(pipeline: Pipeline, chain: u64) -> RecordId {
    RecordId::new("cursor", array![pipeline.as_str(), chain as i64])
}

/// `held:[chain, holder, contract, origin, class]`
pub fn held_id(chain: u64, holding: &Holding) -> RecordId {
    let Holding { holder, contract, origin, class } = holding;
    RecordId::new("held", array![chain as i64, hex(holder), hex(contract), origin.to_key(), class.to_key()])
}

/// Where a change's deltas are. Those of blocks below others that were taken before are kept apart, so that the rest is in
/// the order of its blocks.
#[derive(Debug, Clone, Copy)]
pub struct DeltaKey {
    pub chain: u64,
    pub pipeline: Pipeline,
    pub late: bool,
    pub seq: i64,
}

impl DeltaKey {
    /// `delta:[chain, pipeline, holder, late, seq, first block, last block]`
    pub fn row(&self, holder: &Address, (first, last): (u64, u64)) -> RecordId {
        let Self { chain, pipeline, late, seq } = self;
        RecordId::new(
            "delta",
            array![*chain as i64, pipeline.as_str(), hex(holder), *late, *seq, first as i64, last as i64],
        )
    }
}

/// What all holders of one thing have in common.
pub fn scope(chain: u64, holding: &Holding) -> String {
    let Holding { contract, origin, class, .. } = holding;
    format!("{chain}:{}:{}:{}", hex(contract), origin.to_key(), class.to_key())
}

/// An address as it is kept here: see [`hex`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short(pub Address);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for Short {
    type Err = alloy_primitives::hex::FromHexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Lowercase, without `0x`: shorter keys.
pub fn hex(address: &Address) -> String {
    format!("{address:x}").trim_start_matches("0x").to_owned()
}

pub fn hash_hex(hash: &B256) -> String {
    format!("{hash:x}").trim_start_matches("0x").to_owned()
}

pub fn token_hex(token: &U256) -> String {
    format!("{token:064x}")
}

pub fn amount_bytes(amount: Amount) -> Bytes {
    amount.0.to_be_bytes::<32>().to_vec().into()
}

pub fn read_amount(bytes: &[u8]) -> Option<Amount> {
    U256::try_from_be_slice(bytes).map(Amount)
}

/// An address at a place of a key.
pub fn read_address(id: &RecordId, place: usize) -> Option<Address> {
    key::text(id, place)?.parse().ok()
}

/// A token or batch at a place of a key.
pub fn read_token(id: &RecordId, place: usize) -> Option<U256> {
    U256::from_str_radix(key::text(id, place)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database;
    use nepto_kit::domain::Domain;

    #[tokio::test]
    async fn what_is_kept_in_an_older_form_is_taken_anew() {
        let before = Domain { schema: &SCHEMA[..2], ..crate::assets::domain() };
        let db = database(before).await;
        for pipeline in ["erc20", "staking"] {
            let statement = "{
                CREATE type::record('cursor', [$pipeline, 7]) CONTENT { pipeline: $pipeline, chain: 7, step: 9, seq: 9,
                    height: 9, hash: '', final_height: 5, folded: 3, events: 9, dead_letters: 0 };
                CREATE type::record('delta', [7, $pipeline, 'aa', false, 9, 9, 9]) SET body = <bytes>'x';
                CREATE type::record('applied', [$pipeline, 7, 9]) SET body = <bytes>'x';
                CREATE type::record('retried', [$pipeline, 7, 9, 1]);
                CREATE type::record('reverted', [$pipeline, 7, 8]) SET height = 3;
                RETURN 1;
            }";
            db.run::<i64>(statement, vars! { pipeline: pipeline }).await.unwrap();
        }
        db.migrate(SCHEMA).await.unwrap();
        let store = Store::new(&db);
        let cursor = store.cursor(Pipeline::Erc20, 7).await.unwrap().unwrap();
        assert_eq!((cursor.step, cursor.form), (9, None));
        store.begin_anew(Pipeline::Erc20, 7).await.unwrap();
        assert_eq!(store.cursor(Pipeline::Erc20, 7).await.unwrap(), None);
        assert!(store.cursor(Pipeline::Staking, 7).await.unwrap().is_some(), "the others have their own");
        for table in ["delta", "applied", "retried", "reverted"] {
            let count: i64 = db.run(&format!("RETURN count(SELECT VALUE id FROM {table})"), vars! {}).await.unwrap();
            assert_eq!(count, 1, "{table}");
        }
    }
}
