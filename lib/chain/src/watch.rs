//! Which logs are wanted.

use std::collections::{BTreeSet, HashMap};

use alloy_primitives::{Address, B256, Bloom, BloomInput};

use crate::block::Log;

/// Contracts, and what is wanted of each.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    contracts: HashMap<Address, BTreeSet<B256>>,
}

impl Watch {
    /// Wants the logs of a contract that begin with one of these topics.
    pub fn add(&mut self, contract: Address, topics: impl IntoIterator<Item = B256>) {
        self.contracts.entry(contract).or_default().extend(topics);
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.contracts.is_empty()
    }

    /// The contracts, in order.
    pub fn addresses(&self) -> Vec<Address> {
        self.contracts.keys().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All first topics that are wanted of any contract.
    pub fn topics(&self) -> BTreeSet<B256> {
        self.contracts.values().flatten().copied().collect()
    }

    /// Whether this log is wanted.
    pub fn wants(&self, log: &Log) -> bool {
        let topics = self.contracts.get(&log.address);
        topics.zip(log.topics.first()).is_some_and(|(wanted, first)| wanted.contains(first))
    }

    /// Whether a block with this filter may hold a wanted log. `false` is certain (Yellow Paper, 4.3.1).
    pub fn may_be_in(&self, bloom: &Bloom) -> bool {
        self.contracts.iter().any(|(contract, topics)| {
            bloom.contains_input(BloomInput::Raw(contract.as_slice()))
                && topics.iter().any(|topic| bloom.contains_input(BloomInput::Raw(topic.as_slice())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Bytes, Log as PrimitiveLog};
    use proptest::prelude::*;

    fn address(number: u8) -> Address {
        Address::repeat_byte(number)
    }

    fn topic(number: u8) -> B256 {
        B256::repeat_byte(number)
    }

    proptest! {
        /// The filter never hides what is there.
        #[test]
        fn a_block_with_a_wanted_log_is_never_passed_over(
            logged in prop::collection::vec((0u8..8, 0u8..4), 0..20),
            wanted in prop::collection::vec((0u8..8, 0u8..4), 0..4),
        ) {
            let mut watch = Watch::default();
            for (contract, first) in &wanted {
                watch.add(address(*contract), [topic(*first)]);
            }
            let logs: Vec<Log> = logged.iter().map(|(contract, first)| Log {
                index: 0,
                address: address(*contract),
                topics: vec![topic(*first)],
                data: Bytes::new(),
                transaction: B256::ZERO,
            }).collect();
            let bloom: Bloom = logs.iter().filter_map(|log| {
                PrimitiveLog::new(log.address, log.topics.clone(), log.data.clone())
            }).collect::<Vec<_>>().iter().collect();
            if logs.iter().any(|log| watch.wants(log)) {
                prop_assert!(watch.may_be_in(&bloom));
            }
            prop_assert_eq!(
                logs.iter().any(|log| watch.wants(log)),
                logged.iter().any(|pair| wanted.contains(pair))
            );
        }
    }
}
