//! Reading what is held.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{Bytes, DbError, RecordId, key, readable, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

use super::packed::DeltasBody;
use super::rows::DeltaRow;
use super::{CursorRow, Store, cursor_id, held_id, hex, read_address, read_amount, scope};
use crate::assets::model::{Amount, Class, Delta, Holding, Origin};

/// Rows of deltas of one holder that are read at once. Nobody has so many that are not folded.
pub const TAIL_MAX: i64 = 100_000;
/// Things of one holder that are listed.
pub const HOLDINGS_MAX: usize = 10_000;

/// A page of holders. The index is in its order: no page passes over others, nor over those who hold nothing any more.
pub const HOLDERS: &str = "SELECT id, amount, folded FROM held
    WHERE scope = $scope AND holder > $after ORDER BY holder LIMIT $limit";

/// A delta with where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    pub seq: i64,
    pub block: u64,
    pub holding: Holding,
    pub delta: Delta,
}

/// Deltas of a holder that one pipeline has not folded, and how far it is.
#[derive(Debug, Clone)]
pub struct Tails {
    pub cursor: CursorRow,
    pub tail: Vec<Tail>,
}

/// A sum of deltas, and up to which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldedSum {
    pub holding: Holding,
    pub amount: Amount,
    pub folded: i64,
}

#[derive(Debug, SurrealValue)]
struct RawTails {
    cursor: Option<CursorRow>,
    tail: Vec<DeltaRow>,
}

#[derive(Debug, Clone, SurrealValue)]
struct RawSum {
    id: RecordId,
    amount: Bytes,
    folded: i64,
}

/// What is held of each thing: as far as known, or only what is final.
///
/// The tails must have been read before the sums: what was folded between the two is in both, and known by its `seq`. A
/// block above the cursor's height is told in parts, and counts when it is there to its end.
pub fn held(tails: &[Tails], folded: &[FoldedSum], only_final: bool) -> BTreeMap<Holding, Amount> {
    let up_to: BTreeMap<Holding, i64> = folded.iter().map(|sum| (sum.holding, sum.folded)).collect();
    let mut held: BTreeMap<Holding, Amount> = folded.iter().map(|sum| (sum.holding, sum.amount)).collect();
    for Tails { cursor, tail } in tails {
        for tail in tail {
            let is_folded = up_to.get(&tail.holding).is_some_and(|folded| tail.seq <= *folded);
            let up_to = if only_final { cursor.final_height.min(cursor.height) } else { cursor.height };
            if !is_folded && tail.block as i64 <= up_to {
                let amount = held.entry(tail.holding).or_insert(Amount::ZERO);
                *amount = amount.plus(tail.delta.amount);
            }
        }
    }
    held
}

/// Leaves the newest, the newest first: so many, and the rest of the last block.
pub fn newest<T>(found: &mut Vec<T>, limit: usize, tail: impl Fn(&T) -> &Tail) {
    found.sort_by_key(|found| std::cmp::Reverse((tail(found).block, tail(found).seq)));
    let last = found.get(limit.saturating_sub(1)).map_or(0, |found| tail(found).block);
    found.truncate(found.partition_point(|found| tail(found).block >= last));
}

