//! All SurrealQL of this domain.

use std::collections::BTreeMap;
use std::ops::Range;

use alloy_primitives::{Address, B256};
use nepto_kit::db::{Body, Bytes, Db, DbError, Migration, Portions, RecordId, Text, array, vars};
use nepto_proto::chain as wire;
use prost::Message;
use surrealdb::types::SurrealValue;

/// All of them; the keys begin with the chain.
pub const TABLES: [&str; 5] = ["tip", "block", "step", "contract", "sighting"];

pub const SCHEMA: &[Migration] = &[FIRST, NEWEST];

const FIRST: Migration = Migration {
    number: 1,
    statements: "
        -- tip:[chain]: how far a chain is; the guard of everything that is committed about it
        DEFINE TABLE IF NOT EXISTS tip SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS chain ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS step ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS anchor ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS height ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS hash ON tip TYPE string;
        DEFINE FIELD IF NOT EXISTS final_height ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS proven ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS compared ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS logs ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS reverts ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS deepest_revert ON tip TYPE int;
        DEFINE FIELD IF NOT EXISTS at_ms ON tip TYPE int;
        -- block:[chain, number]: the newest blocks
        DEFINE TABLE IF NOT EXISTS block SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS hash ON block TYPE string;
        DEFINE FIELD IF NOT EXISTS number ON block TYPE int;
        DEFINE FIELD IF NOT EXISTS proof ON block TYPE string;
        DEFINE FIELD IF NOT EXISTS logs ON block TYPE int;
        DEFINE FIELD IF NOT EXISTS seen_at_ms ON block TYPE int;
        -- step:[chain, number]: what every pipeline is told, with all logs
        DEFINE TABLE IF NOT EXISTS step SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS body ON step TYPE bytes;
        -- contract:[chain, address]: what is watched, and the older blocks that are still to be read for it
        DEFINE TABLE IF NOT EXISTS contract SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS address ON contract TYPE string;
        DEFINE FIELD IF NOT EXISTS kind ON contract TYPE string;
        DEFINE FIELD IF NOT EXISTS start_block ON contract TYPE int;
        DEFINE FIELD IF NOT EXISTS left_at ON contract TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS gaps ON contract TYPE array<object>;
        DEFINE FIELD IF NOT EXISTS gaps.*.from ON contract TYPE int;
        DEFINE FIELD IF NOT EXISTS gaps.*.to ON contract TYPE int;
        -- sighting:[chain, number, hash, log]: who saw a log when, on chains with webhooks
        DEFINE TABLE IF NOT EXISTS sighting SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS contract ON sighting TYPE string;
        DEFINE FIELD IF NOT EXISTS hinted_at_ms ON sighting TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS hints ON sighting TYPE int;
        DEFINE FIELD IF NOT EXISTS removed ON sighting TYPE bool;
        DEFINE FIELD IF NOT EXISTS collected_at_ms ON sighting TYPE option<int>;
        DEFINE FIELD IF NOT EXISTS noted_at_ms ON sighting TYPE int;
        DEFINE INDEX IF NOT EXISTS sighting_age ON sighting FIELDS noted_at_ms;
    ",
    rows: &[],
    compatible_from: None,
};

/// Sightings are listed from the newest on. Keys are read upward only, so there is an index.
const NEWEST: Migration = Migration {
    number: 2,
    statements: "
        DEFINE FIELD IF NOT EXISTS chain ON sighting TYPE int VALUE record::id(id)[0];
        DEFINE FIELD IF NOT EXISTS number ON sighting TYPE int VALUE record::id(id)[1];
        DEFINE INDEX IF NOT EXISTS sighting_newest ON sighting FIELDS chain, number;
    ",
    rows: &[Portions { table: "sighting", change: "UPDATE $rows RETURN NONE" }],
    compatible_from: None,
};

/// Some of a chain's updates. A range that is written as `step:[…]..[…]` would be read to its end, whatever the limit.
pub const UPDATES: &str = "SELECT * FROM type::record('step', [$chain, $from]..[$chain, []]) LIMIT $limit";

/// How far a chain is.
#[derive(Debug, Clone, PartialEq, Eq, SurrealValue)]
pub struct TipRow {
    pub chain: u64,
    /// The number of the last update.
    pub step: u64,
    /// The block below the first that was collected.
    pub anchor: u64,
    pub height: u64,
    pub hash: Text<B256>,
    pub final_height: u64,
    /// Blocks that nothing can be missing of.
    pub proven: u64,
    /// Blocks that only comparison speaks for.
    pub compared: u64,
    pub logs: u64,
    pub reverts: u64,
    pub deepest_revert: u64,
    pub at_ms: i64,
}

/// A block of the window.
#[derive(Debug, Clone, SurrealValue)]
pub struct BlockRow {
    pub id: RecordId,
    pub number: u64,
    pub hash: Text<B256>,
    pub proof: String,
    pub logs: u64,
    pub seen_at_ms: i64,
}

/// Heights that are still to be read for a contract, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SurrealValue)]
pub struct GapRow {
    pub from: u64,
    pub to: u64,
}

