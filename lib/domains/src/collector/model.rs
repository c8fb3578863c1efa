//! From blocks to updates: what each pipeline gets. Pure rules.

use std::collections::HashMap;

use alloy_primitives::{Address, B256};
use nepto_chain::block::{Block, Log};
use nepto_chain::topics;
use nepto_chain::watch::Watch;
use nepto_proto::api::assets::ContractKind;
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;
use prost::Message;

use super::parts::{Ranged, parts, tokens};

/// Logs of one update at most, so that it fits into a message and into a transaction. One that moves many tokens counts for
/// each.
const UPDATE_LOGS_MAX: usize = 1_500;
/// Bytes of one update's logs at most; a message of NATS has 512 KiB.
const UPDATE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one log's data at most. What is larger, and has no [`parts`], reaches its pipeline without data, which dead-letters
/// it: no event of a standard is so large.
const LOG_BYTES_MAX: usize = 192 * 1024;

/// The contracts that are watched, and what each is.
#[derive(Debug, Clone, Default)]
pub struct Contracts(pub HashMap<Address, WatchedContract>);

/// A contract that is watched.
#[derive(Debug, Clone, Copy)]
pub struct WatchedContract {
    pub kind: ContractKind,
    /// What was before is not published, unless it is asked for.
    pub start_block: u64,
}

impl Contracts {
    /// What to look for in blocks.
    pub fn watch(&self) -> Watch {
        let mut watch = Watch::default();
        for (address, watched) in &self.0 {
            watch.add(*address, topics_of(watched.kind));
        }
        watch
    }

    fn kind(&self, log: &Log) -> ContractKind {
        self.0.get(&log.address).map_or(ContractKind::Token, |watched| watched.kind)
    }

    /// Whether a log of a new block is to be published.
    fn have_begun(&self, log: &Log, block: u64) -> bool {
        self.0.get(&log.address).is_none_or(|watched| watched.start_block <= block)
    }
}

/// The events that matter of a contract of this kind.
fn topics_of(kind: ContractKind) -> Vec<B256> {
    match kind {
        ContractKind::Erc20 => vec![*topics::TRANSFER],
        ContractKind::Erc721 => vec![*topics::TRANSFER, *topics::CONSECUTIVE_TRANSFER],
        ContractKind::Erc1155 => vec![*topics::TRANSFER_SINGLE, *topics::TRANSFER_BATCH],
        ContractKind::Token => [ContractKind::Erc721, ContractKind::Erc1155].into_iter().flat_map(topics_of).collect(),
        ContractKind::Staking => {
            vec![*topics::STAKED, *topics::WITHDRAWN, *topics::REWARD_PAID, *topics::REWARD_ADDED]
        }
        ContractKind::Multisend => vec![*topics::MESSAGE_SENT, *topics::PAID, *topics::SKIPPED, *topics::CREDITED],
    }
}

/// Whose log this is. ERC-20 and ERC-721 have the same event; the latter's token is a topic, so it has four.
pub fn pipeline_of(standard: wire::Standard, first_topic: B256, topic_count: usize) -> Pipeline {
    match standard {
        wire::Standard::Erc20 => Pipeline::Erc20,
        wire::Standard::Erc721 => Pipeline::Erc721,
        wire::Standard::Erc1155 => Pipeline::Erc1155,
        wire::Standard::Staking => Pipeline::Staking,
        wire::Standard::Multisend => Pipeline::Multisend,
        wire::Standard::Token if first_topic == *topics::TRANSFER && topic_count < 4 => Pipeline::Erc20,
        wire::Standard::Token if first_topic == *topics::TRANSFER => Pipeline::Erc721,
        wire::Standard::Token if first_topic == *topics::CONSECUTIVE_TRANSFER => Pipeline::Erc721,
        wire::Standard::Token => Pipeline::Erc1155,
    }
}

const fn wire_standard(kind: ContractKind) -> wire::Standard {
    match kind {
        ContractKind::Token => wire::Standard::Token,
        ContractKind::Erc20 => wire::Standard::Erc20,
        ContractKind::Erc721 => wire::Standard::Erc721,
        ContractKind::Erc1155 => wire::Standard::Erc1155,
        ContractKind::Staking => wire::Standard::Staking,
        ContractKind::Multisend => wire::Standard::Multisend,
    }
}

/// Numbers and finishes the updates of one change.
pub struct UpdateBuilder {
    pub chain_id: u64,
    /// The last update that was made.
    pub last: u64,
    /// The highest final block after the change.
    pub final_height: u64,
}

impl UpdateBuilder {
    fn update(&mut self, what: wire::chain_update::What) -> wire::ChainUpdate {
        self.last += 1;
        wire::ChainUpdate {
            chain_id: self.chain_id,
            number: self.last,
            final_height: self.final_height,
            what: Some(what),
        }
    }

