//! What a new account costs. Who has one already is never asked.

use alloy_primitives::{Address, U256};
use nepto_kit::config::{Config, ConfigError, Section};
use serde::Deserialize;

use crate::chains::{Chains, address_without_typo};

/// What a new account costs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignUp {
    /// What a wallet without an account must show. An invite is as good as any other proof.
    pub proof: Proof,
    /// EIP-155: where a balance, an NFT or transactions are looked for. It must stand in `[[chains]]`.
    pub chain: u64,
    /// Of `balance`: an ERC-20 token, else it is the chain's own coin. Of `nft`: the collection.
    #[serde(deserialize_with = "optional_address")]
    pub contract: Option<Address>,
    /// Of `nft`: the one token of an ERC-1155 collection that counts, decimal. Else it is an ERC-721.
    #[serde(deserialize_with = "optional_amount")]
    pub token: Option<U256>,
    /// Of `balance`: base units, decimal. Of `nft`: tokens. Of `age`: transactions.
    #[serde(deserialize_with = "amount")]
    pub at_least: U256,
    /// A balance and an NFT must have been there so many blocks ago as well, so that one can't go from wallet to wallet in a
    /// minute. Nodes keep the state of their last hundred blocks.
    pub held_blocks: u64,
    /// Of `age`: the transactions are older than this. The nodes must be archives.
    pub age_days: u32,
    /// New accounts of one address (of IPv6: a /64).
    pub accounts_per_address_per_hour: u32,
    /// The same for a day.
    pub accounts_per_address_per_day: u32,
    /// New accounts of one prefix: a /24 of IPv4, a /48 of IPv6.
    pub accounts_per_prefix_per_hour: u32,
    /// The same for a day.
    pub accounts_per_prefix_per_day: u32,
}

/// What a wallet without an account must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// No proof: every wallet can sign up.
    None,
    /// An invite code of the operator.
    Invite,
    /// Money on a chain.
    Balance,
    /// A token of a collection.
    Nft,
    /// That it has been used for some time.
    Age,
}

impl Default for SignUp {
    fn default() -> Self {
        Self {
            proof: Proof::None,
            chain: 1,
            contract: None,
            token: None,
            at_least: U256::ONE,
            held_blocks: 64,
            age_days: 90,
            accounts_per_address_per_hour: 20,
            accounts_per_address_per_day: 60,
            accounts_per_prefix_per_hour: 60,
            accounts_per_prefix_per_day: 200,
        }
    }
}

impl SignUp {
    /// Whether nodes are asked.
    pub fn asks_a_chain(&self) -> bool {
        matches!(self.proof, Proof::Balance | Proof::Nft | Proof::Age)
    }
}

fn optional_address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    address_without_typo(deserializer).map(Some)
}

fn amount<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let amount = is_decimal.then(|| U256::from_str_radix(&text, 10).ok()).flatten();
    amount.ok_or_else(|| serde::de::Error::custom("a decimal number in quotation marks was expected"))
}

fn optional_amount<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<U256>, D::Error> {
    amount(deserializer).map(Some)
}

impl Section for SignUp {
    const NAME: &'static str = "sign_up";

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if self.asks_a_chain() && config.section::<Chains>().get(self.chain).is_none() {
            return bad("sign_up.chain", "its nodes must stand in [[chains]]: they are asked what a wallet has");
        }
        if self.asks_a_chain() && self.at_least.is_zero() {
            return bad("sign_up.at_least", "everybody has 0; use proof = \"none\"");
        }
        if self.proof == Proof::Nft && self.contract.is_none() {
            return bad("sign_up.contract", "an NFT needs the address of its collection");
        }
        if self.token.is_some() && self.proof != Proof::Nft {
            return bad("sign_up.token", "only an NFT has one");
        }
        if self.proof == Proof::Age && self.age_days == 0 {
            return bad("sign_up.age_days", "must be at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Declared;

    use super::*;

    const SECTIONS: [Declared; 2] = [Declared::of::<Chains>(), Declared::of::<SignUp>()];

    #[test]
    fn a_proof_that_nobody_could_check_is_refused() {
        const CHAIN: &str = "[[chains]]\nid = 1\nrpc = [\"http://127.0.0.1:1\"]\n";
        let token = "contract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"";
        for (sign_up, chain, field) in [
            ("proof = \"balance\"".to_owned(), "", "sign_up.chain"),
            ("proof = \"age\"\nchain = 10".to_owned(), CHAIN, "sign_up.chain"),
            ("proof = \"balance\"\nat_least = \"0\"".to_owned(), CHAIN, "sign_up.at_least"),
            ("proof = \"balance\"\nat_least = \"1e18\"".to_owned(), CHAIN, "decimal"),
            ("proof = \"balance\"\nat_least = 7".to_owned(), CHAIN, "at_least"),
            ("proof = \"nft\"".to_owned(), CHAIN, "sign_up.contract"),
            (format!("proof = \"balance\"\ntoken = \"7\"\n{token}"), CHAIN, "sign_up.token"),
            (format!("proof = \"nft\"\n{}", token.replace("5Fb", "5fb")), CHAIN, "checksum"),
            ("proof = \"age\"\nage_days = 0".to_owned(), CHAIN, "sign_up.age_days"),
            ("proof = \"money\"".to_owned(), CHAIN, "proof"),
        ] {
            let error =
                Config::parse(&format!("[sign_up]\n{sign_up}\n{chain}"), [], &SECTIONS).unwrap_err().to_string();
            assert!(error.contains(field), "{sign_up}: {error}");
        }
        for good in ["proof = \"invite\"", "proof = \"balance\"\nat_least = \"1000000000000000000000\"", token] {
            Config::parse(&format!("[sign_up]\n{good}\n{CHAIN}"), [], &SECTIONS).unwrap();
        }
    }
}
