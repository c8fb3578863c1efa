//! What a lie makes of a true answer.

use serde_json::{Value, json};

use super::lie::{HeaderField, Lie};
use crate::rpc::{number, quantity};

/// Of a trie without entries: `keccak256(rlp(""))`.
const EMPTY_ROOT: &str = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
const BLOOM_BYTES: usize = 256;

/// Changes the result of a method.
pub(super) fn distort(lie: &Lie, method: &str, result: &mut Value) {
    match lie {
        Lie::DropLogs { every } => drop_logs(result, *every),
        Lie::DropReceipts { last } => {
            if let Some(receipts) = result.as_array_mut() {
                receipts.truncate(receipts.len().saturating_sub(*last));
            }
        }
        Lie::Empty => *result = json!([]),
        Lie::NoReceipts => *result = Value::Null,
        Lie::ForgeHeader { field } => forge(result, *field),
        Lie::NoBlock { at } if of_block(result) == Some(*at) => *result = Value::Null,
        Lie::OtherChain { id } => *result = quantity(*id),
        Lie::StaleHead { at } if method == "eth_blockNumber" => *result = quantity(*at),
        _ => {}
    }
}

/// The height of a block, or of the block of receipts.
fn of_block(result: &Value) -> Option<u64> {
    number(&result["number"]).or_else(|| number(&result[0]["blockNumber"]))
}

/// Leaves logs out of a list of logs, of receipts, or of one receipt.
fn drop_logs(result: &mut Value, every: u64) {
    let omitted = |log: &Value| {
        let (height, index) = (number(&log["blockNumber"]), number(&log["logIndex"]));
        height.zip(index).is_some_and(|(height, index)| (height + index).is_multiple_of(every.max(1)))
    };
    match result {
        Value::Array(list) => {
            list.retain(|entry| !omitted(entry));
            list.iter_mut().for_each(|entry| drop_logs(entry, every));
        }
        Value::Object(receipt) => {
            if let Some(Value::Array(logs)) = receipt.get_mut("logs") {
                logs.retain(|log| !omitted(log));
            }
        }
        _ => {}
    }
}

/// Changes a field of a header, if it is one.
pub(super) fn forge(header: &mut Value, field: HeaderField) {
    if !header["hash"].is_string() {
        return;
    }
    match field {
        HeaderField::LogsBloom => header["logsBloom"] = format!("0x{}", "00".repeat(BLOOM_BYTES)).into(),
        HeaderField::ReceiptsRoot => header["receiptsRoot"] = EMPTY_ROOT.into(),
        HeaderField::ParentHash => header["parentHash"] = format!("0x{}", "11".repeat(32)).into(),
        HeaderField::Timestamp => header["timestamp"] = quantity(number(&header["timestamp"]).unwrap_or_default() + 1),
    }
}

/// Makes receipts and their logs those of another block.
pub(super) fn relabel(receipts: &mut Value, hash: &Value, height: u64) {
    for receipt in receipts.as_array_mut().into_iter().flatten() {
        for log in receipt["logs"].as_array_mut().into_iter().flatten() {
            log["blockHash"] = hash.clone();
            log["blockNumber"] = quantity(height);
        }
        receipt["blockHash"] = hash.clone();
        receipt["blockNumber"] = quantity(height);
    }
}

/// Another id than this one.
pub(super) fn other_id(id: &Value) -> Value {
    match id.as_u64() {
        Some(number) => json!(number + 1),
        None => json!(format!("not {id}")),
    }
}
