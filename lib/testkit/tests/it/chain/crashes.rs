//! Processes that die at each step of what they do. Whatever they had just done: nothing is lost, and nothing counts twice.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use anyhow::{Context, Result};
use nepto_proto::api::operator::DeadLetters;
use nepto_testkit::contracts::{Contracts, LogEmitter};
use nepto_testkit::{Anvil, Lie, LyingRpc, Role, Server, Settings, Stack, WatchedChain, eventually, seconds};
use tokio::time::sleep;

use super::world::{World, word};

const FINALITY: u64 = 6;
/// How long new blocks take to be looked at.
const SEEN_AFTER: Duration = Duration::from_millis(250);

/// An event for each pipeline.
async fn events(anvil: &Anvil, contracts: &Contracts, to: Address) -> Result<()> {
    let Contracts { owner, token, pass, badge, staking, multisender, .. } = *contracts;
    anvil.send(&token.transfer(owner, to, 20)).await?;
    anvil.send(&pass.mint(owner, to)).await?;
    anvil.send(&badge.mint(owner, to, 1, 2)).await?;
    anvil.send(&token.approve(to, staking.0, 10)).await?;
    anvil.send(&staking.stake(to, 1)).await?;
    anvil.send(&token.approve(owner, multisender.0, 5)).await?;
    anvil.send(&multisender.send_token(owner, token, &[(to, 5)], "gm")).await?;
    Ok(())
}

/// All that a chain does: events that stay, events that are orphaned, and time until what is left is final.
async fn traffic(anvil: &Anvil, contracts: &Contracts) -> Result<()> {
    let [_, alice, bob, ..] = *anvil.accounts() else { anyhow::bail!("ten accounts") };
    events(anvil, contracts, alice).await?;
    sleep(SEEN_AFTER).await;
    events(anvil, contracts, bob).await?;
    sleep(SEEN_AFTER).await;
    anvil.reorg(4, []).await?;
    anvil.mine(1).await?;
    sleep(SEEN_AFTER).await;
    anvil.mine(FINALITY + 1).await
}

/// Lets a process die there. The next one does not wait until its leases have run out.
async fn dies(world: &World, server: &Server, place: &str, settings: &Settings) -> Result<()> {
    server.crash_at(place, settings).await?;
    world.free_leases().await?;
    let is_dead = async || Ok(server.ended()?.is_some());
    for _ in 0..4 {
        traffic(&world.anvil, &world.contracts).await?;
        if eventually(seconds(2), is_dead).await.is_ok() {
            break;
        }
    }
    let status = server.ended()?.with_context(|| format!("nobody came to {place}"))?;
    anyhow::ensure!(!status.success(), "{place}: it ended by itself: {status}");
    Ok(())
}

/// Starts it again, and compares what is known with the chain.
async fn recovers(world: &World, server: &Server) -> Result<()> {
    server.restart().await?;
    world.free_leases().await?;
    world.settled().await?;
    world.agrees_about(&world.anvil.accounts()[..3]).await
}

/// A transfer out of nothing, as any contract may say it.
fn transfer(to: Address, amount: u64) -> (Vec<B256>, Bytes) {
    let topics = vec![keccak256("Transfer(address,address,uint256)"), B256::ZERO, word(to).into()];
    (topics, U256::from(amount).to_be_bytes_vec().into())
}

async fn split(contracts: &Contracts, anvil: Anvil, more: WatchedChain) -> (World, Server) {
    let stack = Stack::builder().unlimited().chain(&more.contracts(contracts)).split(1).await.unwrap();
    let watcher = stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    (World::with(anvil, *contracts, stack).await.unwrap(), watcher)
}

#[tokio::test]
async fn the_watcher_dies_at_each_of_its_steps() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, FINALITY);
    let (world, watcher) = split(&contracts, anvil, chain).await;
    for done in ["advance read", "fork found", "committed", "published one", "published"] {
        dies(&world, &watcher, &format!("watcher:{done}"), &Settings::new()).await.unwrap();
        recovers(&world, &watcher).await.context(done).unwrap();
    }
}

