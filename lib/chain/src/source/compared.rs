//! Logs that nothing proves: of chains whose receipts can't be encoded here. Every endpoint is asked for the logs of a range,
//! in pieces as large as it bears, and what most of them say counts.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U64};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::Source;
use crate::block::{Block, Log, Proof, SealedHeader};
use crate::rpc::{Endpoint, Range, RpcError};
use crate::watch::Watch;

/// Contracts in one filter of `eth_getLogs`.
const FILTER_ADDRESSES_MAX: usize = 100;

/// Logs by the hash of their block.
type ByBlock = BTreeMap<B256, Vec<Log>>;

/// A log of `eth_getLogs`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    block_hash: B256,
    log_index: U64,
    transaction_hash: B256,
    #[serde(default)]
    removed: bool,
}

impl Source {
    /// Blocks with the logs that most endpoints agree about. Of as many opinions, the one with more in it: nodes leave out
    /// rather than make up.
    pub(super) async fn compared(&self, headers: Vec<SealedHeader>, watch: &Watch) -> Result<Vec<Block>, RpcError> {
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else { return Ok(Vec::new()) };
        let range = Range { from: first.number(), to: last.number() };
        let asked = self.pool.awake().await?.into_iter().map(|endpoint| logs_of(endpoint, range, watch));
        let (mut opinions, mut failed) = (Vec::new(), RpcError::NoEndpoint);
        for answer in join_all(asked).await {
            match answer {
                Ok(logs) => opinions.push(logs),
                Err(error) => failed = error,
            }
        }
        if opinions.is_empty() {
            return Err(failed);
        }
        // an endpoint on another branch speaks of other blocks
        let ours: Vec<B256> = headers.iter().map(SealedHeader::hash).collect();
        let blocks = headers.into_iter().map(|header| {
            let logs = agreed(&opinions, header.hash());
            Block { header, logs, proof: Proof::Compared }
        });
        let blocks: Vec<Block> = blocks.collect();
        if opinions.iter().all(|logs| logs.keys().any(|hash| !ours.contains(hash))) {
            return Err(RpcError::Missing);
        }
        Ok(blocks)
    }
}

/// What most opinions say of one block.
fn agreed(opinions: &[ByBlock], block: B256) -> Vec<Log> {
    let mut votes: Vec<(usize, &[Log])> = Vec::new();
    for opinion in opinions {
        let logs = opinion.get(&block).map_or(&[][..], Vec::as_slice);
        match votes.iter_mut().find(|(_, voted)| *voted == logs) {
            Some((count, _)) => *count += 1,
            None => votes.push((1, logs)),
        }
    }
    if votes.len() > 1 {
        tracing::warn!(%block, opinions = votes.len(), "the endpoints disagree about the logs of a block");
        metrics::counter!("nepto_rpc_disagreements_total").increment(1);
    }
    votes
        .into_iter()
        .max_by_key(|(count, logs)| (*count, logs.len()))
        .map(|(_, logs)| logs.to_vec())
        .unwrap_or_default()
}

/// The wanted logs of a range, as one endpoint tells them.
async fn logs_of(endpoint: &Endpoint, range: Range, watch: &Watch) -> Result<ByBlock, RpcError> {
    let mut found = ByBlock::new();
    let topics: Vec<B256> = watch.topics().into_iter().collect();
    for addresses in watch.addresses().chunks(FILTER_ADDRESSES_MAX) {
        let mut from = range.from;
        while from <= range.to {
            let to = range.to.min(from + endpoint.log_span.blocks() - 1);
            let filter = json!([{
                "fromBlock": U64::from(from), "toBlock": U64::from(to), "address": addresses, "topics": [topics],
            }]);
            match endpoint.ask("eth_getLogs", &filter, |answer| read(answer, watch)).await {
                Ok(logs) => {
                    endpoint.log_span.given(to - from + 1);
                    for (block, log) in logs {
                        found.entry(block).or_default().push(log);
                    }
                    from = to + 1;
                }
                Err(RpcError::TooMany(_)) if to == from => {
                    return Err(RpcError::Failed(format!("the endpoint refuses the logs of block {from} alone")));
                }
                Err(RpcError::TooMany(proposed)) => endpoint.log_span.refused(Range { from, to }, proposed),
                Err(error) => return Err(error),
            }
        }
    }
    for logs in found.values_mut() {
        logs.sort_unstable_by_key(|log| log.index);
    }
    Ok(found)
}

fn read(answer: &str, watch: &Watch) -> Result<Vec<(B256, Log)>, RpcError> {
    let logs: Option<Vec<RpcLog>> = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
    let log = |log: RpcLog| {
        let RpcLog { address, topics, data, log_index, transaction_hash: transaction, block_hash, .. } = log;
        (block_hash, Log { index: log_index.to::<u64>() as u32, address, topics, data, transaction })
    };
    let kept = logs.ok_or(RpcError::Missing)?.into_iter().filter(|log| !log.removed).map(log);
    Ok(kept.filter(|(_, log)| watch.wants(log)).collect())
}
