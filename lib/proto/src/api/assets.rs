//! What is held on chains: `/v1/assets`. Amounts are base units, decimal, as strings: they exceed what JSON numbers hold.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

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
    /// Whether everything that it logged since is in what is said of it. Of a contract that came later, older blocks may still
    /// be read; and it may have logged what could not be read for certain. Until then nothing of these blocks is final.
    pub is_complete: bool,
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
    /// `erc20`, `erc721`, `erc1155` or `staking`: by which events of the contract.
    pub standard: String,
    /// Of an ERC-721 or ERC-1155, decimal. Without it: an amount of an ERC-20, the number of tokens of an ERC-721 (unless it is
    /// an ERC-20 too), a stake.
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
    /// Whether it is all. Of 10,000 things that a wallet holds on a chain, some may be left out, to be asked for one by one;
    /// and some contract of the chain may not be complete.
    pub is_complete: bool,
}

/// An amount at a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Balance {
    /// Base units, decimal. Less than nothing where the events of a contract do not add up.
    pub amount: String,
    /// `erc20`, `erc721`, `erc1155` or `staking`: by which events of the contract.
    pub standard: String,
    /// At the end of this block.
    pub block: u64,
    /// Whether it can't change any more.
    pub is_final: bool,
}

/// A change of something that a wallet holds, all that happened to it in one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// EIP-55.
    pub contract: String,
    /// `erc20`, `erc721`, `erc1155` or `staking`: by which events of the contract.
    pub standard: String,
    /// Of an ERC-721 or ERC-1155, decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `held`, `staked` or `rewarded`.
    pub what: String,
    /// Base units, decimal, with a sign.
    pub change: String,
    /// The other side, where there is exactly one; the zero address for what was made or destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// The hash of the transaction, of the first if there are several.
    pub transaction: String,
    /// The block.
    pub block: u64,
    /// Its time.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether it can't be undone any more.
    pub is_final: bool,
}

/// What changed, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct History {
    /// A page of it.
    pub changes: Vec<Change>,
}

/// Who holds something, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    /// EIP-55.
    pub wallet: String,
    /// Base units, decimal.
    pub amount: String,
}

/// Holders, in the order of their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holders {
    /// `erc20`, `erc721`, `erc1155` or `staking`: by which events of the contract.
    pub standard: String,
    /// A page of them; the next begins after the last wallet.
    pub holders: Vec<Holder>,
    /// Whether everything that the contract logged up to the final block is in it.
    pub is_complete: bool,
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
    /// Whether that can't change any more.
    pub is_final: bool,
}

/// A message that was sent on chain, with payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentMessage {
    /// EIP-155.
    pub chain_id: u64,
    /// The MultiSender that it went through; EIP-55.
    pub contract: String,
    /// Its number there, decimal.
    pub batch: String,
    /// EIP-55.
    pub sender: String,
    /// What was paid: an ERC-20, EIP-55; without it, ether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What its sender wrote. Nobody vouches for it; characters that could deceive are taken out.
    pub text: String,
    /// Of what the message stands for, chosen by its sender; hexadecimal.
    pub content_hash: String,
    /// The hash of the transaction.
    pub transaction: String,
    /// The block.
    pub block: u64,
    /// Its time.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether it can't be undone any more.
    pub is_final: bool,
}

/// What became of a recipient's part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PartOutcome {
    /// The recipient has it.
    Paid,
    /// The recipient opted out, or the token refused them; the sender kept it.
    Skipped,
    /// The recipient could not take it, and can fetch it from the MultiSender.
    Credited,
}

impl PartOutcome {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Skipped => "skipped",
            Self::Credited => "credited",
        }
    }
}

impl std::fmt::Display for PartOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PartOutcome {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Paid, Self::Skipped, Self::Credited].into_iter().find(|outcome| outcome.as_str() == text).ok_or(())
    }
}

/// A recipient's part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessagePart {
    /// EIP-55.
    pub recipient: String,
    /// Base units, decimal.
    pub amount: String,
    /// What became of it.
    pub outcome: PartOutcome,
}

/// A message with what each recipient got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageWithParts {
    /// The message.
    pub message: SentMessage,
    /// In the order of the payments, 1,000 at the most.
    pub parts: Vec<MessagePart>,
}

