//! Committing what a pipeline does: the rows of a change and the cursor, all or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::Address;
use nepto_kit::db::{Bytes, DbError, RecordId, array, vars};
use nepto_kit::outbox;
use prost::Message;
use surrealdb::types::SurrealValue;

use super::packed::{AppliedBody, AppliedDelta, AppliedRow, DeltasBody};
use super::{
    AssetRow, CursorRow, DeltaKey, Store, amount_bytes, asset_id, cursor_id, hash_hex, hex, read_amount, scope,
    token_hex,
};
use crate::assets::model::{Amount, Delta, Effect, Folded, Holding, Ownership, Sending};
use crate::collector::Pipeline;

/// A change that is not folded yet, as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub seq: i64,
    /// See [`Change::late`].
    pub late: bool,
    pub deltas: Vec<AppliedDelta>,
    pub rows: Vec<AppliedRow>,
}

impl Applied {
    fn body(&self) -> Bytes {
        AppliedBody::new(&self.deltas, self.rows.clone(), self.late).encode_to_vec().into()
    }

    /// The highest block that it touched.
    pub fn highest(&self) -> Option<u64> {
        self.deltas.iter().map(|delta| delta.block).chain(self.rows.iter().map(|row| row.block)).max()
    }
}

/// A holding with its deltas that are to be folded into it, each with its `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    pub holding: Holding,
    pub deltas: Vec<(i64, Amount)>,
}

impl Fold {
    /// The sum of what came after `folded`.
    fn sum_after(&self, folded: i64) -> Amount {
        let later = self.deltas.iter().filter(|(seq, _)| *seq > folded);
        later.fold(Amount::ZERO, |sum, (_, amount)| sum.plus(*amount))
    }
}

#[derive(Debug, Clone, SurrealValue)]
struct DeltaRow {
    id: RecordId,
    body: Bytes,
}

#[derive(Debug, Clone, SurrealValue)]
struct OwnedRow {
    id: RecordId,
    last: String,
    owner: String,
    tx: String,
}

#[derive(Debug, Clone, SurrealValue)]
struct RangeRow {
    id: RecordId,
    last: String,
    owner: String,
    block: i64,
}

#[derive(Debug, Clone, SurrealValue)]
struct SentRow {
    id: RecordId,
    sender: String,
    token: String,
    content_hash: String,
    message: String,
    block: i64,
    time_s: i64,
    tx: String,
}

#[derive(Debug, Clone, SurrealValue)]
struct PartRow {
    id: RecordId,
    recipient: String,
    amount: Bytes,
    outcome: String,
    block: i64,
}

#[derive(Debug, Clone, SurrealValue)]
struct AppliedRowOf {
    id: RecordId,
    body: Bytes,
}

/// One change of a pipeline, ready to be committed.
pub struct Change<'a> {
    pub pipeline: Pipeline,
    pub before: &'a CursorRow,
    pub after: &'a CursorRow,
    pub folded: &'a Folded,
    /// It has blocks below those that were taken before.
    pub late: bool,
    /// Log of a block that was put aside before.
    pub retried: Vec<(u64, u32)>,
    pub events: Vec<outbox::Row>,
}

