//! All SurrealQL and Redis of this domain.
//!
//! Amounts are kept twice over. `delta` has what changed for a holder, in the order in which a pipeline took it (`seq`): a row
//! for each block that may still be orphaned, and one for all that is final at once. Rows are only added, and a
//! reorganization takes out those of its blocks. `held` has a row for each holding with the sum of its final deltas up to
//! `folded`, so that nobody adds up a long history. What is held is the one plus the deltas that came later. Adding rows is
//! three times as fast as changing them, and a compaction changes a row once for many deltas. A holding names its pipeline, so
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
mod tables;
mod turns;

use alloy_primitives::Address;
use nepto_kit::db::{Db, DbError, Id, Packed, Text, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

#[cfg(test)]
pub use apply::Compaction;
pub use apply::{Applied, Change, compactions};
pub use downward::Descent;
pub use linked::Linked;
pub use metadata::{AttributeRow, TokenRow};
#[cfg(test)]
pub use read::HOLDERS;
pub use read::{CompactedSum, HOLDINGS_MAX, Tail, held, newest};
pub use rows::{PartRow, SentRow, message_id};
pub use schema::{BY_CHAIN, BY_PIPELINE, SCHEMA};
use tables::{Cursors, Deltas, Sums};
pub use tables::{MessageName, Short, TokenHex, Transactions};

use super::model::{Amount, Holding};

/// How far a pipeline is with a chain.
#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct CursorRow {
    pub id: Id<Cursors>,
    pub pipeline: Text<Pipeline>,
    pub chain: u64,
    /// The number of the collector's last update.
    pub step: u64,
    /// The number of the last change here: an update, or a replayed dead letter.
    pub seq: u64,
    pub height: u64,
    pub hash: String,
    pub final_height: u64,
    /// Changes up to here are compacted.
    pub folded: u64,
    pub events: u64,
    pub dead_letters: u64,
    /// How what it did is kept: [`FORM`], or nothing of before.
    pub form: Option<u64>,
}

/// How rows are kept. A pipeline that finds another form deletes what it did, and takes all updates again.
pub const FORM: u64 = 2;

impl CursorRow {
    /// The cursor of a pipeline that has taken nothing of a chain.
    pub fn new(pipeline: Pipeline, chain: u64) -> Self {
        Self {
            id: cursor_id(pipeline, chain),
            pipeline: Text(pipeline),
            chain,
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
    id: Id<Sums>,
    /// Nothing where nothing is held: a list of holders does not pass over those who left.
    scope: Option<String>,
    /// As in the key; lists of holders are in its order.
    holder: Text<Short>,
    amount: Packed<Amount>,
    folded: u64,
}

impl HeldRow {
    fn new(chain: u64, holding: &Holding, amount: Amount, folded: u64) -> Self {
        Self {
            id: held_id(chain, holding),
            scope: (amount != Amount::ZERO).then(|| scope(chain, holding)),
            holder: Text(Short(holding.holder)),
            amount: Packed(amount),
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
        self.db.rows("SELECT * FROM cursor WHERE chain = $chain", vars! { chain: chain }).await
    }

    pub async fn cursor(&self, pipeline: Pipeline, chain: u64) -> Result<Option<CursorRow>, DbError> {
        let cursor = cursor_id(pipeline, chain);
        self.db.run("SELECT * FROM ONLY $cursor", vars! { cursor: cursor }).await
    }

    /// Deletes what a pipeline did, its cursor last, so that it takes all updates again. Broken off, it is done again.
    pub async fn reset(&self, pipeline: Pipeline, chain: u64) -> Result<(), DbError> {
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

fn cursor_id(pipeline: Pipeline, chain: u64) -> Id<Cursors> {
    Id((Text(pipeline), chain))
}

fn held_id(chain: u64, holding: &Holding) -> Id<Sums> {
    let Holding { holder, contract, origin, class } = *holding;
    Id((chain, Text(Short(holder)), Text(Short(contract)), Text(origin), Text(class)))
}

fn holding_of(Id((_, holder, contract, origin, class)): &Id<Sums>) -> Holding {
    Holding { holder: holder.0.0, contract: contract.0.0, origin: origin.0, class: class.0 }
}

/// Where a change's deltas are. Those of blocks below others that were taken before are kept apart, so that the rest is in
/// the order of its blocks.
#[derive(Debug, Clone, Copy)]
pub struct DeltaKey {
    pub chain: u64,
    pub pipeline: Pipeline,
    pub late: bool,
    pub seq: u64,
}

impl DeltaKey {
    /// The row of a holder, for blocks from the first to the last.
    pub fn row(&self, holder: &Address, (first, last): (u64, u64)) -> Id<Deltas> {
        let Self { chain, pipeline, late, seq } = *self;
        Id((chain, Text(pipeline), Text(Short(*holder)), late, seq, first, last))
    }
}

/// What all holders of one thing have in common.
pub fn scope(chain: u64, holding: &Holding) -> String {
    let Holding { contract, origin, class, .. } = holding;
    format!("{chain}:{}:{origin}:{class}", Short(*contract))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database;
    use nepto_kit::domain::Domain;

    #[tokio::test]
    async fn what_is_kept_in_an_older_form_is_taken_again() {
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
        store.reset(Pipeline::Erc20, 7).await.unwrap();
        assert_eq!(store.cursor(Pipeline::Erc20, 7).await.unwrap(), None);
        assert!(store.cursor(Pipeline::Staking, 7).await.unwrap().is_some(), "the others have their own");
        for table in ["delta", "applied", "retried", "reverted"] {
            let count: i64 = db.run(&format!("RETURN count(SELECT VALUE id FROM {table})"), vars! {}).await.unwrap();
            assert_eq!(count, 1, "{table}");
        }
    }
}