impl Store {
    /// What one pipeline has not folded of a holder.
    pub async fn tail(&self, chain: u64, pipeline: Pipeline, holder: &Address) -> Result<Tails, DbError> {
        let statement = "{
            LET $cursor = (SELECT * OMIT id FROM ONLY $cursor_id);
            LET $from = ($cursor.folded ?? 0) + 1;
            RETURN {
                cursor: $cursor,
                tail: array::concat(
                    (SELECT * FROM
                        type::record('delta', [$chain, $pipeline, $holder, false, $from]..[$chain, $pipeline, $holder, false, []])
                        LIMIT $limit),
                    (SELECT * FROM
                        type::record('delta', [$chain, $pipeline, $holder, true, $from]..[$chain, $pipeline, $holder, true, []])
                        LIMIT $limit)
                )
            };
        }";
        let variables = vars! {
            cursor_id: cursor_id(pipeline, chain),
            chain: chain as i64,
            pipeline: pipeline.as_str(),
            holder: hex(holder),
            limit: TAIL_MAX,
        };
        let raw: RawTails = self.db.run(statement, variables).await?;
        Ok(Tails {
            cursor: raw.cursor.unwrap_or_else(|| CursorRow::new(pipeline, chain)),
            tail: read_deltas(&raw.tail)?,
        })
    }

    /// The sum of one holding.
    pub async fn folded(&self, chain: u64, holding: &Holding) -> Result<Option<FoldedSum>, DbError> {
        let variables = vars! { id: held_id(chain, holding) };
        let row: Option<RawSum> = self.db.run("SELECT id, amount, folded FROM ONLY $id", variables).await?;
        row.as_ref().map(read_sum).transpose()
    }

    /// The sums of everything that a holder has on a chain, and whether these are all.
    pub async fn all_folded(&self, chain: u64, holder: &Address) -> Result<(Vec<FoldedSum>, bool), DbError> {
        let statement = "SELECT id, amount, folded
            FROM type::record('held', [$chain, $holder, NONE]..[$chain, $holder, []]) LIMIT $limit";
        let variables = vars! { chain: chain as i64, holder: hex(holder), limit: HOLDINGS_MAX as i64 };
        let rows: Vec<RawSum> = self.db.run(statement, variables).await?;
        Ok((rows.iter().map(read_sum).collect::<Result<_, _>>()?, rows.len() < HOLDINGS_MAX))
    }

    /// Everything that somebody holds on a chain, and whether it is all. A contract that is an ERC-20 and an ERC-721 at once
    /// has an amount; how many tokens it is beside that is left out.
    pub async fn amounts(
        &self,
        chain: u64,
        holder: &Address,
        only_final: bool,
    ) -> Result<(BTreeMap<Holding, Amount>, bool), DbError> {
        let mut tails = Vec::new();
        for pipeline in Pipeline::ALL {
            tails.push(self.tail(chain, pipeline, holder).await?);
        }
        let (folded, are_all) = self.all_folded(chain, holder).await?;
        let mut amounts = held(&tails, &folded, only_final);
        let contracts: BTreeSet<Address> = amounts.keys().map(|holding| holding.contract).collect();
        let mains = self.mains(chain, &contracts).await?;
        amounts.retain(|holding, _| {
            let Holding { contract, origin, class, .. } = holding;
            let is_count = (origin.pipeline, *class) == (Pipeline::Erc721, Class::Whole);
            mains.count(holding) && !(is_count && mains.of(Pipeline::Erc20, contract).is_some())
        });
        Ok((amounts, are_all))
    }

    /// Who holds something, by final sums, in the order of addresses: those after one, up to a bound.
    pub async fn holders(
        &self,
        chain: u64,
        of: &Holding,
        after: Option<Address>,
        limit: i64,
    ) -> Result<Vec<FoldedSum>, DbError> {
        let variables = vars! { scope: scope(chain, of), after: hex(&after.unwrap_or(Address::ZERO)), limit: limit };
        let rows: Vec<RawSum> = self.db.run(HOLDERS, variables).await?;
        rows.iter().map(read_sum).collect()
    }

    /// Whether a block, of a step of this number, was given up since.
    pub async fn was_reverted(&self, pipeline: Pipeline, chain: u64, step: u64, block: u64) -> Result<bool, DbError> {
        let statement =
            "RETURN array::len((SELECT VALUE id
            FROM type::record('reverted', [$pipeline, $chain, $step]..[$pipeline, $chain, []]) WHERE height < $block LIMIT 1)) > 0";
        let variables =
            vars! { pipeline: pipeline.as_str(), chain: chain as i64, step: step as i64, block: block as i64 };
        self.db.run(statement, variables).await
    }
}

fn read_sum(row: &RawSum) -> Result<FoldedSum, DbError> {
    let read = || {
        let (holder, contract) = (read_address(&row.id, 1)?, read_address(&row.id, 2)?);
        let (origin, class) = (Origin::from_key(key::text(&row.id, 3)?)?, Class::from_key(key::text(&row.id, 4)?)?);
        let holding = Holding { holder, contract, origin, class };
        Some(FoldedSum { holding, amount: read_amount(&row.amount)?, folded: row.folded })
    };
    readable(&row.id, read())
}

pub fn read_deltas(rows: &[DeltaRow]) -> Result<Vec<Tail>, DbError> {
    let mut tails = Vec::new();
    for row in rows {
        tails.extend(readable(&row.id, deltas_of(row))?);
    }
    Ok(tails)
}

fn deltas_of(row: &DeltaRow) -> Option<impl Iterator<Item = Tail>> {
    let pipeline = Pipeline::ALL.into_iter().find(|known| key::text(&row.id, 1) == Some(known.as_str()))?;
    let (holder, seq) = (read_address(&row.id, 2)?, key::number(&row.id, 4)?);
    let deltas = DeltasBody::read(&row.body, pipeline, holder)?;
    Some(deltas.into_iter().map(move |(block, holding, delta)| Tail { seq, block, holding, delta }))
}
