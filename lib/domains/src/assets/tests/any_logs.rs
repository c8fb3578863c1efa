//! Whatever contracts log, in whatever order the pipelines hear of it: what is held is what one pass over the remaining
//! blocks gives, log by log.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue;
use nepto_chain::topics;
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{CHAIN, Ledger, runtime};
use crate::assets::decode::{Decoded, decode};
use crate::assets::model::{Amount, AssetClass, Effect, Holding, Origin, Single, tokens};
use crate::assets::pipeline::read;
use crate::assets::shapes::shapes_of;
use crate::assets::store::{CursorRow, Store, held};
use crate::collector::pipeline_of;
use crate::testing::database;

const PEOPLE: u8 = 4;
const CONTRACTS: [wire::Standard; 5] = [
    wire::Standard::Erc20,
    wire::Standard::Erc721,
    wire::Standard::Erc1155,
    wire::Standard::Token,
    wire::Standard::Staking,
];

/// A person; 0 is nobody.
fn person(number: u8) -> Address {
    Address::repeat_byte(number)
}

fn contract(number: usize) -> Address {
    Address::repeat_byte(100 + number as u8)
}

/// What a contract says. Numbers are small, so that they meet.
#[derive(Debug, Clone)]
enum Said {
    /// With so many topics, and maybe words too few.
    Transfer {
        topics: usize,
        from: u8,
        to: u8,
        number: u64,
        words_missing: usize,
    },
    Range {
        from: u8,
        to: u8,
        first: u64,
        last: u64,
    },
    Single {
        topics: usize,
        from: u8,
        to: u8,
        id: u64,
        value: u64,
    },
    Batch {
        from: u8,
        to: u8,
        ids: Vec<u64>,
        values: Vec<u64>,
    },
    Stake {
        topics: usize,
        who: u8,
        amount: u64,
        is_out: bool,
    },
}

type Log = (usize, Said);

fn said() -> impl Strategy<Value = Log> {
    let transfer = || {
        let topics = prop_oneof![6 => Just(4_usize), 4 => Just(3_usize), 1 => 1_usize..3];
        let missing = prop_oneof![12 => Just(0_usize), 1 => Just(1_usize)];
        (topics, 0..PEOPLE, 0..PEOPLE, 0_u64..5, missing).prop_map(|(topics, from, to, number, words_missing)| {
            Said::Transfer { topics, from, to, number, words_missing }
        })
    };
    let range = || {
        (0..PEOPLE, 0..PEOPLE, 0_u64..5, 0_u64..6).prop_map(|(from, to, first, last)| Said::Range {
            from,
            to,
            first,
            last,
        })
    };
    let single = || {
        let topics = prop_oneof![9 => Just(4_usize), 1 => 1_usize..4];
        (topics, 0..PEOPLE, 0..PEOPLE, 0_u64..3, 0_u64..9).prop_map(|(topics, from, to, id, value)| Said::Single {
            topics,
            from,
            to,
            id,
            value,
        })
    };
    let numbers = || prop::collection::vec(0_u64..4, 0..4);
    let batch = move || {
        (0..PEOPLE, 0..PEOPLE, numbers(), numbers(), any::<bool>()).prop_map(|(from, to, ids, values, fits)| {
            let values = if fits { ids.iter().map(|id| id + 1).collect() } else { values };
            Said::Batch { from, to, ids, values }
        })
    };
    let stake = (prop_oneof![9 => Just(2_usize), 1 => Just(1_usize)], 0..PEOPLE, 0_u64..9, any::<bool>())
        .prop_map(|(topics, who, amount, is_out)| Said::Stake { topics, who, amount, is_out });
    prop_oneof![
        3 => transfer().prop_map(|said| (0, said)),
        4 => transfer().prop_map(|said| (1, said)),
        2 => range().prop_map(|said| (1, said)),
        1 => prop_oneof![single(), batch()].prop_map(|said| (2, said)),
        5 => prop_oneof![4 => transfer(), 1 => range(), 1 => single(), 1 => batch()].prop_map(|said| (3, said)),
        1 => stake.prop_map(|said| (4, said)),
    ]
}

