//! Transactions that somebody wants to hear about.

use nepto_proto::event::TransactionChanged;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Role, Settings, Stack, WatchedChain, eventually, seconds};
use serde_json::json;

use super::listener::Listener;
use super::world::World;

#[tokio::test]
async fn a_transaction_is_followed_from_the_pool_to_the_final_block() {
    let world = World::new(3).await.unwrap();
    let listener: Listener<TransactionChanged> = Listener::start(&world.stack.nats).await.unwrap();
    let (owner, alice) = (world.contracts.owner, world.anvil.accounts()[1]);
    world.anvil.set_automine(false).await.unwrap();
    let hash = world.anvil.submit(&world.contracts.token.transfer(owner, alice, 5)).await.unwrap().to_string();
    let state = async || world.get(&format!("31337/transactions/{hash}")).await.unwrap().1["state"].clone();
    assert_eq!(world.get(&format!("31337/transactions/{hash}")).await.unwrap().0, 404);
    let tracked = world.post("transactions", &json!({ "chain_id": 31337, "hash": hash })).await.unwrap();
    assert_eq!((tracked.0, &tracked.1["state"]), (200, &json!("pending")), "{}", tracked.1);
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(state().await, "pending");
    world.anvil.mine(1).await.unwrap();
    eventually(seconds(10), async || Ok(state().await == "mined")).await.unwrap();
    // its block is orphaned, and it waits again
    world.anvil.reorg(1, []).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    eventually(seconds(10), async || Ok(state().await == "pending")).await.unwrap();
    let again = world.anvil.submit(&world.contracts.token.transfer(owner, alice, 6)).await.unwrap().to_string();
    world.post("transactions", &json!({ "chain_id": 31337, "hash": again })).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    tokio::time::sleep(seconds(3)).await;
    world.anvil.mine(6).await.unwrap();
    // the one with the same nonce is final: the first can't be mined any more
    eventually(seconds(10), async || Ok(state().await == "dropped")).await.unwrap();
    let (_, list) = world.get("transactions").await.unwrap();
    assert_eq!(list["transactions"].as_array().unwrap().len(), 2);
    assert_eq!(list["transactions"][0]["state"], "final", "{list}");
    assert_eq!(list["transactions"][0]["succeeded"], true, "{list}");
    // and each time its owner is told
    let received = listener.received(4).await.unwrap();
    let of =
        |hash: &str| received.iter().filter(|change| change.hash == hash).map(|change| change.state.as_str()).collect();
    let (first, second): (Vec<&str>, Vec<&str>) = (of(&hash), of(&again));
    assert_eq!((&first[..], second.last()), (&["mined", "pending", "dropped"][..], Some(&"final")));
    // what can't be tracked
    let odd = world.post("transactions", &json!({ "chain_id": 5, "hash": hash })).await.unwrap();
    assert_eq!(odd.1["code"], "chain_unknown");
    let odd = world.post("transactions", &json!({ "chain_id": 31337, "hash": "0x12" })).await.unwrap();
    assert_eq!(odd.1["code"], "malformed");
}

#[tokio::test]
async fn what_a_watcher_has_to_tell_waits_for_no_api() {
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let chain = WatchedChain::of(&anvil, 3).contracts(&contracts);
    let stack = Stack::builder().unlimited().chain(&chain).split(1).await.unwrap();
    let world = World::with(anvil, contracts, stack).await.unwrap();
    let _watcher = world.stack.start(Role::Watcher, &Settings::new()).await.unwrap();
    let listener: Listener<TransactionChanged> = Listener::start(&world.stack.nats).await.unwrap();
    let (owner, alice) = (world.contracts.owner, world.anvil.accounts()[1]);
    world.anvil.set_automine(false).await.unwrap();
    let hash = world.anvil.submit(&world.contracts.token.transfer(owner, alice, 5)).await.unwrap().to_string();
    let tracked = world.post("transactions", &json!({ "chain_id": 31337, "hash": hash })).await.unwrap();
    assert_eq!(tracked.0, 200, "{}", tracked.1);
    world.stack.api.term().await.unwrap();
    world.anvil.mine(1).await.unwrap();
    let received = listener.received(1).await.unwrap();
    assert_eq!((&received[0].hash, received[0].state.as_str()), (&hash, "mined"));
}
