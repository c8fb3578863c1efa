//! What answers and events say about what is held, as enumerations: stored and written by the same names.

use crate::kinds::kinds;
use crate::svc::collector::Pipeline;

kinds! {
    /// By which events of a contract something is held.
    Standard {
        /// ERC-20: amounts that are all alike.
        Erc20 = "erc20",
        /// ERC-721: tokens of which each is one.
        Erc721 = "erc721",
        /// ERC-1155: amounts of many tokens.
        Erc1155 = "erc1155",
        /// The events of Synthetix' StakingRewards.
        Staking = "staking",
        /// The events of the MultiSender, by which nothing is ever held.
        Multisend = "multisend",
    }

    /// A standard of tokens, to choose from what a contract of kind `token` may be.
    TokenStandard {
        /// ERC-20.
        Erc20 = "erc20",
        /// ERC-721.
        Erc721 = "erc721",
        /// ERC-1155.
        Erc1155 = "erc1155",
    }

    /// What the operator declared a contract to be.
    ContractKind {
        /// A token of the kind, or the kinds, that its events tell.
        Token = "token",
        /// ERC-20.
        Erc20 = "erc20",
        /// ERC-721.
        Erc721 = "erc721",
        /// ERC-1155.
        Erc1155 = "erc1155",
        /// Staking with the events of Synthetix' StakingRewards.
        Staking = "staking",
        /// Nepto's MultiSender: payments with a message.
        Multisend = "multisend",
    }

    /// In which way something is held.
    BalanceKind {
        /// In the wallet.
        Held = "held",
        /// In a staking contract.
        Staked = "staked",
        /// Paid by a staking contract, all rewards so far.
        Rewarded = "rewarded",
    }

    /// What became of a recipient's part of a message.
    PartOutcome {
        /// The recipient has it.
        Paid = "paid",
        /// The recipient opted out, or the token refused them; the sender kept it.
        Skipped = "skipped",
        /// The recipient could not take it, and can fetch it from the MultiSender.
        Credited = "credited",
    }

    /// What became of a transaction.
    TransactionState {
        /// In no block.
        Pending = "pending",
        /// In a block that may still be orphaned.
        Mined = "mined",
        /// In a block that stays.
        Final = "final",
        /// Another transaction took its place for good: it can't be mined any more.
        Dropped = "dropped",
    }
}

impl From<Pipeline> for Standard {
    fn from(pipeline: Pipeline) -> Self {
        match pipeline {
            Pipeline::Erc20 => Self::Erc20,
            Pipeline::Erc721 => Self::Erc721,
            Pipeline::Erc1155 => Self::Erc1155,
            Pipeline::Staking => Self::Staking,
            Pipeline::Multisend => Self::Multisend,
        }
    }
}

impl From<TokenStandard> for Pipeline {
    fn from(standard: TokenStandard) -> Self {
        match standard {
            TokenStandard::Erc20 => Self::Erc20,
            TokenStandard::Erc721 => Self::Erc721,
            TokenStandard::Erc1155 => Self::Erc1155,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_and_its_standard_have_one_name() {
        for pipeline in Pipeline::ALL {
            assert_eq!(Standard::from(pipeline).as_str(), pipeline.as_str());
        }
        for standard in TokenStandard::ALL {
            assert_eq!(Pipeline::from(standard).as_str(), standard.as_str());
        }
    }
}
