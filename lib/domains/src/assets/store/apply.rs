//! Committing what a pipeline does: the rows of a change and the cursor, all or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, Packed, RecordId, Text, vars};
use nepto_kit::outbox;
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

use super::packed::Undo;
use super::rows::{Added, AddedRow, ChangedRows, ShapeRow, shape_id, shape_row, unread_id};
use super::tables::{Changes, Reverts};
use super::{CursorRow, DeltaKey, HeldRow, Store, cursor_id, held_id, holding_of};
use crate::assets::model::{Amount, BlockEffects, Delta, Holding};
use crate::assets::shapes::{Shapes, Unread};

/// Another worker took the next update: the cursor is not the one that the change builds on.
const IS_MOVED: &str = "($cursor_id.seq ?? 0) != $expected";

/// A change that is not compacted yet, as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub seq: u64,
    /// It had blocks below those that were taken before ([`Change::late`]).
    pub late: bool,
    pub deltas: Vec<AppliedDelta>,
    pub rows: Vec<AddedRow>,
}

/// A delta as it is remembered until it is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedDelta {
    pub block: u64,
    pub holding: Holding,
    pub amount: Amount,
}

impl Applied {
    fn body(&self) -> Packed<Undo> {
        let delta = |delta: &AppliedDelta| Undo::delta(delta.block, &delta.holding, delta.amount);
        Packed(Undo { deltas: self.deltas.iter().map(delta).collect(), rows: self.rows.clone(), late: self.late })
    }

    /// The highest block that it touched.
    pub fn highest(&self) -> Option<u64> {
        self.deltas.iter().map(|delta| delta.block).chain(self.rows.iter().map(|row| row.block)).max()
    }
}

/// A holding with its deltas that are to be compacted into it, each with its `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    pub holding: Holding,
    pub deltas: Vec<(u64, Amount)>,
}

impl Compaction {
    /// The sum of what came after `folded`.
    fn sum_after(&self, folded: u64) -> Amount {
        let later = self.deltas.iter().filter(|(seq, _)| *seq > folded);
        later.fold(Amount::ZERO, |sum, (_, amount)| sum.plus(*amount))
    }
}

/// A sum that is to replace one that was compacted up to `before`.
#[derive(Debug, Clone, SurrealValue)]
struct ChangedSum {
    before: u64,
    row: HeldRow,
}

#[derive(Debug, Clone, SurrealValue)]
struct AppliedRow {
    id: Id<Changes>,
    body: Packed<Undo>,
}

impl From<AppliedRow> for Applied {
    fn from(AppliedRow { id: Id((pipeline, _, seq)), body: Packed(undo) }: AppliedRow) -> Self {
        let deltas = undo.deltas.into_iter().map(|(block, holder, asset, amount)| AppliedDelta {
            block,
            holding: asset.held_by(holder, pipeline.0),
            amount,
        });
        Self { seq, late: undo.late, deltas: deltas.collect(), rows: undo.rows }
    }
}

/// One change of a pipeline, ready to be committed.
pub struct Change<'a> {
    pub pipeline: Pipeline,
    pub before: &'a CursorRow,
    pub after: &'a CursorRow,
    pub block_effects: &'a BlockEffects,
    /// It has blocks below those that were taken before.
    pub late: bool,
    /// Logs that were dead-lettered before, each as block and index.
    pub retried: Vec<(u64, u32)>,
    pub events: Vec<outbox::Row>,
}

