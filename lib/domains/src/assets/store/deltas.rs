//! Deltas of a holder in the past: the history, and what is to be taken off a sum.
//!
//! Changes of a pipeline are in the order of their blocks, but for those that are late, which are kept apart and are few.

use alloy_primitives::Address;
use nepto_kit::db::{DbError, key, readable, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::Variables;

use super::downward::{Descent, Part};
use super::read::{TAIL_MAX, Tail, read_deltas};
use super::rows::DeltaRow;
use super::{Store, hex};
use crate::assets::model::Holding;

/// Deltas of some changes.
pub const DELTAS: &str = "SELECT * FROM type::record('delta',
    [$chain, $pipeline, $holder, false, $from]..[$chain, $pipeline, $holder, false, $to]) LIMIT $limit";
/// Those that are late, of blocks in a range.
pub const LATE: &str = "SELECT * FROM type::record('delta',
    [$chain, $pipeline, $holder, true, NONE]..[$chain, $pipeline, $holder, true, []])
    WHERE record::id(id)[5] < $below AND record::id(id)[6] > $above LIMIT $limit";

/// The deltas of one holder that one pipeline told of.
struct Line<'a> {
    store: &'a Store,
    chain: u64,
    pipeline: Pipeline,
    holder: &'a Address,
}

impl Line<'_> {
    fn variables(&self) -> Variables {
        vars! { chain: self.chain as i64, pipeline: self.pipeline.as_str(), holder: hex(self.holder) }
    }

    async fn part(&self, part: Part) -> Result<Vec<DeltaRow>, DbError> {
        let mut variables = self.variables();
        for (name, number) in [("from", part.from as i64), ("to", part.to as i64), ("limit", part.limit())] {
            variables.insert(name.to_owned(), number);
        }
        self.store.db().run(DELTAS, variables).await
    }

    async fn late(&self, above: i64, below: u64) -> Result<Vec<Tail>, DbError> {
        let mut variables = self.variables();
        let below = below.min(i64::MAX as u64) as i64;
        for (name, number) in [("above", above), ("below", below), ("limit", TAIL_MAX)] {
            variables.insert(name.to_owned(), number);
        }
        read_deltas(&self.store.db().run::<Vec<DeltaRow>>(LATE, variables).await?)
    }

    /// The number after the last change that begins below a block, out of those up to `top`; halved down to it.
    async fn after_changes_below(&self, block: u64, top: u64) -> Result<u64, DbError> {
        let (mut low, mut high) = (0, top);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let row = self.part(Part { from: middle, to: top, rows_max: 0 }).await?;
            let place = |row: &DeltaRow| Some((key::number(&row.id, 4)?, key::number(&row.id, 5)?));
            match row.first().map(|row| readable(&row.id, place(row))).transpose()? {
                Some((change, first)) if (first as u64) < block => low = change as u64,
                _ => high = middle,
            }
        }
        Ok(low + 1)
    }
}

impl Store {
    /// The deltas of a holding in blocks above a height, folded or not; `None` if the holder has too many to tell. It costs what
    /// came since.
    pub async fn deltas_above(
        &self,
        chain: u64,
        pipeline: Pipeline,
        holding: &Holding,
        height: u64,
    ) -> Result<Option<Vec<Tail>>, DbError> {
        let Some(cursor) = self.cursor(pipeline, chain).await? else { return Ok(Some(Vec::new())) };
        let line = Line { store: self, chain, pipeline, holder: &holding.holder };
        let top = cursor.seq as u64 + 1;
        let from = match height >= cursor.final_height as u64 {
            // what is folded is final
            true => cursor.folded as u64 + 1,
            false => line.after_changes_below(height.saturating_add(1), top).await?.saturating_sub(1),
        };
        let rows = line.part(Part { from, to: top, rows_max: TAIL_MAX as usize }).await?;
        if rows.len() > TAIL_MAX as usize {
            return Ok(None);
        }
        let mut found = read_deltas(&rows)?;
        found.extend(line.late(height.min(i64::MAX as u64) as i64, u64::MAX).await?);
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
        let (top, wanted) = (cursor.seq as u64 + 1, at_least + 1);
        let mut descent = Descent::below(top, wanted);
        let mut is_placed = below > cursor.height as u64;
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
            for tail in read_deltas(&rows)? {
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
        found.extend(line.late(-1, below).await?);
        found.retain(|tail| tail.block < below && (is_all || tail.block > lowest));
        Ok(found)
    }
}
