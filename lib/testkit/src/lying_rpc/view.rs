//! The chain as a node sees it that has only its first blocks.

use anyhow::Result;
use serde_json::{Value, json};

use super::reply::Reply;
use crate::rpc::{Rpc, number, quantity};

/// What a node that is behind knows of the chain.
pub(super) struct View<'a> {
    pub chain: &'a Rpc,
    /// Its last block.
    pub top: u64,
}

/// What a request says about its block.
enum Asked {
    /// One that the node has; maybe in other words than the request's.
    Known(Value),
    /// One that the node does not have yet.
    Hidden,
}

impl View<'_> {
    /// Answers a request out of the blocks that are known.
    pub async fn answer(&self, method: &str, mut params: Value) -> Result<Reply> {
        if method == "eth_blockNumber" {
            return Ok(Reply::result(quantity(self.top)));
        }
        if method == "eth_getLogs" {
            return self.logs(params).await;
        }
        if let (Some(place), Some(list)) = (block_parameter(method), params.as_array_mut()) {
            while list.len() <= place {
                list.push(json!("latest"));
            }
            match self.asked(&list[place]).await? {
                Asked::Known(block) => list[place] = block,
                Asked::Hidden if method.starts_with("eth_getBlock") => return Ok(Reply::result(Value::Null)),
                Asked::Hidden => return Ok(Reply::error(-32000, "header not found".into())),
            }
        }
        let mut reply = Reply::of_chain(self.chain.exchange(method, params).await?);
        if let Some(result) = reply.result_mut()
            && number(&result["blockNumber"]).is_some_and(|height| height > self.top)
        {
            *result = Value::Null;
        }
        Ok(reply)
    }

    async fn logs(&self, mut params: Value) -> Result<Reply> {
        let filter = &mut params[0];
        if let Some(hash) = filter.get("blockHash").filter(|hash| hash.is_string()) {
            if let Asked::Hidden = self.asked(hash).await? {
                return Ok(Reply::error(-32000, "unknown block".into()));
            }
        } else {
            let Asked::Known(from) = self.asked(&filter["fromBlock"]).await? else {
                // a node that lags answers nothing, and says nothing
                return Ok(Reply::result(json!([])));
            };
            let to = match self.asked(&filter["toBlock"]).await? {
                Asked::Known(to) => to,
                Asked::Hidden => quantity(self.top),
            };
            filter["fromBlock"] = from;
            filter["toBlock"] = to;
        }
        Ok(Reply::of_chain(self.chain.exchange("eth_getLogs", params).await?))
    }

    async fn asked(&self, block: &Value) -> Result<Asked> {
        let height = match block {
            Value::Null => return Ok(Asked::Known(quantity(self.top))),
            Value::Object(fields) => match fields.get("blockNumber").and_then(number) {
                Some(height) => Some(height),
                None => self.height("eth_getBlockByHash", fields.get("blockHash").unwrap_or(&Value::Null)).await?,
            },
            Value::String(text) => match text.as_str() {
                "latest" | "pending" => return Ok(Asked::Known(quantity(self.top))),
                "safe" | "finalized" => {
                    let height = self.height("eth_getBlockByNumber", block).await?;
                    return Ok(Asked::Known(quantity(height.unwrap_or_default().min(self.top))));
                }
                hash if hash.len() == 66 => self.height("eth_getBlockByHash", block).await?,
                _ => number(block),
            },
            _ => None,
        };
        Ok(if height.is_some_and(|height| height > self.top) { Asked::Hidden } else { Asked::Known(block.clone()) })
    }

    async fn height(&self, method: &str, block: &Value) -> Result<Option<u64>> {
        Ok(number(&self.chain.call(method, json!([block, false])).await?["number"]))
    }
}

/// The place of the block among a method's parameters.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber" | "eth_getBlockByHash" | "eth_getBlockReceipts" => Some(0),
        "eth_call" | "eth_estimateGas" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => Some(1),
        "eth_getStorageAt" => Some(2),
        _ => None,
    }
}