/// Messages of a MultiSender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentMessages {
    /// A page of them, the newest first.
    pub messages: Vec<SentMessage>,
    /// The `after` of the next page, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A payment with a message, as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payment {
    /// Base units, decimal.
    pub amount: String,
    /// What became of it.
    pub outcome: PartOutcome,
    /// The message that it came with.
    pub message: SentMessage,
}

/// Payments to a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payments {
    /// A page of them, the newest first.
    pub payments: Vec<Payment>,
    /// The `after` of the next page, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// In no block.
    Pending,
    /// In a block that may still be given up.
    Mined,
    /// In a block that stays.
    Final,
    /// Another transaction took its place for good: it can't be mined any more.
    Dropped,
}

impl TransactionState {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Mined => "mined",
            Self::Final => "final",
            Self::Dropped => "dropped",
        }
    }
}

impl std::fmt::Display for TransactionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for TransactionState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pending, Self::Mined, Self::Final, Self::Dropped]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// A transaction to look after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackTransaction {
    /// EIP-155.
    pub chain_id: u64,
    /// Its hash: `0x` and 64 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{64}$"))]
    pub hash: String,
}

/// A transaction that is looked after for a week, or until it is final or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transaction {
    /// EIP-155.
    pub chain_id: u64,
    /// Its hash.
    pub hash: String,
    /// What became of it.
    pub state: TransactionState,
    /// The block that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// Whether it did what it should; one that was reverted is in a block too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<bool>,
    /// In this state since.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// The latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transactions {
    /// At most 200.
    pub transactions: Vec<Transaction>,
}

/// What became of a provider's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HintsNoted {
    /// Logs that it told of; 0 for a delivery that was taken before.
    pub noted: u64,
}

/// Whether the description of a token is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetadataState {
    /// It is being fetched, or will be: ask again.
    Pending,
    /// It is known. If it could not be fetched anew, `problem` says why.
    Known,
    /// It could not be fetched; `problem` says why.
    Failed,
}

/// Why a description is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetadataReason {
    /// The nodes of the chain could not be asked.
    ChainUnavailable,
    /// The contract names no file for this token, or the token does not exist.
    NoUri,
    /// What the contract names is not fetched from here.
    Forbidden,
    /// The server that has it is not there, or does not answer.
    Unreachable,
    /// The server that has it does not give it.
    Refused,
    /// It is larger than allowed.
    TooLarge,
    /// It is not what it should be.
    Unreadable,
}

/// Why a description is not there, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetadataProblem {
    /// Stable; programs branch on it.
    pub reason: MetadataReason,
    /// For people.
    pub detail: String,
    /// Not before then, unless somebody asks for it.
    #[serde(with = "time::serde::rfc3339")]
    pub try_again_at: OffsetDateTime,
}

/// A property of a token, as its creators tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attribute {
    /// Empty where it has none.
    pub name: String,
    /// Numbers as they were written.
    pub value: String,
}

/// What the creators of a token say about it. Nobody vouches for it; characters that could deceive are taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Metadata {
    /// Whether it is known.
    pub state: MetadataState,
    /// On one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// May have several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The path of its image on this server, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// As many as are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// What the contract names; not if it holds the description itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// When it was fetched.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<OffsetDateTime>,
    /// Why it could not be fetched, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<MetadataProblem>,
}

/// A token of an ERC-721 or ERC-1155.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// EIP-155.
    pub chain_id: u64,
    /// EIP-55.
    pub contract: String,
    /// Decimal.
    pub token: String,
    /// Of an ERC-721, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What is said about it.
    pub metadata: Metadata,
}

/// A token that a wallet holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldToken {
    /// EIP-155.
    pub chain_id: u64,
    /// EIP-55.
    pub wallet: String,
    /// EIP-55.
    pub contract: String,
    /// Decimal.
    pub token: String,
    /// How many of it, decimal.
    pub amount: String,
    /// What is said about it.
    pub metadata: Metadata,
}

/// Tokens that the wallets of an account hold, in the order of chain, contract, token and wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldTokens {
    /// A page of them.
    pub tokens: Vec<HeldToken>,
    /// The `after` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
