//! The chains of the configuration: watched by the collector, and asked by other domains.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use alloy_primitives::Address;
use nepto_kit::address;
use nepto_kit::config::{Config, ConfigError, Section};
use nepto_kit::fetch::Url;
use nepto_proto::api::assets::ContractKind;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Every `[[chains]]`; none by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Chains(Vec<Chain>);

impl Deref for Chains {
    type Target = [Chain];

    fn deref(&self) -> &[Chain] {
        &self.0
    }
}

impl Chains {
    /// The chain of this id (EIP-155).
    pub fn get(&self, id: u64) -> Option<&Chain> {
        self.iter().find(|chain| chain.id == id)
    }
}

/// A chain, its nodes, and the contracts on it that matter here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// The EIP-155 id, which every node must confirm.
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
    /// The contracts whose events are collected.
    #[serde(default, deserialize_with = "contracts")]
    pub contracts: Vec<Contract>,
    /// Webhooks of providers, which make the watcher look at once.
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

impl Endpoint {
    fn url(&self) -> Option<Url> {
        self.0.parse().ok()
    }

    /// Whether it is an address with a host and one of these schemes.
    fn speaks(&self, schemes: [&str; 2]) -> bool {
        self.url().is_some_and(|url| schemes.contains(&url.scheme()) && url.has_host())
    }
}

/// When a block is final: a number of blocks on top, or the word of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`finalized`, `safe`, or a number of blocks was expected")]
pub enum Finality {
    /// So many blocks on top.
    Depth(u64),
    /// When the nodes give a block this tag.
    Tag(Tag),
}

impl Default for Finality {
    fn default() -> Self {
        Self::Tag(Tag::Finalized)
    }
}

/// A block tag of Ethereum's JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// Two thirds of the stake vouch for it.
    Finalized,
    /// Earlier than `finalized`, and weaker.
    Safe,
}

/// How receipts are encoded in the trie whose root the header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// As Ethereum does: a type byte (EIP-2718), then status, gas, bloom filter and logs.
    #[default]
    Ethereum,
    /// As the OP stack does: receipts of deposits also carry a nonce and a version.
    Optimism,
    /// In another way: nothing is proven, and the answers of all endpoints are compared.
    Unknown,
}

/// A contract that is watched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Its address. In mixed case it must have the right checksum (EIP-55).
    #[serde(deserialize_with = "address_without_typo")]
    pub address: Address,
    /// What it is expected to be, and so which events are collected.
    pub kind: ContractKind,
    /// The block that it was deployed in, or any before: what happened earlier is not collected.
    pub start_block: u64,
}

/// Contracts; what is wrong with one is said with its address, or its position where it has none.
fn contracts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Contract>, D::Error> {
    let tables = Vec::<toml::Table>::deserialize(deserializer)?;
    let read = |(index, table): (usize, toml::Table)| {
        let name = match table.get("address") {
            Some(toml::Value::String(address)) => address.clone(),
            _ => format!("number {}", index + 1),
        };
        let contract = table.try_into::<Contract>();
        contract.map_err(|error| D::Error::custom(format!("contract {name}: {}", error.to_string().trim_end())))
    };
    tables.into_iter().enumerate().map(read).collect()
}

/// An address. In mixed case it has a checksum (EIP-55), which must be right.
pub fn address_without_typo<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let address: Address =
        digits.parse().map_err(|_| D::Error::custom("0x and 40 hexadecimal digits were expected"))?;
    let has = |is: fn(&char) -> bool| digits.chars().any(|digit| is(&digit));
    let is_mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase);
    if is_mixed && address.to_checksum(None).trim_start_matches("0x") != digits {
        return Err(D::Error::custom("the checksum is wrong (EIP-55); a digit was mistyped, or a letter's case"));
    }
    Ok(address)
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
    /// Notify webhooks of Alchemy, which it signs.
    Alchemy,
}

