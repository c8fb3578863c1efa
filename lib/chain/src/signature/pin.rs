//! One block for all: who is asked about different blocks can't contradict each other.
//!
//! A header is hashed again, so that its height is its own: the hash of an old block under a new height would let in who
//! owned the wallet then.

use alloy_primitives::U64;
use serde_json::{Value, json};

use super::{BlockId, Moment};
use crate::block::{Finality, SealedHeader};
use crate::rpc::{Endpoint, Pool, RpcError};

/// Endpoints that are further apart are not of one mind about what is newest.
const APART_BLOCKS_MAX: u64 = 32;
/// What is final moves by whole epochs.
const APART_FINAL_BLOCKS_MAX: u64 = 128;
/// Nodes keep the state of their last 128 blocks, and on some chains what is final is older: so deep is deep enough.
const DEEP_BLOCKS: u64 = 100;

/// Said when no node can be asked.
pub const NOBODY: &str = "none of its nodes answers";

/// The same, with what went wrong, if that is known.
pub fn silence(error: &RpcError) -> String {
    match error {
        RpcError::Resting { why, .. } => format!("{NOBODY}: {why}"),
        _ => NOBODY.to_owned(),
    }
}

/// A block, and the endpoints that are too far from it to be asked.
pub struct Pin<'a> {
    pub block: BlockId,
    pub away: Vec<&'a Endpoint>,
}

impl Pin<'_> {
    /// Whether an endpoint is near enough to know the block.
    pub fn is_known_to(&self, endpoint: &Endpoint) -> bool {
        !self.away.iter().any(|away| std::ptr::eq(*away, endpoint))
    }
}

/// Chooses a block. An error says for people why there is none.
pub async fn pin(pool: &Pool, finality: Finality, at: Moment) -> Result<Pin<'_>, String> {
    let newest = tagged(pool, json!("latest"), APART_BLOCKS_MAX).await?;
    let Moment::Final { from } = at else { return Ok(newest) };
    let head = newest.block.number;
    let final_height = match finality {
        Finality::Depth(depth) => head.saturating_sub(depth),
        Finality::Finalized => tagged(pool, json!("finalized"), APART_FINAL_BLOCKS_MAX).await?.block.number,
        Finality::Safe => tagged(pool, json!("safe"), APART_FINAL_BLOCKS_MAX).await?.block.number,
    };
    let height = final_height.max(head.saturating_sub(DEEP_BLOCKS)).min(head);
    if height < from {
        return Err(format!("block {from} is not final yet"));
    }
    Ok(Pin { away: newest.away, ..tagged(pool, json!(U64::from(height)), 0).await? })
}

/// The lowest block that endpoints have under a tag or height, of those that are near the middle. They must be more than
/// half of those that answer.
async fn tagged(pool: &Pool, tag: Value, apart_max: u64) -> Result<Pin<'_>, String> {
    let answers = pool.ask_each("eth_getBlockByNumber", &json!([tag, false]), SealedHeader::read).await;
    let answers = answers.map_err(|error| silence(&error))?;
    let (mut headers, mut failed) = (Vec::new(), NOBODY.to_owned());
    for (endpoint, answer) in answers {
        match answer {
            Ok(header) => headers.push((endpoint, header)),
            Err(error) => failed = format!("{}: {error}", endpoint.name()),
        }
    }
    headers.sort_by_key(|(_, header)| header.number());
    let Some(middle) = headers.get(headers.len().saturating_sub(1) / 2).map(|(_, header)| header.number()) else {
        return Err(failed);
    };
    let (near, away): (Vec<_>, Vec<_>) =
        headers.iter().partition(|(_, header)| header.number().abs_diff(middle) <= apart_max);
    if near.len() * 2 <= headers.len() {
        return Err("its nodes are too far apart to say which block is the newest".into());
    }
    let block = near.first().map(|(_, header)| BlockId { number: header.number(), hash: header.hash() });
    let block = block.ok_or(failed)?;
    let differs =
        |(_, header): &&(&Endpoint, SealedHeader)| header.number() == block.number && header.hash() != block.hash;
    if near.iter().any(differs) {
        return Err(format!("its nodes are not of one mind about block {}", block.number));
    }
    Ok(Pin { block, away: away.into_iter().map(|(endpoint, _)| *endpoint).collect() })
}
