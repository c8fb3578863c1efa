//! Contracts that log more than one standard, or what their standard does not have: nothing that they log makes a sum depend
//! on order or timing, turns a transfer round, invents a token or leaves it two holders.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolValue;
use nepto_testkit::contracts::{Contracts, LogEmitter};
use nepto_testkit::{Anvil, Settings, WatchedChain, eventually, seconds};

use super::assets::{TRANSFER, log};
use super::dead_letters::{letters, operator};
use super::world::{World, word};

const UNIT: u64 = 1_000_000_000;

type Log = (Vec<B256>, Bytes);

/// An amount, as EIP-20 has it.
fn amount(from: Address, to: Address, amount: u64) -> Log {
    log(TRANSFER, &[word(from), word(to)], &[U256::from(amount)])
}

/// A token, as EIP-721 has it.
fn token(from: Address, to: Address, token: u64) -> Log {
    log(TRANSFER, &[word(from), word(to), U256::from(token)], &[])
}

/// Contracts that say what they are told to, each declared as something.
async fn world(finality: u64, kinds: &[&str]) -> (World, Vec<LogEmitter>) {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let mut chain = WatchedChain::of(&anvil, finality).contracts(&contracts);
    let mut emitters = Vec::new();
    for kind in kinds {
        let emitter = LogEmitter::deploy(&anvil).await.unwrap();
        chain = chain.contract(kind, emitter.0, 1);
        emitters.push(emitter);
    }
    (World::watching(anvil, contracts, &chain).await.unwrap(), emitters)
}

impl World {
    async fn emits(&self, emitter: LogEmitter, logs: &[Log]) {
        self.anvil.send(&emitter.emit(self.contracts.owner, logs)).await.unwrap();
    }
}