/// The log that says it: indexed arguments are topics, the rest is data, in the order of the declaration.
fn log(index: u32, (of, said): &Log) -> wire::Log {
    let number = U256::from::<u64>;
    let party = |party: u8| U256::from_be_slice(person(party).as_slice());
    let numbers = |list: &[u64]| list.iter().copied().map(number).collect::<Vec<_>>();
    let (signature, topic_count, words, data) = match said {
        Said::Transfer { topics: count, from, to, number: value, words_missing } => {
            let words = [party(*from), party(*to), number(*value)];
            (*topics::TRANSFER, *count, words[..3 - words_missing].to_vec(), Vec::new())
        }
        Said::Range { from, to, first, last } => {
            let words = vec![number(*first), party(*from), party(*to)];
            (*topics::CONSECUTIVE_TRANSFER, 4, words, number(*last).to_be_bytes_vec())
        }
        Said::Single { topics: count, from, to, id, value } => {
            let words = vec![U256::ONE, party(*from), party(*to), number(*id), number(*value)];
            (*topics::TRANSFER_SINGLE, *count, words, Vec::new())
        }
        Said::Batch { from, to, ids, values } => {
            let words = vec![U256::ONE, party(*from), party(*to)];
            (*topics::TRANSFER_BATCH, 4, words, (numbers(ids), numbers(values)).abi_encode_params())
        }
        Said::Stake { topics: count, who, amount, is_out } => {
            let signature = if *is_out { *topics::WITHDRAWN } else { *topics::STAKED };
            (signature, *count, vec![party(*who), number(*amount)], Vec::new())
        }
    };
    let indexed = words.len().min(topic_count - 1);
    let mut topics = vec![signature];
    topics.extend(words[..indexed].iter().map(|word| B256::from(*word)));
    let rest = words[indexed..].iter().flat_map(|word| word.to_be_bytes::<32>());
    wire::Log {
        index,
        address: contract(*of).to_vec(),
        topics: topics.concat(),
        data: rest.chain(data).collect(),
        transaction: vec![index as u8; 32],
        standard: CONTRACTS[*of].into(),
        cut: false,
    }
}

fn is_of(pipeline: Pipeline, log: &wire::Log) -> bool {
    pipeline_of(log.standard(), B256::from_slice(&log.topics[..32]), log.topics.len() / 32) == pipeline
}

/// Logs by their place in a block.
type Logs = BTreeMap<u32, Log>;

#[derive(Debug, Clone)]
enum Op {
    /// New blocks on top, all but some of them final.
    Blocks(Vec<Logs>, u64),
    /// What a block so far back held beside what was told of it.
    Late(u64, Logs),
    Revert(u64),
}

/// A pipeline takes so many updates, and compacts what is final, to the end or not.
type Go = (usize, usize, Option<bool>);

fn logs() -> impl Strategy<Value = Logs> {
    prop::collection::btree_map(0_u32..40, said(), 0..5)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (prop::collection::vec(logs(), 1..4), 0_u64..5).prop_map(|(blocks, open)| Op::Blocks(blocks, open)),
        3 => (0_u64..6, logs()).prop_map(|(depth, logs)| Op::Late(depth, logs)),
        1 => (1_u64..5).prop_map(Op::Revert),
    ]
}

/// What the collector told.
#[derive(Debug)]
enum Update {
    Blocks { blocks: Vec<wire::Block>, height: u64, final_height: u64, late: bool },
    Revert(u64),
}

/// What is on the chain, and what was told of it.
#[derive(Default)]
struct Chain {
    blocks: BTreeMap<u64, Logs>,
    height: u64,
    final_height: u64,
    updates: Vec<Update>,
}

