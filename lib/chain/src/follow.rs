//! Following a chain: what comes next after what is known.
//!
//! A lower head is no reorganization: nodes lag and sync. A block with another hash at a height that we know raises doubt;
//! then every endpoint is asked which chain it serves and what it knows, and the majority counts. Nothing below a final
//! block is ever orphaned.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use crate::block::{Block, SealedHeader};
use crate::rpc::RpcError;
use crate::source::{Source, Verdict};
use crate::watch::Watch;

/// What is known of a chain: the hashes of its newest blocks, without gaps, and which of them are final.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// By height; the last is the tip. Never empty once a chain was begun.
    pub hashes: BTreeMap<u64, B256>,
    /// The highest final block.
    pub final_height: u64,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// These blocks come on top.
    Advance {
        /// At least one, ascending, each on top of the one before.
        blocks: Vec<Block>,
        /// The highest final block, once they are there.
        final_height: u64,
        /// The highest block that any endpoint spoke of.
        head: u64,
    },
    /// The blocks above this one are no part of the chain any more.
    Revert {
        /// The height of the highest block that stays.
        to: u64,
    },
    /// No new block, but this one became final.
    Finalize {
        /// The height of the highest final block.
        height: u64,
    },
    /// Nothing new, or nothing that the nodes agree about yet: ask again later.
    Wait,
}

/// Why a chain can't be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The nodes can't be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// There is a higher block, and nobody has the next one. So it is for a moment when nodes lag, and for ever when all have
    /// dropped it.
    #[error("no node gives block {height}, which comes next after ours")]
    NoBlock {
        /// The height of the block that nobody has.
        height: u64,
    },
    /// Most nodes say that a block which is final, or as old as what is kept, is another one.
    #[error("the chain changed below block {floor}, which was final; the endpoints may serve another chain")]
    TooDeep {
        /// The lowest block that is kept.
        floor: u64,
    },
}

impl Known {
    /// Height and hash of the newest block that is known; `None` before the first.
    pub fn tip(&self) -> Option<(u64, B256)> {
        self.hashes.last_key_value().map(|(height, hash)| (*height, *hash))
    }

    /// Takes a move into account, and keeps at most `window` blocks below the tip.
    pub fn apply(&mut self, done: &Move, window: u64) {
        match done {
            Move::Advance { blocks, final_height, .. } => {
                self.hashes.extend(blocks.iter().map(|block| (block.header.number(), block.header.hash())));
                self.final_height = *final_height;
            }
            Move::Revert { to } => drop(self.hashes.split_off(&(to + 1))),
            Move::Finalize { height } => self.final_height = *height,
            Move::Wait => {}
        }
        if let Some((tip, _)) = self.tip() {
            // the newest final block stays: nothing is orphaned below it
            let floor = self.final_height.max(tip.saturating_sub(window)).min(tip);
            self.hashes = self.hashes.split_off(&floor);
        }
    }
}

/// Decides what comes next. At most `blocks_max` blocks at once.
pub async fn next(source: &Source, known: &Known, watch: &Watch, blocks_max: u64) -> Result<Move, FollowError> {
    let heads = source.heads().await?;
    let Some((tip, hash)) = known.tip() else { return Ok(Move::Wait) };
    let head = heads.iter().map(SealedHeader::number).max().unwrap_or(tip);
    let differs =
        |header: &&SealedHeader| known.hashes.get(&header.number()).is_some_and(|ours| *ours != header.hash());
    let doubtful = heads.iter().filter(differs).map(SealedHeader::number).max();
    if let Some(height) = doubtful
        && let Some(to) = fork_point(source, known, height).await?
    {
        return Ok(Move::Revert { to });
    }
    let final_height = async |reached: u64| -> Result<u64, FollowError> {
        let height = source.final_height(head).await.unwrap_or(known.final_height).min(reached);
        Ok(height.max(known.final_height))
    };
    if head > tip {
        let to = head.min(tip + blocks_max.max(1));
        match source.blocks(tip + 1, to, hash, watch).await {
            Ok(blocks) => {
                let reached = blocks.last().map_or(tip, |block| block.header.number());
                let final_height = final_height(reached).await?;
                // what most nodes do not know is not final yet
                let doubtful =
                    final_height > known.final_height && !is_agreed(source, known, &blocks, final_height).await;
                let final_height = if doubtful { known.final_height } else { final_height };
                return Ok(Move::Advance { blocks, final_height, head });
            }
            // nobody has a block that stands on ours
            Err(RpcError::NoBlock(height)) => {
                let to = fork_point(source, known, tip).await?;
                return to.map(|to| Move::Revert { to }).ok_or(FollowError::NoBlock { height });
            }
            Err(error) => return Err(error.into()),
        }
    }
    let height = final_height(tip).await?;
    if height > known.final_height && is_agreed(source, known, &[], height).await {
        return Ok(Move::Finalize { height });
    }
    Ok(Move::Wait)
}

/// Whether most endpoints know the block that we are about to call final. One endpoint alone is asked nothing: it gave us
/// the block.
async fn is_agreed(source: &Source, known: &Known, new: &[Block], height: u64) -> bool {
    if source.pool().endpoints().len() < 2 {
        return true;
    }
    let among_new = new.iter().find(|block| block.header.number() == height).map(|block| block.header.hash());
    match among_new.or_else(|| known.hashes.get(&height).copied()) {
        Some(ours) => source.is_vouched_for(height, ours).await,
        None => false,
    }
}

/// The highest block that the nodes and we agree on, if it is below `from`; `None` if they know ours there, or nobody says
/// anything.
async fn fork_point(source: &Source, known: &Known, from: u64) -> Result<Option<u64>, FollowError> {
    let floor = known.hashes.first_key_value().map_or(0, |(height, _)| *height);
    let verdict = async |height: u64| match known.hashes.get(&height) {
        Some(ours) => source.verdict(height, *ours).await,
        None => Verdict::Nobody,
    };
    if verdict(from).await != Verdict::Theirs {
        return Ok(None);
    }
    // a node that has become one of another chain says so, too
    source.pool().doubt();
    if verdict(from).await != Verdict::Theirs {
        return Ok(None);
    }
    // below a block that is theirs, find one that is ours: 1, 2, 4, … blocks down
    let (mut theirs, mut step) = (from, 1);
    let mut ours = loop {
        if theirs == floor {
            return Err(FollowError::TooDeep { floor });
        }
        let height = theirs.saturating_sub(step).max(floor);
        match verdict(height).await {
            Verdict::Ours => break height,
            Verdict::Theirs => theirs = height,
            // who answered before does not any more
            Verdict::Nobody => return Ok(None),
        }
        step *= 2;
    };
    // and then the highest of them
    while theirs - ours > 1 {
        let middle = ours + (theirs - ours) / 2;
        match verdict(middle).await {
            Verdict::Ours => ours = middle,
            Verdict::Theirs => theirs = middle,
            Verdict::Nobody => return Ok(None),
        }
    }
    Ok(Some(ours))
}
