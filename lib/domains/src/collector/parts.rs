//! One log may move thousands of tokens: a batch of an ERC-1155, a range of an ERC-2309. It is published in parts, each a log
//! that moves its share, so that no update and no transaction of a pipeline grows with what a contract says. A log that does
//! not fit together is left as it is: its pipeline dead-letters it. Pure rules.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue;
use nepto_chain::block::Log;
use nepto_chain::topics;

/// Tokens of one part.
pub const PART_TOKENS_MAX: usize = 1_000;
/// Tokens of one batch: more than a transaction of Ethereum can log (51 million gas for 6.4 MB). One with more is
/// dead-lettered.
const BATCH_TOKENS_MAX: usize = 100_000;
/// Tokens of all ranges that one contract logs in one block: twenty times what the usual libraries mint at once (5,000). A
/// range costs nearly nothing to log, however many tokens it has, and each of them is a row here. What is beyond is
/// dead-lettered.
const RANGED_TOKENS_MAX: usize = 100_000;
/// Bytes of a batch for each of its tokens: an id and an amount.
const TOKEN_BYTES: usize = 64;
/// Bytes of a batch beside these: two offsets and two lengths.
const BATCH_BYTES: usize = 128;

/// Tokens of the ranges of one block, by contract.
#[derive(Default)]
pub struct Ranged(HashMap<Address, usize>);

impl Ranged {
    /// Whether a log of the block is a range that goes beyond what its contract may log there. Asked in the order of the logs.
    pub fn is_too_much(&mut self, log: &Log) -> bool {
        if ends(log).is_none() {
            return false;
        }
        let sum = self.0.entry(log.address).or_default();
        let with_it = sum.saturating_add(tokens(log));
        if with_it <= RANGED_TOKENS_MAX {
            *sum = with_it;
        }
        with_it > RANGED_TOKENS_MAX
    }
}

/// The parts of a log that is too large for one; `None` of one that is not, or that can't be taken apart.
pub fn parts(log: &Log) -> Option<Vec<Log>> {
    let first = *log.topics.first()?;
    if log.topics.len() != 4 || tokens(log) <= PART_TOKENS_MAX {
        return None;
    }
    if first == *topics::TRANSFER_BATCH {
        batch(log)
    } else if first == *topics::CONSECUTIVE_TRANSFER {
        range(log)
    } else {
        None
    }
}

/// How many tokens a log moves, as far as its size tells; one if it is no such log.
pub fn tokens(log: &Log) -> usize {
    let Some(first) = log.topics.first() else { return 1 };
    if *first == *topics::TRANSFER_BATCH {
        (log.data.len().saturating_sub(BATCH_BYTES) / TOKEN_BYTES).max(1)
    } else {
        ends(log).map_or(1, |(first, last)| (last - first).saturating_to::<usize>().saturating_add(1))
    }
}

fn batch(log: &Log) -> Option<Vec<Log>> {
    if log.data.len() > BATCH_BYTES + BATCH_TOKENS_MAX * TOKEN_BYTES {
        return None;
    }
    let (ids, values) = <(Vec<U256>, Vec<U256>)>::abi_decode_params(&log.data).ok()?;
    if ids.len() != values.len() || !log.topics[2..].iter().all(is_address) {
        return None;
    }
    let part = |(ids, values): (&[U256], &[U256])| {
        let data = (ids.to_vec(), values.to_vec()).abi_encode_params().into();
        Log { data, ..log.clone() }
    };
    Some(ids.chunks(PART_TOKENS_MAX).zip(values.chunks(PART_TOKENS_MAX)).map(part).collect())
}

fn range(log: &Log) -> Option<Vec<Log>> {
    let (mut first, last) = ends(log)?;
    if tokens(log) > RANGED_TOKENS_MAX || !log.topics[2..].iter().all(is_address) {
        return None;
    }
    let mut parts = Vec::new();
    loop {
        let end = first.saturating_add(U256::from(PART_TOKENS_MAX - 1)).min(last);
        let mut part = log.clone();
        part.topics[1] = B256::from(first);
        part.data = end.to_be_bytes::<32>().to_vec().into();
        parts.push(part);
        if end == last {
            return Some(parts);
        }
        first = end + U256::ONE;
    }
}

