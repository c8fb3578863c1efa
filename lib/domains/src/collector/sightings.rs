//! Who saw a log first, the provider or the watcher: one row for both.

use nepto_chain::block::Block;
use nepto_kit::Failure;
use nepto_kit::db::{DbError, RecordId, array, key, vars};
use nepto_proto::api::chain::Sighting;
use surrealdb::types::SurrealValue;

use super::hooks::Hint;
use super::ops::Collector;
use super::store::Store;

/// A sighting is kept for a week.
const KEPT_FOR_MS: i64 = 7 * 86_400_000;
/// Sightings that one run of the job forgets.
const FORGET_MAX: i64 = 10_000;

#[derive(Debug, Clone, SurrealValue)]
struct SightingRow {
    id: RecordId,
    contract: String,
    hinted_at_ms: Option<i64>,
    hints: i64,
    removed: bool,
    collected_at_ms: Option<i64>,
    noted_at_ms: i64,
}

impl Collector {
    /// Forgets old ones.
    pub async fn forget_sightings(&self) -> Result<i64, Failure> {
        Ok(self.store.forget_sightings(self.ctx.clock.now_ms() - KEPT_FOR_MS).await?)
    }
}

impl Store {
    /// A provider told of these logs.
    pub async fn note_hints(&self, chain: u64, hints: &[Hint], now_ms: i64) -> Result<(), DbError> {
        let row = |hint: &Hint| SightingRow {
            id: id(chain, hint.block, &hint.hash.to_string(), hint.log),
            contract: hint.contract.to_string(),
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
            let (number, hash) = (block.header.number(), block.header.hash().to_string());
            rows.extend(block.logs.iter().map(|log| SightingRow {
                id: id(chain, number, &hash, log.index),
                contract: log.address.to_string(),
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
        let ids: Vec<RecordId> = rows.iter().map(|row| row.id.clone()).collect();
        let statement = "{
            INSERT INTO sighting $rows ON DUPLICATE KEY UPDATE collected_at_ms = collected_at_ms ?? $input.collected_at_ms
                RETURN NONE;
            RETURN SELECT VALUE hinted_at_ms FROM $ids WHERE hinted_at_ms;
        }";
        let hinted: Vec<i64> = self.db().run(statement, vars! { rows: rows, ids: ids }).await?;
        Ok(hinted.into_iter().map(|hinted_at_ms| now_ms - hinted_at_ms).collect())
    }

    /// The newest first.
    pub async fn sightings(&self, chain: u64, limit: i64) -> Result<Vec<Sighting>, DbError> {
        let statement = "SELECT * FROM sighting:[$chain, NONE]..[$chain, []] ORDER BY id DESC LIMIT $limit";
        let rows: Vec<SightingRow> = self.db().run(statement, vars! { chain: chain as i64, limit: limit }).await?;
        Ok(rows.iter().filter_map(SightingRow::show).collect())
    }

    async fn forget_sightings(&self, before_ms: i64) -> Result<i64, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM sighting WHERE noted_at_ms < $before LIMIT $limit) RETURN BEFORE)";
        self.db().run(statement, vars! { before: before_ms, limit: FORGET_MAX }).await
    }
}

impl SightingRow {
    fn show(&self) -> Option<Sighting> {
        Some(Sighting {
            block: key::number(&self.id, 1)? as u64,
            hash: key::text(&self.id, 2)?.to_owned(),
            log: key::number(&self.id, 3)? as u32,
            contract: self.contract.clone(),
            hinted_at_ms: self.hinted_at_ms,
            collected_at_ms: self.collected_at_ms,
            lead_ms: self.collected_at_ms.zip(self.hinted_at_ms).map(|(collected, hinted)| collected - hinted),
            hints: self.hints.unsigned_abs(),
            removed: self.removed,
        })
    }
}

fn id(chain: u64, number: u64, hash: &str, log: u32) -> RecordId {
    RecordId::new("sighting", array![chain as i64, number as i64, hash, i64::from(log)])
}
