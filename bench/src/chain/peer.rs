//! Ponder over the same chain: its usual example of an ERC-20, which keeps a balance for each account.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::world::World;

/// As often as it does not wait any more.
const RPC_COPIES: &str = "16";

/// What `measure.mjs` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerFigures {
    pub peer: String,
    pub events: u64,
    pub seconds: f64,
    pub events_per_second: f64,
}

/// Installs it if need be, and lets it index everything.
pub async fn measure(world: &World) -> Result<PeerFigures> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ponder");
    if !folder.join("node_modules").exists() {
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .status()
            .await
            .context("npm is needed for the peer")?;
        ensure!(installed.success(), "the peer can't be installed in {}", folder.display());
    }
    let output = Command::new("node")
        .arg("measure.mjs")
        .args(["--rpc", &world.anvil.url(), "--token", &world.contracts.token.0.to_string()])
        .args(["--events", &world.events.to_string(), "--chain-id", &world.anvil.chain_id().to_string()])
        // it asks each name of a node at most twenty times a second
        .args(["--rpc-copies", RPC_COPIES])
        .current_dir(&folder)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("node is needed for the peer")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    figures.with_context(|| format!("the peer said no figures: {said}"))
}
