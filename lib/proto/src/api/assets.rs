//! What is held on chains: `/v1/assets`. Amounts are base units, decimal, as strings: they exceed what JSON numbers hold.

use serde::{Deserialize, Serialize};

/// A contract that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contract {
    /// EIP-155.
    pub chain_id: u64,
    /// EIP-55.
    pub address: String,
    /// `erc20`, `erc721`, `erc1155`, `staking`, `multisend`, or `token` where its events tell.
    pub kind: String,
    /// What happened before is not known.
    pub start_block: u64,
}

/// The contracts that are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contracts {
    /// All of them.
    pub contracts: Vec<Contract>,
}

/// Something that a wallet holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holding {
    /// EIP-155.
    pub chain_id: u64,
    /// EIP-55.
    pub wallet: String,
    /// EIP-55.
    pub contract: String,
    /// Of an ERC-721 or ERC-1155, decimal. Without it: an amount of an ERC-20, the number of tokens of an ERC-721, a stake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `held`, `staked`, or `rewarded`: what was paid in rewards.
    pub what: String,
    /// Base units, decimal.
    pub amount: String,
}

/// What wallets hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holdings {
    /// Everything that is more than nothing.
    pub holdings: Vec<Holding>,
}

/// An amount at a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Balance {
    /// Base units, decimal. Less than nothing where the events of a contract do not add up.
    pub amount: String,
    /// At the end of this block.
    pub block: u64,
    /// Whether it can't change any more.
    pub is_final: bool,
}

/// The owner of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Owner {
    /// EIP-55.
    pub owner: String,
    /// The block of the transfer.
    pub since_block: u64,
    /// At the end of this block.
    pub block: u64,
    /// Whether the transfer can't be undone any more.
    pub is_final: bool,
}

/// What became of a provider's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HintsNoted {
    /// Logs that it told of; 0 for a delivery that was taken before.
    pub noted: u64,
}
