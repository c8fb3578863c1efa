//! A chain that somebody else runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{Chain, Contracts, Finality, without_secrets};
use crate::paths::short;

/// Asks the address in `RPC` for its chain id, and prints the answer. Node can: this program has no TLS, so that it is
/// built in seconds.
const ASK: &str = r#"
const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
const headers = { "content-type": "application/json" };
fetch(process.env.RPC, { method: "POST", headers, body, signal: AbortSignal.timeout(15000) })
  .then(async (answer) => {
    const text = await answer.text();
    let result;
    try { result = JSON.parse(text).result; } catch {}
    if (typeof result !== "string") throw new Error(`it answers ${answer.status}: ${text.slice(0, 200)}`);
    console.log(result);
  })
  .catch((error) => { console.error(error.cause?.message ?? error.message); process.exitCode = 1; });
"#;

/// The chain at an address, with the contracts of a file.
pub fn find(rpc: &str, ws: Option<String>, file: Option<&Path>) -> Result<Chain> {
    let http = rpc.starts_with("http://") || rpc.starts_with("https://");
    ensure!(http, "--rpc is an address that begins with https:// or http://; a WebSocket goes to --ws");
    if let Some(ws) = &ws {
        ensure!(
            ws.starts_with("ws://") || ws.starts_with("wss://"),
            "--ws is an address that begins with wss:// or ws://"
        );
    }
    let id = chain_id(rpc)?;
    let contracts = match file {
        Some(file) => {
            let contracts = Contracts::read(file)?;
            let theirs = contracts.chain_id;
            ensure!(theirs == id, "{} is of chain {theirs}, and --rpc is chain {id}", short(file));
            contracts.list()
        }
        None => Vec::new(),
    };
    let file = file.map(Path::to_owned);
    Ok(Chain { id, rpc: rpc.to_owned(), ws, finality: Finality::Finalized, contracts, file })
}

fn chain_id(rpc: &str) -> Result<u64> {
    let output = Command::new("node").args(["-e", ASK]).env("RPC", rpc).output().context("Node.js can't be started")?;
    let shown = without_secrets(rpc);
    if !output.status.success() {
        bail!("no chain at {shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let id = String::from_utf8_lossy(&output.stdout);
    let digits = id.trim().strip_prefix("0x").unwrap_or_default();
    u64::from_str_radix(digits, 16).with_context(|| format!("{shown} says that its chain id is {}", id.trim()))
}
