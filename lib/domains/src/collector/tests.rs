//! Updates: numbered without gaps, and with every log in exactly one of them.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes};
use nepto_chain::block::{Block, Log, Proof, SealedHeader};
use nepto_chain::topics;
use nepto_proto::api::assets::ContractKind;
use nepto_proto::chain::chain_update::What;
use nepto_proto::svc::collector::Pipeline;
use proptest::prelude::*;
use prost::Message;

use super::model::{Contracts, UpdateBuilder, WatchedContract, for_pipeline};

fn contract(number: u8) -> Address {
    Address::repeat_byte(number)
}

fn contracts() -> Contracts {
    let kinds = [
        (1, ContractKind::Erc20),
        (2, ContractKind::Erc721),
        (3, ContractKind::Erc1155),
        (4, ContractKind::Staking),
        (5, ContractKind::Multisend),
        (6, ContractKind::Token),
    ];
    let watched = |kind| WatchedContract { kind, start_block: 0 };
    Contracts(kinds.into_iter().map(|(number, kind)| (contract(number), watched(kind))).collect())
}

fn block(number: u64, logs: &[(u8, usize)]) -> Block {
    let header = SealedHeader::new(Header { number, ..Header::default() });
    let log = |(index, (of, bytes)): (usize, &(u8, usize))| Log {
        index: index as u32,
        address: contract(*of),
        topics: vec![*topics::TRANSFER, B256::ZERO, B256::ZERO],
        data: Bytes::from(vec![0; *bytes]),
        transaction: B256::ZERO,
    };
    Block { header, logs: logs.iter().enumerate().map(log).collect(), proof: Proof::Receipts }
}

proptest! {
    #[test]
    fn every_log_is_told_once_to_one_pipeline_and_every_step_fits_into_a_message(
        blocks in prop::collection::vec((0usize..40, 1u8..7, 0usize..3_000), 1..12),
        many in 0usize..4_000,
        last in 0u64..1_000,
    ) {
        let mut all: Vec<Block> = blocks.iter().enumerate()
            .map(|(height, (count, of, bytes))| block(10 + height as u64, &vec![(*of, *bytes); *count])).collect();
        // and one that is too large for an update
        all.push(block(10 + all.len() as u64, &vec![(1, 32); many]));
        let top = 9 + all.len() as u64;
        let mut builder = UpdateBuilder { chain_id: 1, last, final_height: top };
        let updates = builder.advance(&all, &contracts());
        prop_assert!(!updates.is_empty());
        for (place, update) in updates.iter().enumerate() {
            prop_assert_eq!(update.number, last + 1 + place as u64);
            prop_assert!(update.encoded_len() < 512 * 1024, "{} bytes", update.encoded_len());
        }
        prop_assert!(matches!(&updates.last().unwrap().what, Some(What::Advance(advance)) if advance.height == top));
        let told: usize = updates.iter().flat_map(|update| Pipeline::ALL.map(|pipeline| {
            match for_pipeline(update, pipeline).what {
                Some(What::Advance(advance)) => advance.blocks,
                Some(What::Fill(fill)) => fill.blocks,
                _ => Vec::new(),
            }
        })).flatten().map(|block| block.logs.len()).sum();
        prop_assert_eq!(told, all.iter().map(|block| block.logs.len()).sum::<usize>());
        // nothing is final before its whole block was told
        let mut height = 9;
        for update in &updates {
            if let Some(What::Advance(advance)) = &update.what {
                height = advance.height;
            }
            prop_assert!(update.final_height <= height.max(9), "{} at {height}", update.final_height);
        }
    }
}

#[test]
fn what_was_before_a_contract_begins_is_told_only_if_it_is_asked_for() {
    let late = Contracts([(contract(1), WatchedContract { kind: ContractKind::Erc20, start_block: 11 })].into());
    let blocks = [block(10, &[(1, 32)]), block(11, &[(1, 32), (1, 32)])];
    let builder = || UpdateBuilder { chain_id: 1, last: 0, final_height: 11 };
    let count = |updates: Vec<nepto_proto::chain::ChainUpdate>| {
        let of = |what: Option<What>| match what {
            Some(What::Advance(advance)) => advance.blocks,
            Some(What::Fill(fill)) => fill.blocks,
            _ => Vec::new(),
        };
        updates.into_iter().flat_map(|update| of(update.what)).map(|block| block.logs.len()).sum::<usize>()
    };
    assert_eq!(count(builder().advance(&blocks, &late)), 2);
    assert_eq!(count(builder().fill(&blocks, &late)), 3);
}
