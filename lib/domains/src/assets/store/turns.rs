//! Who had a token that can be only one, turn by turn.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, Text, vars};
use surrealdb::types::SurrealValue;

use super::Store;
use super::rows::TurnRow;
use super::tables::{NUMBER_MAX, Short, TokenHex};
use crate::assets::model::{Folded, Origin, Place, Single, Turn};
use crate::assets::turns::{self, Known};

/// Tokens whose lines are read at once.
const LINES_AT_ONCE: usize = 2_000;

/// A token with the first and the last place of what is added to its line.
#[derive(Debug, Clone, SurrealValue)]
struct Asked {
    origin: Text<Origin>,
    contract: Text<Short>,
    token: Text<TokenHex>,
    first: (u64, u32),
    last: (u64, u32),
}

impl Store {
    /// Finds out whom tokens are taken from, as far as this pipeline knows, and makes deltas of it. What comes above all
    /// that it took before, and is not `late`, has nothing after it.
    pub async fn settle(&self, chain: u64, folded: &mut Folded, late: bool) -> Result<(), DbError> {
        let mut known = BTreeMap::new();
        let singles: Vec<&Single> = folded.turns.keys().collect();
        for singles in singles.chunks(LINES_AT_ONCE) {
            let asked: Vec<Asked> = singles.iter().filter_map(|single| asked(single, folded)).collect();
            for row in self.around(chain, asked, late).await? {
                let (single, turn) = row.turn();
                let line: &mut Known = known.entry(single).or_default();
                line.insert((turn.place.block, turn.place.log), turn);
            }
        }
        turns::settle(folded, &known);
        Ok(())
    }

    async fn around(&self, chain: u64, asked: Vec<Asked>, late: bool) -> Result<Vec<TurnRow>, DbError> {
        // a range of ids is written without a space
        let line = "$chain, $parent.origin, $parent.contract, $parent.token";
        let (first, last) = ("$parent.first[0], $parent.first[1]", "$parent.last[0], $parent.last[1]");
        let before = format!("(SELECT * FROM turn:[{line}, NONE]..[{line}, {first}] ORDER BY id DESC LIMIT 1)");
        let later = format!(
            "(SELECT * FROM turn:[{line}, {first}]..=[{line}, {last}]),
            (SELECT * FROM turn:[{line}, {last}, NONE]..[{line}, []] ORDER BY id LIMIT 1)"
        );
        let statement = match late {
            true => format!("array::flatten(SELECT VALUE array::concat({before}, {later}) FROM $asked)"),
            false => format!("array::flatten(SELECT VALUE {before} FROM $asked)"),
        };
        self.db.rows(&format!("RETURN {statement}"), vars! { chain: chain, asked: asked }).await
    }

    /// Who got a token, and in which block, up to a block: the last turn.
    pub async fn owner(
        &self,
        chain: u64,
        Single { origin, contract, token }: &Single,
        up_to: u64,
    ) -> Result<Option<(Address, u64)>, DbError> {
        let statement = "(SELECT *
            FROM turn:[$chain, $origin, $contract, $token_key, NONE]..[$chain, $origin, $contract, $token_key, $above]
            ORDER BY id DESC LIMIT 1)[0]";
        let variables = vars! {
            chain: chain,
            origin: Text(*origin),
            contract: Text(Short(*contract)),
            token_key: Text(TokenHex(*token)),
            above: up_to.saturating_add(1).min(NUMBER_MAX),
        };
        let row: Option<TurnRow> = self.db.run(statement, variables).await?;
        Ok(row.map(|row| row.turn().1).map(|turn| (turn.owner, turn.place.block)))
    }
}

fn asked(single: &Single, folded: &Folded) -> Option<Asked> {
    let places: BTreeSet<Place> = folded.turns.get(single)?.iter().map(|turn| turn.place).collect();
    let at = |place: &Place| (place.block, place.log);
    Some(Asked {
        origin: Text(single.origin),
        contract: Text(Short(single.contract)),
        token: Text(TokenHex(single.token)),
        first: at(places.first()?),
        last: at(places.last()?),
    })
}

impl TurnRow {
    fn turn(&self) -> (Single, Turn) {
        let Id((_, origin, contract, token, block, log)) = self.id;
        let single = Single { origin: origin.0, contract: contract.0.0, token: token.0.0 };
        let place = Place { block, log, time_s: self.time_s, transaction: self.tx.0.0 };
        (single, Turn { place, owner: self.owner.0.0 })
    }
}
