//! Blocks with all their logs, from nodes that are not trusted to tell all.

mod compared;

use std::collections::BTreeMap;

use alloy_primitives::{B256, U64};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

pub use crate::block::Finality;
use crate::block::{Block, Proof, SealedHeader};
use crate::receipts::{Encoding, prove};
use crate::rpc::{Endpoint, Pool, RpcError};
use crate::watch::Watch;

/// Blocks that are asked for at once.
const BLOCKS_AT_ONCE: usize = 16;

/// What the nodes of a chain say of the block at a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one we know.
    Ours,
    /// It is another one.
    Theirs,
    /// No node has a block there.
    Nobody,
}

/// The logs of one chain.
pub struct Source {
    pool: Pool,
    encoding: Encoding,
    finality: Finality,
}

impl Source {
    /// A chain as its endpoints tell it.
    pub const fn new(pool: Pool, encoding: Encoding, finality: Finality) -> Self {
        Self { pool, encoding, finality }
    }

    /// The endpoints it asks, and how they do.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The newest block of each endpoint that answers.
    pub async fn heads(&self) -> Result<Vec<SealedHeader>, RpcError> {
        self.tagged("latest", |endpoint, head| endpoint.saw_head(head.number())).await
    }

    async fn tagged(&self, tag: &str, note: impl Fn(&Endpoint, &SealedHeader)) -> Result<Vec<SealedHeader>, RpcError> {
        let answers = self.pool.ask_each("eth_getBlockByNumber", &json!([tag, false]), SealedHeader::read).await?;
        let (mut headers, mut failed) = (Vec::new(), RpcError::NoEndpoint);
        for (endpoint, answer) in answers {
            match answer {
                Ok(header) => {
                    note(endpoint, &header);
                    headers.push(header);
                }
                Err(error) if error.weight() >= failed.weight() => failed = error,
                Err(_) => {}
            }
        }
        if headers.is_empty() { Err(failed) } else { Ok(headers) }
    }

    /// The header at a height that stands on `parent`.
    pub async fn header_on(&self, number: u64, parent: B256) -> Result<SealedHeader, RpcError> {
        self.header_where(number, |header| header.parent() == parent).await
    }

    /// The header at a height, from one endpoint.
    pub async fn header(&self, number: u64) -> Result<SealedHeader, RpcError> {
        self.header_where(number, |_| true).await
    }

    async fn header_where(&self, number: u64, is_it: impl Fn(&SealedHeader) -> bool) -> Result<SealedHeader, RpcError> {
        let params = json!([U64::from(number), false]);
        let validate = |answer: &str| {
            let header = SealedHeader::read(answer)?;
            if header.number() != number {
                return Err(RpcError::Lie(format!("block {} when asked for {number}", header.number())));
            }
            // on another branch: no lie
            if is_it(&header) { Ok(header) } else { Err(RpcError::Missing) }
        };
        let header = self.pool.ask("eth_getBlockByNumber", &params, Some(number), validate).await;
        header.map_err(|error| of_block(number, error))
    }

    /// What most endpoints say of the block at a height. Where as many know ours as another, the branch that is higher wins.
    pub async fn verdict(&self, number: u64, ours: B256) -> Verdict {
        let params = json!([U64::from(number), false]);
        let asked = self.pool.ask_each("eth_getBlockByNumber", &params, SealedHeader::read).await;
        let Ok(answers) = asked else { return Verdict::Nobody };
        // for each hash: votes, and the highest head of who votes for it
        let mut votes: BTreeMap<B256, (usize, u64)> = BTreeMap::new();
        for (endpoint, answer) in answers {
            let Ok(header) = answer else { continue };
            let (count, head) = votes.entry(header.hash()).or_default();
            *count += 1;
            *head = (*head).max(endpoint.head());
        }
        let for_ours = votes.remove(&ours);
        let for_other = votes.into_values().max();
        match (for_ours, for_other) {
            (None, None) => Verdict::Nobody,
            (ours, other) if other > ours => Verdict::Theirs,
            _ => Verdict::Ours,
        }
    }

