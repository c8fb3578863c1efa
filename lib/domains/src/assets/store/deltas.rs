//! Deltas of a holder in the past: the history, and what is to be taken off a sum.
//!
//! Changes of a pipeline are in the order of their blocks, but for those that are late, which are kept apart and are few.

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, Text, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::Variables;

use super::Store;
use super::downward::{Descent, Part};
use super::read::{TAIL_MAX, Tail, tails};
use super::rows::DeltaRow;
use super::tables::{NUMBER_MAX, Short};
use crate::assets::model::Holding;

/// Deltas of some changes.
pub const DELTAS: &str = "SELECT * FROM type::record('delta',
    [$chain, $pipeline, $holder, false, $from]..[$chain, $pipeline, $holder, false, $to]) LIMIT $limit";
/// Those that are late, of blocks in a range.
pub const LATE: &str = "SELECT * FROM type::record('delta',
    [$chain, $pipeline, $holder, true, NONE]..[$chain, $pipeline, $holder, true, []])
    WHERE record::id(id)[5] < $below AND record::id(id)[6] >= $from LIMIT $limit";

/// The deltas of one holder that one pipeline told of.
struct Line<'a> {
    store: &'a Store,
    chain: u64,
    pipeline: Pipeline,
    holder: &'a Address,
}

impl Line<'_> {
    fn variables(&self) -> Variables {
        vars! { chain: self.chain, pipeline: self.pipeline.as_str(), holder: Text(Short(*self.holder)) }
    }

    async fn part(&self, part: Part) -> Result<Vec<DeltaRow>, DbError> {
        let mut variables = self.variables();
        for (name, number) in [("from", part.from), ("to", part.to)] {
            variables.insert(name.to_owned(), number);
        }
        variables.insert("limit".to_owned(), part.limit());
        self.store.db().rows(DELTAS, variables).await
    }

    /// Those that are late, of blocks from one on and below another.
    async fn late(&self, from: u64, below: u64) -> Result<impl Iterator<Item = Tail>, DbError> {
        let mut variables = self.variables();
        for (name, number) in [("from", from.min(NUMBER_MAX)), ("below", below.min(NUMBER_MAX))] {
            variables.insert(name.to_owned(), number);
        }
        variables.insert("limit".to_owned(), TAIL_MAX);
        Ok(tails(self.store.db().rows(LATE, variables).await?))
    }

    /// The number after the last change that begins below a block, out of those up to `top`; halved down to it.
    async fn after_changes_below(&self, block: u64, top: u64) -> Result<u64, DbError> {
        let (mut low, mut high) = (0, top);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let row = self.part(Part { from: middle, to: top, rows_max: 0 }).await?;
            match row.first() {
                Some(DeltaRow { id: Id((.., change, first, _)), .. }) if *first < block => low = *change,
                _ => high = middle,
            }
        }
        Ok(low + 1)
    }
}

impl Store {
    /// The deltas of a holding in blocks above a height, compacted or not; `None` if the holder has too many to tell. It costs
    /// what came since.
    pub async fn deltas_above(
        &self,
        chain: u64,
        pipeline: Pipeline,
        holding: &Holding,
        height: u64,
    ) -> Result<Option<Vec<Tail>>, DbError> {
        let Some(cursor) = self.cursor(pipeline, chain).await? else { return Ok(Some(Vec::new())) };
        let line = Line { store: self, chain, pipeline, holder: &holding.holder };
        let top = cursor.seq + 1;
        let from = match height >= cursor.final_height {
            // what is compacted is final
            true => cursor.folded + 1,
            false => line.after_changes_below(height.saturating_add(1), top).await?.saturating_sub(1),
        };
        let rows = line.part(Part { from, to: top, rows_max: TAIL_MAX }).await?;
        if rows.len() > TAIL_MAX {
            return Ok(None);
        }
        let mut found: Vec<Tail> = tails(rows).collect();
        found.extend(line.late(height.saturating_add(1), u64::MAX).await?);
        found.retain(|tail| tail.holding == *holding && tail.block > height);
        Ok(Some(found))
    }

    /// The newest deltas of a holder in blocks below a height, of one pipeline: all of each block, and at least as many as
    /// asked for, if there are.
    pub async fn history(
        &self,
        chain: u64,
        pipeline: Pipeline,
        holder: &Address,
        below: u64,
        at_least: usize,
    ) -> Result<Vec<Tail>, DbError> {
        let Some(cursor) = self.cursor(pipeline, chain).await? else { return Ok(Vec::new()) };
        let line = Line { store: self, chain, pipeline, holder };
        let (top, wanted) = (cursor.seq + 1, at_least + 1);
        let mut descent = Descent::below(top, wanted);
        let mut is_placed = below > cursor.height;
        // the lowest block that was read may go on in changes that were not
        let (mut found, mut lowest) = (Vec::new(), u64::MAX);
        while let Some(part) = descent.next() {
            let rows = line.part(part).await?;
            if !descent.found(part, rows.len()) {
                if !is_placed {
                    is_placed = true;
                    descent = Descent::below(line.after_changes_below(below, top).await?, wanted);
                }
                continue;
            }
            for tail in tails(rows) {
                lowest = lowest.min(tail.block);
                if tail.block < below {
                    found.push(tail);
                }
            }
            if found.iter().filter(|tail| tail.block > lowest).count() >= at_least {
                break;
            }
        }
        let is_all = descent.reached() == 0;
        found.extend(line.late(0, below).await?);
        found.retain(|tail| tail.block < below && (is_all || tail.block > lowest));
        Ok(found)
    }
}
