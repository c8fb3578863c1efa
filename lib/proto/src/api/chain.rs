//! How the chains are followed: `GET /chains` of the operator's listener.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How one chain is followed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChainStatus {
    /// EIP-155.
    pub chain_id: u64,
    /// Whether a watcher was heard in the last half minute.
    pub watched: bool,
    /// Why nothing is read now.
    #[serde(rename = "trouble", default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The highest block that an endpoint spoke of.
    pub head: u64,
    /// The highest block that was collected.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Blocks between the two.
    pub lag_blocks: u64,
    /// The highest final block.
    pub final_height: u64,
    /// The first block that was collected.
    pub first_block: u64,
    /// Contracts that are watched.
    pub contracts: u64,
    /// The number of the last update.
    pub step: u64,
    /// Blocks that no log can be missing of.
    pub proven_blocks: u64,
    /// Blocks that only the comparison of answers speaks for.
    pub compared_blocks: u64,
    /// Logs that were collected.
    pub logs: u64,
    /// How often blocks were orphaned.
    pub reverts: u64,
    /// How many at once, at most.
    pub deepest_revert_blocks: u64,
    /// When something was collected last.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub updated_at: Option<OffsetDateTime>,
    /// Older blocks that are still to be read.
    pub gaps: Vec<Gap>,
    /// The five.
    pub pipelines: Vec<PipelineStatus>,
    /// The nodes.
    pub endpoints: Vec<Endpoint>,
}

/// Blocks that are still to be read for a contract, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// EIP-55.
    pub contract: String,
    /// The lowest.
    pub from: u64,
    /// The highest.
    pub to: u64,
}

/// How far a pipeline is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// `erc20`, `erc721`, `erc1155`, `staking` or `multisend`.
    pub name: String,
    /// The last update that it took.
    pub step: u64,
    /// Updates that it has not taken yet.
    pub behind_steps: u64,
    /// The highest block that it knows of.
    pub height: u64,
    /// Events that it took.
    pub events: u64,
    /// Events that it dead-lettered.
    pub dead_letters: u64,
    /// Why it stands still.
    #[serde(rename = "trouble", default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How a node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its host.
    pub name: String,
    /// Whether it would be asked now.
    pub available: bool,
    /// The highest block that it spoke of.
    pub head: u64,
    /// Mean time of an answer.
    pub latency_ms: f64,
    /// Requests to it at once, at present.
    pub concurrency: u64,
    /// Requests.
    pub asked: u64,
    /// Requests without a usable answer.
    pub failed: u64,
    /// Answers that were proven false.
    pub lied: u64,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Who saw a log, and when: `GET /chains/{chain}/sightings`, on chains with webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The height of its block.
    pub block: u64,
    /// The hash of its block.
    pub hash: String,
    /// Its place in the block.
    pub log: u32,
    /// EIP-55.
    pub contract: String,
    /// When a provider told of it first, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinted_at_ms: Option<i64>,
    /// When the watcher collected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_at_ms: Option<i64>,
    /// How much earlier the hint was; negative if it was late. Without one of the two: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_ms: Option<i64>,
    /// How often a provider told of it.
    pub hints: u64,
    /// The provider said that its block was orphaned.
    pub removed: bool,
}
