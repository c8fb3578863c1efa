//! Contracts that are watched later than they began, and older blocks that are read because an operator asks for it.

use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Role, Settings, Stack, WatchedChain, eventually, seconds};
use serde_json::Value;

use super::world::World;

/// Transfers of 1, 2, 3 and so on to alice, each in its block.
async fn transfers(anvil: &Anvil, contracts: &Contracts, amounts: std::ops::RangeInclusive<u128>) {
    let alice = anvil.accounts()[1];
    for amount in amounts {
        anvil.send(&contracts.token.transfer(contracts.owner, alice, amount)).await.unwrap();
    }
}

impl World {
    /// The changes of alice's tokens, from the newest, in pages of two.
    async fn changes(&self) -> Vec<String> {
        let (mut changes, mut below) = (Vec::new(), String::new());
        loop {
            let path = format!("31337/wallets/{}/history?limit=2{below}", self.anvil.accounts()[1]);
            let page = self.get(&path).await.unwrap().1;
            let page = page["changes"].as_array().unwrap();
            let Some(last) = page.last() else { return changes };
            below = format!("&below={}", last["block"]);
            changes.extend(page.iter().map(|change| change["change"].as_str().unwrap().to_owned()));
        }
    }
}

fn newest_first(amounts: std::ops::RangeInclusive<u128>) -> Vec<String> {
    amounts.rev().map(|amount| amount.to_string()).collect()
}

#[tokio::test]
async fn a_contract_that_is_watched_later_is_told_from_its_beginning() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let before = WatchedChain::of(&anvil, 5).contract("erc721", contracts.pass.0, contracts.start_block);
    let world = World::watching(anvil, contracts, &before).await.unwrap();
    let [owner, alice, ..] = *world.anvil.accounts() else { panic!("ten accounts") };
    transfers(&world.anvil, &contracts, 1..=12).await;
    world.anvil.send(&contracts.pass.mint(owner, alice)).await.unwrap();
    world.settled().await.unwrap();
    let path = format!("31337/contracts/{}/balance?holder={alice}", contracts.token.0);
    assert_eq!(world.get(&path).await.unwrap().1["code"], "contract_unknown");

    let after = WatchedChain::of(&world.anvil, 5).contracts(&contracts);
    world.stack.api.reconfigure(&Settings::new().chain(&after)).await.unwrap();
    transfers(&world.anvil, &contracts, 13..=15).await;
    let status = world.settled().await.unwrap();
    assert_eq!(status.compared_blocks, 0);
    world.agrees_about(&[owner, alice]).await.unwrap();
    // every transfer in the order of the blocks, and between them one pass: as one more, and by its number
    let changes = world.changes().await;
    let (new, rest) = changes.split_at(3);
    let (pass, old) = rest.split_at(2);
    assert_eq!((new, pass), (&newest_first(13..=15)[..], &["1".to_owned(), "1".to_owned()][..]));
    assert_eq!(old, newest_first(1..=12));
    // it is told once, also after another start, and what was known is known still
    world.stack.api.restart().await.unwrap();
    world.settled().await.unwrap();
    world.agrees_about(&[owner, alice]).await.unwrap();
    // and a contract that is watched no longer is told no longer
    let without = WatchedChain::of(&world.anvil, 5).contract("erc721", contracts.pass.0, contracts.start_block);
    world.stack.api.reconfigure(&Settings::new().chain(&without)).await.unwrap();
    assert_eq!(world.get(&path).await.unwrap().1["code"], "contract_unknown");
    // one that is suddenly something else stops its chain, until it is what it was
    let other = WatchedChain::of(&world.anvil, 5).contract("erc20", contracts.pass.0, contracts.start_block);
    world.stack.api.reconfigure(&Settings::new().chain(&other)).await.unwrap();
    let said = async || Ok(world.status().await?.last_error.is_some_and(|why| why.contains("declare it as `erc721`")));
    eventually(seconds(10), said).await.unwrap();
    world.anvil.send(&contracts.pass.mint(owner, alice)).await.unwrap();
    world.stack.api.reconfigure(&Settings::new().chain(&after)).await.unwrap();
    world.settled().await.unwrap();
    world.agrees_about(&[owner, alice]).await.unwrap();
}

#[tokio::test]
async fn an_operator_reads_older_blocks_beside_a_running_watcher() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    transfers(&anvil, &contracts, 1..=20).await;
    let start = anvil.block_number().await.unwrap() + 1;
    let chain = WatchedChain::of(&anvil, 5).contract("erc20", contracts.token.0, start);
    let stack = Stack::builder().unlimited().chain(&chain).split(1).await.unwrap();
    let watcher = stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    let world = World::with(anvil, contracts, stack).await.unwrap();
    let alice = world.anvil.accounts()[1];
    transfers(&world.anvil, &contracts, 21..=25).await;
    world.settled().await.unwrap();
    assert_eq!(world.balance(contracts.token.0, alice, "").await.unwrap(), "115", "what was before is not known");

    let said = world.stack.run(&["watcher", "--backfill", &format!("{}..{}", start - 10, start + 2)]).await.unwrap();
    assert!(said.contains("Read 10 blocks with 10 events"), "{said}");
    transfers(&world.anvil, &contracts, 26..=27).await;
    world.settled().await.unwrap();
    assert_eq!(world.changes().await, newest_first(11..=27));
    let said = world.stack.run(&["watcher", "--backfill", "1.."]).await.unwrap();
    assert!(
        said.contains(&format!("Read {} blocks with 11 events", start - 11)),
        "10 transfers, and the first supply: {said}"
    );
    world.settled().await.unwrap();
    assert_eq!(world.balance(contracts.token.0, alice, "").await.unwrap(), "378");
    assert_eq!(world.changes().await, newest_first(1..=27));
    // nothing is final of a contract as long as its older blocks are not read
    let more = chain.contract("erc721", contracts.pass.0, 1);
    world.anvil.send(&contracts.pass.mint(contracts.owner, alice)).await.unwrap();
    let minted = world.anvil.block_number().await.unwrap();
    world.anvil.mine(5).await.unwrap();
    world.settled().await.unwrap();
    world.stack.api.reconfigure(&Settings::new().chain(&more)).await.unwrap();
    let says = async || {
        let (_, all) = world.get("contracts").await.unwrap();
        let complete = |contract: &Value| contract["is_complete"].as_bool().unwrap();
        let complete: Vec<bool> = all["contracts"].as_array().unwrap().iter().map(complete).collect();
        let path = format!("31337/contracts/{}/balance?holder={alice}&at={minted}", contracts.pass.0);
        (complete, world.get(&path).await.unwrap().1["is_final"].as_bool().unwrap())
    };
    assert_eq!(says().await, (vec![true, false], false));
    watcher.reconfigure(&Settings::new().chain(&more)).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(says().await, (vec![true, true], true));
    // nothing is forgotten while somebody follows the chain
    let refused = world.stack.run(&["forget-chain", "31337"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("a watcher follows chain 31337"), "{refused:#}");
    assert_eq!(world.balance(contracts.token.0, alice, "").await.unwrap(), "378");
    watcher.term().await.unwrap();
    let refused = world.stack.run(&["forget-chain", "31337"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("a worker follows chain 31337"), "{refused:#}");
    // nothing is left to read, now and after another start
    watcher.restart().await.unwrap();
    world.settled().await.unwrap();
    let said = world.stack.run(&["watcher", "--backfill", "1.."]).await.unwrap();
    assert!(said.contains("has seen these blocks already"), "{said}");
    assert_eq!(world.balance(contracts.token.0, alice, "").await.unwrap(), "378");
}
