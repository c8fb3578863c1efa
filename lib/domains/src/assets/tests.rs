//! What is stored, through forks and compactions: as if only the remaining blocks had ever been.

mod any_logs;
mod costs;
mod linked;
mod past;
mod unreadable;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::DbError;
use nepto_proto::svc::collector::Pipeline;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::{Amount, AssetClass, BlockEffects, Effect, Holding, LogPosition, Origin};
use super::shapes::Shapes;
use super::store::{Applied, Change, CursorRow, Store, Tail, compactions, held, newest};
use crate::testing::database;

const CHAIN: u64 = 7;
const PIPELINE: Pipeline = Pipeline::Erc20;
const ORIGIN: Origin = Origin { pipeline: PIPELINE, topics: 3 };

fn person(number: u8) -> Address {
    Address::repeat_byte(number + 1)
}

fn holding(number: u8) -> Holding {
    Holding { holder: person(number), contract: Address::repeat_byte(99), origin: ORIGIN, class: AssetClass::Whole }
}

fn moved(from: u8, to: u8, amount: u64) -> Effect {
    let Holding { contract, class, .. } = holding(0);
    Effect::Moved { contract, class, from: person(from), to: person(to), amount: Amount(U256::from(amount)) }
}

fn position(block: u64) -> LogPosition {
    LogPosition { block, log: 0, time_s: block, transaction: B256::ZERO }
}

/// A pipeline without its stream.
struct Ledger {
    store: Store,
    pipeline: Pipeline,
    cursor: CursorRow,
    uncompacted: Vec<Applied>,
    shapes: Shapes,
}

impl Ledger {
    async fn new() -> Self {
        Self::of(Store::new(&database(super::domain()).await), PIPELINE)
    }

    fn of(store: Store, pipeline: Pipeline) -> Self {
        let cursor = CursorRow::new(pipeline, CHAIN);
        Self { store, pipeline, cursor, uncompacted: Vec::new(), shapes: Shapes::default() }
    }

    fn next(&self, height: u64) -> CursorRow {
        let CursorRow { step, seq, .. } = self.cursor;
        CursorRow { step: step + 1, seq: seq + 1, height, ..self.cursor.clone() }
    }

    async fn block(&mut self, height: u64, transfers: &[(u8, u8, u64)]) {
        let after = self.next(height);
        self.commit(after, &[(height, transfers.to_vec())], false).await;
    }

    async fn commit(&mut self, after: CursorRow, blocks: &[(u64, Transfers)], late: bool) {
        let mut block_effects = BlockEffects::default();
        for (height, transfers) in blocks {
            for (from, to, amount) in transfers {
                block_effects.add(position(*height), ORIGIN, vec![moved(*from, *to, *amount)]);
            }
        }
        self.commit_effects(after, block_effects, late).await;
    }

    async fn commit_effects(&mut self, after: CursorRow, mut block_effects: BlockEffects, late: bool) {
        self.store.settle(CHAIN, &mut block_effects, late).await.unwrap();
        let applied = self.apply(&after, &block_effects, late).await.unwrap();
        self.cursor = after;
        if applied.highest().is_some() {
            self.uncompacted.push(applied);
        }
    }

    async fn apply(&self, after: &CursorRow, block_effects: &BlockEffects, late: bool) -> Result<Applied, DbError> {
        let before = &self.cursor;
        let (retried, events) = (Vec::new(), Vec::new());
        self.store.apply(Change { pipeline: self.pipeline, before, after, block_effects, late, retried, events }).await
    }

    async fn revert(&mut self, height: u64) {
        let after = self.next(height);
        let Self { store, pipeline, cursor, uncompacted, shapes } = self;
        store.revert(*pipeline, cursor, &after, uncompacted, shapes, height, Vec::new()).await.unwrap();
        self.cursor = after;
    }

    /// Compacts what is final; breaks off before its end if told so.
    async fn compact(&mut self, final_height: u64, broken_off: bool) {
        if final_height > self.cursor.final_height {
            // an update says so
            let after = CursorRow { final_height, ..self.next(self.cursor.height) };
            self.commit_effects(after, BlockEffects::default(), false).await;
        }
        let is_final = |applied: &&Applied| applied.highest().is_none_or(|highest| highest <= final_height);
        let count = self.uncompacted.iter().take_while(is_final).count();
        let Some(last) = count.checked_sub(1).map(|last| self.uncompacted[last].seq) else { return };
        self.store.compact(CHAIN, last, &compactions(self.uncompacted.iter().take(count))).await.unwrap();
        if broken_off {
            self.restart().await;
            return;
        }
        let after = CursorRow { folded: last, ..self.cursor.clone() };
        self.store.end_compaction(self.pipeline, &self.cursor, &after, Vec::new()).await.unwrap();
        self.cursor = after;
        self.uncompacted.drain(..count);
    }

    /// Everything from the database.
    async fn restart(&mut self) {
        self.uncompacted = self.store.uncompacted(self.pipeline, CHAIN).await.unwrap();
        self.shapes = self.store.shapes(self.pipeline, CHAIN).await.unwrap();
    }

    /// What is told of a holder, page by page.
    async fn history(&self, of: u8, page: usize) -> Vec<Tail> {
        let (mut told, mut below) = (Vec::<Tail>::new(), u64::MAX);
        loop {
            let mut found = self.store.history(CHAIN, PIPELINE, &person(of), below, page).await.unwrap();
            newest(&mut found, page, |tail| tail);
            let Some(last) = found.last() else { return told };
            below = last.block;
            told.extend(found);
        }
    }

