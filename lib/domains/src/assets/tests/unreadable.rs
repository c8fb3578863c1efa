//! A row that can't be read is an error that names it, whoever asks: it is never passed over, and never taken for nothing.

use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::{DbError, vars};
use nepto_proto::svc::collector::Pipeline;

use crate::assets::metadata::TokenKey;
use crate::assets::model::{AssetClass, Holding, Origin, Single};
use crate::assets::store::Store;
use crate::testing::{account, database};

const CHAIN: u64 = 7;
const HOLDER: &str = "0101010101010101010101010101010101010101";
const CONTRACT: &str = "0202020202020202020202020202020202020202";
const TOKEN: &str = "0000000000000000000000000000000000000000000000000000000000000005";
const HASH: &str = "0303030303030303030303030303030303030303030303030303030303030303";

fn holder() -> Address {
    Address::repeat_byte(1)
}

fn contract() -> Address {
    Address::repeat_byte(2)
}

fn token() -> U256 {
    U256::from(5)
}

fn holding() -> Holding {
    let origin = Origin { pipeline: Pipeline::Erc20, topics: 3 };
    Holding { holder: holder(), contract: contract(), origin, class: AssetClass::Whole }
}

/// A store with one row, written by hand.
struct Spoilt {
    store: Store,
    row: String,
}

async fn spoilt(row: String, content: &str) -> Spoilt {
    let db = database(crate::assets::domain()).await;
    db.execute(&format!("CREATE {row} CONTENT {content} RETURN NONE"), vars! {}).await.unwrap();
    Spoilt { store: Store::new(&db), row }
}

impl Spoilt {
    /// The pipeline has got beyond the row: what it did not reach is not looked for.
    async fn behind(self, pipeline: Pipeline) -> Self {
        let numbers = "step: 9, seq: 9, height: 9, final_height: 1, folded: 0, events: 1, dead_letters: 0";
        let content = format!("{{ pipeline: '{pipeline}', chain: {CHAIN}, hash: '', {numbers} }}");
        let statement = format!("CREATE cursor:['{pipeline}', {CHAIN}] CONTENT {content} RETURN NONE");
        self.store.db().execute(&statement, vars! {}).await.unwrap();
        self
    }

    /// Whether the answer is the error that names the row.
    fn is_named<T>(&self, answer: Result<T, DbError>) {
        match answer {
            Err(DbError::Corrupt { row, problem }) if format!("{row} {problem}").contains(&self.row) => {}
            Err(error) => panic!("{} is not named: {error}", self.row),
            Ok(_) => panic!("{} was passed over", self.row),
        }
    }
}

#[tokio::test]
async fn deltas() {
    for (first, body) in [("-1", "<bytes>''"), ("3", "<bytes>'x'")] {
        let row = format!("delta:[{CHAIN}, 'erc20', '{HOLDER}', false, 3, {first}, 3]");
        let spoilt = spoilt(row, &format!("{{ body: {body} }}")).await.behind(Pipeline::Erc20).await;
        let store = &spoilt.store;
        spoilt.is_named(store.deltas_above(CHAIN, Pipeline::Erc20, &holding(), 0).await);
        spoilt.is_named(store.history(CHAIN, Pipeline::Erc20, &holder(), 9, 1).await);
        if first == "3" {
            spoilt.is_named(store.tail(CHAIN, Pipeline::Erc20, &holder()).await);
            spoilt.is_named(store.amounts(CHAIN, &holder(), false).await);
        }
    }
    let row = format!("applied:['erc20', {CHAIN}, 3]");
    let spoilt = spoilt(row, "{ body: <bytes>'x' }").await;
    spoilt.is_named(spoilt.store.uncompacted(Pipeline::Erc20, CHAIN).await);
}

#[tokio::test]
async fn sums() {
    let scope = format!("{CHAIN}:{CONTRACT}:erc20/3:");
    for (origin, amount) in [("erc20/3", "<bytes>'more than the 32 bytes of an amount'"), ("erc20", "<bytes>''")] {
        let row = format!("held:[{CHAIN}, '{HOLDER}', '{CONTRACT}', '{origin}', '']");
        let content = format!("{{ scope: '{scope}', holder: '{HOLDER}', amount: {amount}, folded: 1 }}");
        let spoilt = spoilt(row, &content).await;
        spoilt.is_named(spoilt.store.all_compacted(CHAIN, &holder()).await);
        spoilt.is_named(spoilt.store.holders(CHAIN, &holding(), None, 9).await);
        if origin == "erc20/3" {
            spoilt.is_named(spoilt.store.compacted(CHAIN, &holding()).await);
        }
    }
}

