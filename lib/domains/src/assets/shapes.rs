//! Which `Transfer` a contract logs. The first topic of an ERC-20's event and of an ERC-721's is the same, and the same again
//! whatever is indexed; only the number of topics differs. A contract that is one of them has one shape, for ever. Where two
//! are found, the one of the contract's first event counts, in the order of blocks and logs: what is heard of first decides
//! nothing. The other shapes are summed apart, so that no order of hearing of them makes a difference, and are dead-lettered:
//! one dead letter for each, with its first log. Pure rules.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;

use super::model::{LogPosition, Origin};

/// The shapes that a pipeline decodes, by the number of their topics, the standard's own first; none where there is
/// only one for each of its events.
pub const fn shapes_of(pipeline: Pipeline) -> &'static [u8] {
    match pipeline {
        // nothing is indexed, or everything: the words come in the order of the declaration
        Pipeline::Erc20 => &[3, 1, 4],
        // three topics would be an ERC-20's; the tokens of 2017 index nothing
        Pipeline::Erc721 => &[4, 1],
        Pipeline::Erc1155 => &[0],
        Pipeline::Staking | Pipeline::Multisend => &[],
    }
}

/// Where a log stands in its chain.
pub type At = (u64, u32);

/// One shape of a contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub first: At,
    /// The block of the first log that was heard of, with nothing but that log.
    pub sample: wire::Block,
}

/// Something of a contract that is not in the sums: a log, or (at block 0, with the number of topics for a log) all logs of a
/// shape. Such a contract is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unread {
    pub contract: Address,
    pub block: u64,
    pub log: u32,
}

impl Unread {
    /// One log, by its position in the block.
    pub const fn log(contract: Address, (block, log): At) -> Self {
        Self { contract, block, log }
    }

    /// All logs of a shape.
    pub const fn shape(contract: Address, topics: u8) -> Self {
        Self { contract, block: 0, log: topics as u32 }
    }
}

/// What is to be committed about shapes, and about what is unread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Noted {
    pub shapes: BTreeMap<(Address, u8), Shape>,
    pub unread: BTreeSet<Unread>,
    pub read: BTreeSet<Unread>,
}

impl Eq for Noted {}

impl Noted {
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty() && self.unread.is_empty() && self.read.is_empty()
    }

    fn mark_unread(&mut self, unread: Unread) {
        self.read.remove(&unread);
        self.unread.insert(unread);
    }

    fn mark_read(&mut self, unread: Unread) {
        self.unread.remove(&unread);
        self.read.insert(unread);
    }
}

/// A shape that does not count, to be dead-lettered.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    pub sample: wire::Block,
    pub reason: String,
}

/// The shapes of all contracts that a pipeline has heard of, on one chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shapes(BTreeMap<Address, BTreeMap<u8, Shape>>);

impl Shapes {
    pub fn add(&mut self, contract: Address, topics: u8, shape: Shape) {
        self.0.entry(contract).or_default().insert(topics, shape);
    }

    /// The shape that counts.
    pub fn main(&self, contract: &Address) -> Option<u8> {
        let shapes = self.0.get(contract)?;
        shapes.iter().min_by_key(|(_, shape)| shape.first).map(|(topics, _)| *topics)
    }

    /// Whether what comes from there counts.
    pub fn counts(&self, contract: &Address, origin: Origin) -> bool {
        shapes_of(origin.pipeline).is_empty() || self.main(contract) == Some(origin.topics)
    }

    /// A log of a shape was heard of. The shape that is to be dead-lettered now, if there is one.
    pub fn note(
        &mut self,
        contract: Address,
        topics: u8,
        position: LogPosition,
        sample: impl FnOnce() -> wire::Block,
        noted: &mut Noted,
    ) -> Option<Other> {
        let at = (position.block, position.log);
        let before = self.main(&contract);
        let shapes = self.0.entry(contract).or_default();
        let is_new = !shapes.contains_key(&topics);
        match shapes.get_mut(&topics) {
            Some(shape) if shape.first <= at => return None,
            Some(shape) => shape.first = at,
            None => drop(shapes.insert(topics, Shape { first: at, sample: sample() })),
        }
        if let Some(shape) = shapes.get(&topics) {
            noted.shapes.insert((contract, topics), shape.clone());
        }
        let main = self.main(&contract)?;
        let other = match before {
            // this one came before what was taken for the first
            Some(before) if before != main => {
                noted.mark_read(Unread::shape(contract, main));
                before
            }
            Some(_) if is_new && main != topics => topics,
            _ => return None,
        };
        noted.mark_unread(Unread::shape(contract, other));
        let sample = self.0.get(&contract)?.get(&other)?.sample.clone();
        let reason = format!(
            "Transfer of {contract} with {other} topics: its first event has {main}, and nothing with {other} counts"
        );
        Some(Other { sample, reason })
    }

    /// Blocks above a height were orphaned: the shapes that are gone with them.
    pub fn revert(&mut self, height: u64) -> Vec<(Address, u8)> {
        let mut gone = Vec::new();
        self.0.retain(|contract, shapes| {
            shapes.retain(|topics, shape| {
                let stays = shape.first.0 <= height;
                if !stays {
                    gone.push((*contract, *topics));
                }
                stays
            });
            !shapes.is_empty()
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    fn position((block, log): At) -> LogPosition {
        LogPosition { block, log, time_s: block, transaction: B256::ZERO }
    }

    fn note(shapes: &mut Shapes, topics: u8, at: At, noted: &mut Noted) -> Option<u64> {
        let sample = || wire::Block { number: at.0, ..wire::Block::default() };
        shapes.note(Address::ZERO, topics, position(at), sample, noted).map(|other| other.sample.number)
    }

    #[test]
    fn the_first_event_counts_whenever_it_is_heard_of() {
        let (mut shapes, mut noted) = (Shapes::default(), Noted::default());
        let of = Address::ZERO;
        assert_eq!(note(&mut shapes, 4, (20, 3), &mut noted), None);
        assert_eq!((shapes.main(&of), note(&mut shapes, 4, (30, 0), &mut noted)), (Some(4), None));
        // another one, later: dead-lettered once
        assert_eq!(note(&mut shapes, 3, (25, 0), &mut noted), Some(25));
        assert_eq!(note(&mut shapes, 3, (26, 0), &mut noted), None);
        assert_eq!(noted.unread, [Unread::shape(of, 3)].into());
        // and it turns out that it came first: now the other one is dead-lettered, with its own first
        assert_eq!(note(&mut shapes, 3, (20, 2), &mut noted), Some(20));
        assert_eq!(shapes.main(&of), Some(3));
        assert_eq!((&noted.unread, &noted.read), (&[Unread::shape(of, 4)].into(), &[Unread::shape(of, 3)].into()));
        // their blocks are orphaned
        assert_eq!(shapes.revert(19), [(of, 3), (of, 4)]);
        assert_eq!(shapes.main(&of), None);
    }
}