/// The first and the last token of a range.
fn ends(log: &Log) -> Option<(U256, U256)> {
    let [signature, first, ..] = log.topics[..] else { return None };
    let ends = (U256::from_be_bytes(first.0), U256::try_from_be_slice(&log.data)?);
    (signature == *topics::CONSECUTIVE_TRANSFER && log.data.len() == 32 && ends.0 <= ends.1).then_some(ends)
}

fn is_address(topic: &B256) -> bool {
    topic[..12].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use proptest::prelude::*;

    fn log(signature: B256, second: U256, data: Vec<u8>) -> Log {
        let parties = [Address::repeat_byte(1), Address::repeat_byte(2)].map(|party| party.into_word());
        Log {
            index: 3,
            address: Address::repeat_byte(9),
            topics: vec![signature, B256::from(second), parties[0], parties[1]],
            data: data.into(),
            transaction: B256::repeat_byte(7),
        }
    }

    fn batch_of(ids: &[U256], values: &[U256]) -> Log {
        log(*topics::TRANSFER_BATCH, U256::ZERO, (ids.to_vec(), values.to_vec()).abi_encode_params())
    }

    proptest! {
        #[test]
        fn the_parts_of_a_batch_are_the_batch(count in 0usize..5_000, seed: u64) {
            let ids: Vec<U256> = (0..count as u64).map(|place| U256::from(place * 3 + seed % 7)).collect();
            let values: Vec<U256> = (0..count as u64).map(|place| U256::from(place ^ seed)).collect();
            let whole = batch_of(&ids, &values);
            let Some(parts) = parts(&whole) else {
                prop_assert!(count <= PART_TOKENS_MAX);
                return Ok(());
            };
            prop_assert_eq!(parts.len(), count.div_ceil(PART_TOKENS_MAX));
            let mut read = (Vec::new(), Vec::new());
            for part in &parts {
                prop_assert!(tokens(part) <= PART_TOKENS_MAX);
                prop_assert_eq!((part.index, &part.topics), (whole.index, &whole.topics));
                let (ids, values) = <(Vec<U256>, Vec<U256>)>::abi_decode_params(&part.data).unwrap();
                read.0.extend(ids);
                read.1.extend(values);
            }
            prop_assert_eq!(read, (ids, values));
        }

        #[test]
        fn the_parts_of_a_range_are_the_range(first in prop_oneof![0u64..9, Just(u64::MAX)], count in 1usize..5_000) {
            let first = if first == u64::MAX { U256::MAX - U256::from(count - 1) } else { U256::from(first) };
            let last = first + U256::from(count - 1);
            let whole = log(*topics::CONSECUTIVE_TRANSFER, first, last.to_be_bytes_vec());
            prop_assert_eq!(tokens(&whole), count);
            let parts = parts(&whole).unwrap_or_else(|| vec![whole.clone()]);
            prop_assert_eq!(parts.len(), count.div_ceil(PART_TOKENS_MAX));
            let mut next = Some(first);
            for part in &parts {
                let (first, last) = ends(part).unwrap();
                prop_assert_eq!(Some(first), next);
                prop_assert!(tokens(part) <= PART_TOKENS_MAX);
                next = last.checked_add(U256::ONE);
            }
            prop_assert_eq!(ends(parts.last().unwrap()).unwrap().1, last);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_left_as_it_is() {
        let (ids, values) = (vec![U256::ONE; 2_000], vec![U256::ONE; 2_000]);
        assert!(parts(&batch_of(&ids, &values)).is_some());
        assert!(parts(&batch_of(&ids, &values[1..])).is_none(), "ids without amounts");
        let mut stranger = batch_of(&ids, &values);
        stranger.topics[3] = B256::repeat_byte(0xff);
        assert!(parts(&stranger).is_none(), "no address");
        let range =
            |first: u64, last: U256| log(*topics::CONSECUTIVE_TRANSFER, U256::from(first), last.to_be_bytes_vec());
        assert!(parts(&range(1, U256::from(2_000))).is_some());
        assert!(parts(&range(2_000, U256::from(1))).is_none(), "ends before it begins");
        assert!(parts(&range(1, U256::MAX)).is_none(), "more than are followed one by one");
        // what fits into a block does, whatever does not
        let mut ranged = Ranged::default();
        for (last, is_too_much) in [(60_000, false), (u64::MAX, true), (40_001, true), (40_000, false), (1, true)] {
            assert_eq!(ranged.is_too_much(&range(1, U256::from(last))), is_too_much, "{last}");
        }
        assert!(!ranged.is_too_much(&batch_of(&ids, &values)), "a batch pays for itself");
    }
}
