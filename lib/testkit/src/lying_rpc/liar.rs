//! From a request to what becomes of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::distort::{distort, forge, other_id, relabel};
use super::lie::{Lie, NEW_HEAD};
use super::orders::Orders;
use super::reply::Reply;
use super::view::View;
use crate::rpc::{Rpc, number, quantity};

/// How far back receipts are looked for that can pass for those of a block.
const SWAP_BLOCKS_MAX: u64 = 64;

/// Answers requests, with the chain's help.
#[derive(Debug)]
pub(super) struct Liar {
    chain: Rpc,
    orders: Mutex<Orders>,
}

/// What becomes of a request, or of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is answered.
    Body { status: u16, retry_after_s: Option<u64>, json: Value },
    /// It is not answered, and the connection stays.
    Hang,
    /// The connection is closed.
    Close,
    /// The connection is closed in the middle of this answer.
    CloseHalfway(Value),
    /// The answer is no JSON.
    Garbage,
}

impl Liar {
    pub fn new(chain: Rpc) -> Self {
        Self { chain, orders: Mutex::default() }
    }

    pub fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request, or a batch of them in its order.
    pub async fn exchange(&self, request: &Value) -> Outcome {
        let Some(batch) = request.as_array() else { return self.answer(request).await };
        let mut answers = Vec::new();
        for request in batch {
            match self.answer(request).await {
                // a status of HTTP is one for all
                Outcome::Body { status: 200 | 400 | 413, json, .. } => answers.push(json),
                whole => return whole,
            }
        }
        Outcome::Body { status: 200, retry_after_s: None, json: answers.into() }
    }

    /// The same for a request that the chain itself must get, if it may: to subscribe.
    pub async fn before(&self, request: &Value) -> Option<Outcome> {
        let lies = self.orders().take(request["method"].as_str().unwrap_or_default());
        self.refusal(&lies, request).await
    }

    /// What is told of a new head: it, another one, several, or nothing.
    pub async fn new_head(&self, mut notification: Value) -> Vec<Value> {
        let lies = self.orders().take(NEW_HEAD);
        if lies.contains(&Lie::SilentHeads) {
            return Vec::new();
        }
        let head = &mut notification["params"]["result"];
        if let Some(height) = number(&head["number"])
            && let Some(top) = top(&lies, height)
            && top < height
        {
            if lies.iter().any(|lie| matches!(lie, Lie::Stuck { .. })) {
                return Vec::new();
            }
            let Ok(block) = self.chain.call("eth_getBlockByNumber", json!([quantity(top), false])).await else {
                return Vec::new();
            };
            *head = block;
        }
        for lie in &lies {
            if let Lie::ForgeHeader { field } = lie {
                forge(head, *field);
            }
        }
        let times = if lies.contains(&Lie::RepeatHeads) { 2 } else { 1 };
        vec![notification; times]
    }

    async fn answer(&self, request: &Value) -> Outcome {
        let method = request["method"].as_str().unwrap_or_default();
        let lies = self.orders().take(method);
        if let Some(refused) = self.refusal(&lies, request).await {
            return refused;
        }
        let params = request.get("params").cloned().unwrap_or_else(|| json!([]));
        let reply = self.reply(&lies, method, params).await.unwrap_or_else(|error| {
            // the chain can't be reached
            Reply::error(-32000, format!("{error:#}")).status(502)
        });
        if lies.contains(&Lie::CloseHalfway) {
            return Outcome::CloseHalfway(reply.to_json(&request["id"]));
        }
        let id = if lies.contains(&Lie::WrongId) { other_id(&request["id"]) } else { request["id"].clone() };
        body(&reply, &id)
    }