#[tokio::test]
async fn a_contract_that_is_both_has_an_amount_and_tokens_and_they_never_meet() {
    let (world, emitters) = world(2, &["token", "token"]).await;
    let [both, stranger] = emitters[..] else { panic!("two contracts") };
    let [_, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let nobody = Address::ZERO;
    let held = async |holder, more: &str| world.balance(both.0, holder, more).await.unwrap();
    for minted in 1..=4 {
        // whoever of the two pipelines is faster, now and when it is final
        world.emits(both, &[amount(nobody, alice, UNIT), token(nobody, alice, minted)]).await;
        world.settled().await.unwrap();
        for more in ["", "&standard=erc20"] {
            assert_eq!(held(alice, more).await, (minted * UNIT).to_string(), "after {minted}{more}");
        }
        assert_eq!(held(alice, "&standard=erc721").await, minted.to_string());
        assert_eq!(held(alice, &format!("&token={minted}")).await, "1");
    }
    world.emits(both, &[token(alice, bob, 2), amount(alice, bob, UNIT)]).await;
    world.anvil.mine(5).await.unwrap();
    world.settled().await.unwrap();
    let finally = async || Ok(held(bob, "&only_final=true").await == UNIT.to_string());
    eventually(seconds(5), finally).await.unwrap();
    assert_eq!((held(alice, "").await, held(bob, "").await), ((3 * UNIT).to_string(), UNIT.to_string()));
    // one entry without a token: the amount
    let listed = world.holdings(bob).await.unwrap();
    let of = |token: &str| listed.get(&(both.0.to_string(), token.to_owned(), "held".to_owned())).cloned();
    assert_eq!((of(""), of("2"), listed.len()), (Some(UNIT.to_string()), Some("1".into()), 2));
    let who = async |more: &str| world.holders(both.0, more).await.unwrap();
    let expected = |of_alice: u64, of_bob: u64| -> BTreeMap<String, String> {
        [(alice.to_string(), of_alice.to_string()), (bob.to_string(), of_bob.to_string())].into()
    };
    // each pipeline compacts when it has a quiet moment
    for (more, holders) in [("", expected(3 * UNIT, UNIT)), ("standard=erc721", expected(3, 1))] {
        eventually(seconds(5), async || Ok(who(more).await == holders)).await.unwrap();
    }
    eventually(seconds(5), async || Ok(who("token=2").await == [(bob.to_string(), "1".to_owned())].into()))
        .await
        .unwrap();
    assert!(world.is_complete(both.0).await.unwrap());
    // an ERC-721 and an ERC-1155 at once
    let single = |id: u64, amount: u64| {
        let topics = [word(bob), U256::ZERO, word(alice)];
        log("TransferSingle(address,address,address,uint256,uint256)", &topics, &[U256::from(id), U256::from(amount)])
    };
    world.emits(stranger, &[single(7, 5), token(nobody, alice, 7)]).await;
    world.settled().await.unwrap();
    for (standard, expected) in [("erc721", "1"), ("erc1155", "5")] {
        let more = format!("&token=7&standard={standard}");
        assert_eq!(world.balance(stranger.0, alice, &more).await.unwrap(), expected, "{standard}");
    }
    let path = format!("31337/contracts/{}/balance?holder={alice}&standard=erc1155", both.0);
    assert_eq!(world.get(&path).await.unwrap().1["code"], "malformed", "amounts are of another standard");
}

#[tokio::test]
async fn a_token_has_one_holder_whatever_its_contract_says() {
    let (world, emitters) = world(6, &["erc721"]).await;
    let [pass] = emitters[..] else { panic!("one contract") };
    let [_, alice, bob, carol, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let held = async |holder| world.balance(pass.0, holder, "&token=1").await.unwrap();
    let all = async || (held(alice).await, held(bob).await, held(carol).await);
    let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    world.emits(pass, &[token(Address::ZERO, alice, 1)]).await;
    // minted again, without having been burned
    world.emits(pass, &[token(Address::ZERO, bob, 1)]).await;
    world.settled().await.unwrap();
    assert_eq!(all().await, of("0", "1", "0"));
    // taken from somebody who never had it
    world.emits(pass, &[token(alice, carol, 1)]).await;
    world.settled().await.unwrap();
    assert_eq!(all().await, of("0", "0", "1"));
    // without these blocks it is where it was before
    world.anvil.reorg(2, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(all().await, of("1", "0", "0"));
    world.emits(pass, &[token(Address::ZERO, bob, 1)]).await;
    world.anvil.mine(7).await.unwrap();
    world.settled().await.unwrap();
    let holders = async || Ok(world.holders(pass.0, "token=1").await? == [(bob.to_string(), "1".to_owned())].into());
    eventually(seconds(5), holders).await.unwrap();
    // one compaction has both
    assert_eq!(world.holders(pass.0, "").await.unwrap(), [(bob.to_string(), "1".to_owned())].into());
    assert_eq!(world.holdings(alice).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_transfer_of_another_shape_is_dead_lettered_until_somebody_settles_it() {
    let (world, emitters) = world(6, &["erc20", "erc20", "erc721", "erc20"]).await;
    let [to_only, as_amounts, as_tokens, late] = emitters[..] else { panic!("four contracts") };
    let [_, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let nobody = Address::ZERO;
    // only `to` is indexed: which word is which can't be told
    let odd = |from: Address, to: Address, amount: u64| log(TRANSFER, &[word(to)], &[word(from), U256::from(amount)]);
    world.emits(to_only, &[odd(nobody, alice, 1_000), odd(alice, bob, 300)]).await;
    // an ERC-404, declared as one half of what it is
    for emitter in [as_amounts, as_tokens] {
        world
            .emits(emitter, &[amount(nobody, alice, 2 * UNIT), token(nobody, alice, 1), token(nobody, alice, 2)])
            .await;
    }
    world.settled().await.unwrap();
    let held = async |contract, holder| world.balance(contract, holder, "").await.unwrap();
    assert_eq!((held(to_only.0, alice).await, held(to_only.0, bob).await), ("0".into(), "0".into()));
    assert_eq!(held(as_amounts.0, alice).await, (2 * UNIT).to_string());
    assert_eq!(held(as_tokens.0, alice).await, "2");
    let path = format!("31337/contracts/{}/tokens/{}/owner", as_tokens.0, 2 * UNIT);
    assert_eq!(world.get(&path).await.unwrap().1["code"], "not_found", "no token is invented");
    let complete = async || {
        let mut all = Vec::new();
        for emitter in &emitters {
            all.push(world.is_complete(emitter.0).await.unwrap());
        }
        all
    };
    assert_eq!(complete().await, [false, false, false, true]);
    let wallet = async || world.get(&format!("31337/wallets/{bob}")).await.unwrap().1["is_complete"].clone();
    assert_eq!(wallet().await, false);
    // each ill log is a letter; a shape that does not count is one, with its first log
    let dead_letters = letters(&world).await.unwrap();
    let of = |emitter: LogEmitter| dead_letters.iter().filter(|l| l.reason.contains(&emitter.0.to_string())).count();
    assert_eq!((dead_letters.len(), of(as_amounts)), (4, 1), "{dead_letters:#?}");
    // a given-up block takes its mark with it
    world.emits(late, &[amount(nobody, alice, 5)]).await;
    world.emits(late, &[token(nobody, alice, 1), odd(nobody, alice, 1)]).await;
    world.settled().await.unwrap();
    assert!(!complete().await[3]);
    world.anvil.reorg(1, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!((complete().await[3], held(late.0, alice).await), (true, "5".into()));
    // what is tried again and still can't be read stays a mark
    operator(&world, &["dead-letters", "replay", "--all"]).await;
    eventually(seconds(5), async || Ok(letters(&world).await?.len() == 4)).await.unwrap();
    assert_eq!(complete().await, [false, false, false, true]);
    // what an operator drops does not
    for letter in letters(&world).await.unwrap() {
        operator(&world, &["dead-letters", "drop", &letter.number.to_string()]).await;
    }
    eventually(seconds(5), async || Ok(complete().await == [true; 4])).await.unwrap();
    assert_eq!((wallet().await, held(as_amounts.0, alice).await), (true.into(), (2 * UNIT).to_string()));
}

#[tokio::test]
async fn thousands_of_tokens_in_one_event_are_taken_in_parts_and_none_twice() {
    const TOKENS: u64 = 4_000;
    let (world, emitters) = world(20, &["erc1155", "erc721"]).await;
    let [badges, passes] = emitters[..] else { panic!("two contracts") };
    let [_, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let number = U256::from::<u64>;
    let (ids, values): (Vec<U256>, Vec<U256>) = (1..=TOKENS).map(|id| (number(id), number(2))).unzip();
    let (topics, _) =
        log("TransferBatch(address,address,address,uint256[],uint256[])", &[word(alice), U256::ZERO, word(alice)], &[]);
    let batch = (topics, Bytes::from((ids, values).abi_encode_params()));
    let range = |from: Address, to: Address, first: u64, last: u64| {
        let topics = [number(first), word(from), word(to)];
        log("ConsecutiveTransfer(uint256,uint256,address,address)", &topics, &[number(last)])
    };
    // a process that dies between two parts
    for pipeline in ["erc1155", "erc721"] {
        world.stack.api.crash_at(&format!("{pipeline}:committed"), &Settings::new()).await.unwrap();
        match pipeline {
            "erc1155" => world.emits(badges, std::slice::from_ref(&batch)).await,
            _ => {
                world.emits(passes, &[range(Address::ZERO, alice, 1, TOKENS), token(alice, bob, 9)]).await;
                world.emits(passes, &[range(alice, bob, 2_001, TOKENS)]).await;
            }
        }
        eventually(seconds(20), async || Ok(world.stack.api.ended()?.is_some())).await.unwrap();
        world.free_leases().await.unwrap();
        world.stack.api.restart().await.unwrap();
        let status = world.settled().await.unwrap();
        assert!(status.pipelines.iter().all(|pipeline| pipeline.dead_letters == 0), "{:?}", status.pipelines);
    }
    let held =
        async |contract, holder, token: u64| world.balance(contract, holder, &format!("&token={token}")).await.unwrap();
    for id in [1, 1_000, 1_001, TOKENS] {
        assert_eq!((held(badges.0, alice, id).await, held(badges.0, bob, id).await), ("2".into(), "0".into()), "{id}");
    }
    for (id, of_alice) in [(1, "1"), (9, "0"), (2_000, "1"), (2_001, "0"), (TOKENS, "0")] {
        assert_eq!(held(passes.0, alice, id).await, of_alice, "{id}");
    }
    let count = async |holder| world.balance(passes.0, holder, "").await.unwrap();
    assert_eq!((count(alice).await, count(bob).await), ("1999".into(), "2001".into()));
    assert_eq!(world.holdings(alice).await.unwrap().len() as u64, TOKENS + 1_999 + 1);
    // and all of it is orphaned at once
    world.anvil.reorg(3, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert!(world.holdings(alice).await.unwrap().is_empty());
}
