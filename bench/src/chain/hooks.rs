//! How long a provider waits for the answer to a webhook.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{World, as_shipped};
use crate::figures::round;

const KEY: &str = "whsec_bench";
const DELIVERIES: u64 = 1_000;
/// Logs of one delivery.
const LOGS: u64 = 20;

/// From the request to its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HookFigures {
    pub deliveries: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// One delivery after the other, while the server reads the chain from its first block.
pub async fn measure(world: &World) -> Result<HookFigures> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    std::fs::write(&key, KEY)?;
    let hook: toml::Table = [
        ("id", "wh_bench".to_owned()),
        ("provider", "alchemy".to_owned()),
        ("signing_key_file", key.to_string_lossy().into_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    let stack = as_shipped(&world.chain().set("hooks", vec![hook])).all().await?;
    let (client, url) = (reqwest::Client::new(), format!("{}/v1/hooks/alchemy/wh_bench", stack.url()));
    let mut times = Vec::new();
    for number in 0..DELIVERIES {
        let body = delivery(world, number);
        let request = client.post(&url).header("x-alchemy-signature", sign(&body)).body(body);
        let started = Instant::now();
        let answer = request.send().await?;
        ensure!(answer.status() == 200, "a delivery was refused: {}", answer.text().await?);
        times.push(started.elapsed());
    }
    times.sort();
    let of = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    Ok(HookFigures { deliveries: DELIVERIES, p50_ms: of(0.5), p99_ms: of(0.99), max_ms: of(1.0) })
}

fn ms(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1_000.0)
}

fn sign(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    alloy_primitives::hex::encode(hmac::sign(&key, body.as_bytes()))
}

/// News of logs that nobody has told before.
fn delivery(world: &World, number: u64) -> String {
    let log = |index: u64| {
        json!({
            "address": world.contracts.token.0, "topics": [], "data": "0x", "removed": false,
            "blockNumber": format!("{:#x}", number + 1), "logIndex": format!("{index:#x}"),
            "blockHash": format!("0x{number:064x}"), "transactionHash": format!("0x{number:064x}"),
        })
    };
    let activity: Vec<Value> = (0..LOGS).map(|index| json!({ "category": "token", "log": log(index) })).collect();
    json!({
        "webhookId": "wh_bench", "id": format!("whevt_{number}"), "createdAt": "2026-11-25T00:00:00Z",
        "type": "ADDRESS_ACTIVITY", "event": { "network": "ETH_MAINNET", "activity": activity },
    })
    .to_string()
}
