//! Who saw a log first, the provider or the watcher: one row for both.

use std::cmp::Reverse;

use alloy_primitives::{Address, B256};
use nepto_chain::block::Block;
use nepto_kit::Failure;
use nepto_kit::db::{DbError, Id, Table, Text, vars};
use nepto_proto::api::chain::Sighting;
use surrealdb::types::SurrealValue;

use super::hooks::Hint;
use super::ops::Collector;
use super::store::Store;

/// A sighting is kept for a week.
const KEPT_FOR_MS: i64 = 7 * 86_400_000;
/// Sightings that one run of the job forgets.
const FORGET_MAX: i64 = 10_000;

/// Sightings from the newest block on. The index is read from its end.
pub const NEWEST: &str = "SELECT * FROM sighting WHERE chain = $chain ORDER BY number DESC LIMIT $limit";

/// `sighting:[chain, number, hash, log]`.
#[derive(Debug)]
struct Sightings;

impl Table for Sightings {
    const NAME: &'static str = "sighting";
    type Key = (u64, u64, Text<B256>, u32);
}

#[derive(Debug, Clone, SurrealValue)]
struct SightingRow {
    id: Id<Sightings>,
    contract: Text<Address>,
    hinted_at_ms: Option<i64>,
    hints: u64,
    removed: bool,
    collected_at_ms: Option<i64>,
    noted_at_ms: i64,
}

impl Collector {
    /// Forgets sightings that are older than [`KEPT_FOR_MS`], some at once. Answers how many.
    pub async fn forget_sightings(&self) -> Result<i64, Failure> {
        Ok(self.store.forget_sightings(self.ctx.clock.now_ms() - KEPT_FOR_MS).await?)
    }
}

impl Store {
    /// A provider told of these logs.
    pub async fn note_hints(&self, chain: u64, hints: &[Hint], now_ms: i64) -> Result<(), DbError> {
        let row = |hint: &Hint| SightingRow {
            id: Id((chain, hint.block, Text(hint.hash), hint.log)),
            contract: Text(hint.contract),
            hinted_at_ms: Some(now_ms),
            hints: 1,
            removed: hint.is_removed,
            collected_at_ms: None,
            noted_at_ms: now_ms,
        };
        let statement = "INSERT INTO sighting $rows ON DUPLICATE KEY UPDATE
            hinted_at_ms = hinted_at_ms ?? $input.hinted_at_ms, hints += 1, removed = removed OR $input.removed RETURN NONE";
        self.db().execute(statement, vars! { rows: hints.iter().map(row).collect::<Vec<_>>() }).await
    }

    /// The watcher collected these blocks. By how much hints were earlier, where there were any, in milliseconds.
    pub async fn note_collected(&self, chain: u64, blocks: &[Block], now_ms: i64) -> Result<Vec<i64>, DbError> {
        let mut rows = Vec::new();
        for block in blocks {
            let (number, hash) = (block.header.number(), Text(block.header.hash()));
            rows.extend(block.logs.iter().map(|log| SightingRow {
                id: Id((chain, number, hash, log.index)),
                contract: Text(log.address),
                hinted_at_ms: None,
                hints: 0,
                removed: false,
                collected_at_ms: Some(now_ms),
                noted_at_ms: now_ms,
            }));
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Id<Sightings>> = rows.iter().map(|row| row.id).collect();
        let statement = "{
            INSERT INTO sighting $rows ON DUPLICATE KEY UPDATE collected_at_ms = collected_at_ms ?? $input.collected_at_ms
                RETURN NONE;
            RETURN SELECT VALUE hinted_at_ms FROM $ids WHERE hinted_at_ms;
        }";
        let hinted: Vec<i64> = self.db().run(statement, vars! { rows: rows, ids: ids }).await?;
        Ok(hinted.into_iter().map(|hinted_at_ms| now_ms - hinted_at_ms).collect())
    }

    /// Sightings of a chain, by block, the newest first.
    pub async fn sightings(&self, chain: u64, limit: i64) -> Result<Vec<Sighting>, DbError> {
        let mut rows: Vec<SightingRow> = self.db().rows(NEWEST, vars! { chain: chain, limit: limit }).await?;
        rows.sort_by_key(|row| Reverse((row.id.0.1, row.id.0.3)));
        Ok(rows.iter().map(SightingRow::show).collect())
    }

    async fn forget_sightings(&self, before_ms: i64) -> Result<i64, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM sighting WHERE noted_at_ms < $before LIMIT $limit) RETURN BEFORE)";
        self.db().run(statement, vars! { before: before_ms, limit: FORGET_MAX }).await
    }
}

impl SightingRow {
    fn show(&self) -> Sighting {
        let Id((_, block, Text(hash), log)) = self.id;
        Sighting {
            block,
            hash: hash.to_string(),
            log,
            contract: self.contract.0.to_string(),
            hinted_at_ms: self.hinted_at_ms,
            collected_at_ms: self.collected_at_ms,
            lead_ms: self.collected_at_ms.zip(self.hinted_at_ms).map(|(collected, hinted)| collected - hinted),
            hints: self.hints,
            removed: self.removed,
        }
    }
}
