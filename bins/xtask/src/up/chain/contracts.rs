//! The file of deployed contracts, as `contracts/script/Deploy.s.sol` writes it.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::paths::short;

/// What was deployed on one chain; a file of somebody else's contracts may lack some.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// The EIP-155 id of that chain.
    pub chain_id: u64,
    /// No contract has an event before it.
    pub start_block: u64,
    pub token: Option<String>,
    pub staking: Option<String>,
    pub pass: Option<String>,
    pub badge: Option<String>,
    pub multisender: Option<String>,
}

/// One of them, as the server's configuration says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// What it is.
    pub kind: &'static str,
    /// Its address, `0x` and 40 hexadecimal digits.
    pub address: String,
    /// No event before it.
    pub start_block: u64,
}

/// What the server can watch: its `kind`.
const KINDS: [&str; 6] = ["token", "erc20", "erc721", "erc1155", "staking", "multisend"];

impl FromStr for Contract {
    type Err = String;

    /// As `--contract` says it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a kind, an address, and the block that it was deployed in, like erc20=0x…@7";
        let (kind, rest) = text.split_once('=').ok_or(FORM)?;
        let (address, start_block) = rest.split_once('@').ok_or(FORM)?;
        let known = KINDS.into_iter().find(|known| *known == kind);
        let kind = known.ok_or_else(|| format!("{kind:?} is none of {}", KINDS.join(", ")))?;
        if !is_address(address) {
            return Err(format!("{address:?} is no address"));
        }
        let start_block = start_block.parse().map_err(|_| format!("{start_block:?} is no number of a block"))?;
        Ok(Self { kind, address: address.to_owned(), start_block })
    }
}

fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    digits.len() == 40 && digits.chars().all(|digit| digit.is_ascii_hexdigit())
}

impl Contracts {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} can't be read", short(file)))?;
        let read: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no list of contracts as Deploy.s.sol writes it", short(file)))?;
        for contract in read.list() {
            ensure!(is_address(&contract.address), "{}: {:?} is no address", short(file), contract.address);
        }
        Ok(read)
    }

    /// All that are there.
    pub fn list(&self) -> Vec<Contract> {
        let all = [
            ("erc20", &self.token),
            ("erc721", &self.pass),
            ("erc1155", &self.badge),
            ("staking", &self.staking),
            ("multisend", &self.multisender),
        ];
        let there = all.into_iter().filter_map(|(kind, address)| {
            let address = address.clone()?;
            Some(Contract { kind, address, start_block: self.start_block })
        });
        there.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

    fn read(text: &str) -> Result<Contracts> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Contracts::read(file.path())
    }

    #[test]
    fn those_that_are_there_are_listed() {
        let text = format!(r#"{{ "chain_id": 10, "start_block": 7, "token": "{TOKEN}" }}"#);
        let token = Contract { kind: "erc20", address: TOKEN.to_owned(), start_block: 7 };
        assert_eq!(read(&text).unwrap().list(), [token]);
    }

    #[test]
    fn one_more_is_read_from_the_command_line() {
        let more = Contract { kind: "erc721", address: TOKEN.to_owned(), start_block: 7 };
        assert_eq!(format!("erc721={TOKEN}@7").parse(), Ok(more));
        for (text, said) in [
            (TOKEN.to_owned(), "like erc20"),
            (format!("erc20={TOKEN}"), "like erc20"),
            (format!("erc777={TOKEN}@7"), "none of token, erc20"),
            ("erc20=0x5FbDB@7".to_owned(), "no address"),
            (format!("erc20={TOKEN}@latest"), "no number"),
        ] {
            let error = text.parse::<Contract>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (text, said) in [
            (r#"{ "chain_id": 1, "start_block": 7, "token": "0x5FbDB" }"#, "no address"),
            (r#"{ "chain_id": 1, "token": null }"#, "Deploy.s.sol"),
            (r#"{ "chain_id": 1, "start_block": 7, "tocken": "0x" }"#, "Deploy.s.sol"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
