//! Nodes that lie to a whole server, and processes that die at any moment. Nothing is lost, and nothing is there twice.

use std::time::Duration;

use alloy_primitives::Address;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{
    Anvil, HeaderField, Lie, LyingRpc, Refusal, Role, Settings, Stack, WatchedChain, eventually, seconds,
};
use tokio::time::{Instant, sleep};

use super::world::World;

/// Events for as long as `meanwhile` takes: transfers, passes, badges, stakes.
async fn traffic(anvil: &Anvil, contracts: &Contracts, meanwhile: impl Future<Output = ()>) -> Vec<Address> {
    let Contracts { owner, token, pass, badge, staking, .. } = *contracts;
    let people: Vec<Address> = anvil.accounts()[..6].to_vec();
    let mut meanwhile = std::pin::pin!(meanwhile);
    let mut number = 0;
    loop {
        tokio::select! {
            () = &mut meanwhile => break,
            () = sleep(Duration::from_millis(40)) => {}
        }
        let person = people[number % people.len()];
        anvil.send(&token.transfer(owner, person, 10 + number as u128)).await.unwrap();
        match number % 4 {
            0 => drop(anvil.send(&pass.mint(owner, person)).await.unwrap()),
            1 => drop(anvil.send(&badge.mint(owner, person, 1, 2)).await.unwrap()),
            2 => {
                anvil.send(&token.approve(person, staking.0, 1_000)).await.unwrap();
                anvil.send(&staking.stake(person, 1)).await.unwrap();
            }
            _ => anvil.mine(1).await.unwrap(),
        }
        if number % 7 == 6 {
            anvil.reorg(3, []).await.unwrap();
            anvil.mine(1).await.unwrap();
        }
        number += 1;
    }
    people
}

#[tokio::test]
async fn a_server_between_a_liar_and_an_honest_node_knows_the_truth() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 64)
        .contracts(&contracts)
        .through(&[liar.url(), anvil.url()])
        .set("ws", vec![liar.ws_url()])
        .set("timeout_ms", 500);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let lies = async {
        let first = world.anvil.block_number().await.unwrap();
        for lie in [
            Lie::DropLogs { every: 2 },
            Lie::DropReceipts { last: 1 },
            Lie::Empty,
            Lie::NoReceipts,
            Lie::SwapReceipts,
            Lie::ForgeHeader { field: HeaderField::LogsBloom },
            Lie::Lag { blocks: 5 },
            Lie::Stuck { at: first },
            Lie::StaleHead { at: first },
            Lie::RateLimit { every: 2, retry_after_s: 1, form: Refusal::Status429 },
            Lie::Hang,
            Lie::CloseHalfway,
            Lie::Garbage,
            Lie::SilentHeads,
        ] {
            liar.tell(lie);
            sleep(Duration::from_millis(700)).await;
            liar.truth();
            liar.drop_connections();
            sleep(Duration::from_millis(100)).await;
        }
    };
    let people = traffic(&world.anvil, &world.contracts, lies).await;
    let status = world.settled().await.unwrap();
    world.agrees_about(&people).await.unwrap();
    assert_eq!(status.compared_blocks, 0, "every block is proven");
    let found: u64 = status.endpoints.iter().map(|endpoint| endpoint.lied).sum();
    assert!(found > 0, "and lies were found: {:?}", status.endpoints);
}

#[tokio::test]
async fn a_server_with_a_liar_alone_waits_for_the_truth() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let liar = LyingRpc::start(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts).through(&[liar.url()]).set("timeout_ms", 500);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let alice = world.anvil.accounts()[1];
    let before = world.settled().await.unwrap();
    liar.tell(Lie::DropLogs { every: 1 });
    world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, alice, 500)).await.unwrap();
    eventually(seconds(10), async || Ok(world.status().await?.last_error.is_some_and(|why| why.contains("root"))))
        .await
        .unwrap();
    assert_eq!(world.status().await.unwrap().height, before.height, "a block that lacks logs is not taken");
    liar.truth();
    world.settled().await.unwrap();
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "500");
}

