//! What other domains hear of changes: when they are seen, when they are final, and when they are orphaned.

use std::collections::BTreeSet;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use anyhow::Result;
use nepto_proto::api::assets::BalanceKind;
use nepto_proto::event::{Finality, OwnershipChanged};
use nepto_testkit::contracts::{Contracts, LogEmitter};
use nepto_testkit::{Anvil, Settings, WatchedChain, eventually, seconds};

use super::listener::Listener;
use super::world::{World, word};

/// Hears every change of the wallet, which the pipelines know from their start on.
async fn listener(world: &World) -> Result<Listener<OwnershipChanged>> {
    let linked = async || Ok(world.stack.nats.pending("EVENTS", "assets-wallets").await?.is_empty());
    eventually(seconds(10), linked).await?;
    let listener = Listener::start(&world.stack.nats).await?;
    world.stack.api.restart().await?;
    Ok(listener)
}

#[tokio::test]
async fn a_change_is_announced_when_it_is_seen_and_when_it_is_final_or_orphaned() {
    let world = World::new(3).await.unwrap();
    let Contracts { owner, token, .. } = world.contracts;
    let listener = listener(&world).await.unwrap();
    let received = async |count| {
        let received = listener.received(count).await.unwrap();
        assert!(received.iter().all(|change| change.wallet == world.wallet.to_string()));
        assert!(
            received.iter().all(|change| change.contract == token.0.to_string() && change.what == BalanceKind::Held)
        );
        received.into_iter().map(|change| (change.change, change.block, change.finality)).collect::<Vec<_>>()
    };
    let receive = async |amount: u64| {
        // between others, who have no account
        world.anvil.send(&token.transfer(owner, world.anvil.accounts()[1], amount.into())).await.unwrap();
        world.anvil.send(&token.transfer(owner, world.wallet, amount.into())).await.unwrap().block_number()
    };
    let first = receive(500).await;
    world.settled().await.unwrap();
    assert_eq!(received(1).await, [("500".into(), first, Finality::Provisional)]);
    world.anvil.mine(3).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(received(1).await, [("500".into(), first, Finality::Final)]);

    let second = receive(70).await;
    world.settled().await.unwrap();
    world.anvil.reorg(2, []).await.unwrap();
    world.anvil.mine(2).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(
        received(2).await,
        [("70".into(), second, Finality::Provisional), ("-70".into(), second, Finality::Reverted)]
    );

    // one who dies after telling tells it once
    world.stack.api.crash_at("outbox:published", &Settings::new()).await.unwrap();
    let third = receive(30).await;
    eventually(seconds(10), async || Ok(world.stack.api.ended()?.is_some())).await.unwrap();
    world.anvil.mine(3).await.unwrap();
    world.free_leases().await.unwrap();
    world.stack.api.restart().await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(received(2).await, [("30".into(), third, Finality::Provisional), ("30".into(), third, Finality::Final)]);
}

#[tokio::test]
async fn every_change_of_a_long_history_is_told() {
    const TOKENS: u64 = 4_500;
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let before = WatchedChain::of(&anvil, 1).contract("erc20", contracts.token.0, contracts.start_block);
    let world = World::watching(anvil, contracts, &before).await.unwrap();
    let listener = listener(&world).await.unwrap();
    let odd = LogEmitter::deploy(&world.anvil).await.unwrap();
    let got = |token: u64| -> (Vec<B256>, Bytes) {
        let signature = keccak256("TransferSingle(address,address,address,uint256,uint256)");
        let topics = vec![signature, word(contracts.owner).into(), B256::ZERO, word(world.wallet).into()];
        (topics, [token, 2].map(|number| U256::from(number).to_be_bytes::<32>()).concat().into())
    };
    let tokens: Vec<u64> = (1..=TOKENS).collect();
    for tokens in tokens.chunks(500) {
        let logs: Vec<_> = tokens.iter().map(|token| got(*token)).collect();
        world.anvil.send(&odd.emit(contracts.owner, &logs)).await.unwrap();
    }
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    let after = before.contract("erc1155", odd.0, 1);
    world.stack.api.reconfigure(&Settings::new().chain(&after)).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    world.settled().await.unwrap();
    let received = listener.received(tokens.len()).await.unwrap();
    assert!(received.iter().all(|change| change.finality == Finality::Final && change.change == "2"));
    let of: BTreeSet<u64> = received.iter().map(|change| change.token.as_deref().unwrap().parse().unwrap()).collect();
    assert_eq!((received.len(), of.len()), (tokens.len(), tokens.len()));
}