impl Chain {
    fn perform(&mut self, op: &Op) {
        match op {
            Op::Blocks(several, open) => {
                let blocks: Vec<(u64, Logs)> = (self.height + 1..).zip(several.iter().cloned()).collect();
                self.height += several.len() as u64;
                self.final_height = self.final_height.max(self.height.saturating_sub(*open));
                self.record(blocks.iter(), false);
                self.blocks.extend(blocks);
            }
            Op::Late(depth, logs) => {
                let number = self.height.saturating_sub(*depth);
                let Some(known) = self.blocks.get_mut(&number) else { return };
                let mut logs = logs.clone();
                logs.retain(|index, _| !known.contains_key(index));
                known.extend(logs.clone());
                self.record([&(number, logs)].into_iter(), true);
            }
            Op::Revert(depth) => {
                let to = self.height.saturating_sub(*depth).max(self.final_height);
                if to < self.height {
                    drop(self.blocks.split_off(&(to + 1)));
                    self.height = to;
                    self.updates.push(Update::Revert(to));
                }
            }
        }
    }

    fn record<'a>(&mut self, blocks: impl Iterator<Item = &'a (u64, Logs)>, late: bool) {
        let block = |(number, logs): &(u64, Logs)| wire::Block {
            number: *number,
            hash: vec![1; 32],
            time_s: *number,
            logs: logs.iter().map(|(index, said)| log(*index, said)).collect(),
        };
        let (height, final_height) = (self.height, self.final_height);
        self.updates.push(Update::Blocks { blocks: blocks.map(block).collect(), height, final_height, late });
    }
}

impl Ledger {
    /// Takes the next update.
    async fn take(&mut self, update: &Update) {
        match update {
            Update::Revert(to) => self.revert(*to).await,
            Update::Blocks { blocks, height, final_height, late } => {
                let mut blocks = blocks.clone();
                for block in &mut blocks {
                    block.logs.retain(|log| is_of(self.pipeline, log));
                }
                let mut block_effects = Default::default();
                read(self.pipeline, &blocks, &mut self.shapes, &mut block_effects);
                let final_height = self.cursor.final_height.max(*final_height);
                let after = CursorRow { final_height, ..self.next(*height) };
                self.commit_effects(after, block_effects, *late).await;
            }
        }
    }
}

/// One pass over the blocks, log by log.
#[derive(Default)]
struct Pass {
    amounts: BTreeMap<Holding, Amount>,
    owners: BTreeMap<Single, Address>,
    shapes: BTreeMap<(Pipeline, Address), u8>,
    unread: BTreeSet<Address>,
}

impl Pass {
    /// Sums go up to a height; what shape a contract has, and what of it is unread, is told by all blocks.
    fn over(blocks: &BTreeMap<u64, Logs>, up_to: u64) -> Self {
        let mut pass = Self::default();
        for (number, logs) in blocks {
            for (index, said) in logs {
                let log = log(*index, said);
                for pipeline in Pipeline::ALL.into_iter().filter(|pipeline| is_of(*pipeline, &log)) {
                    pass.hear(pipeline, &log, *number <= up_to);
                }
            }
        }
        for (single, owner) in pass.owners.clone() {
            for class in [AssetClass::Whole, AssetClass::Token(single.token)] {
                let Single { contract, origin, .. } = single;
                pass.add(Holding { holder: owner, contract, origin, class }, Amount::ONE);
            }
        }
        pass.amounts.retain(|holding, amount| holding.holder != Address::ZERO && *amount != Amount::ZERO);
        pass
    }

    fn hear(&mut self, pipeline: Pipeline, log: &wire::Log, counts: bool) {
        let Ok(Decoded { contract, origin, effects }) = decode(pipeline, log) else {
            self.unread.insert(Address::from_slice(&log.address));
            return;
        };
        if !shapes_of(pipeline).is_empty()
            && *self.shapes.entry((pipeline, contract)).or_insert(origin.topics) != origin.topics
        {
            self.unread.insert(contract);
            return;
        }
        for effect in effects.into_iter().filter(|_| counts) {
            match effect {
                Effect::Moved { class, from, to, amount, .. } => {
                    self.add(Holding { holder: from, contract, origin, class }, amount.negated());
                    self.add(Holding { holder: to, contract, origin, class }, amount);
                }
                Effect::Changed { holder, class, amount, .. } => {
                    self.add(Holding { holder, contract, origin, class }, amount);
                }
                Effect::Owned { first, last, to, .. } => {
                    let single = |token| (Single { origin, contract, token }, to);
                    self.owners.extend(tokens(first, last).map(single));
                }
                Effect::Sent { .. } | Effect::Part { .. } => {}
            }
        }
    }

