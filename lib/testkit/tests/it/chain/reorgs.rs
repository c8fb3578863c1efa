//! Blocks that are orphaned, and everything that was known through them.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use anyhow::Result;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Included, WatchedChain, eventually, seconds};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{World, word};

/// What happens on a chain.
#[derive(Debug, Clone)]
enum Op {
    /// From one holder to another: places in the list of accounts, and an amount.
    Transfer(usize, usize, u64),
    /// A new pass for somebody.
    Mint(usize),
    /// The newest pass goes to somebody.
    Pass(usize),
    /// Badges of a kind.
    Badge(usize, u8, u8),
    /// Stake, and take a part out again.
    Stake(usize, u8),
    /// So many empty blocks.
    Mine(u8),
    /// The last blocks are replaced: how many, and which of their transactions stay (a bit each).
    Reorg(u8, u16),
    /// Everybody waits until the server knows all.
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0usize..6, 0usize..6, 0u64..200).prop_map(|(from, to, amount)| Op::Transfer(from, to, amount)),
        2 => (0usize..6).prop_map(Op::Mint),
        2 => (0usize..6).prop_map(Op::Pass),
        2 => (0usize..6, 0u8..3, 1u8..9).prop_map(|(to, kind, amount)| Op::Badge(to, kind, amount)),
        2 => (0usize..6, 1u8..50).prop_map(|(who, amount)| Op::Stake(who, amount)),
        1 => (1u8..4).prop_map(Op::Mine),
        3 => (1u8..20, any::<u16>()).prop_map(|(depth, kept)| Op::Reorg(depth, kept)),
        1 => Just(Op::Settle),
    ]
}

/// Does it. What can't be done on the chain as it is by now is left out, as the chain itself does.
async fn perform(world: &World, first_block: u64, op: &Op) -> Result<()> {
    let Contracts { owner, token, pass, badge, staking, .. } = world.contracts;
    let (anvil, accounts) = (&world.anvil, world.anvil.accounts());
    let at = |place: &usize| accounts[*place];
    match op {
        Op::Transfer(from, to, amount) => drop(anvil.send(&token.transfer(at(from), at(to), (*amount).into())).await),
        Op::Mint(to) => drop(anvil.send(&pass.mint(owner, at(to))).await),
        Op::Pass(to) => {
            for holder in accounts {
                if anvil.send(&pass.transfer_from(*holder, at(to), 1)).await.is_ok() {
                    break;
                }
            }
        }
        Op::Badge(to, kind, amount) => {
            drop(anvil.send(&badge.mint(owner, at(to), (*kind).into(), (*amount).into())).await);
        }
        Op::Stake(who, amount) => {
            drop(anvil.send(&token.approve(at(who), staking.0, 1_000)).await);
            drop(anvil.send(&staking.stake(at(who), (*amount).into())).await);
            drop(anvil.send(&staking.withdraw(at(who), (*amount / 2).into())).await);
        }
        Op::Mine(blocks) => anvil.mine((*blocks).into()).await?,
        Op::Reorg(depth, kept) => {
            let head = anvil.block_number().await?;
            let depth = u64::from(*depth).min(head.saturating_sub(first_block + 1));
            if depth == 0 {
                return Ok(());
            }
            let mut included = Vec::new();
            for place in 0..depth {
                let block = anvil.block(head + 1 - depth + place).await?;
                for hash in block["transactions"].as_array().into_iter().flatten() {
                    if kept & (1 << (place % 16)) != 0 {
                        let hash = hash.as_str().unwrap_or_default().parse()?;
                        included.push((place, Included::Again(anvil.raw_transaction(hash).await?)));
                    }
                }
            }
            // a transaction whose predecessor is gone can't be mined again: the chain is another one all the same
            drop(anvil.reorg(depth, included).await);
            anvil.mine(1).await?;
        }
        Op::Settle => drop(world.settled().await?),
    }
    Ok(())
}