impl Store {
    /// Commits a change, and answers how to take it out again. Throws `stale` if the cursor is another one; fails with
    /// `Exists` if something of it was retried before.
    pub async fn apply(&self, change: Change<'_>) -> Result<Applied, DbError> {
        let Change { pipeline, before, after, folded, late, .. } = change;
        let (chain, seq) = (after.chain as u64, after.seq);
        let added = |((block, holding), delta): (&(u64, Holding), &Delta)| AppliedDelta {
            block: *block,
            holding: *holding,
            amount: delta.amount,
        };
        let mut applied = Applied { seq, late, deltas: folded.deltas.iter().map(added).collect(), rows: Vec::new() };
        let deltas = delta_rows(DeltaKey { chain, pipeline, late, seq }, folded, after.final_height as u64);
        let (mut owned, mut ranges) = (Vec::new(), Vec::new());
        for ownership in &folded.ownerships {
            applied.rows.push(of_ownership(ownership));
            if ownership.first == ownership.last {
                owned.push(owned_row(chain, ownership));
            } else {
                ranges.push(range_row(chain, ownership));
            }
        }
        let (mut sent, mut parts) = (Vec::new(), Vec::new());
        for sending in &folded.sendings {
            applied.rows.extend(of_sending(sending));
            match &sending.effect {
                Effect::Sent { .. } => sent.extend(sent_row(chain, sending)),
                _ => parts.extend(part_row(chain, sending)),
            }
        }
        let retried: Vec<RecordId> = change
            .retried
            .iter()
            .map(|(block, log)| {
                RecordId::new("retried", array![pipeline.as_str(), chain as i64, *block as i64, i64::from(*log)])
            })
            .collect();
        let statement = format!(
            "{{
            LET $seq = $cursor_id.seq ?? 0;
            IF $seq != $expected {{ THROW 'stale' }};
            FOR $id IN $retried {{ CREATE $id RETURN NONE; }};
            INSERT INTO delta $deltas RETURN NONE;
            INSERT IGNORE INTO owned $owned RETURN NONE;
            INSERT IGNORE INTO minted_range $ranges RETURN NONE;
            INSERT IGNORE INTO sent $sent RETURN NONE;
            INSERT IGNORE INTO sent_part $parts RETURN NONE;
            IF $body != NONE {{ CREATE $applied_id SET body = $body RETURN NONE }};
            UPSERT $cursor_id CONTENT $cursor RETURN NONE;
            {}
            }}",
            outbox::INSERT
        );
        let body = (applied.highest().is_some()).then(|| applied.body());
        let variables = vars! {
            cursor_id: cursor_id(pipeline, chain),
            expected: before.seq,
            cursor: after.clone(),
            retried: retried,
            deltas: deltas,
            owned: owned,
            ranges: ranges,
            sent: sent,
            parts: parts,
            body: body,
            applied_id: RecordId::new("applied", array![pipeline.as_str(), chain as i64, seq]),
            events: change.events,
        };
        self.db.execute(&statement, variables).await?;
        Ok(applied)
    }

    /// Takes out everything of blocks above a height, which was never final, and commits the cursor. `unfolded` becomes what
    /// is left.
    pub async fn revert(
        &self,
        pipeline: Pipeline,
        before: &CursorRow,
        after: &CursorRow,
        unfolded: &mut Vec<Applied>,
        height: u64,
        events: Vec<outbox::Row>,
    ) -> Result<(), DbError> {
        let chain = after.chain as u64;
        let (mut gone, mut changed, mut emptied) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = unfolded.clone();
        for applied in &mut left {
            if applied.highest().is_none_or(|highest| highest <= height) {
                continue;
            }
            let key = DeltaKey { chain, pipeline, late: applied.late, seq: applied.seq };
            let above = applied.deltas.extract_if(.., |delta| delta.block > height);
            let above: BTreeSet<(Address, u64)> = above.map(|delta| (delta.holding.holder, delta.block)).collect();
            gone.extend(above.iter().map(|(holder, block)| key.row(holder, (*block, *block))));
            applied.rows.retain(|row| {
                let stays = row.block <= height;
                if !stays {
                    gone.push(row_id(chain, row));
                }
                stays
            });
            let id = RecordId::new("applied", array![pipeline.as_str(), chain as i64, applied.seq]);
            match applied.highest() {
                Some(_) => changed.push(AppliedRowOf { id, body: applied.body() }),
                None => emptied.push(id),
            }
        }
        let statement = format!(
            "{{
            LET $seq = $cursor_id.seq ?? 0;
            IF $seq != $expected {{ THROW 'stale' }};
            DELETE $gone RETURN NONE;
            DELETE $emptied RETURN NONE;
            FOR $row IN $changed {{ UPDATE $row.id SET body = $row.body RETURN NONE; }};
            CREATE $reverted_id SET height = $height RETURN NONE;
            UPSERT $cursor_id CONTENT $cursor RETURN NONE;
            {}
            }}",
            outbox::INSERT
        );
        let variables = vars! {
            cursor_id: cursor_id(pipeline, chain),
            expected: before.seq,
            cursor: after.clone(),
            gone: gone,
            emptied: emptied,
            changed: changed,
            reverted_id: RecordId::new("reverted", array![pipeline.as_str(), chain as i64, after.step]),
            height: height as i64,
            events: events,
        };
        self.db.execute(&statement, variables).await?;
        left.retain(|applied| applied.highest().is_some());
        *unfolded = left;
        Ok(())
    }

    /// What is not folded yet, in order.
    pub async fn unfolded(&self, pipeline: Pipeline, chain: u64) -> Result<Vec<Applied>, DbError> {
        let statement = "SELECT * FROM applied:[$pipeline, $chain, NONE]..[$pipeline, $chain, []]";
        let variables = vars! { pipeline: pipeline.as_str(), chain: chain as i64 };
        let rows: Vec<AppliedRowOf> = self.db.run(statement, variables).await?;
        let read = |row: &AppliedRowOf| {
            let body = AppliedBody::decode(&row.body[..]).ok()?;
            let deltas = body.deltas().collect();
            Some(Applied { seq: last_number(&row.id)?, late: body.late, deltas, rows: body.rows })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Folds deltas into their holdings, a part of a fold that ends at `seq`. A holding says itself how far it is folded,
    /// because a fold may have been broken off.
    pub async fn fold(&self, chain: u64, seq: i64, folds: &[Fold]) -> Result<(), DbError> {
        let ids: Vec<RecordId> = folds.iter().map(|fold| asset_id(chain, &fold.holding)).collect();
        let known: Vec<AssetRow> = self.db.run("SELECT * FROM $ids", vars! { ids: ids.clone() }).await?;
        let known: HashMap<String, AssetRow> =
            known.into_iter().map(|row| (format!("{:?}", row.id.key), row)).collect();
        let (mut fresh, mut changed) = (Vec::new(), Vec::new());
        for (id, fold) in ids.into_iter().zip(folds) {
            let scope = scope(chain, &fold.holding);
            match known.get(&format!("{:?}", id.key)) {
                None => fresh.push(AssetRow { id, scope, amount: amount_bytes(fold.sum_after(0)), folded: seq }),
                Some(row) if row.folded < seq => {
                    let amount = amount_bytes(read_amount(&row.amount).plus(fold.sum_after(row.folded)));
                    changed.push(AssetRow { id, scope, amount, folded: seq });
                }
                Some(_) => {}
            }
        }
        let statement = "{
            INSERT INTO asset $fresh RETURN NONE;
            FOR $row IN $changed { UPDATE $row.id CONTENT $row RETURN NONE };
        }";
        self.db.execute(statement, vars! { fresh: fresh, changed: changed }).await
    }

    /// Everything up to `after.folded` is folded: what it could be taken out by is needed no longer.
    pub async fn end_fold(
        &self,
        pipeline: Pipeline,
        before: &CursorRow,
        after: &CursorRow,
        events: Vec<outbox::Row>,
    ) -> Result<(), DbError> {
        let statement = format!(
            "{{
            LET $seq = $cursor_id.seq ?? 0;
            IF $seq != $expected {{ THROW 'stale' }};
            DELETE applied:[$pipeline, $chain, NONE]..=[$pipeline, $chain, $folded];
            UPDATE $cursor_id SET folded = $folded RETURN NONE;
            {}
            }}",
            outbox::INSERT
        );
        let variables = vars! {
            cursor_id: cursor_id(pipeline, after.chain as u64),
            expected: before.seq,
            pipeline: pipeline.as_str(),
            chain: after.chain,
            folded: after.folded,
            events: events,
        };
        self.db.execute(&statement, variables).await
    }
}