#[tokio::test]
async fn a_node_of_another_chain_is_not_believed() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let node = LyingRpc::start(&anvil).await.unwrap();
    node.tell(Lie::OtherChain { id: 5 });
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts).through(&[node.url()]);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let said =
        async || Ok(world.status().await?.last_error.is_some_and(|why| why.contains("serves chain 5, not 31337")));
    eventually(seconds(10), said).await.unwrap();
    let status = world.status().await.unwrap();
    assert_eq!((status.height, status.proven_blocks), (0, 0));
    assert_eq!(node.requests("eth_getBlockByNumber") + node.requests("eth_getBlockReceipts"), 0);
    node.truth();
    let alice = world.anvil.accounts()[1];
    world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, alice, 500)).await.unwrap();
    assert!(world.settled().await.unwrap().proven_blocks > 0);
    // what the watcher alone knows is told every few seconds
    eventually(seconds(10), async || Ok(world.status().await?.last_error.is_none())).await.unwrap();
}

#[tokio::test]
async fn a_block_that_no_node_has_is_named_where_one_looks() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let node = LyingRpc::start(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts).through(&[node.url()]);
    let world = World::watching(anvil, contracts, &chain).await.unwrap();
    let before = world.settled().await.unwrap();
    let lost = before.height + 3;
    node.tell(Lie::NoBlock { at: lost });
    world.anvil.mine(6).await.unwrap();
    let name = format!("no node gives block {lost}");
    let said = async || Ok(world.status().await?.last_error.is_some_and(|why| why.contains(&name)));
    eventually(seconds(10), said).await.unwrap();
    let status = world.status().await.unwrap();
    assert_eq!((status.height, status.lag_blocks), (lost - 1, 4), "up to it all are there");
    let asked = node.requests("eth_getBlockByNumber");
    sleep(seconds(1)).await;
    let asked = node.requests("eth_getBlockByNumber") - asked;
    assert!(asked < 200, "{asked} requests of a chain that stands still");
    node.truth();
    world.settled().await.unwrap();
    let told = async || Ok(world.status().await?.last_error.is_none());
    eventually(seconds(5), told).await.unwrap();
}

#[tokio::test]
async fn blocks_of_a_gap_that_no_node_has_are_named() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let node = LyingRpc::start(&anvil).await.unwrap();
    let of = || WatchedChain::of(&anvil, 64).through(&[node.url()]);
    let before = of().contract("erc721", contracts.pass.0, contracts.start_block);
    let after = of().contracts(&contracts);
    let world = World::watching(anvil, contracts, &before).await.unwrap();
    world.anvil.mine(8).await.unwrap();
    let status = world.settled().await.unwrap();
    node.tell(Lie::NoBlock { at: status.height - 4 });
    world.stack.api.reconfigure(&Settings::new().chain(&after)).await.unwrap();
    let said =
        async || Ok(world.status().await?.last_error.is_some_and(|why| why.contains("no node gives all of blocks")));
    eventually(seconds(10), said).await.unwrap();
    node.truth();
    world.settled().await.unwrap();
}

#[tokio::test]
async fn watcher_and_pipelines_are_killed_again_and_again() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts);
    let stack = Stack::builder().unlimited().chain(&chain).split(1).await.unwrap();
    let watcher = stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    let world = World::with(anvil, contracts, stack).await.unwrap();
    let kills = async {
        let until = Instant::now() + seconds(12);
        let mut pause = 30;
        while Instant::now() < until {
            // at ever other moments of what they do
            sleep(Duration::from_millis(pause)).await;
            pause = (pause * 7 + 13) % 400;
            watcher.kill9().unwrap();
            watcher.restart().await.unwrap();
            sleep(Duration::from_millis(pause)).await;
            world.stack.worker.kill9().unwrap();
            world.stack.worker.restart().await.unwrap();
        }
    };
    let people = traffic(&world.anvil, &world.contracts, kills).await;
    let status = world.settled().await.unwrap();
    world.agrees_about(&people).await.unwrap();
    assert_eq!(status.compared_blocks, 0);
    // a second watcher beside the first changes nothing twice
    let second = world.stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    let people = traffic(&world.anvil, &world.contracts, sleep(seconds(2))).await;
    world.settled().await.unwrap();
    world.agrees_about(&people).await.unwrap();
    drop(second);
}

