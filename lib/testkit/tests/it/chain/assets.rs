//! What the pipelines make of events.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use nepto_testkit::contracts::{Contracts, LogEmitter};
use nepto_testkit::{Anvil, WatchedChain, eventually, seconds};
use serde_json::{Value, json};

use super::world::{World, word};

#[tokio::test]
async fn who_holds_what_is_known_now_and_at_every_block() {
    let world = World::new(2).await.unwrap();
    let Contracts { owner, token, pass, badge, staking, .. } = world.contracts;
    let [_, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    world.anvil.send(&token.transfer(owner, alice, 500)).await.unwrap();
    let first = world.anvil.block_number().await.unwrap();
    world.anvil.send(&token.transfer(alice, bob, 120)).await.unwrap();
    world.anvil.send(&token.approve(alice, staking.0, 100)).await.unwrap();
    world.anvil.send(&staking.stake(alice, 100)).await.unwrap();
    world.anvil.send(&staking.withdraw(alice, 30)).await.unwrap();
    world.anvil.send(&pass.mint(owner, alice)).await.unwrap();
    let minted = world.anvil.block_number().await.unwrap();
    world.anvil.send(&pass.transfer_from(alice, bob, 1)).await.unwrap();
    world.anvil.send(&badge.mint_batch(owner, bob, &[(7, 3), (8, 5)])).await.unwrap();
    world.anvil.send(&badge.safe_transfer_from(bob, alice, 7, 2)).await.unwrap();
    let status = world.settled().await.unwrap();
    assert_eq!((status.compared_blocks, status.proven_blocks), (0, status.height - status.first_block + 1));
    world.agrees_about(&[owner, alice, bob, staking.0]).await.unwrap();
    // at blocks of the past
    let at = async |holder, block| world.balance(token.0, holder, &format!("&at={block}")).await.unwrap();
    assert_eq!((at(alice, first).await, at(bob, first).await), ("500".into(), "0".into()));
    assert_eq!((at(alice, first + 1).await, at(bob, first + 1).await), ("380".into(), "120".into()));
    assert_eq!(world.owner(1, &format!("?at={minted}")).await.unwrap(), Some(alice.to_string()));
    assert_eq!(world.owner(1, "").await.unwrap(), Some(bob.to_string()));
    assert_eq!(world.owner(2, "").await.unwrap(), None);
    // everything at once
    let held = world.holdings(alice).await.unwrap();
    let of = |contract: Address, token: &str, what: &str| {
        held.get(&(contract.to_string(), token.to_owned(), what.to_owned())).map(String::as_str)
    };
    assert_eq!(of(token.0, "", "held"), Some("310"));
    assert_eq!(of(staking.0, "", "staked"), Some("70"));
    assert_eq!((of(badge.0, "7", "held"), of(badge.0, "8", "held"), of(pass.0, "", "held")), (Some("2"), None, None));
    assert_eq!(held.len(), 3, "{held:?}");
    // who owns a token now may own it no longer at the same height of another branch
    let path = format!("31337/contracts/{}/tokens/1/owner", pass.0);
    let is_final = async |at: u64| world.get(&format!("{path}?at={at}")).await.unwrap().1["is_final"].clone();
    assert_eq!((is_final(status.height).await, is_final(minted).await), (false.into(), true.into()));
    // what is not there is said so
    for at in [status.height + 1, u64::MAX, world.contracts.start_block - 1] {
        assert_eq!(world.get(&format!("{path}?at={at}")).await.unwrap().1["code"], "block_unknown", "{at}");
    }
    let later = format!("31337/contracts/{}/balance?holder={alice}&at=100000", token.0);
    assert_eq!(world.get(&later).await.unwrap().1["code"], "block_unknown");
    let stranger = format!("31337/contracts/{alice}/balance?holder={alice}");
    assert_eq!(world.get(&stranger).await.unwrap().1["code"], "contract_unknown");
    assert_eq!(world.get(&format!("5/wallets/{alice}")).await.unwrap().1["code"], "chain_unknown");
}

#[tokio::test]
async fn what_is_final_is_told_from_what_may_change() {
    let world = World::new(5).await.unwrap();
    let Contracts { owner, token, .. } = world.contracts;
    let alice = world.anvil.accounts()[1];
    world.anvil.send(&token.transfer(owner, alice, 500)).await.unwrap();
    world.settled().await.unwrap();
    let now = async |more| world.balance(token.0, alice, more).await.unwrap();
    assert_eq!((now("").await, now("&only_final=true").await), ("500".into(), "0".into()));
    world.anvil.mine(5).await.unwrap();
    world.settled().await.unwrap();
    eventually(seconds(5), async || Ok(now("&only_final=true").await == "500")).await.unwrap();
}

#[tokio::test]
async fn what_is_final_stays_whatever_a_contract_says_again() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let liar = LogEmitter::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 2).contract("erc721", liar.0, 1);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let [owner, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let minted = |to: Address, last: u64| {
        let topics = [U256::from(1), U256::ZERO, word(to)];
        liar.emit(owner, &[log("ConsecutiveTransfer(uint256,uint256,address,address)", &topics, &[U256::from(last)])])
    };
    world.anvil.send(&minted(alice, 10)).await.unwrap();
    world.anvil.mine(2).await.unwrap();
    world.settled().await.unwrap();
    world.anvil.send(&minted(bob, 5)).await.unwrap();
    world.settled().await.unwrap();
    world.anvil.reorg(1, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    let (_, answer) = world.get(&format!("31337/contracts/{}/tokens/3/owner", liar.0)).await.unwrap();
    assert_eq!(answer["owner"].as_str(), Some(&*alice.to_string()), "{answer}");
    assert_eq!(world.holdings(alice).await.unwrap().len(), 11, "ten tokens, and how many these are");
    assert!(world.holdings(bob).await.unwrap().is_empty());
}

/// A log of a token that follows no standard, or another one than most.
pub fn log(signature: &str, topics: &[U256], data: &[U256]) -> (Vec<B256>, Bytes) {
    let topics = [keccak256(signature)].into_iter().chain(topics.iter().map(|topic| B256::from(*topic))).collect();
    (topics, data.iter().flat_map(|word| word.to_be_bytes::<32>()).collect::<Vec<u8>>().into())
}

pub const TRANSFER: &str = "Transfer(address,address,uint256)";

#[tokio::test]
async fn unusual_tokens_are_decoded_and_nonsense_is_dead_lettered() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let emitter = async || LogEmitter::deploy(&anvil).await.unwrap();
    let (all, none, range) = (emitter().await, emitter().await, emitter().await);
    let chain = WatchedChain::of(&anvil, 2)
        .contracts(&contracts)
        .contract("erc20", all.0, 1)
        .contract("erc20", none.0, 1)
        .contract("erc721", range.0, 1);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let [owner, alice, bob, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    let (nobody, number) = (U256::ZERO, |n: u64| U256::from(n));
    let (a, b) = (word(alice), word(bob));
    // everything indexed, nothing indexed
    let everything = [log(TRANSFER, &[nobody, a, number(40)], &[]), log(TRANSFER, &[a, b, number(15)], &[])];
    world.anvil.send(&all.emit(owner, &everything)).await.unwrap();
    let nothing = [log(TRANSFER, &[], &[nobody, a, number(40)]), log(TRANSFER, &[], &[a, b, number(15)])];
    world.anvil.send(&none.emit(owner, &nothing)).await.unwrap();
    // ERC-2309: 1,000 tokens in one event, and one of them moves on
    let minted = log("ConsecutiveTransfer(uint256,uint256,address,address)", &[number(1), nobody, a], &[number(1_000)]);
    world.anvil.send(&range.emit(owner, &[minted, log(TRANSFER, &[a, b, number(500)], &[])])).await.unwrap();
    // no address, too few words
    let nonsense = [log(TRANSFER, &[U256::MAX, a, number(1)], &[]), log(TRANSFER, &[nobody, a], &[])];
    world.anvil.send(&all.emit(owner, &nonsense)).await.unwrap();
    let status = world.settled().await.unwrap();
    let dead_letters: Vec<_> = status.pipelines.iter().map(|p| (p.name.as_str(), p.events, p.dead_letters)).collect();
    assert_eq!(dead_letters[..2], [("erc20", 5, 2), ("erc721", 2, 0)], "{dead_letters:?}");
    let amount = async |contract, holder, more| world.balance(contract, holder, more).await.unwrap();
    for contract in [all.0, none.0] {
        assert_eq!((amount(contract, alice, "").await, amount(contract, bob, "").await), ("25".into(), "15".into()));
    }
    assert_eq!((world.is_complete(all.0).await.unwrap(), world.is_complete(none.0).await.unwrap()), (false, true));
    assert_eq!((amount(range.0, alice, "").await, amount(range.0, bob, "").await), ("999".into(), "1".into()));
    for (token, owner) in [(1, Some(alice)), (500, Some(bob)), (1_000, Some(alice)), (1_001, None)] {
        let (status, answer) = world.get(&format!("31337/contracts/{}/tokens/{token}/owner", range.0)).await.unwrap();
        assert_eq!((status == 200).then(|| answer["owner"].as_str().unwrap().to_owned()), owner.map(|o| o.to_string()));
    }
    // tokens of the range are held one by one, though no event named them
    for (token, of_alice, of_bob) in [(1, "1", "0"), (500, "0", "1"), (1_000, "1", "0"), (1_001, "0", "0")] {
        let of = async |holder| world.balance(range.0, holder, &format!("&token={token}")).await.unwrap();
        assert_eq!((of(alice).await, of(bob).await), (of_alice.into(), of_bob.into()), "{token}");
    }
    let held = async |holder| {
        let held = world.holdings(holder).await.unwrap();
        let is_token = |key: &&(String, String, String)| key.0 == range.0.to_string() && !key.1.is_empty();
        held.keys().filter(is_token).map(|key| key.1.clone()).collect::<Vec<_>>()
    };
    assert_eq!((held(alice).await.len(), held(bob).await), (999, vec!["500".to_owned()]));
    assert!(!held(alice).await.contains(&"500".to_owned()));
    world.anvil.mine(3).await.unwrap();
    world.settled().await.unwrap();
    for (token, holder) in [(7, alice), (500, bob)] {
        let path = format!("31337/contracts/{}/holders?token={token}", range.0);
        let said = async || -> anyhow::Result<Value> { Ok(world.get(&path).await?.1["holders"].clone()) };
        let expected = json!([{ "wallet": holder.to_string(), "amount": "1" }]);
        eventually(seconds(5), async || Ok(said().await? == expected)).await.unwrap();
    }
}
