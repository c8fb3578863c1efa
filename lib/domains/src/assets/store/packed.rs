//! Rows that are written by the thousand, packed into bytes. Protobuf, so that a field can be added.

use alloy_primitives::{Address, B256};
use nepto_kit::db::Pack;
use nepto_proto::svc::collector::Pipeline;
use prost::Message;

use super::rows::{Added, AddedRow};
use super::tables::{Short, TokenHex};
use crate::assets::model::{Amount, AssetClass, Delta, Holding, Origin, Single};

/// What of a contract is held. Who holds it, and which pipeline tells so, is in the key of the row, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    contract: Address,
    /// Of the origin.
    topics: u8,
    class: AssetClass,
}

impl Asset {
    fn of(holding: &Holding) -> Self {
        Self { contract: holding.contract, topics: holding.origin.topics, class: holding.class }
    }

    fn read(contract: &[u8], topics: u32, class: &str) -> Option<Self> {
        Some(Self {
            contract: Address::try_from(contract).ok()?,
            topics: topics.try_into().ok()?,
            class: class.parse().ok()?,
        })
    }

    /// With what the row says beside.
    pub fn held_by(self, holder: Address, pipeline: Pipeline) -> Holding {
        let Self { contract, topics, class } = self;
        Holding { holder, contract, origin: Origin { pipeline, topics }, class }
    }
}

/// What changed for one holder, in the order of the blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changed(pub Vec<(u64, Asset, Delta)>);

impl Changed {
    pub fn add(&mut self, block: u64, holding: &Holding, delta: &Delta) {
        self.0.push((block, Asset::of(holding), *delta));
    }

    /// Lowest and highest block.
    pub fn blocks(&self) -> Option<(u64, u64)> {
        let blocks = || self.0.iter().map(|(block, ..)| *block);
        Some((blocks().min()?, blocks().max()?))
    }
}

#[derive(Clone, PartialEq, Message)]
struct ChangedBody {
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
    #[prost(uint32, tag = "8")]
    topics: u32,
}

impl Pack for Changed {
    fn pack(&self) -> Vec<u8> {
        let body = |(block, asset, delta): &(u64, Asset, Delta)| DeltaBody {
            block: *block,
            contract: asset.contract.to_vec(),
            class: asset.class.to_string(),
            amount: delta.amount.0.to_be_bytes_trimmed_vec(),
            time_s: delta.time_s,
            transaction: delta.transaction.to_vec(),
            other: delta.other.map(|other| other.to_vec()),
            topics: asset.topics.into(),
        };
        ChangedBody { deltas: self.0.iter().map(body).collect() }.encode_to_vec()
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let read = |body: &DeltaBody| {
            let other = body.other.as_deref().map(Address::try_from).transpose().ok()?;
            let transaction = B256::try_from(&body.transaction[..]).ok()?;
            let delta = Delta { amount: Amount::unpack(&body.amount)?, time_s: body.time_s, transaction, other };
            Some((body.block, Asset::read(&body.contract, body.topics, &body.class)?, delta))
        };
        ChangedBody::decode(bytes).ok()?.deltas.iter().map(read).collect::<Option<_>>().map(Self)
    }
}

/// What a change added, in a form that it can be taken out by.
#[derive(Debug, Clone, PartialEq)]
pub struct Undo {
    /// Block, holder, what, and how much.
    pub deltas: Vec<(u64, Address, Asset, Amount)>,
    /// Rows of other tables.
    pub rows: Vec<AddedRow>,
    /// Whether it was late.
    pub late: bool,
}

#[derive(Clone, PartialEq, Message)]
struct UndoBody {
    #[prost(message, repeated, tag = "1")]
    deltas: Vec<UndoDelta>,
    #[prost(message, repeated, tag = "2")]
    rows: Vec<UndoRow>,
    #[prost(bool, tag = "3")]
    late: bool,
}

#[derive(Clone, PartialEq, Message)]
struct UndoDelta {
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

/// A row of another table, by the parts of its key.
#[derive(Clone, PartialEq, Message)]
struct UndoRow {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(uint64, tag = "2")]
    block: u64,
    /// The contract, or the recipient of a part.
    #[prost(string, tag = "3")]
    of: String,
    /// The token or batch, where it is a part of the key.
    #[prost(string, tag = "4")]
    number: String,
    #[prost(uint32, tag = "5")]
    log: u32,
    /// The origin or pipeline, where it is a part of the key.
    #[prost(string, tag = "6")]
    from: String,
}

impl UndoRow {
    fn new(AddedRow { block, log, what }: &AddedRow) -> Self {
        let (of, number, from) = match what {
            Added::Turn(Single { origin, contract, token }) => {
                (Short(*contract).to_string(), TokenHex(*token).to_string(), origin.to_string())
            }
            Added::Unread { contract, pipeline } => (Short(*contract).to_string(), String::new(), pipeline.to_string()),
            Added::Retried(pipeline) => (String::new(), String::new(), pipeline.to_string()),
            Added::Message { contract, batch } => {
                (Short(*contract).to_string(), TokenHex(*batch).to_string(), String::new())
            }
            Added::Part { recipient } => (Short(*recipient).to_string(), String::new(), String::new()),
        };
        Self { table: what.table().to_owned(), block: *block, of, number, log: *log, from }
    }