    fn add(&mut self, holding: Holding, amount: Amount) {
        let sum = self.amounts.entry(holding).or_insert(Amount::ZERO);
        *sum = sum.plus(amount);
    }

    /// How many tokens of a contract somebody has is not listed where it has an amount.
    fn listed(&self, holder: Address) -> BTreeMap<Holding, Amount> {
        let is_listed = |holding: &Holding| {
            let is_count = (holding.origin.pipeline, holding.class) == (Pipeline::Erc721, AssetClass::Whole);
            holding.holder == holder && !(is_count && self.shapes.contains_key(&(Pipeline::Erc20, holding.contract)))
        };
        self.amounts.iter().filter(|(holding, _)| is_listed(holding)).map(|(h, a)| (*h, *a)).collect()
    }
}

async fn is_one_pass(script: &[Op], going: &[Go]) {
    let store = Store::new(&database(crate::assets::domain()).await);
    let mut chain = Chain::default();
    for op in script {
        chain.perform(op);
    }
    let mut ledgers: Vec<(Ledger, usize)> =
        Pipeline::ALL.into_iter().map(|pipeline| (Ledger::of(store.clone(), pipeline), 0)).collect();
    let to_the_end = (0..ledgers.len()).map(|ledger| (ledger, chain.updates.len(), None));
    for (ledger, updates, compaction) in going.iter().copied().chain(to_the_end) {
        let count = ledgers.len();
        let (ledger, taken) = &mut ledgers[ledger % count];
        for update in chain.updates.iter().skip(*taken).take(updates) {
            ledger.take(update).await;
            *taken += 1;
        }
        if let Some(broken_off) = compaction {
            let final_height = ledger.cursor.final_height;
            ledger.compact(final_height, broken_off).await;
        }
    }
    let (now, finally) = (Pass::over(&chain.blocks, u64::MAX), Pass::over(&chain.blocks, chain.final_height));
    assert_eq!(store.unread(CHAIN).await.unwrap(), (now.unread.clone(), true), "what is not complete");
    for holder in (1..PEOPLE).map(person) {
        for (pass, only_final) in [(&now, false), (&finally, true)] {
            let (mut amounts, are_all) = store.amounts(CHAIN, &holder, only_final).await.unwrap();
            amounts.retain(|_, amount| *amount != Amount::ZERO);
            assert!(are_all);
            assert_eq!(amounts, pass.listed(holder), "{holder} holds, finally: {only_final}");
        }
        // also what is not listed
        let tails = [store.tail(CHAIN, Pipeline::Erc721, &holder).await.unwrap()];
        for (number, _) in CONTRACTS.iter().enumerate() {
            let contract = contract(number);
            let Some(topics) = now.shapes.get(&(Pipeline::Erc721, contract)) else { continue };
            let origin = Origin { pipeline: Pipeline::Erc721, topics: *topics };
            let holding = Holding { holder, contract, origin, class: AssetClass::Whole };
            let sums: Vec<_> = store.compacted(CHAIN, &holding).await.unwrap().into_iter().collect();
            let count = held(&tails, &sums, false).get(&holding).copied().unwrap_or(Amount::ZERO);
            assert_eq!(count, now.amounts.get(&holding).copied().unwrap_or(Amount::ZERO), "how many tokens");
        }
    }
    for height in [chain.final_height, chain.height] {
        for (single, owner) in Pass::over(&chain.blocks, height).owners {
            let found = store.owner(CHAIN, &single, height).await.unwrap().map(|(owner, _)| owner);
            assert_eq!(found, Some(owner), "{single:?} at {height}");
        }
    }
}

#[test]
fn whatever_is_logged_is_held_as_one_pass_in_the_order_of_blocks_says() {
    let runtime = runtime();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let script = prop::collection::vec(op(), 1..14);
    let going = prop::collection::vec((0_usize..5, 0_usize..5, any::<Option<bool>>()), 0..16);
    TestRunner::new(config)
        .run(&(script, going), |(script, going)| {
            runtime.block_on(is_one_pass(&script, &going));
            Ok(())
        })
        .unwrap();
}
