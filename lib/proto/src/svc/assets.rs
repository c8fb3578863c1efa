//! What `assets` answers: how far its pipelines are.

use serde::{Deserialize, Serialize};

use super::collector::Pipeline;
use super::operations;

operations! { "assets"
    /// How far the pipelines are with a chain. Those that have not begun it are left out.
    "cursors" Cursors {
        /// EIP-155 chain id.
        chain_id: u64,
    } -> Vec<Cursor>;
}

/// How far a pipeline is with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The pipeline, of which each has a cursor of its own for each chain.
    pub pipeline: Pipeline,
    /// Number of the collector's last update that it took.
    pub step: u64,
    /// Number of the highest block that it knows of.
    pub height: u64,
    /// Events that it took in all.
    pub events: u64,
    /// Events in all that it could not take and dead-lettered.
    pub dead_letters: u64,
    /// Why it stands still, if it does, for people.
    #[serde(rename = "trouble")]
    pub last_error: Option<String>,
}