    fn read(&self) -> Option<AddedRow> {
        let address = || self.of.parse().ok().map(|Short(address)| address);
        let number = || self.number.parse().ok().map(|TokenHex(number)| number);
        let what = match self.table.as_str() {
            Added::TURN => {
                Added::Turn(Single { origin: self.from.parse().ok()?, contract: address()?, token: number()? })
            }
            Added::UNREAD => Added::Unread { contract: address()?, pipeline: self.from.parse().ok()? },
            Added::RETRIED => Added::Retried(self.from.parse().ok()?),
            Added::MESSAGE => Added::Message { contract: address()?, batch: number()? },
            Added::PART => Added::Part { recipient: address()? },
            _ => return None,
        };
        Some(AddedRow { block: self.block, log: self.log, what })
    }
}

impl Undo {
    pub fn delta(block: u64, holding: &Holding, amount: Amount) -> (u64, Address, Asset, Amount) {
        (block, holding.holder, Asset::of(holding), amount)
    }
}

impl Pack for Undo {
    fn pack(&self) -> Vec<u8> {
        let delta = |(block, holder, asset, amount): &(u64, Address, Asset, Amount)| UndoDelta {
            block: *block,
            holder: holder.to_vec(),
            contract: asset.contract.to_vec(),
            class: asset.class.to_string(),
            amount: amount.0.to_be_bytes_trimmed_vec(),
            topics: asset.topics.into(),
        };
        let (deltas, rows) = (self.deltas.iter().map(delta).collect(), self.rows.iter().map(UndoRow::new).collect());
        UndoBody { deltas, rows, late: self.late }.encode_to_vec()
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let body = UndoBody::decode(bytes).ok()?;
        let delta = |delta: &UndoDelta| {
            let holder = Address::try_from(&delta.holder[..]).ok()?;
            let asset = Asset::read(&delta.contract, delta.topics, &delta.class)?;
            Some((delta.block, holder, asset, Amount::unpack(&delta.amount)?))
        };
        Some(Self {
            deltas: body.deltas.iter().map(delta).collect::<Option<_>>()?,
            rows: body.rows.iter().map(UndoRow::read).collect::<Option<_>>()?,
            late: body.late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(
            amount in any::<[u8; 32]>(), time_s: u64, transaction in any::<[u8; 32]>(), other in any::<Option<[u8; 20]>>(),
            block: u64, log: u32, token in any::<Option<[u8; 32]>>(), topics: u8,
        ) {
            let amount = Amount(U256::from_be_bytes(amount));
            let delta = Delta { amount, time_s, transaction: transaction.into(), other: other.map(Address::from) };
            let class = token.map_or(AssetClass::Whole, |token| AssetClass::Token(U256::from_be_bytes(token)));
            let (holder, contract, pipeline) = (Address::repeat_byte(1), Address::repeat_byte(2), Pipeline::Erc721);
            let origin = Origin { pipeline, topics };
            let holding = Holding { holder, contract, origin, class };
            let mut changed = Changed::default();
            changed.add(block, &holding, &delta);
            let read = Changed::unpack(&changed.pack()).unwrap();
            let (read_block, asset, read_delta) = read.0[0];
            prop_assert_eq!((read_block, asset.held_by(holder, pipeline), read_delta), (block, holding, delta));

            let token = U256::from_be_bytes(token.unwrap_or_default());
            let rows = [
                Added::Turn(Single { origin, contract, token }),
                Added::Unread { contract, pipeline },
                Added::Retried(pipeline),
                Added::Message { contract, batch: token },
                Added::Part { recipient: holder },
            ];
            let undo = Undo {
                deltas: vec![Undo::delta(block, &holding, amount)],
                rows: rows.map(|what| AddedRow { block, log, what }).to_vec(),
                late: true,
            };
            prop_assert_eq!(Undo::unpack(&undo.pack()).unwrap(), undo);
        }
    }

    #[test]
    fn bytes_that_mean_nothing_are_not_read() {
        assert_eq!(Changed::unpack(b"x"), None);
        let delta = DeltaBody { contract: vec![1; 20], transaction: vec![1; 32], ..DeltaBody::default() };
        let read = |delta: DeltaBody| Changed::unpack(&ChangedBody { deltas: vec![delta] }.encode_to_vec());
        assert!(read(delta.clone()).is_some());
        assert_eq!(read(DeltaBody { class: "lent".to_owned(), ..delta.clone() }), None);
        assert_eq!(read(DeltaBody { other: Some(vec![1; 19]), ..delta.clone() }), None);
        assert_eq!(read(DeltaBody { topics: 256, ..delta }), None);
        let row = UndoRow { table: "applause".to_owned(), ..UndoRow::default() };
        assert_eq!(Undo::unpack(&UndoBody { rows: vec![row], ..UndoBody::default() }.encode_to_vec()), None);
    }
}
