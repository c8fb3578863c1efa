//! Alchemy Notify: address activity, NFT activity, and custom webhooks (GraphQL).
//!
//! Shapes: <https://www.alchemy.com/docs/reference/notify-api-quickstart>. Fields that are not needed may be anything, and
//! what is no log (ether that moves, an internal transaction) is passed over.

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
    data: Option<GraphQl>,
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

#[derive(Deserialize)]
struct GraphQl {
    block: GraphQlBlock,
}

#[derive(Deserialize)]
struct GraphQlBlock {
    hash: B256,
    number: Value,
    #[serde(default)]
    logs: Vec<GraphQlLog>,
}

#[derive(Deserialize)]
struct GraphQlLog {
    index: Option<Value>,
    account: GraphQlAccount,
}

#[derive(Deserialize)]
struct GraphQlAccount {
    address: Address,
}

/// The logs that a delivery tells of.
pub fn read(body: &[u8]) -> Result<Vec<Hint>, String> {
    let delivery: Delivery = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match delivery.r#type.as_str() {
        "ADDRESS_ACTIVITY" | "NFT_ACTIVITY" => {
            let logs = delivery.event.activity.into_iter().filter_map(|activity| activity.log);
            Ok(logs.map(of_activity).collect())
        }
        "GRAPHQL" => of_block(delivery.event.data.ok_or("a GRAPHQL delivery without event.data")?.block),
        // metadata that changed, and what may come: no logs
        _ => Ok(Vec::new()),
    }
}

fn of_activity(log: ActivityLog) -> Hint {
    Hint {
        block: log.block_number.to(),
        hash: log.block_hash,
        log: log.log_index.to::<u64>() as u32,
        contract: log.address,
        is_removed: log.removed,
    }
}

fn of_block(block: GraphQlBlock) -> Result<Vec<Hint>, String> {
    let height = number(&block.number).ok_or("the block has no number")?;
    let hint = |log: GraphQlLog| {
        // the owner of the query chooses its fields: without the index a log can't be told from others
        let index = number(log.index.as_ref()?)?;
        Some(Hint {
            block: height,
            hash: block.hash,
            log: index as u32,
            contract: log.account.address,
            is_removed: false,
        })
    };
    Ok(block.logs.into_iter().filter_map(hint).collect())
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
