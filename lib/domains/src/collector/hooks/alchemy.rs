//! Alchemy Notify: address activity, NFT activity, and custom webhooks (GraphQL).
//!
//! Shapes: <https://www.alchemy.com/docs/reference/notify-api-quickstart> and, for custom webhooks,
//! <https://www.alchemy.com/docs/reference/custom-webhooks-faq>. Fields that are not needed may be anything, and what is no log
//! (ether that moves, an internal transaction) is passed over. A provider repeats what is refused, and pauses the webhook.

use std::str::FromStr;

use alloy_primitives::{Address, B256, U64};
use serde::Deserialize;
use serde_json::Value;

use super::Hint;

#[derive(Deserialize)]
struct Delivery {
    r#type: String,
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    activity: Vec<Activity>,
    /// What the query of a custom webhook found. Its owner chooses the fields; what is not there is `null`.
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Activity {
    log: Option<ActivityLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActivityLog {
    address: Address,
    block_number: U64,
    block_hash: B256,
    log_index: U64,
    #[serde(default)]
    removed: bool,
}

/// The logs that a delivery tells of.
pub fn read(body: &[u8]) -> Result<Vec<Hint>, String> {
    let delivery: Delivery = nepto_kit::json::from_slice(body).map_err(|error| error.to_string())?;
    match delivery.r#type.as_str() {
        "ADDRESS_ACTIVITY" | "NFT_ACTIVITY" => {
            let logs = delivery.event.activity.into_iter().filter_map(|activity| activity.log);
            Ok(logs.filter_map(of_activity).collect())
        }
        "GRAPHQL" => Ok(of_block(&delivery.event.data["block"])),
        // metadata that changed, and what may come: no logs
        _ => Ok(Vec::new()),
    }
}

fn of_activity(log: ActivityLog) -> Option<Hint> {
    Some(Hint {
        block: log.block_number.to(),
        hash: log.block_hash,
        log: u32::try_from(log.log_index.to::<u64>()).ok()?,
        contract: log.address,
        is_removed: log.removed,
    })
}

/// A delivery comes for every block, also without a match. Without block, contract and index a log can't be told from others:
/// nothing is noted of it, and the watcher, which is woken all the same, finds it.
fn of_block(block: &Value) -> Vec<Hint> {
    let (Some(height), Some(hash)) = (number(&block["number"]), text(&block["hash"])) else { return Vec::new() };
    let hint = |log: &Value| {
        let log_index = u32::try_from(number(&log["index"])?).ok()?;
        let contract = text(&log["account"]["address"])?;
        Some(Hint { block: height, hash, log: log_index, contract, is_removed: false })
    };
    block["logs"].as_array().into_iter().flatten().filter_map(hint).collect()
}

fn text<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// A number, as JSON has it or as text, decimal or hexadecimal.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        other => other.as_u64(),
    }
}
