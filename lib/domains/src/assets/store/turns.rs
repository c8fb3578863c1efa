//! Who had a token that can be only one, turn by turn.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use nepto_kit::db::{DbError, key, readable, vars};
use surrealdb::types::SurrealValue;

use super::rows::TurnRow;
use super::{Store, hex, read_address, token_hex};
use crate::assets::model::{Folded, Origin, Place, Single, Turn};
use crate::assets::turns::{self, Known};

/// Tokens whose lines are read at once.
const LINES_AT_ONCE: usize = 2_000;

/// A token with the first and the last place of what is added to its line.
#[derive(Debug, Clone, SurrealValue)]
struct Asked {
    origin: String,
    contract: String,
    token: String,
    first: Vec<i64>,
    last: Vec<i64>,
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
                let (single, turn) = readable(&row.id, read_turn(&row))?;
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
        self.db.run(&format!("RETURN {statement}"), vars! { chain: chain as i64, asked: asked }).await
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
            chain: chain as i64,
            origin: origin.to_key(),
            contract: hex(contract),
            token_key: token_hex(token),
            above: up_to.saturating_add(1).min(i64::MAX as u64) as i64,
        };
        let row: Option<TurnRow> = self.db.run(statement, variables).await?;
        let turn = row.map(|row| readable(&row.id, read_turn(&row))).transpose()?;
        Ok(turn.map(|(_, turn)| (turn.owner, turn.place.block)))
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
