//! What is held on chains.

use serde::{Deserialize, Serialize};

use crate::api::assets::{
    self, Balance, BalanceKind, Contracts, HeldTokens, History, Holders, Holdings, MessageWithParts, Owner, Payments,
    SentMessages, Token, TokenStandard, Transaction, Transactions,
};
use crate::api::endpoint::{path_parameters, query_parameters};
#[cfg(feature = "openapi")]
use crate::api::parameters;

path_parameters! {
    /// A wallet on a chain.
    WalletPath {
        /// The chain (EIP-155).
        chain_id: u64 as ChainId,
        /// The wallet's address (EIP-55), in any capitals.
        wallet: String as Address,
    }

    /// A contract that is watched.
    ContractPath {
        /// The chain (EIP-155).
        chain_id: u64 as ChainId,
        /// The contract's address (EIP-55), in any capitals.
        contract: String as Address,
    }

    /// A token of a contract.
    TokenPath {
        /// The chain (EIP-155).
        chain_id: u64 as ChainId,
        /// The contract's address (EIP-55), in any capitals.
        contract: String as Address,
        /// The token's id, decimal.
        token: String as Number,
    }

    /// A message of a MultiSender.
    MessagePath {
        /// The chain (EIP-155).
        chain_id: u64 as ChainId,
        /// The MultiSender's address (EIP-55), in any capitals.
        contract: String as Address,
        /// The message's number there, decimal.
        batch: String as Number,
    }

    /// A transaction that is looked after.
    TransactionPath {
        /// The chain (EIP-155).
        chain_id: u64 as ChainId,
        /// The transaction's hash.
        hash: String as Hash,
    }
}

query_parameters! {
    /// How certain an answer must be.
    Certainty {
        /// Only what can't change any more; without it, what was seen in the newest blocks as well.
        only_final: bool as Flag,
    }

    /// A page of a history.
    HistoryPage {
        /// Only changes in blocks below this one: the last `block` of the page before.
        below: u64 as Block,
        /// Changes of the page, 50 without it. The changes of its last block are all there, so there may be more.
        limit: usize as Limit,
    }

    /// Which thing of a contract, and which page of its holders.
    HoldersPage {
        /// A token of an ERC-721 or ERC-1155, decimal.
        token: String as Number,
        /// In which way it is held; `held` without it.
        what: BalanceKind as BalanceKind,
        /// Of a contract of kind `token` that is several at once. Without it, the first of these that it is.
        standard: TokenStandard as TokenStandard,
        /// The last wallet of the page before.
        after: String as Address,
        /// Holders of the page, 50 without it.
        limit: usize as Limit,
    }

    /// When.
    Moment {
        /// At the end of this block; now without it.
        at: u64 as Block,
    }

    /// A page of the tokens of an account.
    TokensPage {
        /// The `next` of the page before.
        after: String as TokenMark,
        /// Tokens of the page, 50 without it.
        limit: usize as Limit,
    }

    /// A page of messages.
    MessagesPage {
        /// The `next` of the page before.
        after: String as Number,
        /// Messages of the page, 50 without it.
        limit: usize as Limit,
    }

    /// A page of payments.
    PaymentsPage {
        /// The `next` of the page before.
        after: String as PaymentMark,
        /// Payments of the page, 50 without it.
        limit: usize as Limit,
    }
}

/// Whose, which thing of a contract, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct BalanceQuery {
    /// The holder's address (EIP-55), in any capitals.
    #[cfg_attr(feature = "openapi", param(value_type = parameters::Address, inline))]
    pub holder: String,
    /// A token of an ERC-721 or ERC-1155, decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = parameters::Number, required = false, inline))]
    pub token: Option<String>,
    /// In which way it is held; `held` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = BalanceKind, required = false, inline))]
    pub what: Option<BalanceKind>,
    /// Of a contract of kind `token` that is several at once. Without it, the first of these that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = TokenStandard, required = false, inline))]
    pub standard: Option<TokenStandard>,
    /// At the end of this block; now without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = parameters::Block, required = false, inline))]
    pub at: Option<u64>,
    /// Only what can't change any more; without it, what was seen in the newest blocks as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = parameters::Flag, required = false, inline))]
    pub only_final: Option<bool>,
}