    /// Whether more than half of the endpoints that answer know our block at a height. One that does not have the block yet
    /// does not know it: of two, both must.
    pub async fn is_vouched_for(&self, number: u64, ours: B256) -> bool {
        let params = json!([U64::from(number), false]);
        let asked = self.pool.ask_each("eth_getBlockByNumber", &params, SealedHeader::read).await;
        let answers = asked.unwrap_or_default().into_iter().filter_map(|(_, answer)| match answer {
            Ok(header) => Some(header.hash() == ours),
            Err(RpcError::Missing) => Some(false),
            Err(_) => None,
        });
        let (for_it, against): (Vec<bool>, Vec<bool>) = answers.partition(|is_ours| *is_ours);
        for_it.len() > against.len()
    }

    /// The highest block that is final, given the highest head. Where the nodes decide, the height that most of them reach.
    pub async fn final_height(&self, head: u64) -> Result<u64, RpcError> {
        let tag = match self.finality {
            Finality::Depth(depth) => return Ok(head.saturating_sub(depth)),
            Finality::Finalized => "finalized",
            Finality::Safe => "safe",
        };
        let mut heights: Vec<u64> = self.tagged(tag, |_, _| ()).await?.iter().map(SealedHeader::number).collect();
        heights.sort_unstable();
        Ok(heights[(heights.len() - 1) / 2].min(head))
    }

    /// The wanted logs of a block, all of them.
    async fn block(&self, header: SealedHeader, watch: &Watch) -> Result<Block, RpcError> {
        if !watch.may_be_in(&header.header().logs_bloom) {
            return Ok(Block { header, logs: Vec::new(), proof: Proof::Bloom });
        }
        let params = json!([header.hash()]);
        let validate = |answer: &str| prove(answer, &header, self.encoding);
        let logs = self.pool.ask("eth_getBlockReceipts", &params, Some(header.number()), validate).await;
        let mut logs = logs.map_err(|error| of_block(header.number(), error))?;
        logs.retain(|log| watch.wants(log));
        Ok(Block { header, logs, proof: Proof::Receipts })
    }

    /// The blocks of a range, each with its wanted logs; the first stands on `parent`. May end early, where the chain changed
    /// while it was read or nobody has a block.
    pub async fn blocks(&self, from: u64, to: u64, parent: B256, watch: &Watch) -> Result<Vec<Block>, RpcError> {
        let first = self.header_on(from, parent).await?;
        let others = stream::iter(from + 1..=to).map(|number| self.header(number)).buffered(BLOCKS_AT_ONCE);
        let others = others.take_while(|header| std::future::ready(!is_lacking(header)));
        let others: Vec<SealedHeader> = others.try_collect().await?;
        let mut headers = vec![first];
        for header in others {
            if headers.last().is_some_and(|last| last.hash() != header.parent()) {
                break;
            }
            headers.push(header);
        }
        if self.encoding == Encoding::Unknown {
            return self.compared(headers, watch).await.map_err(|error| of_block(from, error));
        }
        let read = stream::iter(headers).map(|header| self.block(header, watch)).buffered(BLOCKS_AT_ONCE);
        let mut read = std::pin::pin!(read);
        let mut blocks = Vec::new();
        while let Some(block) = read.next().await {
            // nodes drop receipts before they drop headers
            if is_lacking(&block) && !blocks.is_empty() {
                break;
            }
            blocks.push(block?);
        }
        Ok(blocks)
    }
}

/// Names the block that nobody has.
fn of_block(number: u64, error: RpcError) -> RpcError {
    if error == RpcError::Missing { RpcError::NoBlock(number) } else { error }
}

const fn is_lacking<T>(read: &Result<T, RpcError>) -> bool {
    matches!(read, Err(RpcError::NoBlock(_)))
}
