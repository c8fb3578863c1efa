//! What `collector` answers: the updates and gaps of chains.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::operations;

/// Who takes the events of one kind of contract: a durable consumer of its own for every chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// ERC-20: fungible tokens.
    Erc20,
    /// ERC-721: tokens of which each is one.
    Erc721,
    /// ERC-1155: tokens of many kinds.
    Erc1155,
    /// Synthetix' StakingRewards: stakes and rewards.
    Staking,
    /// Nepto's MultiSender: messages with payments.
    Multisend,
}

impl Pipeline {
    /// All, in the order of `nats/streams.toml`.
    pub const ALL: [Self; 5] = [Self::Erc20, Self::Erc721, Self::Erc1155, Self::Staking, Self::Multisend];

    /// Its name in consumers, subjects and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erc20 => "erc20",
            Self::Erc721 => "erc721",
            Self::Erc1155 => "erc1155",
            Self::Staking => "staking",
            Self::Multisend => "multisend",
        }
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Pipeline {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|pipeline| pipeline.as_str() == text).ok_or(())
    }
}

operations! { "collector"
    /// Asks for updates once more, from a number on; they come over the stream `CHAIN`, at most so many for each request.
    "replay_steps" ReplayUpdates {
        /// The pipeline that missed them.
        pipeline: Pipeline,
        /// EIP-155 chain id.
        chain_id: u64,
        /// The number of the first update that is wanted.
        from: u64,
    } -> Replayed;

    /// The older blocks that are still to be read for the contracts of a chain. Empty for a chain that is not watched.
    "find_gaps" FindGaps {
        /// EIP-155 chain id.
        chain_id: u64,
    } -> Vec<Gap>;
}

/// What [`ReplayUpdates`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Updates that were sent.
    pub sent: u64,
    /// The number of the last update of the chain.
    pub last: u64,
}

/// Blocks that are still to be read for a contract: what was in them is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The contract's address.
    pub contract: Address,
    /// Number of the first block.
    pub from: u64,
    /// Number of the last one.
    pub to: u64,
}
