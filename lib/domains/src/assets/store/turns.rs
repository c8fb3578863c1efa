//! Who had a token that can be only one, turn by turn.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, Text, vars};
use surrealdb::types::SurrealValue;

use super::Store;
use super::downward::{Descent, Part};
use super::rows::TurnRow;
use super::tables::{NUMBER_MAX, Short, TokenHex};
use crate::assets::model::{BlockEffects, LogPosition, Origin, Single, Turn};
use crate::assets::turns::{self, Known};

/// Tokens whose lines are read at once.
const LINES_AT_ONCE: usize = 500;

/// Some of a token's turns, by their blocks.
pub const LINE: &str = "SELECT * FROM type::record('turn',
    [$chain, $origin, $contract, $token_key, $from]..[$chain, $origin, $contract, $token_key, $to]) LIMIT $limit";
/// The same for many tokens.
pub const LINES: &str = "SELECT VALUE (SELECT * FROM type::record('turn',
    [$chain, $parent.origin, $parent.contract, $parent.token, $parent.from]..[$chain, $parent.origin, $parent.contract, $parent.token, $parent.to]) LIMIT $limit) FROM $asked";

/// A token with the first and the last position of what is added to its line.
#[derive(Debug, Clone, SurrealValue)]
struct Asked {
    origin: Text<Origin>,
    contract: Text<Short>,
    token: Text<TokenHex>,
    first: (u64, u32),
    last: (u64, u32),
    /// The blocks that are looked into next.
    from: u64,
    to: u64,
}

impl Store {
    /// Finds out whom tokens are taken from, as far as this pipeline knows, and makes deltas of it. What comes above all
    /// that it took before, and is not `late`, has nothing after it.
    pub async fn settle(&self, chain: u64, block_effects: &mut BlockEffects, late: bool) -> Result<(), DbError> {
        let mut known = BTreeMap::new();
        let singles: Vec<&Single> = block_effects.turns.keys().collect();
        for singles in singles.chunks(LINES_AT_ONCE) {
            let asked: Vec<Asked> = singles.iter().filter_map(|single| asked(single, block_effects)).collect();
            let mut rows = if late { self.later(chain, asked.clone()).await? } else { Vec::new() };
            rows.extend(self.before(chain, asked).await?);
            for row in rows {
                let (single, turn) = row.turn();
                let line: &mut Known = known.entry(single).or_default();
                line.insert((turn.position.block, turn.position.log), turn);
            }
        }
        turns::settle(block_effects, &known);
        Ok(())
    }

    /// The last turn of each of these before what is added.
    async fn before(&self, chain: u64, asked: Vec<Asked>) -> Result<Vec<TurnRow>, DbError> {
        let descent = |asked: &Asked| Descent::below(asked.first.0 + 1, 1);
        let mut open: Vec<(Descent, Asked)> = asked.into_iter().map(|asked| (descent(&asked), asked)).collect();
        let mut found = Vec::new();
        while !open.is_empty() {
            let mut by_limit: BTreeMap<usize, Vec<(Descent, Part, Asked)>> = BTreeMap::new();
            for (descent, asked) in open.drain(..) {
                let Some(part) = descent.next() else { continue };
                let asked = Asked { from: part.from, to: part.to, ..asked };
                by_limit.entry(part.limit()).or_default().push((descent, part, asked));
            }
            for (limit, looks) in by_limit {
                let asked: Vec<Asked> = looks.iter().map(|(.., asked)| asked.clone()).collect();
                let variables = vars! { chain: chain, asked: asked, limit: limit };
                let lines: Vec<Vec<TurnRow>> = self.db.run(LINES, variables).await?;
                for ((mut descent, part, asked), line) in looks.into_iter().zip(lines) {
                    let is_before = |TurnRow { id: Id((.., block, log)), .. }: &TurnRow| (*block, *log) < asked.first;
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
        self.db.rows(&statement, vars! { chain: chain, asked: asked }).await
    }

    /// Who got a token, and in which block, up to a block: the last turn.
    pub async fn owner(
        &self,
        chain: u64,
        Single { origin, contract, token }: &Single,
        up_to: u64,
    ) -> Result<Option<(Address, u64)>, DbError> {
        let mut descent = Descent::below(up_to.saturating_add(1).min(NUMBER_MAX), 1);
        while let Some(part) = descent.next() {
            let variables = vars! {
                chain: chain,
                origin: Text(*origin),
                contract: Text(Short(*contract)),
                token_key: Text(TokenHex(*token)),
                from: part.from,
                to: part.to,
                limit: part.limit(),
            };
            let rows: Vec<TurnRow> = self.db.rows(LINE, variables).await?;
            if descent.found(part, rows.len())
                && let Some(row) = rows.last()
            {
                let (_, turn) = row.turn();
                return Ok(Some((turn.owner, turn.position.block)));
            }
        }
        Ok(None)
    }
}

fn asked(single: &Single, block_effects: &BlockEffects) -> Option<Asked> {
    let positions: BTreeSet<LogPosition> = block_effects.turns.get(single)?.iter().map(|turn| turn.position).collect();
    let at = |position: &LogPosition| (position.block, position.log);
    Some(Asked {
        origin: Text(single.origin),
        contract: Text(Short(single.contract)),
        token: Text(TokenHex(single.token)),
        first: at(positions.first()?),
        last: at(positions.last()?),
        from: 0,
        to: 0,
    })
}

impl TurnRow {
    fn turn(&self) -> (Single, Turn) {
        let Id((_, origin, contract, token, block, log)) = self.id;
        let single = Single { origin: origin.0, contract: contract.0.0, token: token.0.0 };
        let position = LogPosition { block, log, time_s: self.time_s, transaction: self.tx.0.0 };
        (single, Turn { position, owner: self.owner.0.0 })
    }
}