/// What one server knows of all holders.
async fn known(
    world: &World,
    holders: &[Address],
) -> Result<BTreeMap<Address, BTreeMap<(String, String, String), String>>> {
    let mut known = BTreeMap::new();
    for holder in holders {
        known.insert(*holder, world.holdings(*holder).await?);
    }
    Ok(known)
}

/// Performs a script before a server that watches all the time, and compares it with one that comes afterwards and has seen
/// nothing but the chain that remained.
async fn equals_a_fresh_replay(script: &[Op]) -> Result<()> {
    let world = World::new(64).await?;
    let first_block = world.anvil.block_number().await?;
    let holders: Vec<Address> = world.anvil.accounts().iter().copied().chain([world.contracts.staking.0]).collect();
    for holder in &holders[1..6] {
        world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, *holder, 1_000)).await?;
    }
    for op in script {
        perform(&world, first_block, op).await?;
    }
    let status = world.settled().await?;
    world.agrees_about(&holders).await?;
    let lived = known(&world, &holders).await?;
    let World { anvil, contracts, stack, .. } = world;
    drop(stack);
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts);
    let fresh = World::watching(anvil, contracts, &chain).await?;
    let fresh_status = fresh.settled().await?;
    assert_eq!((status.hash, status.height), (fresh_status.hash, fresh_status.height));
    assert_eq!(lived, known(&fresh, &holders).await?);
    Ok(())
}

#[test]
fn after_any_forks_everything_is_as_if_only_the_remaining_chain_had_been() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: 6, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let scripts = prop::collection::vec(op(), 10..40);
    TestRunner::new(config)
        .run(&scripts, |script| {
            let done = runtime.block_on(equals_a_fresh_replay(&script));
            done.map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })
        .unwrap();
}

#[tokio::test]
async fn a_chain_that_changes_below_a_final_block_is_not_followed() {
    let world = World::new(3).await.unwrap();
    let Contracts { owner, token, .. } = world.contracts;
    let alice = world.anvil.accounts()[1];
    world.anvil.send(&token.transfer(owner, alice, 500)).await.unwrap();
    world.anvil.mine(10).await.unwrap();
    let before = world.settled().await.unwrap();
    world.anvil.reorg(11, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    eventually(seconds(10), async || Ok(world.status().await?.last_error.is_some())).await.unwrap();
    let after = world.status().await.unwrap();
    assert!(after.last_error.unwrap().contains("was final"), "it says why");
    assert_eq!((after.hash, after.step), (before.hash, before.step), "and changes nothing");
    assert_eq!(world.balance(token.0, alice, "").await.unwrap(), "500");
    // until an operator says that the new one counts: what was of the old one goes
    world.anvil.send(&token.transfer(owner, alice, 20)).await.unwrap();
    world.stack.api.term().await.unwrap();
    let said = world.stack.run(&["forget-chain", "31337"]).await.unwrap();
    assert!(said.contains("reads it from the beginning"), "{said}");
    world.stack.api.restart().await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(world.balance(token.0, alice, "").await.unwrap(), "20");
    world.agrees_about(&[owner, alice]).await.unwrap();
}

#[tokio::test]
async fn a_lower_head_alone_gives_nothing_up() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let (owner, alice) = (world.contracts.owner, world.anvil.accounts()[1]);
    let snapshot = world.anvil.snapshot().await.unwrap();
    world.anvil.send(&world.contracts.token.transfer(owner, alice, 500)).await.unwrap();
    world.settled().await.unwrap();
    world.anvil.revert(snapshot).await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "500");
    assert_eq!(world.status().await.unwrap().reverts, 0);
    // but another block at a height that is known does
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "0");
    assert_eq!(
        world.on_chain(world.contracts.token.0, "balanceOf(address)", &[word(alice)], "latest").await.unwrap().unwrap(),
        alloy_primitives::U256::ZERO
    );
}