impl Store {
    /// Commits a change, and answers how to take it out again. It is [`DbError::Stale`] if the cursor is another one, and
    /// `Exists` if something of it was retried before. Whom tokens are taken from must be settled ([`Self::settle`]).
    pub async fn apply(&self, change: Change<'_>) -> Result<Applied, DbError> {
        let Change { pipeline, before, after, block_effects, late, .. } = change;
        let (chain, seq) = (after.chain, after.seq);
        let added = |((block, holding), delta): (&(u64, Holding), &Delta)| AppliedDelta {
            block: *block,
            holding: *holding,
            amount: delta.amount,
        };
        let mut applied =
            Applied { seq, late, deltas: block_effects.deltas.iter().map(added).collect(), rows: Vec::new() };
        let ChangedRows { deltas, turns, unread, sent, parts, added } =
            ChangedRows::new(DeltaKey { chain, pipeline, late, seq }, block_effects, after.final_height);
        applied.rows = added;
        // one whose block is orphaned may come again in another
        let retried = change.retried.iter();
        let retried = retried.map(|(block, log)| AddedRow { block: *block, log: *log, what: Added::Retried(pipeline) });
        let retried: Vec<AddedRow> = retried.collect();
        applied.rows.extend(&retried);
        let retried: Vec<RecordId> = retried.iter().map(|row| row.id(chain)).collect();
        let noted = &block_effects.noted;
        let shape = |((contract, topics), shape): (&(Address, u8), _)| {
            shape_row(shape_id(chain, pipeline, contract, *topics), shape)
        };
        let shapes: Vec<ShapeRow> = noted.shapes.iter().map(shape).collect();
        let read: Vec<_> = noted.read.iter().map(|unread| unread_id(chain, pipeline, unread)).collect();
        let changes = "
            FOR $id IN $retried { CREATE $id RETURN NONE; };
            INSERT INTO delta $deltas RETURN NONE;
            INSERT IGNORE INTO turn $turns RETURN NONE;
            FOR $shape IN $shapes { UPSERT $shape.id CONTENT $shape RETURN NONE; };
            DELETE $read RETURN NONE;
            INSERT IGNORE INTO unread $unread RETURN NONE;
            INSERT IGNORE INTO sent $sent RETURN NONE;
            INSERT IGNORE INTO sent_part $parts RETURN NONE;
            IF $body != NONE { CREATE $applied_id SET body = $body RETURN NONE };
            UPSERT $cursor_id CONTENT $cursor RETURN NONE";
        let body = (applied.highest().is_some()).then(|| applied.body());
        let variables = vars! {
            cursor_id: cursor_id(pipeline, chain),
            expected: before.seq,
            cursor: after.clone(),
            retried: retried,
            deltas: deltas,
            turns: turns,
            shapes: shapes,
            read: read,
            unread: unread,
            sent: sent,
            parts: parts,
            body: body,
            applied_id: applied_id(pipeline, chain, seq),
        };
        self.db.transaction(variables).stale_if(IS_MOVED).then(changes).emit(change.events).execute().await?;
        Ok(applied)
    }

    /// Takes out everything of blocks above a height, which was never final, and commits the cursor. `uncompacted` and `shapes`
    /// become what is left.
    #[expect(clippy::too_many_arguments, reason = "two of them are what it changes")]
    pub async fn revert(
        &self,
        pipeline: Pipeline,
        before: &CursorRow,
        after: &CursorRow,
        uncompacted: &mut Vec<Applied>,
        shapes: &mut Shapes,
        height: u64,
        events: Vec<outbox::Row>,
    ) -> Result<(), DbError> {
        let chain = after.chain;
        let (mut gone, mut named, mut changed, mut emptied) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut left = uncompacted.clone();
        let mut left_shapes = shapes.clone();
        for (contract, topics) in left_shapes.revert(height) {
            gone.push(shape_id(chain, pipeline, &contract, topics).record());
            gone.push(unread_id(chain, pipeline, &Unread::shape(contract, topics)).record());
        }
        for applied in &mut left {
            if applied.highest().is_none_or(|highest| highest <= height) {
                continue;
            }
            let change = DeltaKey { chain, pipeline, late: applied.late, seq: applied.seq };
            let above = applied.deltas.extract_if(.., |delta| delta.block > height);
            let above: BTreeSet<(Address, u64)> = above.map(|delta| (delta.holding.holder, delta.block)).collect();
            gone.extend(above.iter().map(|(holder, block)| change.row(holder, (*block, *block)).record()));
            applied.rows.retain(|row| {
                let stays = row.block <= height;
                if !stays {
                    let rows = if row.is_named_by_contract() { &mut named } else { &mut gone };
                    rows.push(row.id(chain));
                }
                stays
            });
            let id = applied_id(pipeline, chain, applied.seq);
            match applied.highest() {
                Some(_) => changed.push(AppliedRow { id, body: applied.body() }),
                None => emptied.push(id),
            }
        }
        let changes = "
            DELETE $gone RETURN NONE;
            DELETE $named WHERE block > $height RETURN NONE;
            DELETE $emptied RETURN NONE;
            FOR $row IN $changed { UPDATE $row.id SET body = $row.body RETURN NONE; };
            CREATE $reverted_id SET height = $height RETURN NONE;
            UPSERT $cursor_id CONTENT $cursor RETURN NONE";
        let variables = vars! {
            cursor_id: cursor_id(pipeline, chain),
            expected: before.seq,
            cursor: after.clone(),
            gone: gone,
            named: named,
            emptied: emptied,
            changed: changed,
            reverted_id: Id::<Reverts>((Text(pipeline), chain, after.step)),
            height: height,
        };
        self.db.transaction(variables).stale_if(IS_MOVED).then(changes).emit(events).execute().await?;
        left.retain(|applied| applied.highest().is_some());
        *uncompacted = left;
        *shapes = left_shapes;
        Ok(())
    }