    /// What keeps a request from being answered at all.
    async fn refusal(&self, lies: &[Lie], request: &Value) -> Option<Outcome> {
        for lie in lies {
            match lie {
                Lie::Hang => return Some(Outcome::Hang),
                Lie::Close => return Some(Outcome::Close),
                Lie::Garbage => return Some(Outcome::Garbage),
                Lie::Slow { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
                Lie::RateLimit { retry_after_s, form, .. } => {
                    return Some(body(&form.refuse(*retry_after_s), &request["id"]));
                }
                Lie::TooMany { dialect, blocks_max } => {
                    if let Ok(Some((from, to))) = self.range(&request["params"][0]).await
                        && to - from >= *blocks_max
                    {
                        return Some(body(&dialect.refuse(from, to, *blocks_max), &request["id"]));
                    }
                }
                _ => {}
            }
        }
        None
    }

    async fn reply(&self, lies: &[Lie], method: &str, mut params: Value) -> Result<Reply> {
        let mut chain = self.chain.clone();
        for lie in lies {
            match lie {
                Lie::Balanced { other, .. } => chain = Rpc::new(format!("http://{other}"))?,
                Lie::StaleHead { at } if ["latest", "pending"].map(Value::from).contains(&params[0]) => {
                    params[0] = quantity(*at);
                }
                Lie::NotFinal { at } if ["safe", "finalized"].map(Value::from).contains(&params[0]) => {
                    params[0] = quantity(*at);
                }
                _ => {}
            }
        }
        let behind = lies.iter().any(|lie| matches!(lie, Lie::Lag { .. } | Lie::Stuck { .. }));
        let head = if behind { Some(head(&chain).await?) } else { None };
        let mut reply = match head.and_then(|head| top(lies, head)) {
            Some(top) => View { chain: &chain, top }.answer(method, params).await?,
            None => Reply::of_chain(chain.exchange(method, params).await?),
        };
        if let Some(result) = reply.result_mut() {
            for lie in lies {
                distort(lie, method, result);
                if *lie == Lie::SwapReceipts {
                    swap_receipts(&chain, result).await?;
                }
            }
        }
        Ok(reply)
    }

    /// The first and the last block of a filter for logs, unless it names one by its hash.
    async fn range(&self, filter: &Value) -> Result<Option<(u64, u64)>> {
        if filter["blockHash"].is_string() {
            return Ok(None);
        }
        let (from, to) =
            (height(&self.chain, &filter["fromBlock"]).await?, height(&self.chain, &filter["toBlock"]).await?);
        Ok((from <= to).then_some((from, to)))
    }
}

fn body(reply: &Reply, id: &Value) -> Outcome {
    Outcome::Body { status: reply.status, retry_after_s: reply.retry_after_s, json: reply.to_json(id) }
}

/// The last block that exists with these lies, on a chain that has `head`.
fn top(lies: &[Lie], head: u64) -> Option<u64> {
    let tops = lies.iter().filter_map(|lie| match lie {
        Lie::Lag { blocks } => Some(head.saturating_sub(*blocks)),
        Lie::Stuck { at } => Some(head.min(*at)),
        _ => None,
    });
    tops.min()
}

async fn head(chain: &Rpc) -> Result<u64> {
    number(&chain.call("eth_blockNumber", json!([])).await?).context("not a block number")
}

/// The height that a tag or a number means.
async fn height(chain: &Rpc, block: &Value) -> Result<u64> {
    match number(block) {
        Some(height) => Ok(height),
        None if block.is_null() => head(chain).await,
        None => {
            let block = chain.call("eth_getBlockByNumber", json!([block, false])).await?;
            number(&block["number"]).context("no such block")
        }
    }
}

/// Puts the receipts of the nearest earlier block that has any in place of a block's own.
async fn swap_receipts(chain: &Rpc, receipts: &mut Value) -> Result<()> {
    let Some(height) = number(&receipts[0]["blockNumber"]) else { return Ok(()) };
    let hash = receipts[0]["blockHash"].take();
    *receipts = json!([]);
    for earlier in (height.saturating_sub(SWAP_BLOCKS_MAX)..height).rev() {
        let mut others = chain.call("eth_getBlockReceipts", json!([quantity(earlier)])).await?;
        if others.as_array().is_some_and(|others| !others.is_empty()) {
            relabel(&mut others, &hash, height);
            *receipts = others;
            break;
        }
    }
    Ok(())
}