crate::endpoints! {
    "assets"

    /// Lists the contracts that are watched.
    ///
    /// What happened before a contract's `start_block` is not known.
    Get "/v1/assets/contracts" => ListContracts {
        reply: Contracts,
        codes: [],
    }

    /// Lists what the wallets of the own account hold, on all chains.
    Get "/v1/assets/mine" => ListOwnHoldings {
        query: Certainty,
        reply: Holdings,
        codes: [AccountUnknown],
    }

    /// Lists what any wallet holds on a chain.
    Get "/v1/assets/{chain_id}/wallets/{wallet}" => ListHoldings {
        path: WalletPath,
        query: Certainty,
        reply: Holdings,
        codes: [ChainUnknown],
    }

    /// Lists what changed for a wallet on a chain, the newest first.
    ///
    /// All changes of a thing in one block are one entry. `too_large` means that hardly anything between here and the next entry
    /// counts: go on further below.
    Get "/v1/assets/{chain_id}/wallets/{wallet}/history" => ListChanges {
        path: WalletPath,
        query: HistoryPage,
        reply: History,
        codes: [ChainUnknown, TooLarge],
    }

    /// Says how much of something a wallet holds, now or at a block.
    ///
    /// The block must have been collected for the contract (`block_unknown`). `too_large` means that too much has changed for
    /// this holder since then: ask for a later block.
    Get "/v1/assets/{chain_id}/contracts/{contract}/balance" => GetBalance {
        path: ContractPath,
        query: BalanceQuery,
        reply: Balance,
        codes: [ChainUnknown, ContractUnknown, BlockUnknown, TooLarge],
    }

    /// Lists who holds something of a contract, by final blocks, in the order of addresses.
    ///
    /// Whoever grants something to holders looks at `is_complete` too.
    Get "/v1/assets/{chain_id}/contracts/{contract}/holders" => ListHolders {
        path: ContractPath,
        query: HoldersPage,
        reply: Holders,
        codes: [ChainUnknown, ContractUnknown],
    }

    /// Says who owns a token of an ERC-721, now or at a block.
    Get "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/owner" => GetOwner {
        path: TokenPath,
        query: Moment,
        reply: Owner,
        codes: [ChainUnknown, ContractUnknown, BlockUnknown, NotFound],
    }

    /// Lists the tokens that the wallets of the own account hold, with what is said about them.
    ///
    /// What is not known yet is `pending` and will be fetched: ask again in a few seconds.
    Get "/v1/assets/mine/tokens" => ListOwnTokens {
        query: TokensPage,
        reply: HeldTokens,
        codes: [AccountUnknown],
    }

    /// Shows a token, whoever holds it, and what is said about it.
    Get "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}" => GetToken {
        path: TokenPath,
        reply: Token,
        codes: [ChainUnknown, ContractUnknown, NotFound],
    }

    /// Finds out again what is said about a token.
    ///
    /// The answer is what is known until then. At most every ten seconds for a token.
    Post "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/refresh" => RefreshMetadata {
        path: TokenPath,
        reply: Token,
        status: 202,
        codes: [ChainUnknown, ContractUnknown, NotFound],
    }

    /// Gives the image of a token: PNG, JPEG, GIF, WebP or AVIF.
    ///
    /// It has an `ETag`; who sends it as `If-None-Match` is answered with 304 while it is the same. `image_pending` means that it is
    /// being fetched: ask again after `Retry-After`.
    Get "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/image" => GetTokenImage {
        path: TokenPath,
        gives: "image/*",
        codes: [ChainUnknown, ContractUnknown, NotFound, ImageUnavailable, ImagePending],
    }

    /// Looks after a transaction from now on, for a week or until it is final or dropped.
    Post "/v1/assets/transactions" => TrackTransaction {
        body: assets::TrackTransaction,
        reply: Transaction,
        codes: [ChainUnknown, TrackLimit, NotFound],
    }

    /// Lists the transactions that are looked after for the own account, the latest first.
    Get "/v1/assets/transactions" => ListTransactions {
        reply: Transactions,
        codes: [],
    }

    /// Shows one of the transactions that are looked after for the own account.
    Get "/v1/assets/{chain_id}/transactions/{hash}" => GetTransaction {
        path: TransactionPath,
        reply: Transaction,
        codes: [NotFound],
    }

    /// Lists the messages of a MultiSender, the newest first.
    Get "/v1/assets/{chain_id}/contracts/{contract}/messages" => ListMessages {
        path: ContractPath,
        query: MessagesPage,
        reply: SentMessages,
        codes: [ChainUnknown, ContractUnknown],
    }

    /// Shows a message of a MultiSender, with what each recipient got.
    Get "/v1/assets/{chain_id}/contracts/{contract}/messages/{batch}" => GetMessage {
        path: MessagePath,
        reply: MessageWithParts,
        codes: [ChainUnknown, ContractUnknown, NotFound],
    }

    /// Lists the payments with a message that a wallet got, the newest first.
    Get "/v1/assets/{chain_id}/wallets/{wallet}/payments" => ListPayments {
        path: WalletPath,
        query: PaymentsPage,
        reply: Payments,
        codes: [ChainUnknown],
    }
}
