//! The events of token standards and of Nepto's contracts, by the first topic of their logs.

use std::sync::LazyLock;

use alloy_primitives::{B256, keccak256};

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $signature:literal;)+) => {
        $($(#[$doc])* #[doc = concat!("`", $signature, "`")]
        pub static $name: LazyLock<B256> = LazyLock::new(|| keccak256($signature));)+
    };
}

topics! {
    /// ERC-20 and ERC-721.
    TRANSFER = "Transfer(address,address,uint256)";
    /// ERC-2309: a range of ERC-721 tokens at once.
    CONSECUTIVE_TRANSFER = "ConsecutiveTransfer(uint256,uint256,address,address)";
    /// ERC-1155.
    TRANSFER_SINGLE = "TransferSingle(address,address,address,uint256,uint256)";
    /// ERC-1155.
    TRANSFER_BATCH = "TransferBatch(address,address,address,uint256[],uint256[])";
    /// Synthetix' StakingRewards.
    STAKED = "Staked(address,uint256)";
    /// Synthetix' StakingRewards.
    WITHDRAWN = "Withdrawn(address,uint256)";
    /// Synthetix' StakingRewards.
    REWARD_PAID = "RewardPaid(address,uint256)";
    /// Synthetix' StakingRewards.
    REWARD_ADDED = "RewardAdded(uint256)";
    /// MultiSender.
    MESSAGE_SENT = "MessageSent(uint256,address,address,bytes32,string)";
    /// MultiSender.
    PAID = "Paid(uint256,address,uint256)";
    /// MultiSender.
    SKIPPED = "Skipped(uint256,address,uint256)";
    /// MultiSender.
    CREDITED = "Credited(uint256,address,uint256)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_known_topic_is_what_everybody_knows() {
        assert_eq!(TRANSFER.to_string(), "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
    }
}
