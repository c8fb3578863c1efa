//! Rows that are written by the thousand, packed into bytes. Protobuf, so that a field can be added.

use alloy_primitives::{Address, B256, U256};
use nepto_proto::svc::collector::Pipeline;
use prost::Message;

use crate::assets::model::{Amount, Class, Delta, Holding, Origin};

/// The body of a row of `delta`: what changed for one holder.
#[derive(Clone, PartialEq, Message)]
pub struct DeltasBody {
    #[prost(message, repeated, tag = "1")]
    deltas: Vec<DeltaBody>,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaBody {
    #[prost(uint64, tag = "1")]
    block: u64,
    #[prost(bytes, tag = "2")]
    contract: Vec<u8>,
    #[prost(string, tag = "3")]
    class: String,
    /// Big-endian, without leading zeros; what wraps has 32 bytes.
    #[prost(bytes, tag = "4")]
    amount: Vec<u8>,
    #[prost(uint64, tag = "5")]
    time_s: u64,
    #[prost(bytes, tag = "6")]
    transaction: Vec<u8>,
    #[prost(bytes, optional, tag = "7")]
    other: Option<Vec<u8>>,
    /// Of the origin; the pipeline is in the row's key.
    #[prost(uint32, tag = "8")]
    topics: u32,
}

impl DeltasBody {
    pub fn add(&mut self, block: u64, holding: &Holding, delta: &Delta) {
        self.deltas.push(DeltaBody {
            block,
            contract: holding.contract.to_vec(),
            class: holding.class.to_key(),
            amount: delta.amount.0.to_be_bytes_trimmed_vec(),
            time_s: delta.time_s,
            transaction: delta.transaction.to_vec(),
            other: delta.other.map(|other| other.to_vec()),
            topics: holding.origin.topics.into(),
        });
    }

    /// Lowest and highest block.
    pub fn blocks(&self) -> Option<(u64, u64)> {
        let blocks = || self.deltas.iter().map(|delta| delta.block);
        Some((blocks().min()?, blocks().max()?))
    }

    /// Blocks, holdings and their deltas; `None` where the bytes are not such a body.
    pub fn read(bytes: &[u8], pipeline: Pipeline, holder: Address) -> Option<Vec<(u64, Holding, Delta)>> {
        let body = Self::decode(bytes).ok()?;
        let read = |delta: &DeltaBody| Some((delta.block, delta.holding(pipeline, holder)?, delta.read()?));
        body.deltas.iter().map(read).collect()
    }
}

impl DeltaBody {
    fn holding(&self, pipeline: Pipeline, holder: Address) -> Option<Holding> {
        let contract = Address::try_from(&self.contract[..]).ok()?;
        let origin = Origin { pipeline, topics: u8::try_from(self.topics).ok()? };
        Some(Holding { holder, contract, origin, class: Class::from_key(&self.class)? })
    }

    fn read(&self) -> Option<Delta> {
        Some(Delta {
            amount: Amount(U256::try_from_be_slice(&self.amount)?),
            time_s: self.time_s,
            transaction: B256::try_from(&self.transaction[..]).ok()?,
            other: match &self.other {
                Some(other) => Some(Address::try_from(&other[..]).ok()?),
                None => None,
            },
        })
    }
}

/// What a change added, in a form that it can be taken out by.
#[derive(Clone, PartialEq, Message)]
pub struct AppliedBody {
    #[prost(message, repeated, tag = "1")]
    deltas: Vec<AppliedDeltaBody>,
    /// Rows of other tables, each as the SurrealQL name of a record in parts.
    #[prost(message, repeated, tag = "2")]
    pub rows: Vec<AppliedRow>,
    /// Whether it was late.
    #[prost(bool, tag = "3")]
    pub late: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AppliedDeltaBody {
    #[prost(uint64, tag = "1")]
    block: u64,
    #[prost(bytes, tag = "2")]
    holder: Vec<u8>,
    #[prost(bytes, tag = "3")]
    contract: Vec<u8>,
    #[prost(string, tag = "4")]
    class: String,
    #[prost(bytes, tag = "5")]
    amount: Vec<u8>,
    #[prost(uint32, tag = "6")]
    topics: u32,
}

/// A row of a table other than `delta`, by the parts of its key.
#[derive(Clone, PartialEq, Message)]
pub struct AppliedRow {
    #[prost(string, tag = "1")]
    pub table: String,
    #[prost(uint64, tag = "2")]
    pub block: u64,
    /// The contract, or the recipient of a part.
    #[prost(string, tag = "3")]
    pub of: String,
    /// The token or batch, where it is a part of the key.
    #[prost(string, tag = "4")]
    pub number: String,
    /// The log, where it is a part of the key.
    #[prost(uint32, tag = "5")]
    pub log: u32,
    /// The origin or pipeline, where it is a part of the key.
    #[prost(string, tag = "6")]
    pub from: String,
}

/// A delta as it is remembered until it is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedDelta {
    pub block: u64,
    pub holding: Holding,
    pub amount: Amount,
}

impl AppliedBody {
    pub fn new(deltas: &[AppliedDelta], rows: Vec<AppliedRow>, late: bool) -> Self {
        let body = |delta: &AppliedDelta| AppliedDeltaBody {
            block: delta.block,
            holder: delta.holding.holder.to_vec(),
            contract: delta.holding.contract.to_vec(),
            class: delta.holding.class.to_key(),
            amount: delta.amount.0.to_be_bytes_trimmed_vec(),
            topics: delta.holding.origin.topics.into(),
        };
        Self { deltas: deltas.iter().map(body).collect(), rows, late }
    }

    /// `None` where one of them can't be read.
    pub fn deltas(&self, pipeline: Pipeline) -> Option<Vec<AppliedDelta>> {
        let read = |body: &AppliedDeltaBody| {
            let holding = Holding {
                holder: Address::try_from(&body.holder[..]).ok()?,
                contract: Address::try_from(&body.contract[..]).ok()?,
                origin: Origin { pipeline, topics: u8::try_from(body.topics).ok()? },
                class: Class::from_key(&body.class)?,
            };
            let amount = Amount(U256::try_from_be_slice(&body.amount)?);
            Some(AppliedDelta { block: body.block, holding, amount })
        };
        self.deltas.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(
            amount in any::<[u8; 32]>(), time_s: u64, transaction in any::<[u8; 32]>(), other in any::<Option<[u8; 20]>>(),
            block: u64, token in any::<Option<[u8; 32]>>(), topics: u8,
        ) {
            let amount = Amount(U256::from_be_bytes(amount));
            let delta = Delta { amount, time_s, transaction: transaction.into(), other: other.map(Address::from) };
            let class = token.map_or(Class::Whole, |token| Class::Token(U256::from_be_bytes(token)));
            let (holder, pipeline) = (Address::repeat_byte(1), Pipeline::Erc721);
            let origin = Origin { pipeline, topics };
            let holding = Holding { holder, contract: Address::repeat_byte(2), origin, class };
            let mut body = DeltasBody::default();
            body.add(block, &holding, &delta);
            prop_assert_eq!(DeltasBody::read(&body.encode_to_vec(), pipeline, holder).unwrap(), [(block, holding, delta)]);
            let applied = AppliedDelta { block, holding, amount };
            let body = AppliedBody::new(&[applied], Vec::new(), false).encode_to_vec();
            prop_assert_eq!(AppliedBody::decode(&body[..]).unwrap().deltas(pipeline).unwrap(), [applied]);
        }
    }
}
