//! The question to a wallet, as the data of one `eth_call` without a recipient, and what its answer says.
//!
//! `contracts/src/SignatureCheck.sol` asks: it makes the wallet first where that has to be, and its bounds keep a wallet that
//! burns all gas or answers with a megabyte from doing harm.

use std::sync::LazyLock;

use alloy_primitives::{Address, Bytes, U256, eip191_hash_message, hex};
use alloy_sol_types::SolValue;
use serde_json::{Value, json};

use super::erc6492::{Malformed, unwrap};
use super::{BlockId, Claim};
use crate::rpc::RpcError;

/// Gas for all of it: a wallet with passkeys takes one million, the making of a large one five. A transaction has 16.7
/// million (EIP-7825), and nodes that know no bound for calls stop here.
const GAS: u64 = 15_000_000;

static CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| hex::decode(include_str!("check.hex").trim_ascii_end()).unwrap_or_default());

/// What a wallet answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is its signature.
    Yes,
    /// It is not, or the wallet has no sensible answer.
    No,
    /// There is no contract at the address.
    NoCode,
    /// The call that should make the wallet did not.
    NotMade,
}

impl Answer {
    /// What it means for the signature.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "it is",
            Self::No => "the contract there does not say yes",
            Self::NoCode => "its key did not sign, and there is no contract at this address",
            Self::NotMade => "the call that should make its contract did not",
        }
    }

    /// Reads what `eth_call` answered: one word. Anything else is no answer.
    pub fn read(answer: &str) -> Result<Self, RpcError> {
        let data: Bytes = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
        let word = <[u8; 32]>::try_from(data.as_ref()).map_err(|_| RpcError::unreadable("not one word"))?;
        match U256::from_be_bytes(word).try_into() {
            Ok(0u64) => Ok(Self::No),
            Ok(1) => Ok(Self::Yes),
            Ok(2) => Ok(Self::NoCode),
            Ok(3) => Ok(Self::NotMade),
            _ => Err(RpcError::unreadable("an unknown word")),
        }
    }
}

/// A question that can be put to any node.
pub struct Question(Bytes);

impl Question {
    /// Whether the contract at the wallet's address calls the signature under the text its own.
    pub fn new(claim: &Claim<'_>) -> Result<Self, Malformed> {
        let (creation, signature) = unwrap(claim.signature)?;
        let (factory, call) = match creation {
            Some(creation) => (creation.factory, creation.call),
            None => (Address::ZERO, Bytes::new()),
        };
        let arguments = (claim.wallet, eip191_hash_message(claim.text), signature, factory, call);
        Ok(Self([CODE.as_slice(), &arguments.abi_encode_params()].concat().into()))
    }

    /// Parameters of `eth_call` at a block of this hash, and of no other branch ([EIP-1898]).
    ///
    /// [EIP-1898]: https://eips.ethereum.org/EIPS/eip-1898
    pub fn by_hash(&self, block: BlockId) -> Value {
        json!([self.call(), { "blockHash": block.hash, "requireCanonical": true }])
    }

    /// The same for nodes that know blocks by their height alone.
    pub fn by_number(&self, block: BlockId) -> Value {
        json!([self.call(), format!("{:#x}", block.number)])
    }

    fn call(&self) -> Value {
        json!({ "data": self.0, "gas": format!("{GAS:#x}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn answers_are_one_word() {
        let word = |byte: u8| format!("\"0x{}{byte:02x}\"", "00".repeat(31));
        let known = [Answer::No, Answer::Yes, Answer::NoCode, Answer::NotMade];
        for (byte, answer) in known.into_iter().enumerate() {
            assert_eq!(Answer::read(&word(byte as u8)), Ok(answer));
        }
        let (other, long) = (word(4), format!("\"0x{}01\"", "00".repeat(63)));
        let large = format!("\"0x01{}01\"", "00".repeat(30));
        for no_answer in [&other, &long, &large, "\"0x\"", "\"0x01\"", "null", "true", ""] {
            assert!(matches!(Answer::read(no_answer), Err(RpcError::Failed(_))), "{no_answer}");
        }
    }

    /// The code that is asked with is what the compiler makes of the contract.
    #[test]
    fn the_code_is_that_of_the_contract() {
        let folder = std::env::var_os("NEPTO_CONTRACTS").map(PathBuf::from);
        let folder = folder.expect("no compiled contracts: `cargo xtask test` says in NEPTO_CONTRACTS where they are");
        let text = std::fs::read(folder.join("SignatureCheck.sol/SignatureCheck.json")).unwrap();
        let compiled: Value = serde_json::from_slice(&text).unwrap();
        let code = compiled["bytecode"]["object"].as_str().unwrap();
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap();
        let path = package.join("src/signature/check.hex");
        if std::env::var_os("NEPTO_UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{code}\n")).unwrap();
        }
        let ours = std::fs::read_to_string(&path).unwrap();
        assert!(ours.trim_end() == code, "{} is out of step; run with NEPTO_UPDATE_DOCS=1", path.display());
        assert_eq!(CODE.len(), (code.len() - 2) / 2);
    }
}