    async fn balance(&self, of: u8) -> Amount {
        let tails = [self.store.tail(CHAIN, PIPELINE, &person(of)).await.unwrap()];
        let sums: Vec<_> = self.store.compacted(CHAIN, &holding(of)).await.unwrap().into_iter().collect();
        held(&tails, &sums, false).get(&holding(of)).copied().unwrap_or(Amount::ZERO)
    }
}

type Transfers = Vec<(u8, u8, u64)>;

#[derive(Debug, Clone)]
enum Op {
    Block(Transfers),
    /// Several blocks at once, of which all but some are final.
    CatchUp(Vec<Transfers>, u64),
    /// What a block so far back held for a contract that was not watched then.
    Late(u64, Transfers),
    Revert(u64),
    Compact(u64, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let transfers = || prop::collection::vec((0u8..4, 0u8..4, 0u64..50), 0..5);
    prop_oneof![
        4 => transfers().prop_map(Op::Block),
        2 => (prop::collection::vec(transfers(), 1..6), 0u64..4).prop_map(|(blocks, open)| Op::CatchUp(blocks, open)),
        2 => (0u64..8, transfers()).prop_map(|(depth, transfers)| Op::Late(depth, transfers)),
        2 => (0u64..6).prop_map(Op::Revert),
        2 => (0u64..6, any::<bool>()).prop_map(|(depth, broken_off)| Op::Compact(depth, broken_off)),
    ]
}

/// Performs a script and compares every balance, also those of the past, with a plain list of blocks.
async fn as_if_only_the_rest_had_been(script: &[Op]) {
    let mut ledger = Ledger::new().await;
    let mut blocks: BTreeMap<u64, Transfers> = BTreeMap::new();
    let (mut height, mut final_height) = (0, 0);
    for op in script {
        match op {
            Op::Block(transfers) => {
                height += 1;
                blocks.insert(height, transfers.clone());
                ledger.block(height, transfers).await;
            }
            Op::CatchUp(several, open) => {
                let several: Vec<_> = (height + 1..).zip(several.iter().cloned()).collect();
                height += several.len() as u64;
                final_height = final_height.max(height.saturating_sub(*open));
                blocks.extend(several.iter().cloned());
                let after = CursorRow { final_height, ..ledger.next(height) };
                ledger.commit(after, &several, false).await;
            }
            Op::Late(depth, transfers) => {
                let block = height.saturating_sub(*depth);
                blocks.entry(block).or_default().extend(transfers);
                let after = ledger.next(height);
                ledger.commit(after, &[(block, transfers.clone())], true).await;
            }
            Op::Revert(depth) => {
                let to = height.saturating_sub(*depth).max(final_height);
                if to < height {
                    drop(blocks.split_off(&(to + 1)));
                    height = to;
                    ledger.revert(to).await;
                }
            }
            Op::Compact(depth, broken_off) => {
                final_height = final_height.max(height.saturating_sub(*depth));
                ledger.compact(final_height, *broken_off).await;
            }
        }
    }
    for of in 0..4 {
        let up_to = |top: u64| {
            blocks.range(..=top).flat_map(|(_, transfers)| transfers).fold(Amount::ZERO, |sum, (from, to, amount)| {
                let amount = Amount(U256::from(*amount));
                let taken = if *from == of { amount.negated() } else { Amount::ZERO };
                let given = if *to == of { amount } else { Amount::ZERO };
                sum.plus(taken).plus(given)
            })
        };
        assert_eq!(ledger.balance(of).await, up_to(height), "holder {of}");
        for page in [1, 3] {
            let told = ledger.history(of, page).await;
            assert!(told.is_sorted_by_key(|tail| std::cmp::Reverse(tail.block)), "the newest first");
            let mut sums: BTreeMap<u64, Amount> = BTreeMap::new();
            for tail in &told {
                let sum = sums.entry(tail.block).or_insert(Amount::ZERO);
                *sum = sum.plus(tail.delta.amount);
            }
            let sum_in = |block: u64| match block.checked_sub(1) {
                Some(before) => up_to(block).plus(up_to(before).negated()),
                None => up_to(0),
            };
            for block in 0..=height {
                let told = sums.get(&block).copied().unwrap_or(Amount::ZERO);
                assert_eq!(told, sum_in(block), "history of {of} in {block}, {page} a page");
            }
        }
        for past in 0..height {
            let later = ledger.store.deltas_above(CHAIN, PIPELINE, &holding(of), past).await.unwrap().unwrap();
            let then = later.iter().fold(up_to(height), |sum, tail| sum.plus(tail.delta.amount.negated()));
            assert_eq!(then, up_to(past), "holder {of} at {past} of {height}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(10 * 1024 * 1024)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn forks_and_compactions_leave_what_remains() {
    let runtime = runtime();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(op(), 1..30), |script| {
            runtime.block_on(as_if_only_the_rest_had_been(&script));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn an_update_counts_once_whoever_is_faster() {
    let mut ledger = Ledger::new().await;
    ledger.block(1, &[(0, 1, 5)]).await;
    // a second worker, which knows the cursor of before
    let behind = Ledger::of(ledger.store.clone(), PIPELINE);
    let mut block_effects = BlockEffects::default();
    block_effects.add(position(1), ORIGIN, vec![moved(0, 1, 5)]);
    let refused = behind.apply(&behind.next(1), &block_effects, false).await.unwrap_err();
    assert!(matches!(refused, DbError::Stale));
    assert_eq!(ledger.balance(1).await, Amount(U256::from(5)));
}