#[tokio::test]
async fn the_watcher_dies_where_it_looks_back() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, FINALITY);
    let (world, watcher) = split(&contracts, anvil, chain).await;
    traffic(&world.anvil, &contracts).await.unwrap();
    world.settled().await.unwrap();
    // when blocks become final that it has taken long ago
    let rpc = LyingRpc::start(&world.anvil).await.unwrap();
    rpc.tell(Lie::NotFinal { at: world.status().await.unwrap().final_height });
    let chain = WatchedChain::of(&world.anvil, 0).contracts(&contracts).set("finality", "finalized");
    let settings = Settings::new().chain(&chain.through(&[rpc.url()]));
    watcher.crash_at("watcher:finality found", &settings).await.unwrap();
    traffic(&world.anvil, &contracts).await.unwrap();
    world.settled().await.unwrap();
    rpc.truth();
    eventually(seconds(5), async || Ok(watcher.ended()?.is_some())).await.unwrap();
    recovers(&world, &watcher).await.unwrap();
    let is_final = async || world.status().await.map(|status| status.final_height == status.height - 2);
    eventually(seconds(10), is_final).await.expect("final is what the nodes say");
    // and while it reads older blocks, for a contract that comes later
    let alice = world.anvil.accounts()[1];
    for done in ["gap read", "gap filled"] {
        let late = LogEmitter::deploy(&world.anvil).await.unwrap();
        world.anvil.send(&late.emit(contracts.owner, &[transfer(alice, 7), transfer(alice, 8)])).await.unwrap();
        world.anvil.mine(FINALITY).await.unwrap();
        world.settled().await.unwrap();
        let chain = WatchedChain::of(&world.anvil, FINALITY).contracts(&contracts).contract("erc20", late.0, 1);
        let settings = Settings::new().chain(&chain);
        world.stack.api.reconfigure(&settings).await.unwrap();
        dies(&world, &watcher, &format!("watcher:{done}"), &settings).await.unwrap();
        recovers(&world, &watcher).await.context(done).unwrap();
        assert_eq!(world.balance(late.0, alice, "").await.unwrap(), "15", "{done}");
    }
}

/// One pipeline after the other, each while the last is made good.
async fn each_pipeline_dies_at(steps: &[&str]) {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, FINALITY);
    let (world, _watcher) = split(&contracts, anvil, chain).await;
    let worker: Arc<Server> = world.stack.worker.clone();
    for done in steps {
        for pipeline in ["erc20", "erc721", "erc1155", "staking", "multisend"] {
            dies(&world, &worker, &format!("{pipeline}:{done}"), &Settings::new()).await.unwrap();
        }
        recovers(&world, &worker).await.context((*done).to_owned()).unwrap();
    }
}

#[tokio::test]
async fn each_pipeline_dies_at_each_step_of_what_it_takes() {
    each_pipeline_dies_at(&["fetched", "decoded", "committed", "acknowledged"]).await;
}

#[tokio::test]
async fn each_pipeline_dies_where_it_reverts_and_where_it_compacts() {
    each_pipeline_dies_at(&["reverted", "half compacted", "compacted"]).await;
}

#[tokio::test]
async fn what_is_not_decoded_is_dead_lettered_once_though_its_update_is_taken_twice() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let odd = LogEmitter::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, FINALITY).contract("erc20", odd.0, 1);
    let (world, _watcher) = split(&contracts, anvil, chain).await;
    let worker: Arc<Server> = world.stack.worker.clone();
    traffic(&world.anvil, &contracts).await.unwrap();
    worker.crash_at("erc20:dead-lettered", &Settings::new()).await.unwrap();
    let (topics, _) = transfer(contracts.owner, 1);
    world.anvil.send(&odd.emit(contracts.owner, &[(topics, vec![1].into())])).await.unwrap();
    eventually(seconds(10), async || Ok(worker.ended()?.is_some())).await.unwrap();
    recovers(&world, &worker).await.unwrap();
    let letters = crate::http::get(format!("{}/dead-letters", world.stack.api.admin_url())).await.unwrap();
    let letters: DeadLetters = letters.json().await.unwrap();
    assert_eq!(letters.letters.len(), 1, "{letters:?}");
}
