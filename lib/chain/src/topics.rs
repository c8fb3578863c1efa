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
    /// A transfer of ERC-20 (the amount is data) or ERC-721 (the token's id is the fourth topic).
    TRANSFER = "Transfer(address,address,uint256)";
    /// ERC-2309: a range of ERC-721 tokens at once.
    CONSECUTIVE_TRANSFER = "ConsecutiveTransfer(uint256,uint256,address,address)";
    /// ERC-1155: an amount of one id.
    TRANSFER_SINGLE = "TransferSingle(address,address,address,uint256,uint256)";
    /// ERC-1155: amounts of several ids at once.
    TRANSFER_BATCH = "TransferBatch(address,address,address,uint256[],uint256[])";
    /// Staking, as in Synthetix' StakingRewards: an account put tokens in.
    STAKED = "Staked(address,uint256)";
    /// Staking: an account took tokens out.
    WITHDRAWN = "Withdrawn(address,uint256)";
    /// Staking: an account was paid its reward.
    REWARD_PAID = "RewardPaid(address,uint256)";
    /// Staking: the owner added rewards for all.
    REWARD_ADDED = "RewardAdded(uint256)";
    /// MultiSender: a batch was sent.
    MESSAGE_SENT = "MessageSent(uint256,address,address,bytes32,string)";
    /// MultiSender: a recipient got their part of a batch.
    PAID = "Paid(uint256,address,uint256)";
    /// MultiSender: a recipient got nothing, and the sender kept that part.
    SKIPPED = "Skipped(uint256,address,uint256)";
    /// MultiSender: a recipient could not take ether, and can fetch it.
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
