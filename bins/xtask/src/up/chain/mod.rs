//! The chain that Nepto watches: an anvil of ours with our contracts on it, or a real one.
//!
//! Our own keeps its blocks and contracts in `<data>/chain` from one start to the next. On a real one nothing is deployed
//! and nothing is spent.

mod contracts;
mod dev;
mod real;
mod rpc;

use std::path::PathBuf;

use clap::Args;

pub use contracts::{Contract, Contracts};
pub use dev::Dev;

use crate::paths::short;

/// Which chain is watched: one that is started for development, or one that exists.
#[derive(Debug, Args)]
pub struct Options {
    /// Port of the chain that is started for development
    #[arg(long, default_value_t = 18545, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "rpc")]
    pub chain_port: u16,
    /// JSON-RPC of a chain to watch, instead of starting one: nothing is deployed, nothing is spent
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// WebSocket of that chain, to hear of new blocks at once
    #[arg(long, value_name = "URL", requires = "rpc")]
    ws: Option<String>,
    /// The contracts to watch there, as contracts/script/Deploy.s.sol wrote them
    #[arg(long, value_name = "FILE", requires = "rpc")]
    contracts: Option<PathBuf>,
    /// A contract to watch besides, with the block that it was deployed in, for example erc20=0x…@7; any number of them
    #[arg(long = "contract", value_name = "KIND=ADDRESS@BLOCK")]
    pub more: Vec<Contract>,
}

impl Options {
    /// Whether a chain is to be started.
    pub const fn is_dev(&self) -> bool {
        self.rpc.is_none()
    }

    /// The chain at `--rpc`, if there is one: asks it for its id.
    pub fn real(&self) -> anyhow::Result<Option<Chain>> {
        self.rpc.as_ref().map(|rpc| real::find(rpc, self.ws.clone(), self.contracts.as_deref())).transpose()
    }
}

/// When a block is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// So many blocks on top of it.
    Blocks(u64),
    /// The chain says so.
    Finalized,
}

/// What the server is told, and the user.
#[derive(Debug)]
pub struct Chain {
    /// The chain's EIP-155 id.
    pub id: u64,
    /// The URL of its JSON-RPC.
    pub rpc: String,
    /// The same over a WebSocket.
    pub ws: Option<String>,
    /// When its blocks are final.
    pub finality: Finality,
    /// What is watched on it.
    pub contracts: Vec<Contract>,
    /// Where those are listed.
    file: Option<PathBuf>,
}

impl Chain {
    /// One without a WebSocket, and without a file.
    #[cfg(test)]
    pub fn new(id: u64, rpc: &str, finality: Finality, contracts: Vec<Contract>) -> Self {
        Self { id, rpc: rpc.to_owned(), ws: None, finality, contracts, file: None }
    }

    /// One line for who started us.
    pub fn summary(&self) -> String {
        let contracts = self.file.as_ref().map(|file| format!("; contracts in {}", short(file))).unwrap_or_default();
        format!("{} at {}{contracts}", self.id, without_secrets(&self.rpc))
    }
}

/// An address without its path and user, where providers put their customers' keys.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{}", if path.is_empty() { "" } else { "/…" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_addresses_are_not_shown() {
        for (url, shown) in [
            ("http://127.0.0.1:18545", "http://127.0.0.1:18545"),
            ("https://eth.example.org/v2/secret", "https://eth.example.org/…"),
            ("https://me:secret@eth.example.org/", "https://eth.example.org"),
            ("https://eth.example.org?key=secret", "https://eth.example.org/…"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