/// A contract that is or was watched.
#[derive(Debug, Clone, PartialEq, Eq, SurrealValue)]
pub struct ContractRow {
    pub address: Text<Address>,
    /// As it was declared when it was first collected.
    pub kind: String,
    pub start_block: u64,
    /// The tip when it was taken out of the configuration.
    pub left_at: Option<u64>,
    pub gaps: Vec<GapRow>,
}

#[derive(Debug, Clone, SurrealValue)]
struct UpdateRow {
    body: Body<wire::ChainUpdate>,
}

/// The same, encoded without a copy of it.
#[derive(Debug, Clone, SurrealValue)]
struct NewUpdateRow {
    id: RecordId,
    body: Bytes,
}

/// What one commit changes.
pub struct Change {
    /// The tip before; another one there means that somebody else was faster.
    pub before: TipRow,
    pub tip: TipRow,
    pub updates: Vec<wire::ChainUpdate>,
    /// Blocks that are new.
    pub blocks: Vec<BlockRow>,
    /// Heights of blocks that are kept no longer, or are no part of the chain any more.
    pub forget: Vec<Range<u64>>,
    /// Contracts whose gaps changed.
    pub contracts: Vec<ContractRow>,
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

    pub async fn tip(&self, chain: u64) -> Result<Option<TipRow>, DbError> {
        self.db.run("SELECT * FROM ONLY $tip", vars! { tip: tip_id(chain) }).await
    }

    /// Begins a chain above a block; whether it was not begun before.
    pub async fn begin(&self, tip: TipRow, block: BlockRow) -> Result<bool, DbError> {
        let id = tip_id(tip.chain);
        let begun = self
            .db
            .execute("{ CREATE $id CONTENT $tip; INSERT INTO block $block; }", vars! { id: id, tip: tip, block: block })
            .await;
        match begun {
            Ok(()) => Ok(true),
            Err(DbError::Exists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The hashes of the newest blocks.
    pub async fn window(&self, chain: u64) -> Result<BTreeMap<u64, B256>, DbError> {
        let statement = "SELECT * FROM block:[$chain, NONE]..[$chain, []]";
        let rows: Vec<BlockRow> = self.db.rows(statement, vars! { chain: chain }).await?;
        Ok(rows.iter().map(|row| (row.number, row.hash.0)).collect())
    }

    pub async fn contracts(&self, chain: u64) -> Result<Vec<ContractRow>, DbError> {
        let statement = "SELECT * FROM contract:[$chain, NONE]..[$chain, []]";
        self.db.rows(statement, vars! { chain: chain }).await
    }

    /// Updates from a number on, up to a bound.
    pub async fn updates(&self, chain: u64, from: u64, limit: usize) -> Result<Vec<wire::ChainUpdate>, DbError> {
        let variables = vars! { chain: chain, from: from, limit: limit };
        let rows: Vec<UpdateRow> = self.db.rows(UPDATES, variables).await?;
        Ok(rows.into_iter().map(|row| row.body.0).collect())
    }

    /// Commits a change; fails with [`DbError::Stale`] where another watcher was faster.
    pub async fn commit(&self, change: &Change) -> Result<(), DbError> {
        let chain = change.tip.chain;
        let updates: Vec<NewUpdateRow> = change
            .updates
            .iter()
            .map(|update| NewUpdateRow {
                id: RecordId::new("step", array![chain, update.number]),
                body: update.encode_to_vec().into(),
            })
            .collect();
        let contracts: Vec<_> = change
            .contracts
            .iter()
            .map(|row| (RecordId::new("contract", array![chain, row.address.0.to_string()]), row.clone()))
            .collect();
        let (contract_ids, contract_rows): (Vec<_>, Vec<_>) = contracts.into_iter().unzip();
        let (forget_from, forget_to): (Vec<u64>, Vec<u64>) =
            change.forget.iter().map(|heights| (heights.start, heights.end)).unzip();
        let changes = "FOR $index IN 0..array::len($forget_from) {
                LET $from = $forget_from[$index];
                LET $to = $forget_to[$index];
                DELETE block:[$chain, $from]..[$chain, $to];
            };
            INSERT INTO block $blocks RETURN NONE;
            INSERT INTO step $updates RETURN NONE;
            FOR $index IN 0..array::len($contract_ids) {
                UPSERT $contract_ids[$index] CONTENT $contract_rows[$index] RETURN NONE;
            };
            UPDATE $tip_id CONTENT $tip RETURN NONE";
        let variables = vars! {
            tip_id: tip_id(chain),
            chain: chain,
            expected: change.before.step,
            forget_from: forget_from,
            forget_to: forget_to,
            blocks: change.blocks.clone(),
            updates: updates,
            contract_ids: contract_ids,
            contract_rows: contract_rows,
            tip: change.tip.clone(),
        };
        self.db.transaction(variables).stale_if("$tip_id.step != $expected").then(changes).execute().await
    }
}

pub fn tip_id(chain: u64) -> RecordId {
    RecordId::new("tip", array![chain])
}

pub fn block_id(chain: u64, number: u64) -> RecordId {
    RecordId::new("block", array![chain, number])
}

impl ContractRow {
    /// The address of the contract.
    pub fn at(&self) -> Address {
        self.address.0
    }
}
