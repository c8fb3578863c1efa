//! Which shapes contracts log, and what of them is not in the sums.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{Body, DbError, Id, Text, vars};
use nepto_proto::svc::collector::Pipeline;

use super::Store;
use super::rows::{ShapeRow, shape_id};
use super::tables::{NUMBER_MAX, Short, Unreads};
use crate::assets::model::{Holding, Origin};
use crate::assets::shapes::{Shape, Shapes, shapes_of};

/// Contracts of which something is unread that are told apart. Past these, it is said of all.
const UNREAD_CONTRACTS_MAX: usize = 10_000;

/// The shape of each pipeline's events that counts, of some contracts.
#[derive(Debug, Clone, Default)]
pub struct Mains(BTreeMap<(Pipeline, Address), u8>);

impl Mains {
    /// Where the amounts of a contract that count come from, if it ever logged such events.
    pub fn of(&self, pipeline: Pipeline, contract: &Address) -> Option<Origin> {
        self.0.get(&(pipeline, *contract)).map(|topics| Origin { pipeline, topics: *topics })
    }

    /// The same; what the standard says of one that logged none.
    pub fn or_usual(&self, pipeline: Pipeline, contract: &Address) -> Origin {
        let usual = shapes_of(pipeline).first().copied().unwrap_or_default();
        self.of(pipeline, contract).unwrap_or(Origin { pipeline, topics: usual })
    }

    /// Whether a holding counts.
    pub fn count(&self, holding: &Holding) -> bool {
        self.or_usual(holding.origin.pipeline, &holding.contract) == holding.origin
    }
}

impl Store {
    /// All that a pipeline has heard of.
    pub async fn shapes(&self, pipeline: Pipeline, chain: u64) -> Result<Shapes, DbError> {
        let statement = "SELECT * FROM shape:[$chain, $pipeline, NONE]..[$chain, $pipeline, []]";
        let rows: Vec<ShapeRow> = self.db.rows(statement, vars! { chain: chain, pipeline: pipeline.as_str() }).await?;
        let mut shapes = Shapes::default();
        for ShapeRow { id: Id((_, _, contract, topics)), block, log, sample: Body(sample) } in rows {
            shapes.add(contract.0.0, topics, Shape { first: (block, log), sample });
        }
        Ok(shapes)
    }

    /// What counts of these contracts.
    pub async fn mains(&self, chain: u64, contracts: &BTreeSet<Address>) -> Result<Mains, DbError> {
        let mut ids = Vec::new();
        for contract in contracts {
            for pipeline in Pipeline::ALL {
                ids.extend(shapes_of(pipeline).iter().map(|topics| shape_id(chain, pipeline, contract, *topics)));
            }
        }
        let mut rows: Vec<ShapeRow> = self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?;
        rows.sort_by_key(|row| (row.block, row.log));
        let mut mains = Mains::default();
        for ShapeRow { id: Id((_, pipeline, contract, topics)), .. } in rows {
            mains.0.entry((pipeline.0, contract.0.0)).or_insert(topics);
        }
        Ok(mains)
    }

    /// Whether everything of a contract is in its sums, up to a block.
    pub async fn is_read(&self, chain: u64, contract: &Address, up_to: u64) -> Result<bool, DbError> {
        let statement = "RETURN array::len((SELECT VALUE id
            FROM type::record('unread', [$chain, $contract, NONE]..[$chain, $contract, $above]) LIMIT 1)) = 0";
        let above = up_to.saturating_add(1).min(NUMBER_MAX);
        self.db.run(statement, vars! { chain: chain, contract: Text(Short(*contract)), above: above }).await
    }

    /// The contracts of a chain of which something is not in the sums, and whether these are all.
    pub async fn unread(&self, chain: u64) -> Result<(BTreeSet<Address>, bool), DbError> {
        // from one contract to the next, however much each has
        let statement = "(SELECT VALUE id FROM type::record('unread', [$chain, $after, []]..[$chain, []]) LIMIT 1)[0]";
        let mut contracts = BTreeSet::new();
        let mut after = String::new();
        while contracts.len() < UNREAD_CONTRACTS_MAX {
            let found: Option<Id<Unreads>> =
                self.db.run(statement, vars! { chain: chain, after: after.clone() }).await?;
            let Some(Id((_, Text(contract), ..))) = found else { return Ok((contracts, true)) };
            after = contract.to_string();
            contracts.insert(contract.0);
        }
        Ok((contracts, false))
    }
}