    /// What is not compacted yet, in order.
    pub async fn uncompacted(&self, pipeline: Pipeline, chain: u64) -> Result<Vec<Applied>, DbError> {
        let statement = "SELECT * FROM applied:[$pipeline, $chain, NONE]..[$pipeline, $chain, []]";
        let variables = vars! { pipeline: pipeline.as_str(), chain: chain };
        let rows: Vec<AppliedRow> = self.db.rows(statement, variables).await?;
        Ok(rows.into_iter().map(Applied::from).collect())
    }

    /// Compacts deltas into their holdings, a part of a compaction that ends at `seq`. A holding says itself how far it is
    /// compacted, because a compaction may have been broken off. It is [`DbError::Stale`] if another worker changes it
    /// meanwhile.
    pub async fn compact(&self, chain: u64, seq: u64, compactions: &[Compaction]) -> Result<(), DbError> {
        let ids: Vec<_> = compactions.iter().map(|compaction| held_id(chain, &compaction.holding)).collect();
        let known: Vec<HeldRow> = self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?;
        let known: HashMap<Holding, HeldRow> = known.into_iter().map(|row| (holding_of(&row.id), row)).collect();
        let (mut fresh, mut changed) = (Vec::new(), Vec::new());
        for compaction in compactions {
            let sum = |amount: Amount| HeldRow::new(chain, &compaction.holding, amount, seq);
            match known.get(&compaction.holding) {
                None => fresh.push(sum(compaction.sum_after(0))),
                Some(row) if row.folded < seq => {
                    let (before, Packed(amount)) = (row.folded, row.amount);
                    changed.push(ChangedSum { before, row: sum(amount.plus(compaction.sum_after(before))) });
                }
                Some(_) => {}
            }
        }
        let update = "LET $done =
            (UPDATE $changed.row.id CONTENT $changed.row WHERE folded = $changed.before RETURN VALUE true)";
        self.db
            .transaction(vars! { fresh: fresh, changed: changed })
            .then("INSERT INTO held $fresh RETURN NONE")
            .within("FOR $changed IN $changed", |each| each.then(update).stale_if("array::len($done) = 0"))
            .execute()
            .await
    }

    /// Events of a compaction that has more of them than go into the commit of its end. They are published once more if that fails.
    pub async fn emit(&self, events: Vec<outbox::Row>) -> Result<(), DbError> {
        self.db.transaction(vars! {}).emit(events).execute().await
    }

    /// Everything up to `after.folded` is compacted: what it could be taken out by is needed no longer.
    pub async fn end_compaction(
        &self,
        pipeline: Pipeline,
        before: &CursorRow,
        after: &CursorRow,
        events: Vec<outbox::Row>,
    ) -> Result<(), DbError> {
        let changes = "
            DELETE applied:[$pipeline, $chain, NONE]..=[$pipeline, $chain, $folded];
            UPDATE $cursor_id SET folded = $folded RETURN NONE";
        let variables = vars! {
            cursor_id: cursor_id(pipeline, after.chain),
            expected: before.seq,
            pipeline: pipeline.as_str(),
            chain: after.chain,
            folded: after.folded,
        };
        self.db.transaction(variables).stale_if(IS_MOVED).then(changes).emit(events).execute().await
    }
}

/// Deltas by holding.
pub fn compactions<'a>(changes: impl Iterator<Item = &'a Applied>) -> Vec<Compaction> {
    let mut compactions: BTreeMap<Holding, Vec<(u64, Amount)>> = BTreeMap::new();
    for applied in changes {
        for delta in &applied.deltas {
            compactions.entry(delta.holding).or_default().push((applied.seq, delta.amount));
        }
    }
    compactions.into_iter().map(|(holding, deltas)| Compaction { holding, deltas }).collect()
}

fn applied_id(pipeline: Pipeline, chain: u64, seq: u64) -> Id<Changes> {
    Id((Text(pipeline), chain, seq))
}
