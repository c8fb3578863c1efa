//! The chains that are watched.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use alloy_primitives::Address;
use serde::Deserialize;

use super::ConfigError;
use crate::address;

/// A chain, its nodes, and the contracts on it that matter here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// EIP-155.
    pub id: u64,
    /// Nodes or providers, `http` or `https`. Two of different operators can be compared, and one may fail.
    pub rpc: Vec<Endpoint>,
    /// The same over WebSocket, for earlier news. Nothing depends on it.
    #[serde(default)]
    pub ws: Vec<Endpoint>,
    /// When a block is final.
    #[serde(default)]
    pub finality: Finality,
    /// How receipts are encoded, so that they can be proven.
    #[serde(default)]
    pub receipts: Receipts,
    /// Blocks below the tip that may still be replaced.
    #[serde(default = "window_blocks")]
    pub window_blocks: u64,
    /// How often the nodes are asked for a new block.
    #[serde(default = "poll_ms")]
    pub poll_ms: u64,
    /// Requests to one endpoint at once, at most.
    #[serde(default = "concurrency_max")]
    pub concurrency_max: usize,
    /// An answer of an endpoint must be there in this time.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// What is watched.
    #[serde(default)]
    pub contracts: Vec<Contract>,
    /// Webhooks of providers.
    #[serde(default)]
    pub hooks: Vec<Hook>,
}

const fn window_blocks() -> u64 {
    256
}

const fn poll_ms() -> u64 {
    1_000
}

const fn concurrency_max() -> usize {
    16
}

const fn timeout_ms() -> u64 {
    15_000
}

/// The address of a node. It may hold a key, so it is shown without.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Endpoint(pub String);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // providers put the key into the path
        let shown = address::shown(&self.0);
        let (scheme, rest) = shown.split_once("://").unwrap_or(("", &shown));
        write!(f, "{scheme}://{}", rest.split('/').next().unwrap_or_default())
    }
}

/// When a block is final: a number of blocks on top, or the word of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Finality {
    /// So many blocks on top.
    Depth(u64),
    /// The nodes' tag.
    Tag(Tag),
}

impl Default for Finality {
    fn default() -> Self {
        Self::Tag(Tag::Finalized)
    }
}

/// A block tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// Two thirds of the stake vouch for it.
    Finalized,
    /// Earlier and weaker.
    Safe,
}

/// How receipts are encoded in the trie whose root the header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// As Ethereum does.
    #[default]
    Ethereum,
    /// As the OP stack does.
    Optimism,
    /// In another way: nothing is proven, and the answers of all endpoints are compared.
    Unknown,
}

/// A contract that is watched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub kind: Standard,
    /// The block that it was deployed in, or any before: what happened earlier is not collected.
    pub start_block: u64,
}

/// What a contract follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standard {
    /// A token of the kind that its events tell.
    Token,
    /// Fungible tokens.
    Erc20,
    /// Tokens of which each is one.
    Erc721,
    /// Tokens of many kinds.
    Erc1155,
    /// Synthetix' StakingRewards.
    Staking,
    /// Nepto's MultiSender.
    Multisend,
}

impl Standard {
    /// As it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Erc20 => "erc20",
            Self::Erc721 => "erc721",
            Self::Erc1155 => "erc1155",
            Self::Staking => "staking",
            Self::Multisend => "multisend",
        }
    }
}

/// A provider that tells of events by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The provider's id of the webhook, the last part of its address here.
    pub id: String,
    /// Whose form it has.
    pub provider: HookProvider,
    /// File with the key that the provider signs with.
    pub signing_key_file: PathBuf,
}

/// Whose webhooks are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookProvider {
    /// Alchemy Notify.
    Alchemy,
}

pub(super) fn check(chains: &[Chain]) -> Result<(), ConfigError> {
    let bad = |field, problem: String| Err(ConfigError::Value { field, problem });
    let mut ids = BTreeSet::new();
    let mut hooks = BTreeSet::new();
    for chain in chains {
        if !ids.insert(chain.id) {
            return bad("chains.id", format!("chain {} stands there twice", chain.id));
        }
        let speaks = |endpoints: &[Endpoint], schemes: [&str; 2]| {
            endpoints.iter().all(|endpoint| schemes.iter().any(|scheme| endpoint.0.starts_with(scheme)))
        };
        if chain.rpc.is_empty() || !speaks(&chain.rpc, ["http://", "https://"]) {
            return bad("chains.rpc", format!("chain {} needs http:// or https:// addresses of nodes", chain.id));
        }
        if !speaks(&chain.ws, ["ws://", "wss://"]) {
            return bad("chains.ws", format!("chain {}: ws:// or wss:// addresses", chain.id));
        }
        if !(1..=100_000).contains(&chain.window_blocks) {
            return bad("chains.window_blocks", format!("chain {}: 1 to 100000", chain.id));
        }
        if chain.poll_ms == 0 || chain.concurrency_max == 0 || chain.timeout_ms == 0 {
            return bad("chains", format!("chain {}: poll_ms, concurrency_max and timeout_ms must not be 0", chain.id));
        }
        let addresses: BTreeSet<_> = chain.contracts.iter().map(|contract| contract.address).collect();
        if addresses.len() < chain.contracts.len() {
            return bad("chains.contracts", format!("chain {}: a contract stands there twice", chain.id));
        }
        for hook in &chain.hooks {
            let is_token = hook.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if hook.id.is_empty() || !is_token || !hooks.insert(&hook.id) {
                return bad("chains.hooks.id", format!("chain {}: letters, digits, - and _, each id once", chain.id));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const CHAIN: &str = "[[chains]]\nid = 1\nrpc = [\"https://eth.example.org/v2/s3cret\"]\n";

    #[test]
    fn a_chain_is_read_with_its_defaults_and_shown_without_its_key() {
        let text = format!(
            "{CHAIN}finality = 12\n[[chains.contracts]]\nkind = \"erc721\"\nstart_block = 7\n\
             address = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\n"
        );
        let config = Config::parse(&text, []).unwrap();
        let [chain] = &config.chains[..] else { panic!("one chain") };
        assert_eq!((chain.finality, chain.window_blocks), (Finality::Depth(12), 256));
        assert_eq!(chain.contracts[0].kind, Standard::Erc721);
        let shown = format!("{config:?}");
        assert!(shown.contains("https://eth.example.org") && !shown.contains("s3cret"), "{shown}");
        let safe = Config::parse(&format!("{CHAIN}finality = \"safe\"\n"), []).unwrap();
        assert_eq!(safe.chains[0].finality, Finality::Tag(Tag::Safe));
    }

    #[test]
    fn chains_that_make_no_sense_are_refused() {
        for (text, field) in [
            ("[[chains]]\nid = 1\nrpc = []\n".to_owned(), "chains.rpc"),
            ("[[chains]]\nid = 1\nrpc = [\"eth.example.org\"]\n".to_owned(), "chains.rpc"),
            (format!("{CHAIN}{CHAIN}"), "chains.id"),
            (format!("{CHAIN}window_blocks = 0\n"), "chains.window_blocks"),
            (format!("{CHAIN}poll_ms = 0\n"), "poll_ms"),
            (format!("{CHAIN}finality = \"soon\"\n"), "finality"),
            (
                format!("{CHAIN}[[chains.hooks]]\nid = \"a/b\"\nprovider = \"alchemy\"\nsigning_key_file = \"k\"\n"),
                "chains.hooks.id",
            ),
        ] {
            let error = Config::parse(&text, []).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}