/// The rows of a change: one for each holder with all that is final, and one for each block that may be given up.
fn delta_rows(key: DeltaKey, folded: &Folded, final_height: u64) -> Vec<DeltaRow> {
    let mut bodies: BTreeMap<(Address, Option<u64>), DeltasBody> = BTreeMap::new();
    for ((block, holding), delta) in &folded.deltas {
        let alone = (*block > final_height).then_some(*block);
        bodies.entry((holding.holder, alone)).or_default().add(*block, holding, delta);
    }
    let row = |((holder, _), body): ((Address, Option<u64>), DeltasBody)| {
        Some(DeltaRow { id: key.row(&holder, body.blocks()?), body: body.encode_to_vec().into() })
    };
    bodies.into_iter().filter_map(row).collect()
}

/// Deltas by holding.
pub fn folds<'a>(changes: impl Iterator<Item = &'a Applied>) -> Vec<Fold> {
    let mut folds: BTreeMap<Holding, Vec<(i64, Amount)>> = BTreeMap::new();
    for applied in changes {
        for delta in &applied.deltas {
            folds.entry(delta.holding).or_default().push((applied.seq, delta.amount));
        }
    }
    folds.into_iter().map(|(holding, deltas)| Fold { holding, deltas }).collect()
}

fn of_ownership(ownership: &Ownership) -> AppliedRow {
    let table = if ownership.first == ownership.last { "owned" } else { "minted_range" };
    AppliedRow {
        table: table.to_owned(),
        block: ownership.place.block,
        contract: hex(&ownership.contract),
        number: token_hex(&ownership.first),
        log: ownership.place.log,
    }
}

