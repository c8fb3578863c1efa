//! Reading what is held.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{DbError, Id, Packed, Rows, Text, vars};
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

use super::packed::Asset;
use super::rows::DeltaRow;
use super::tables::{Short, Sums};
use super::{CursorRow, Store, cursor_id, held_id, holding_of, scope};
use crate::assets::model::{Amount, AssetClass, Delta, Holding};

/// Rows of deltas of one holder that are read at once. Nobody has so many that are not compacted.
pub const TAIL_MAX: usize = 100_000;
/// Things of one holder that are listed.
pub const HOLDINGS_MAX: usize = 10_000;

/// A page of holders. The index is in its order: no page passes over others, nor over those who hold nothing any more.
pub const HOLDERS: &str = "SELECT id, amount, folded FROM held
    WHERE scope = $scope AND holder > $after ORDER BY holder LIMIT $limit";

/// A delta with where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    pub seq: u64,
    pub block: u64,
    pub holding: Holding,
    pub delta: Delta,
}

/// Deltas of a holder that one pipeline has not compacted, and how far it is.
#[derive(Debug, Clone)]
pub struct Tails {
    pub cursor: CursorRow,
    pub tail: Vec<Tail>,
}

/// A sum of deltas, and up to which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactedSum {
    pub holding: Holding,
    pub amount: Amount,
    pub folded: u64,
}

#[derive(Debug, SurrealValue)]
struct RawTails {
    cursor: Option<CursorRow>,
    tail: Rows<DeltaRow>,
}

#[derive(Debug, Clone, SurrealValue)]
struct SumRow {
    id: Id<Sums>,
    amount: Packed<Amount>,
    folded: u64,
}

impl From<SumRow> for CompactedSum {
    fn from(SumRow { id, amount, folded }: SumRow) -> Self {
        Self { holding: holding_of(&id), amount: amount.0, folded }
    }
}

/// What is held of each thing: as far as known, or only what is final.
///
/// The tails must have been read before the sums: what was compacted between the two is in both, and known by its `seq`. A
/// block above the cursor's height is published in parts, and counts when it is there to its end.
pub fn held(tails: &[Tails], sums: &[CompactedSum], only_final: bool) -> BTreeMap<Holding, Amount> {
    let up_to: BTreeMap<Holding, u64> = sums.iter().map(|sum| (sum.holding, sum.folded)).collect();
    let mut held: BTreeMap<Holding, Amount> = sums.iter().map(|sum| (sum.holding, sum.amount)).collect();
    for Tails { cursor, tail } in tails {
        for tail in tail {
            let is_compacted = up_to.get(&tail.holding).is_some_and(|up_to| tail.seq <= *up_to);
            let up_to = if only_final { cursor.final_height.min(cursor.height) } else { cursor.height };
            if !is_compacted && tail.block <= up_to {
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
    /// What one pipeline has not compacted of a holder.
    pub async fn tail(&self, chain: u64, pipeline: Pipeline, holder: &Address) -> Result<Tails, DbError> {
        let statement = "{
            LET $cursor = (SELECT * FROM ONLY $cursor_id);
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
            chain: chain,
            pipeline: pipeline.as_str(),
            holder: Text(Short(*holder)),
            limit: TAIL_MAX,
        };
        let raw: RawTails = self.db.run(statement, variables).await?;
        Ok(Tails {
            cursor: raw.cursor.unwrap_or_else(|| CursorRow::new(pipeline, chain)),
            tail: tails(raw.tail.0).collect(),
        })
    }

    /// The sum of one holding.
    pub async fn compacted(&self, chain: u64, holding: &Holding) -> Result<Option<CompactedSum>, DbError> {
        let variables = vars! { id: held_id(chain, holding) };
        let row: Option<SumRow> = self.db.run("SELECT id, amount, folded FROM ONLY $id", variables).await?;
        Ok(row.map(CompactedSum::from))
    }

    /// The sums of everything that a holder has on a chain, and whether these are all.
    pub async fn all_compacted(&self, chain: u64, holder: &Address) -> Result<(Vec<CompactedSum>, bool), DbError> {
        let statement = "SELECT id, amount, folded
            FROM type::record('held', [$chain, $holder, NONE]..[$chain, $holder, []]) LIMIT $limit";
        let variables = vars! { chain: chain, holder: Text(Short(*holder)), limit: HOLDINGS_MAX };
        let rows: Vec<SumRow> = self.db.rows(statement, variables).await?;
        let are_all = rows.len() < HOLDINGS_MAX;
        Ok((rows.into_iter().map(CompactedSum::from).collect(), are_all))
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
        let (sums, are_all) = self.all_compacted(chain, holder).await?;
        let mut amounts = held(&tails, &sums, only_final);
        let contracts: BTreeSet<Address> = amounts.keys().map(|holding| holding.contract).collect();
        let mains = self.mains(chain, &contracts).await?;
        amounts.retain(|holding, _| {
            let Holding { contract, origin, class, .. } = holding;
            let is_count = (origin.pipeline, *class) == (Pipeline::Erc721, AssetClass::Whole);
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
        limit: usize,
    ) -> Result<Vec<CompactedSum>, DbError> {
        let after = Text(Short(after.unwrap_or(Address::ZERO)));
        let rows: Vec<SumRow> =
            self.db.rows(HOLDERS, vars! { scope: scope(chain, of), after: after, limit: limit }).await?;
        Ok(rows.into_iter().map(CompactedSum::from).collect())
    }

    /// Whether a block, of an update of this number, was orphaned since.
    pub async fn was_reverted(&self, pipeline: Pipeline, chain: u64, step: u64, block: u64) -> Result<bool, DbError> {
        let statement =
            "RETURN array::len((SELECT VALUE id
            FROM type::record('reverted', [$pipeline, $chain, $step]..[$pipeline, $chain, []]) WHERE height < $block LIMIT 1)) > 0";
        let variables = vars! { pipeline: pipeline.as_str(), chain: chain, step: step, block: block };
        self.db.run(statement, variables).await
    }
}

/// The deltas of rows, one by one.
pub fn tails(rows: Vec<DeltaRow>) -> impl Iterator<Item = Tail> {
    rows.into_iter().flat_map(|DeltaRow { id: Id((_, pipeline, holder, _, seq, ..)), body: Packed(changed) }| {
        let holding = move |asset: Asset| asset.held_by(holder.0.0, pipeline.0);
        changed.0.into_iter().map(move |(block, asset, delta)| Tail { seq, block, holding: holding(asset), delta })
    })
}
