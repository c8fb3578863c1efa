//! What logs mean, and what means nothing.

use alloy_primitives::{Address, B256, U256};
use nepto_chain::topics;
use nepto_proto::chain as wire;
use proptest::prelude::*;

use super::decode;
use crate::assets::model::{Amount, Class, Effect};
use crate::collector::Pipeline;

fn word(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn of(address: Address) -> B256 {
    address.into_word()
}

fn log(topics: &[B256], data: &[B256]) -> wire::Log {
    wire::Log {
        address: Address::repeat_byte(9).to_vec(),
        topics: topics.concat(),
        data: data.concat(),
        ..wire::Log::default()
    }
}

fn alice() -> Address {
    Address::repeat_byte(1)
}

fn bob() -> Address {
    Address::repeat_byte(2)
}

/// How many of the arguments are topics is the contract's choice.
#[test]
fn a_transfer_is_understood_whatever_is_indexed() {
    let arguments = [of(alice()), of(bob()), word(5)];
    for indexed in 0..=3 {
        let mut topics = vec![*topics::TRANSFER];
        topics.extend(&arguments[..indexed]);
        let moved = decode(Pipeline::Erc20, &log(&topics, &arguments[indexed..])).unwrap();
        let expected = Effect::Moved {
            contract: Address::repeat_byte(9),
            class: Class::Whole,
            from: alice(),
            to: bob(),
            amount: Amount(U256::from(5)),
        };
        assert_eq!(moved, [expected]);
        let owned = decode(Pipeline::Erc721, &log(&topics, &arguments[indexed..])).unwrap();
        assert!(matches!(owned[..], [Effect::Owned { token, .. }] if token == U256::from(5)));
    }
}

#[test]
fn batches_are_taken_apart_and_must_fit_together() {
    let head = [*topics::TRANSFER_BATCH, of(alice()), of(alice()), of(bob())];
    let arrays = |ids: &[u64], values: &[u64]| -> Vec<B256> {
        let mut data = vec![word(64), word(64 + 32 * (ids.len() as u64 + 1))];
        for list in [ids, values] {
            data.push(word(list.len() as u64));
            data.extend(list.iter().map(|number| word(*number)));
        }
        data
    };
    let effects = decode(Pipeline::Erc1155, &log(&head, &arrays(&[7, 8], &[1, 2]))).unwrap();
    let moved: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Moved { class: Class::Token(id), amount, .. } => (*id, amount.0),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(moved, [(U256::from(7), U256::from(1)), (U256::from(8), U256::from(2))]);
    assert!(decode(Pipeline::Erc1155, &log(&head, &arrays(&[7, 8], &[1]))).is_err());
    assert!(decode(Pipeline::Erc1155, &log(&head[..3], &arrays(&[7], &[1]))).is_err());
}

#[test]
fn what_is_no_event_of_its_standard_is_refused_with_a_reason() {
    let no_address = B256::repeat_byte(0xff);
    for (pipeline, topics, data) in [
        (Pipeline::Erc20, vec![*topics::TRANSFER, no_address, of(bob())], vec![word(1)]),
        (Pipeline::Erc20, vec![*topics::TRANSFER, of(alice()), of(bob())], vec![]),
        (Pipeline::Erc20, vec![*topics::TRANSFER, of(alice()), of(bob())], vec![word(1), word(2)]),
        (Pipeline::Erc20, vec![], vec![]),
        (Pipeline::Erc721, vec![*topics::CONSECUTIVE_TRANSFER, word(9), word(0), of(bob())], vec![word(3)]),
        (Pipeline::Erc721, vec![*topics::CONSECUTIVE_TRANSFER, word(1), of(alice()), of(bob())], vec![word(3)]),
        (Pipeline::Staking, vec![*topics::STAKED, of(alice())], vec![]),
        (Pipeline::Multisend, vec![*topics::MESSAGE_SENT, word(1), of(alice()), word(0)], vec![word(1)]),
    ] {
        let refused = decode(pipeline, &log(&topics, &data)).unwrap_err();
        assert!(!refused.0.is_empty(), "{pipeline:?}");
    }
}

proptest! {
    /// Whatever a contract says: an effect or a reason, and no panic.
    #[test]
    fn any_log_is_understood_or_refused(
        topic_count in 0usize..6,
        known in 0usize..12,
        words in prop::collection::vec(any::<[u8; 32]>(), 0..12),
        cut in 0usize..40,
    ) {
        let all = [
            *topics::TRANSFER, *topics::CONSECUTIVE_TRANSFER, *topics::TRANSFER_SINGLE, *topics::TRANSFER_BATCH,
            *topics::STAKED, *topics::WITHDRAWN, *topics::REWARD_PAID, *topics::REWARD_ADDED,
            *topics::MESSAGE_SENT, *topics::PAID, *topics::SKIPPED, *topics::CREDITED,
        ];
        let words: Vec<B256> = words.into_iter().map(B256::from).collect();
        let mut topics: Vec<B256> = vec![all[known]];
        topics.extend(words.iter().take(topic_count.saturating_sub(1)));
        let mut log = log(&topics[..topic_count.min(topics.len())], &words);
        log.data.truncate(log.data.len().saturating_sub(cut));
        for pipeline in Pipeline::ALL {
            let _ = decode(pipeline, &log);
        }
    }
}
