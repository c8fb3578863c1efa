//! Webhooks: lost, doubled, reordered, forged and late. They make news earlier, and change nothing.

use nepto_proto::api::chain::Sighting;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, WatchedChain, eventually, seconds};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::World;

const KEY: &str = "whsec_test";

/// An anvil whose news come by webhook first: the watcher itself looks every two seconds.
async fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    let anvil = Anvil::start().await.unwrap();
    let contracts = Contracts::deploy(&anvil).await.unwrap();
    let mut hook = toml::Table::new();
    hook.insert("id".into(), "wh_test".into());
    hook.insert("provider".into(), "alchemy".into());
    hook.insert("signing_key_file".into(), file.to_str().unwrap().into());
    let chain = WatchedChain::of(&anvil, 64).contracts(&contracts).set("poll_ms", 2_000).set("hooks", vec![hook]);
    (World::watching(anvil, contracts, &chain).await.unwrap(), folder)
}

fn sign(body: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY.as_bytes());
    hex::encode(aws_lc_rs::hmac::sign(&key, body.as_bytes()))
}

/// What Alchemy would say of a block's logs.
fn delivery(id: &str, logs: &[Value]) -> String {
    let activity: Vec<Value> = logs.iter().map(|log| json!({ "category": "token", "log": log })).collect();
    let event = json!({ "network": "ETH_MAINNET", "activity": activity });
    json!({ "webhookId": "wh_test", "id": id, "createdAt": "2026-11-25T00:00:00Z", "type": "ADDRESS_ACTIVITY", "event": event })
        .to_string()
}

async fn deliver(world: &World, body: &str, signature: &str) -> (u16, Value) {
    let url = format!("{}/v1/hooks/alchemy/wh_test", world.stack.url());
    let request = crate::http::client().post(url).header("x-alchemy-signature", signature).body(body.to_owned());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn sightings(world: &World) -> anyhow::Result<Vec<Sighting>> {
    Ok(crate::http::get(format!("{}/chains/31337/sightings", world.stack.api.admin_url())).await?.json().await?)
}

/// Waits for what is noted behind the answer: something of the newest log.
async fn newest(world: &World, is: impl Fn(&Sighting) -> bool) -> Vec<Sighting> {
    let mut seen = Vec::new();
    let waiting = eventually(seconds(5), async || {
        seen = sightings(world).await?;
        Ok(seen.first().is_some_and(&is))
    });
    waiting.await.unwrap_or_else(|_| panic!("{seen:?}"));
    seen
}

#[tokio::test]
async fn a_hint_wakes_the_watcher_and_both_are_one_row() {
    let (world, _folder) = world().await;
    world.settled().await.unwrap();
    let alice = world.anvil.accounts()[1];
    let receipt = world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, alice, 500)).await.unwrap();
    let body = delivery("whevt_1", &receipt.logs);
    let told = Instant::now();
    assert_eq!(deliver(&world, &body, &sign(&body)).await, (200, json!({ "noted": 1 })));
    assert!(told.elapsed() < seconds(1));
    eventually(seconds(1), async || Ok(world.balance(world.contracts.token.0, alice, "").await? == "500"))
        .await
        .unwrap();
    // the hint was first
    let seen = newest(&world, |first| {
        (first.block, first.hints) == (receipt.block_number(), 1) && first.lead_ms.is_some_and(|lead| lead >= 0)
    })
    .await;
    // doubled: nothing is noted twice, and it is one row still
    assert_eq!(deliver(&world, &body, &sign(&body)).await, (200, json!({ "noted": 0 })));
    let other = delivery("whevt_2", &receipt.logs);
    assert_eq!(deliver(&world, &other, &sign(&other)).await, (200, json!({ "noted": 1 })));
    let again = newest(&world, |first| first.hints == 2).await;
    assert_eq!(again.len(), seen.len());
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "500");
    // lost: the watcher finds it by itself; late: the hint comes afterwards
    let receipt = world.anvil.send(&world.contracts.token.transfer(world.contracts.owner, alice, 7)).await.unwrap();
    world.settled().await.unwrap();
    newest(&world, |first| first.block == receipt.block_number() && first.hinted_at_ms.is_none()).await;
    let late = delivery("whevt_3", &receipt.logs);
    deliver(&world, &late, &sign(&late)).await;
    newest(&world, |first| first.lead_ms.is_some_and(|lead| lead < 0)).await;
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "507");
}

#[tokio::test]
async fn what_is_forged_is_refused_and_what_is_invented_changes_nothing() {
    let (world, _folder) = world().await;
    let before = world.settled().await.unwrap();
    let alice = world.anvil.accounts()[1];
    let body = delivery("whevt_1", &[]);
    for signature in [sign("another body"), "00".repeat(32), String::new(), "not hex".into()] {
        let (status, problem) = deliver(&world, &body, &signature).await;
        assert_eq!((status, &problem["code"]), (401, &json!("hook_signature")));
    }
    // signed with the right key, and still not true: an event that never was
    let invented = json!({
        "address": world.contracts.token.0, "topics": [], "data": "0x", "blockNumber": "0x3", "logIndex": "0x63",
        "blockHash": format!("0x{}", "ab".repeat(32)), "transactionHash": format!("0x{}", "cd".repeat(32)), "removed": false,
    });
    let body = delivery("whevt_2", &[invented]);
    assert_eq!(deliver(&world, &body, &sign(&body)).await.0, 200);
    for body in ["", "{}", "[1]", r#"{"type":"GRAPHQL"}"#] {
        let (status, problem) = deliver(&world, body, &sign(body)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{body}");
    }
    // what a custom webhook sends for a block without a match
    let body = r#"{"type":"GRAPHQL","event":{"data":{"block":{"logs":[]}},"sequenceNumber":"10000000000579857000"}}"#;
    assert_eq!(deliver(&world, body, &sign(body)).await, (200, json!({ "noted": 0 })));
    let unknown = crate::http::client().post(format!("{}/v1/hooks/alchemy/wh_other", world.stack.url()));
    assert_eq!(unknown.header("x-alchemy-signature", "00").send().await.unwrap().status(), 404);
    let after = world.settled().await.unwrap();
    assert_eq!((after.step, after.logs), (before.step, before.logs));
    assert_eq!(world.balance(world.contracts.token.0, alice, "").await.unwrap(), "0");
    let invented = async || Ok(sightings(&world).await?.iter().filter(|s| s.collected_at_ms.is_none()).count() == 1);
    eventually(seconds(5), invented).await.unwrap();
}
