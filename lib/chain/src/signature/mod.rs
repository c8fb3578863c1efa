//! Who signed a text: the key of an address, or the contract that is a wallet there ([ERC-1271]), also one that does not
//! exist yet ([ERC-6492]).
//!
//! What must hold:
//! - a signature by the key of the address itself needs no chain, whatever code is there: who has the key can replace that
//!   code at any time ([EIP-7702]);
//! - everything else is asked of the chain that the claim names, at one block, and of every endpoint at once;
//! - a yes counts if no endpoint that knows the block says anything else; a no, if more than half of all endpoints say it.
//!   What lies between is *unavailable*: it lets nobody in, and throws nobody out.
//!
//! [ERC-1271]: https://eips.ethereum.org/EIPS/eip-1271
//! [ERC-6492]: https://eips.ethereum.org/EIPS/eip-6492
//! [EIP-7702]: https://eips.ethereum.org/EIPS/eip-7702

mod erc6492;
mod on_chain;
mod pin;
mod question;
#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

pub use erc6492::{Creation, wrap};
pub use on_chain::{Nodes, OnChain};

/// A claim that a wallet signed a text, to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// EIP-155: where the wallet is, if it is a contract.
    pub chain_id: u64,
    /// The wallet that is said to have signed.
    pub wallet: Address,
    /// What was signed ([EIP-191](https://eips.ethereum.org/EIPS/eip-191)).
    pub text: &'a str,
    /// The signature, whatever its form.
    pub signature: &'a [u8],
}

/// Which block a contract is asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The newest that the endpoints have in common.
    Newest,
    /// The newest that is final, or a hundred blocks deep where what is final is older: if it is not below this height.
    Final {
        /// Where the contract said yes before.
        from: u64,
    },
}

/// Who made a signature that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The key of the address. That is so for ever.
    Key,
    /// The contract at the address says yes, at this block. It may say something else at a later one.
    Contract(BlockId),
}

/// A block, by which all nodes mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId {
    /// The height, for people and for comparing.
    pub number: u64,
    /// The hash, by which it is asked for (EIP-1898).
    pub hash: B256,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not by that wallet.
    #[error("the signature is not by {wallet}: {why}")]
    Invalid {
        /// Who should have signed.
        wallet: Address,
        /// What was looked at.
        why: String,
    },
    /// Not by the key of the address, and nobody can be asked whether a contract there says yes.
    #[error(
        "the key of {wallet} did not sign, and no node of chain {chain_id} is known, to ask whether it is a contract"
    )]
    NoNode {
        /// Who should have signed.
        wallet: Address,
        /// The chain that the claim names, by its EIP-155 id.
        chain_id: u64,
    },
    /// The chain did not answer, or not with one voice; nothing is known.
    #[error("chain {chain_id} could not be asked: {why}")]
    Unavailable {
        /// The chain's EIP-155 id.
        chain_id: u64,
        /// How the nodes failed or differed; English, for people.
        why: String,
    },
}

/// Checks the signatures of wallets.
#[async_trait]
pub trait SignatureVerifier: Send + Sync {
    /// Whether the claim holds at a moment.
    async fn verify(&self, claim: Claim<'_>, at: Moment) -> Result<Signer, SignatureError>;
}