fn of_sending(sending: &Sending) -> Option<AppliedRow> {
    let (table, contract, batch) = match &sending.effect {
        Effect::Sent { contract, batch, .. } => ("sent", contract, batch),
        Effect::Part { contract, batch, .. } => ("sent_part", contract, batch),
        _ => return None,
    };
    Some(AppliedRow {
        table: table.to_owned(),
        block: sending.place.block,
        contract: hex(contract),
        number: token_hex(batch),
        log: sending.place.log,
    })
}

fn row_id(chain: u64, row: &AppliedRow) -> RecordId {
    let (chain, contract, number) = (chain as i64, row.contract.clone(), row.number.clone());
    match row.table.as_str() {
        "owned" => RecordId::new("owned", array![chain, contract, number, row.block as i64, i64::from(row.log)]),
        "sent_part" => RecordId::new("sent_part", array![chain, contract, number, i64::from(row.log)]),
        table => RecordId::new(table, array![chain, contract, number]),
    }
}

fn owned_row(chain: u64, ownership: &Ownership) -> OwnedRow {
    OwnedRow {
        id: row_id(chain, &of_ownership(ownership)),
        last: token_hex(&ownership.last),
        owner: hex(&ownership.to),
        tx: hash_hex(&ownership.place.transaction),
    }
}

fn range_row(chain: u64, ownership: &Ownership) -> RangeRow {
    RangeRow {
        id: row_id(chain, &of_ownership(ownership)),
        last: token_hex(&ownership.last),
        owner: hex(&ownership.to),
        block: ownership.place.block as i64,
    }
}

fn sent_row(chain: u64, sending: &Sending) -> Option<SentRow> {
    let Effect::Sent { sender, token, content_hash, message, .. } = &sending.effect else { return None };
    Some(SentRow {
        id: row_id(chain, &of_sending(sending)?),
        sender: hex(sender),
        token: hex(token),
        content_hash: hash_hex(content_hash),
        message: message.clone(),
        block: sending.place.block as i64,
        time_s: sending.place.time_s as i64,
        tx: hash_hex(&sending.place.transaction),
    })
}

fn part_row(chain: u64, sending: &Sending) -> Option<PartRow> {
    let Effect::Part { recipient, amount, outcome, .. } = &sending.effect else { return None };
    Some(PartRow {
        id: row_id(chain, &of_sending(sending)?),
        recipient: hex(recipient),
        amount: amount_bytes(*amount),
        outcome: outcome.as_str().to_owned(),
        block: sending.place.block as i64,
    })
}

/// The last part of a key, where it is a number.
fn last_number(id: &RecordId) -> Option<i64> {
    match &id.key {
        surrealdb::types::RecordIdKey::Array(parts) => match parts.last()? {
            surrealdb::types::Value::Number(surrealdb::types::Number::Int(number)) => Some(*number),
            _ => None,
        },
        _ => None,
    }
}
