//! What is read from its newest end: as a plain list says, however much there is and wherever pages end.

use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::vars;
use nepto_kit::domain::Domain;
use nepto_proto::api::assets::PartOutcome;
use nepto_proto::svc::collector::Pipeline;

use super::{CHAIN, Ledger, ORIGIN, PIPELINE, Transfers, person, position};
use crate::assets;
use crate::assets::model::{Amount, BlockEffects, Effect, Origin, Single};
use crate::assets::store::{SCHEMA, Store, held};
use crate::testing::database;

/// The blocks of what is told of a holder.
async fn told(ledger: &Ledger, page: usize) -> Vec<u64> {
    ledger.history(1, page).await.iter().map(|tail| tail.block).collect()
}

#[tokio::test]
async fn a_change_with_many_blocks_does_not_end_a_history() {
    const OLD: u64 = 150;
    const OPEN: u64 = 100;
    const NEW: u64 = 30;
    let mut ledger = Ledger::new().await;
    for height in 1..=OLD {
        ledger.block(height, &[(0, 1, 5)]).await;
    }
    let several: Vec<(u64, Transfers)> = (OLD + 1..=OLD + OPEN).map(|block| (block, vec![(0, 1, 5)])).collect();
    ledger.commit(ledger.next(OLD + OPEN), &several, false).await;
    let top = OLD + OPEN + NEW;
    for height in OLD + OPEN + 1..=top {
        ledger.block(height, &[(0, 1, 5)]).await;
    }
    let all: Vec<u64> = (1..=top).rev().collect();
    for page in [1, 50] {
        assert_eq!(told(&ledger, page).await, all, "{page} a page");
    }
    // the one change is all that there is beside the old ones, and final
    ledger.compact(OLD + OPEN, false).await;
    for below in [OLD + 1, OLD + OPEN / 2, OLD + OPEN] {
        let found = ledger.store.history(CHAIN, PIPELINE, &person(1), below, 10).await.unwrap();
        let newest = found.iter().map(|tail| tail.block).max();
        assert_eq!(newest, Some(below - 1), "below {below}");
        let then = ledger.store.deltas_above(CHAIN, PIPELINE, &super::holding(1), below - 1).await.unwrap().unwrap();
        assert_eq!(then.len() as u64, top - below + 1, "what came after {below}");
    }
}

#[tokio::test]
async fn a_token_that_goes_back_and_forth_is_taken_from_who_had_it_last() {
    const TIMES: u64 = 300;
    let origin = Origin { pipeline: Pipeline::Erc721, topics: 4 };
    let contract = Address::repeat_byte(99);
    let token = U256::from(7);
    let owned = |to: u8| Effect::Owned { contract, first: token, last: token, to: person(to) };
    let mut ledger = Ledger::of(Store::new(&database(assets::domain()).await), Pipeline::Erc721);
    for block in 1..=TIMES {
        let mut block_effects = BlockEffects::default();
        // nothing happens for a long time after each tenth
        block_effects.add(position(block + block / 10 * 5_000), origin, vec![owned((block % 2) as u8)]);
        let height = block + block / 10 * 5_000;
        ledger.commit_effects(ledger.next(height), block_effects, false).await;
    }
    let single = Single { origin, contract, token };
    for block in [1, 9, 10, 150, 299, 300] {
        let height = block + block / 10 * 5_000;
        let owner = ledger.store.owner(CHAIN, &single, height).await.unwrap();
        assert_eq!(owner, Some((person((block % 2) as u8), height)), "at {height}");
    }
    assert_eq!(ledger.store.owner(CHAIN, &single, 0).await.unwrap(), None);
    for (who, amount) in [(0, "1"), (1, "0")] {
        let tails = [ledger.store.tail(CHAIN, Pipeline::Erc721, &person(who)).await.unwrap()];
        let amounts: Vec<String> = held(&tails, &[], false).values().map(|amount| amount.signed()).collect();
        assert_eq!(amounts, [amount; 2], "the token, and how many, of {who}");
    }
}

#[tokio::test]
async fn messages_and_payments_come_newest_first_page_by_page() {
    const MESSAGES: u64 = 90;
    let (contract, wallet) = (Address::repeat_byte(98), person(1));
    let mut ledger = Ledger::of(Store::new(&database(assets::domain()).await), Pipeline::Multisend);
    for number in 1..=MESSAGES {
        let block = number * number;
        let batch = U256::from(number);
        let mut block_effects = BlockEffects::default();
        let part = Effect::Part {
            contract,
            batch,
            recipient: wallet,
            amount: Amount(U256::from(number)),
            outcome: PartOutcome::Paid,
        };
        let sent = Effect::Sent {
            contract,
            batch,
            sender: person(2),
            token: Address::ZERO,
            content_hash: B256::ZERO,
            message: number.to_string(),
        };
        block_effects.add(position(block), ORIGIN, vec![part, sent]);
        ledger.commit_effects(ledger.next(block), block_effects, false).await;
    }
    let newest: Vec<String> = (1..=MESSAGES).rev().map(|number| number.to_string()).collect();
    for page in [1, 7, 50] {
        let (mut told, mut before) = (Vec::new(), None);
        loop {
            let found = ledger.store.messages(CHAIN, &contract, before, page).await.unwrap();
            let Some(last) = found.last() else { break };
            before = Some(last.batch.parse().unwrap());
            told.extend(found.into_iter().map(|message| message.text));
        }
        assert_eq!(told, newest, "messages, {page} a page");
        let (mut told, mut before) = (Vec::new(), None);
        loop {
            let (found, next) = ledger.store.payments(CHAIN, &wallet, before, page).await.unwrap();
            told.extend(found.into_iter().map(|payment| payment.amount));
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(told, newest, "payments, {page} a page");
    }
}

#[tokio::test]
async fn messages_from_before_there_was_an_index_are_listed() {
    let before = Domain { schema: &SCHEMA[..5], ..assets::domain() };
    let db = database(before).await;
    let contract = Address::repeat_byte(98);
    let statement = "CREATE type::record('sent', [$chain, $contract, $batch]) CONTENT {
        sender: $contract, token: $contract, content_hash: $hash, message: 'gm', block: 3, time_s: 4, tx: $hash
    } RETURN NONE";
    let variables = vars! {
        chain: CHAIN as i64,
        contract: format!("{contract:x}").trim_start_matches("0x").to_owned(),
        batch: format!("{:064x}", 5),
        hash: "ab".repeat(32),
    };
    db.execute(statement, variables).await.unwrap();
    db.migrate(SCHEMA).await.unwrap();
    let found = Store::new(&db).messages(CHAIN, &contract, None, 10).await.unwrap();
    assert_eq!(found.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["gm"]);
}
