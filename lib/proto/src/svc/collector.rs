//! What `collector` answers: the updates and gaps of chains.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::operations;
use crate::kinds::kinds;

kinds! {
    /// Who takes the events of one kind of contract: a durable consumer of its own for every chain. In the order of
    /// `nats/streams.toml`.
    Pipeline {
        /// ERC-20: fungible tokens.
        Erc20 = "erc20",
        /// ERC-721: tokens of which each is one.
        Erc721 = "erc721",
        /// ERC-1155: tokens of many kinds.
        Erc1155 = "erc1155",
        /// Synthetix' StakingRewards: stakes and rewards.
        Staking = "staking",
        /// Nepto's MultiSender: messages with payments.
        Multisend = "multisend",
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
