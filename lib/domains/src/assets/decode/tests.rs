//! What logs mean, and what means nothing.

use alloy_primitives::{Address, B256, U256};
use nepto_chain::topics;
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;
use proptest::prelude::*;

use super::{Undecodable, decode};
use crate::assets::model::{Amount, AssetClass, Effect, Origin};

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

/// What a log does; the standard of its contract is the pipeline's.
fn effects(pipeline: Pipeline, log: &wire::Log) -> Result<Vec<Effect>, Undecodable> {
    let standard = match pipeline {
        Pipeline::Erc20 => wire::Standard::Erc20,
        Pipeline::Erc721 => wire::Standard::Erc721,
        _ => wire::Standard::Token,
    };
    decode(pipeline, &wire::Log { standard: standard.into(), ..log.clone() }).map(|decoded| decoded.effects)
}

/// How many of the arguments are topics is the contract's choice, as long as it is certain which word is which.
#[test]
fn a_transfer_is_understood_if_it_is_certain_which_word_is_which() {
    let arguments = [of(alice()), of(bob()), word(5)];
    let transfer = |indexed: usize| {
        let mut topics = vec![*topics::TRANSFER];
        topics.extend(&arguments[..indexed]);
        log(&topics, &arguments[indexed..])
    };
    let contract = Address::repeat_byte(9);
    let amount = Amount(U256::from(5));
    let moved = Effect::Moved { contract, class: AssetClass::Whole, from: alice(), to: bob(), amount };
    let token = U256::from(5);
    let owned = Effect::Owned { contract, first: token, last: token, to: bob() };
    for (indexed, as_amount, as_token) in [(0, true, true), (1, false, false), (2, true, false), (3, true, true)] {
        let log = transfer(indexed);
        let expected = as_amount.then(|| vec![moved.clone()]);
        assert_eq!(effects(Pipeline::Erc20, &log).ok(), expected, "{indexed} as an amount");
        assert_eq!(effects(Pipeline::Erc721, &log).ok(), as_token.then(|| vec![owned.clone()]), "{indexed} as a token");
    }
    // a contract that may be anything tells only by what it indexes
    let undeclared = wire::Log { standard: wire::Standard::Token.into(), ..transfer(0) };
    assert!(decode(Pipeline::Erc20, &undeclared).unwrap_err().0.contains("kind must say"));
    let undeclared = wire::Log { standard: wire::Standard::Token.into(), ..transfer(2) };
    assert_eq!(decode(Pipeline::Erc20, &undeclared).unwrap().origin, Origin { pipeline: Pipeline::Erc20, topics: 3 });
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
    let found = effects(Pipeline::Erc1155, &log(&head, &arrays(&[7, 8], &[1, 2]))).unwrap();
    let moved: Vec<_> = found
        .iter()
        .map(|effect| match effect {
            Effect::Moved { class: AssetClass::Token(id), amount, .. } => (*id, amount.0),
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
        (
            Pipeline::Erc721,
            vec![*topics::CONSECUTIVE_TRANSFER, word(1), of(alice()), of(bob())],
            vec![B256::repeat_byte(0xff)],
        ),
        (
            Pipeline::Erc1155,
            vec![*topics::TRANSFER_SINGLE, of(alice()), of(alice())],
            vec![of(bob()), word(1), word(1)],
        ),
        (Pipeline::Staking, vec![*topics::STAKED], vec![of(alice()), word(1)]),
        (Pipeline::Staking, vec![*topics::STAKED, of(alice())], vec![]),
        (Pipeline::Multisend, vec![*topics::MESSAGE_SENT, word(1), of(alice()), word(0)], vec![word(1)]),
    ] {
        let refused = effects(pipeline, &log(&topics, &data)).unwrap_err();
        assert!(!refused.0.is_empty(), "{pipeline:?}");
    }
}

/// A standard's next version may have an event with the same arguments, which means something else.
#[test]
fn an_event_that_the_standard_does_not_have_is_no_known_one() {
    let unknown = B256::repeat_byte(0xaa);
    for (pipeline, topics, data) in [
        (Pipeline::Erc20, vec![unknown, of(alice()), of(bob())], vec![word(1)]),
        (Pipeline::Erc721, vec![unknown, of(alice()), of(bob()), word(1)], vec![]),
        (Pipeline::Erc1155, vec![unknown, of(alice()), of(alice()), of(bob())], vec![word(1), word(1)]),
        (Pipeline::Staking, vec![unknown, of(alice())], vec![word(1)]),
        (Pipeline::Staking, vec![*topics::PAID, of(alice())], vec![word(1)]),
        (Pipeline::Multisend, vec![unknown, word(1), of(alice())], vec![word(1)]),
    ] {
        let refused = effects(pipeline, &log(&topics, &data)).unwrap_err();
        assert!(refused.0.contains("is no event of"), "{pipeline:?}: {refused}");
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
