//! The file of deployed contracts, as `contracts/script/Deploy.s.sol` writes it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::paths::short;

/// What was deployed on one chain; a file of somebody else's contracts may lack some.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// EIP-155
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
    /// `0x…`
    pub address: String,
    /// No event before it.
    pub start_block: u64,
}

impl Contracts {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} can't be read", short(file)))?;
        let read: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no list of contracts as Deploy.s.sol writes it", short(file)))?;
        for contract in read.list() {
            let digits = contract.address.strip_prefix("0x").unwrap_or_default();
            let well = digits.len() == 40 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
            ensure!(well, "{}: {:?} is no address", short(file), contract.address);
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
