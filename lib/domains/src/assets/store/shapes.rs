//! Which shapes contracts log, and what of them is not in the sums.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_kit::db::{Body, DbError, RecordId, key, readable, vars};
use nepto_proto::svc::collector::Pipeline;

use super::rows::{ShapeRow, shape_id};
use super::{Store, hex, read_address};
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
        let variables = vars! { chain: chain as i64, pipeline: pipeline.as_str() };
        let rows: Vec<ShapeRow> = self.db.run(statement, variables).await?;
        let mut shapes = Shapes::default();
        for row in &rows {
            let (_, contract, topics) = read_id(&row.id)?;
            let Body(sample) = row.sample.clone();
            shapes.add(contract, topics, Shape { first: (row.block, row.log), sample });
        }
        Ok(shapes)
    }

    /// What counts of these contracts.
    pub async fn mains(&self, chain: u64, contracts: &BTreeSet<Address>) -> Result<Mains, DbError> {
        let mut ids: Vec<RecordId> = Vec::new();
        for contract in contracts {
            for pipeline in Pipeline::ALL {
                ids.extend(shapes_of(pipeline).iter().map(|topics| shape_id(chain, pipeline, contract, *topics)));
            }
        }
        let mut rows: Vec<ShapeRow> = self.db.run("SELECT * FROM $ids", vars! { ids: ids }).await?;
        rows.sort_by_key(|row| (row.block, row.log));
        let mut mains = Mains::default();
        for row in &rows {
            let (pipeline, contract, topics) = read_id(&row.id)?;
            mains.0.entry((pipeline, contract)).or_insert(topics);
        }
        Ok(mains)
    }

    /// Whether everything of a contract is in its sums, up to a block.
    pub async fn is_read(&self, chain: u64, contract: &Address, up_to: u64) -> Result<bool, DbError> {
        let statement = "RETURN array::len((SELECT VALUE id
            FROM type::record('unread', [$chain, $contract, NONE]..[$chain, $contract, $above]) LIMIT 1)) = 0";
        let above = up_to.saturating_add(1).min(i64::MAX as u64) as i64;
        self.db.run(statement, vars! { chain: chain as i64, contract: hex(contract), above: above }).await
    }

    /// The contracts of a chain of which something is not in the sums, and whether these are all.
    pub async fn unread(&self, chain: u64) -> Result<(BTreeSet<Address>, bool), DbError> {
        // from one contract to the next, however much each has
        let statement = "(SELECT VALUE id FROM type::record('unread', [$chain, $after, []]..[$chain, []]) LIMIT 1)[0]";
        let mut contracts = BTreeSet::new();
        let mut after = String::new();
        while contracts.len() < UNREAD_CONTRACTS_MAX {
            let found: Option<RecordId> =
                self.db.run(statement, vars! { chain: chain as i64, after: after.clone() }).await?;
            let Some(id) = found else { return Ok((contracts, true)) };
            let contract = readable(&id, read_address(&id, 1))?;
            after = hex(&contract);
            contracts.insert(contract);
        }
        Ok((contracts, false))
    }
}

/// Pipeline, contract and number of topics.
fn read_id(id: &RecordId) -> Result<(Pipeline, Address, u8), DbError> {
    let read = || {
        let pipeline = Pipeline::ALL.into_iter().find(|known| key::text(id, 1) == Some(known.as_str()))?;
        Some((pipeline, read_address(id, 2)?, key::number(id, 3)?.try_into().ok()?))
    };
    readable(id, read())
}