    /// New blocks on top, in as many updates as it takes. A block that is too large for one goes in parts before it.
    pub fn advance(&mut self, blocks: &[Block], contracts: &Contracts) -> Vec<wire::ChainUpdate> {
        let mut updates = Vec::new();
        let final_height = self.final_height;
        // up to here everything is in an update
        let mut complete_to = blocks.first().map_or(0, |block| block.header.number().saturating_sub(1));
        let mut part = Part::default();
        for (index, block) in blocks.iter().enumerate() {
            let mut ranged = Ranged::default();
            for log in block.logs.iter().filter(|log| contracts.have_begun(log, block.header.number())) {
                let cut = ranged.is_too_much(log);
                let parts = if cut { None } else { parts(log) };
                for log in parts.as_deref().unwrap_or(std::slice::from_ref(log)) {
                    if part.is_full() {
                        self.final_height = final_height.min(complete_to);
                        updates.push(self.update(wire::chain_update::What::Fill(wire::Fill { blocks: part.take() })));
                    }
                    part.add(&block.header, log, contracts, cut);
                }
            }
            if part.is_full() || index + 1 == blocks.len() {
                let (height, hash) = (block.header.number(), block.header.hash().to_vec());
                complete_to = height;
                self.final_height = final_height.min(complete_to);
                let advance = wire::Advance { height, hash, blocks: part.take() };
                updates.push(self.update(wire::chain_update::What::Advance(advance)));
            }
        }
        self.final_height = final_height;
        updates
    }

    /// What older blocks hold for contracts that were not watched then.
    pub fn fill(&mut self, blocks: &[Block], contracts: &Contracts) -> Vec<wire::ChainUpdate> {
        let mut updates = Vec::new();
        let mut part = Part::default();
        for block in blocks {
            let mut ranged = Ranged::default();
            for log in &block.logs {
                let cut = ranged.is_too_much(log);
                let parts = if cut { None } else { parts(log) };
                for log in parts.as_deref().unwrap_or(std::slice::from_ref(log)) {
                    if part.is_full() {
                        updates.push(self.update(wire::chain_update::What::Fill(wire::Fill { blocks: part.take() })));
                    }
                    part.add(&block.header, log, contracts, cut);
                }
            }
        }
        if !part.blocks.is_empty() {
            updates.push(self.update(wire::chain_update::What::Fill(wire::Fill { blocks: part.take() })));
        }
        updates
    }

    /// The blocks above a height are gone.
    pub fn revert(&mut self, height: u64) -> Vec<wire::ChainUpdate> {
        vec![self.update(wire::chain_update::What::Revert(wire::Revert { height }))]
    }

    /// No new block, but one became final.
    pub fn finalize(&mut self) -> Vec<wire::ChainUpdate> {
        vec![self.update(wire::chain_update::What::Fill(wire::Fill::default()))]
    }
}

/// Blocks of the update that is being made.
#[derive(Default)]
struct Part {
    blocks: Vec<wire::Block>,
    logs: usize,
    bytes: usize,
}

impl Part {
    const fn is_full(&self) -> bool {
        self.logs >= UPDATE_LOGS_MAX || self.bytes >= UPDATE_BYTES_MAX
    }

    fn take(&mut self) -> Vec<wire::Block> {
        std::mem::take(self).blocks
    }

    fn add(&mut self, header: &nepto_chain::block::SealedHeader, log: &Log, contracts: &Contracts, cut: bool) {
        if self.blocks.last().is_none_or(|block| block.number != header.number()) {
            self.blocks.push(wire::Block {
                number: header.number(),
                hash: header.hash().to_vec(),
                time_s: header.time_s(),
                logs: Vec::new(),
            });
        }
        let cut = cut || log.data.len() > LOG_BYTES_MAX;
        self.logs = self.logs.saturating_add(if cut { 1 } else { tokens(log) });
        let log = wire::Log {
            index: log.index,
            address: log.address.to_vec(),
            topics: log.topics.concat(),
            data: if cut { Vec::new() } else { log.data.to_vec() },
            transaction: log.transaction.to_vec(),
            standard: wire_standard(contracts.kind(log)).into(),
            cut,
        };
        self.bytes += log.encoded_len() + 4;
        if let Some(block) = self.blocks.last_mut() {
            block.logs.push(log);
        }
    }
}

/// The update as one pipeline sees it: with its own logs only.
pub fn for_pipeline(update: &wire::ChainUpdate, pipeline: Pipeline) -> wire::ChainUpdate {
    let own = |log: &&wire::Log| {
        let first = log.topics.get(..32).map(B256::from_slice).unwrap_or_default();
        pipeline_of(log.standard(), first, log.topics.len() / 32) == pipeline
    };
    let blocks = |blocks: &[wire::Block]| {
        let only = |block: &wire::Block| {
            let logs: Vec<_> = block.logs.iter().filter(own).cloned().collect();
            (!logs.is_empty()).then(|| wire::Block { logs, hash: block.hash.clone(), ..*block })
        };
        blocks.iter().filter_map(only).collect()
    };
    let what = update.what.as_ref().map(|what| match what {
        wire::chain_update::What::Advance(advance) => wire::chain_update::What::Advance(wire::Advance {
            blocks: blocks(&advance.blocks),
            hash: advance.hash.clone(),
            height: advance.height,
        }),
        wire::chain_update::What::Fill(fill) => {
            wire::chain_update::What::Fill(wire::Fill { blocks: blocks(&fill.blocks) })
        }
        wire::chain_update::What::Retry(retry) => {
            wire::chain_update::What::Retry(wire::Retry { blocks: blocks(&retry.blocks), is_counted: retry.is_counted })
        }
        wire::chain_update::What::Revert(revert) => wire::chain_update::What::Revert(*revert),
    });
    wire::ChainUpdate { what, ..*update }
}