#[tokio::test]
async fn what_the_stream_loses_comes_again() {
    let world = World::new(64).await.unwrap();
    let people = world.anvil.accounts()[..3].to_vec();
    let send = async |amount| {
        world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, people[1], amount)).await.unwrap();
    };
    send(1).await;
    world.settled().await.unwrap();
    // everything that waits is gone, while the pipelines stand still
    world.stack.nats.pause().unwrap();
    for amount in 2..20 {
        send(amount).await;
    }
    sleep(seconds(1)).await;
    world.stack.nats.resume().unwrap();
    let js = async_nats::jetstream::new(async_nats::connect(world.stack.nats.url()).await.unwrap());
    js.get_stream("CHAIN").await.unwrap().purge().await.unwrap();
    world.settled().await.unwrap();
    world.agrees_about(&people).await.unwrap();
    // even the stream itself
    js.delete_stream("CHAIN").await.unwrap();
    send(7).await;
    sleep(seconds(1)).await;
    world.stack.api.term().await.unwrap();
    world.stack.api.restart().await.unwrap();
    world.settled().await.unwrap();
    world.agrees_about(&people).await.unwrap();
}

#[tokio::test]
async fn a_chain_whose_nodes_are_gone_holds_up_no_other() {
    let (anvil, other) = (Anvil::start().await.unwrap(), Anvil::builder().chain_id(31338).start().await.unwrap());
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let liar = LyingRpc::start(&other).await.unwrap();
    let gone = WatchedChain::of(&other, 2).through(&[liar.url()]).set("timeout_ms", 2_000);
    let chain = WatchedChain::of(&anvil, 2).contracts(&contracts);
    let stack = Stack::builder().unlimited().chain(&chain).chain(&gone).all().await.unwrap();
    let world = World::with(anvil, contracts, stack).await.unwrap();
    liar.tell(Lie::Hang);
    let alice = world.anvil.accounts()[1];
    for amount in 1..=20 {
        let sent = Instant::now();
        world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, alice, amount)).await.unwrap();
        world.settled().await.unwrap();
        assert!(sent.elapsed() < seconds(3), "{:?}", sent.elapsed());
    }
    assert!(world.stack.api.is_ready().await.unwrap(), "a chain that is out of reach is no reason to serve nobody");
}

#[tokio::test]
async fn a_pipeline_whose_worker_hangs_holds_up_no_other() {
    let world = World::new(64).await.unwrap();
    let Contracts { owner, token, pass, .. } = world.contracts;
    let alice = world.anvil.accounts()[1];
    world.settled().await.unwrap();
    // somebody has taken the pipeline, lives, and does nothing
    let redis = redis::Client::open(world.stack.redis.url()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let lease = "lease:pipeline:erc20-31337";
    let held: Option<String> = redis::cmd("GET").arg(lease).query_async(&mut redis).await.unwrap();
    assert!(held.is_some(), "there is no such lease");
    let _: () = redis::cmd("SET").arg(lease).arg("somebody").query_async(&mut redis).await.unwrap();
    sleep(seconds(3)).await;
    for amount in 1..=5 {
        world.anvil.send(&token.transfer(owner, alice, amount)).await.unwrap();
        world.anvil.send(&pass.mint(owner, alice)).await.unwrap();
    }
    let behind = async || -> anyhow::Result<Vec<(String, u64)>> {
        Ok(world.status().await?.pipelines.into_iter().map(|pipeline| (pipeline.name, pipeline.behind_steps)).collect())
    };
    let height = world.anvil.block_number().await.unwrap();
    let others_are_there = async || {
        Ok(world.status().await?.height == height
            && behind().await?.iter().all(|(name, behind)| (*behind == 0) == (name != "erc20")))
    };
    let waiting = eventually(seconds(5), others_are_there).await;
    assert!(waiting.is_ok(), "{:?}", behind().await);
    assert_eq!(world.balance(pass.0, alice, "").await.unwrap(), "5");
    assert_eq!(world.balance(token.0, alice, "").await.unwrap(), "0");
    // it comes to itself
    let _: () = redis::cmd("DEL").arg(lease).query_async(&mut redis).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(world.balance(token.0, alice, "").await.unwrap(), "15");
}