#[tokio::test]
async fn turns_shapes_and_cursors() {
    let row = format!("turn:[{CHAIN}, 'erc721/4', '{CONTRACT}', '{TOKEN}', 3, 0]");
    let turn = spoilt(row, &format!("{{ owner: 'nobody', time_s: 1, tx: '{HASH}' }}")).await;
    let origin = Origin { pipeline: Pipeline::Erc721, topics: 4 };
    let single = Single { origin, contract: contract(), token: token() };
    turn.is_named(turn.store.owner(CHAIN, &single, 9).await);

    let row = format!("shape:[{CHAIN}, 'erc20', '{CONTRACT}', 3]");
    let shape = spoilt(row, "{ block: 3, log: 0, sample: <bytes>'x' }").await;
    shape.is_named(shape.store.shapes(Pipeline::Erc20, CHAIN).await);
    shape.is_named(shape.store.mains(CHAIN, &[contract()].into()).await);

    let unread = spoilt(format!("unread:[{CHAIN}, '{CONTRACT}', 3, 0, 'erc30']"), "{}").await;
    unread.is_named(unread.store.unread(CHAIN).await);

    let numbers = "step: 1, seq: 1, height: -1, final_height: 1, folded: 0, events: 1, dead_letters: 0";
    let content = format!("{{ pipeline: 'erc20', chain: {CHAIN}, hash: '', {numbers} }}");
    let cursor = spoilt(format!("cursor:['erc20', {CHAIN}]"), &content).await;
    cursor.is_named(cursor.store.cursor(Pipeline::Erc20, CHAIN).await);
    cursor.is_named(cursor.store.cursors(CHAIN).await);
}

#[tokio::test]
async fn messages_and_their_parts() {
    let row = format!("sent:[{CHAIN}, '{CONTRACT}', '{TOKEN}']");
    let content = format!(
        "{{ sender: '{HOLDER}', token: 'gold', content_hash: '{HASH}', message: 'hi', block: 3, time_s: 1, tx: '{HASH}' }}"
    );
    let sent = spoilt(row, &content).await;
    sent.is_named(sent.store.messages(CHAIN, &contract(), None, 9).await);
    sent.is_named(sent.store.message(CHAIN, &contract(), token()).await);

    let row = format!("sent_part:[{CHAIN}, '{HOLDER}', 3, 0]");
    for (message, outcome) in [(format!("{CHAIN}:{CONTRACT}:{TOKEN}"), "lost"), (format!("{CHAIN}:{CONTRACT}"), "paid")]
    {
        let content = format!("{{ message: '{message}', amount: <bytes>'x', outcome: '{outcome}' }}");
        let part = spoilt(row.clone(), &content).await.behind(Pipeline::Multisend).await;
        part.is_named(part.store.payments(CHAIN, &holder(), None, 9).await);
    }
}

#[tokio::test]
async fn transactions() {
    let mine = account(1);
    for (of, state) in [(mine.to_string(), "lost"), ("nobody".to_owned(), "pending")] {
        let row = format!("transaction:['{mine}', {CHAIN}, '0x{HASH}']");
        let content = format!(
            "{{ account: '{of}', chain: {CHAIN}, hash: '0x{HASH}', state: '{state}', is_settled: false, since_ms: 1,
                created_at_ms: 1, next_look_ms: 1 }}"
        );
        let spoilt = spoilt(row, &content).await;
        let store = &spoilt.store;
        spoilt.is_named(store.tracked(mine, CHAIN, B256::repeat_byte(3)).await);
        spoilt.is_named(store.all_tracked(mine).await);
        spoilt.is_named(store.take_turns(CHAIN, 9, 9, |_| 10).await);
    }
}

#[tokio::test]
async fn what_is_said_about_tokens() {
    let row = format!("nft:[{CHAIN}, '{CONTRACT}', '{TOKEN}']");
    let spoilt = spoilt(row, "{ attributes: [], failures: -1, tried_at_ms: 1, next_try_at_ms: 1 }").await;
    let key = TokenKey { chain: CHAIN, contract: contract(), token: token() };
    spoilt.is_named(spoilt.store.token(&key).await);
    spoilt.is_named(spoilt.store.tokens(&[key]).await);
}
