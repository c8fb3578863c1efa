//! Who had a token that can be only one, turn by turn.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use nepto_kit::db::{DbError, key, readable, vars};
use surrealdb::types::SurrealValue;

use super::downward::{Descent, Part};
use super::rows::TurnRow;
use super::{Store, hex, read_address, token_hex};
use crate::assets::model::{Folded, Origin, Place, Single, Turn};
use crate::assets::turns::{self, Known};

/// Tokens whose lines are read at once.
const LINES_AT_ONCE: usize = 500;

/// Some of a token's turns, by their blocks.
pub const LINE: &str = "SELECT * FROM type::record('turn',
    [$chain, $origin, $contract, $token_key, $from]..[$chain, $origin, $contract, $token_key, $to]) LIMIT $limit";
/// The same for many tokens.
pub const LINES: &str = "SELECT VALUE (SELECT * FROM type::record('turn',
    [$chain, $parent.origin, $parent.contract, $parent.token, $parent.from]..[$chain, $parent.origin, $parent.contract, $parent.token, $parent.to]) LIMIT $limit) FROM $asked";

/// A token with the first and the last place of what is added to its line.
#[derive(Debug, Clone, SurrealValue)]
struct Asked {
    origin: String,
    contract: String,
    token: String,
    first: Vec<i64>,
    last: Vec<i64>,
    /// The blocks that are looked into next.
    from: i64,
    to: i64,
}

impl Store {
    /// Finds out whom tokens are taken from, as far as this pipeline knows, and makes deltas of it. What comes above all
    /// that it took before, and is not `late`, has nothing after it.
    pub async fn settle(&self, chain: u64, folded: &mut Folded, late: bool) -> Result<(), DbError> {
        let mut known = BTreeMap::new();
        let singles: Vec<&Single> = folded.turns.keys().collect();
        for singles in singles.chunks(LINES_AT_ONCE) {
            let asked: Vec<Asked> = singles.iter().filter_map(|single| asked(single, folded)).collect();
            let mut rows = if late { self.later(chain, asked.clone()).await? } else { Vec::new() };
            rows.extend(self.before(chain, asked).await?);
            for row in rows {
                let (single, turn) = readable(&row.id, read_turn(&row))?;
                let line: &mut Known = known.entry(single).or_default();
                line.insert((turn.place.block, turn.place.log), turn);
            }
        }
        turns::settle(folded, &known);
        Ok(())
    }

    /// The last turn of each of these before what is added.
    async fn before(&self, chain: u64, asked: Vec<Asked>) -> Result<Vec<TurnRow>, DbError> {
        let descent = |asked: &Asked| Descent::below(asked.first[0] as u64 + 1, 1);
        let mut open: Vec<(Descent, Asked)> = asked.into_iter().map(|asked| (descent(&asked), asked)).collect();
        let mut found = Vec::new();
        while !open.is_empty() {
            let mut by_limit: BTreeMap<i64, Vec<(Descent, Part, Asked)>> = BTreeMap::new();
            for (descent, asked) in open.drain(..) {
                let Some(part) = descent.next() else { continue };
                let asked = Asked { from: part.from as i64, to: part.to as i64, ..asked };
                by_limit.entry(part.limit()).or_default().push((descent, part, asked));
            }
            for (limit, looks) in by_limit {
                let asked: Vec<Asked> = looks.iter().map(|(.., asked)| asked.clone()).collect();
                let variables = vars! { chain: chain as i64, asked: asked, limit: limit };
                let lines: Vec<Vec<TurnRow>> = self.db.run(LINES, variables).await?;
                for ((mut descent, part, asked), line) in looks.into_iter().zip(lines) {
                    let first = asked.first.iter().copied().map(Some);
                    let is_before =
                        |row: &TurnRow| [4, 5].map(|place| key::number(&row.id, place)).into_iter().lt(first.clone());
                    let is_whole = descent.found(part, line.len());
                    match line.into_iter().rfind(is_before).filter(|_| is_whole) {
                        Some(row) => found.push(row),
                        None => open.push((descent, asked)),
                    }
                }
            }
        }
        Ok(found)
    }

    /// The turns of each of these among what is added, and the first after it.
    async fn later(&self, chain: u64, asked: Vec<Asked>) -> Result<Vec<TurnRow>, DbError> {
        // a range of ids is written without a space
        let line = "$chain, $parent.origin, $parent.contract, $parent.token";
        let (first, last) = ("$parent.first[0], $parent.first[1]", "$parent.last[0], $parent.last[1]");
        let statement = format!(
            "RETURN array::flatten(SELECT VALUE array::concat(
                (SELECT * FROM turn:[{line}, {first}]..=[{line}, {last}]),
                (SELECT * FROM type::record('turn', [{line}, {last}, NONE]..[{line}, []]) LIMIT 1)
            ) FROM $asked)"
        );
        self.db.run(&statement, vars! { chain: chain as i64, asked: asked }).await
    }

    /// Who got a token, and in which block, up to a block: the last turn.
    pub async fn owner(
        &self,
        chain: u64,
        Single { origin, contract, token }: &Single,
        up_to: u64,
    ) -> Result<Option<(Address, u64)>, DbError> {
        let mut descent = Descent::below(up_to.saturating_add(1).min(i64::MAX as u64), 1);
        while let Some(part) = descent.next() {
            let variables = vars! {
                chain: chain as i64,
                origin: origin.to_key(),
                contract: hex(contract),
                token_key: token_hex(token),
                from: part.from as i64,
                to: part.to as i64,
                limit: part.limit(),
            };
            let rows: Vec<TurnRow> = self.db.run(LINE, variables).await?;
            if descent.found(part, rows.len())
                && let Some(row) = rows.last()
            {
                let (_, turn) = readable(&row.id, read_turn(row))?;
                return Ok(Some((turn.owner, turn.place.block)));
            }
        }
        Ok(None)
    }
}

fn asked(single: &Single, folded: &Folded) -> Option<Asked> {
    let places: BTreeSet<Place> = folded.turns.get(single)?.iter().map(|turn| turn.place).collect();
    let at = |place: &Place| vec![place.block as i64, i64::from(place.log)];
    Some(Asked {
        origin: single.origin.to_key(),
        contract: hex(&single.contract),
        token: token_hex(&single.token),
        first: at(places.first()?),
        last: at(places.last()?),
        from: 0,
        to: 0,
    })
}

fn read_turn(row: &TurnRow) -> Option<(Single, Turn)> {
    let single = Single {
        origin: Origin::from_key(key::text(&row.id, 1)?)?,
        contract: read_address(&row.id, 2)?,
        token: U256::from_str_radix(key::text(&row.id, 3)?, 16).ok()?,
    };
    let place = Place {
        block: key::number(&row.id, 4)?.try_into().ok()?,
        log: key::number(&row.id, 5)?.try_into().ok()?,
        time_s: row.time_s.try_into().ok()?,
        transaction: row.tx.parse().ok()?,
    };
    Some((single, Turn { place, owner: row.owner.parse().ok()? }))
}