impl Section for Chains {
    const NAME: &'static str = "chains";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: String| Err(ConfigError::value(field, problem));
        let mut ids = BTreeSet::new();
        let mut hooks = BTreeSet::new();
        for chain in self.iter() {
            if chain.id == 0 {
                return bad("chains.id", "must be the EIP-155 id of a chain; 0 is none".to_owned());
            }
            if !ids.insert(chain.id) {
                return bad("chains.id", format!("chain {} stands there twice", chain.id));
            }
            if chain.rpc.is_empty() || !chain.rpc.iter().all(|endpoint| endpoint.speaks(["http", "https"])) {
                let problem = format!("chain {} needs addresses of nodes like https://node.example.org", chain.id);
                return bad("chains.rpc", problem);
            }
            let mut nodes = BTreeSet::new();
            // one node under two names would agree with itself
            if let Some(twice) = chain.rpc.iter().find(|endpoint| !nodes.insert(endpoint.url())) {
                return bad("chains.rpc", format!("chain {}: {twice:?} stands there twice", chain.id));
            }
            if !chain.ws.iter().all(|endpoint| endpoint.speaks(["ws", "wss"])) {
                return bad("chains.ws", format!("chain {}: addresses like wss://node.example.org", chain.id));
            }
            if !(1..=100_000).contains(&chain.window_blocks) {
                return bad("chains.window_blocks", format!("chain {}: 1 to 100000", chain.id));
            }
            if chain.poll_ms == 0 || chain.concurrency_max == 0 || chain.timeout_ms == 0 {
                return bad(
                    "chains",
                    format!("chain {}: poll_ms, concurrency_max and timeout_ms must not be 0", chain.id),
                );
            }
            let mut addresses = BTreeSet::new();
            if let Some(twice) = chain.contracts.iter().find(|contract| !addresses.insert(contract.address)) {
                let problem = format!("chain {}: contract {} stands there twice", chain.id, twice.address);
                return bad("chains.contracts", problem);
            }
            for hook in &chain.hooks {
                let is_token = hook.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                if hook.id.is_empty() || !is_token || !hooks.insert(&hook.id) {
                    return bad(
                        "chains.hooks.id",
                        format!("chain {}: letters, digits, - and _, each id once", chain.id),
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Declared;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, [], &[Declared::of::<Chains>()])
    }

    const CHAIN: &str = "[[chains]]\nid = 1\nrpc = [\"https://eth.example.org/v2/s3cret\"]\n";

    #[test]
    fn a_chain_is_read_with_its_defaults_and_shown_without_its_key() {
        let text = format!(
            "{CHAIN}finality = 12\n[[chains.contracts]]\nkind = \"erc721\"\nstart_block = 7\n\
             address = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\n"
        );
        let config = parse(&text).unwrap();
        let [chain] = &config.section::<Chains>()[..] else { panic!("one chain") };
        assert_eq!((chain.finality, chain.window_blocks), (Finality::Depth(12), 256));
        assert_eq!(chain.contracts[0].kind, ContractKind::Erc721);
        let shown = format!("{config:?}");
        assert!(shown.contains("https://eth.example.org") && !shown.contains("s3cret"), "{shown}");
        let safe = parse(&format!("{CHAIN}finality = \"safe\"\n")).unwrap();
        assert_eq!(safe.section::<Chains>()[0].finality, Finality::Tag(Tag::Safe));
    }

    #[test]
    fn chains_that_make_no_sense_are_refused() {
        for (text, field) in [
            ("[[chains]]\nid = 1\nrpc = []\n".to_owned(), "chains.rpc"),
            ("[[chains]]\nid = 1\nrpc = [\"eth.example.org\"]\n".to_owned(), "chains.rpc"),
            (format!("{CHAIN}{CHAIN}"), "chains.id"),
            (format!("{CHAIN}window_blocks = 0\n"), "chains.window_blocks"),
            (format!("{CHAIN}poll_ms = 0\n"), "poll_ms"),
            (
                format!("{CHAIN}[[chains.hooks]]\nid = \"a/b\"\nprovider = \"alchemy\"\nsigning_key_file = \"k\"\n"),
                "chains.hooks.id",
            ),
            ("[[chains]]\nid = 0\nrpc = [\"http://x\"]\n".to_owned(), "chains.id"),
            ("[[chains]]\nid = 1\nrpc = [\"http://\"]\n".to_owned(), "chains.rpc"),
            ("[[chains]]\nid = 1\nrpc = [\"http://x\"]\nws = [\"wss://\"]\n".to_owned(), "chains.ws"),
            ("[[chains]]\nid = 1\nrpc = [\"http://x/key\", \"http://X:80/key\"]\n".to_owned(), "http://X:80 stands"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
        let two_keys = "[[chains]]\nid = 1\nrpc = [\"http://x/key\", \"http://x/other\"]\n";
        assert!(parse(two_keys).is_ok(), "two customers of one provider");
    }

    #[test]
    fn what_finality_may_be_is_said() {
        for wrong in ["\"latest\"", "-5", "true"] {
            let error = parse(&format!("{CHAIN}finality = {wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("`finalized`, `safe`, or a number of blocks"), "{error}");
            assert!(error.contains("chains.finality") && !error.contains("untagged"), "{error}");
        }
    }

    fn contract(address: &str, more: &str) -> String {
        format!("[[chains.contracts]]\naddress = \"{address}\"\nstart_block = 1\n{more}\n")
    }

    #[test]
    fn an_address_may_not_have_a_typo() {
        let right = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        let lower = right.to_lowercase();
        for good in [right, &lower, &right.to_uppercase().replace('X', "x"), &right[2..]] {
            let config = parse(&format!("{CHAIN}{}", contract(good, "kind = \"erc20\""))).unwrap();
            assert_eq!(config.section::<Chains>()[0].contracts[0].address.to_string(), right);
        }
        for bad in ["0x5fbDB2315678afecb367f032d93F642f64180aa3", "0x5FbDB2315678afecb367f032d93F642f64180aa4"] {
            let text = format!("{CHAIN}{}", contract(bad, "kind = \"erc20\""));
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("EIP-55"), "{error}");
        }
    }

    #[test]
    fn it_is_said_which_contract_is_wrong() {
        let [first, second] =
            ["0x5FbDB2315678afecb367f032d93F642f64180aa3", "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512"];
        let good = format!("{CHAIN}{}", contract(first, "kind = \"erc20\""));
        for (more, said) in [
            (contract(second, "kind = \"erc777\""), second),
            (contract(second, ""), second),
            (contract("0xe7f1", "kind = \"erc20\""), "0xe7f1"),
            (contract(first, "kind = \"erc721\""), first),
            ("[[chains.contracts]]\nkind = \"erc20\"\n".to_owned(), "number 2"),
        ] {
            let error = parse(&format!("{good}{more}")).unwrap_err().to_string();
            assert!(error.contains(&format!("contract {said}")) && error.contains("chains.contracts"), "{error}");
        }
    }
}
