//! What is held on chains: `/v1/assets`. Amounts are base units, decimal, as strings: they exceed what JSON numbers hold.

mod kinds;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use kinds::{BalanceKind, ContractKind, PartOutcome, Standard, TokenStandard, TransactionState};

/// A contract that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contract {
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// The contract's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub address: String,
    /// What it is declared to be.
    pub kind: ContractKind,
    /// What happened before is not known.
    #[cfg_attr(feature = "openapi", schema(example = 19000000))]
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
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// The wallet's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub wallet: String,
    /// The contract's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: String,
    /// By which events of the contract.
    pub standard: Standard,
    /// Of an ERC-721 or ERC-1155, decimal. Without it: an amount of an ERC-20, the number of tokens of an ERC-721 (unless it is
    /// an ERC-20 too), a stake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "42"))]
    pub token: Option<String>,
    /// In which way.
    pub what: BalanceKind,
    /// Base units, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
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
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
    pub amount: String,
    /// By which events of the contract.
    pub standard: Standard,
    /// At the end of this block.
    #[cfg_attr(feature = "openapi", schema(example = 21000000))]
    pub block: u64,
    /// Whether it can't change any more.
    pub is_final: bool,
}

/// A change of something that a wallet holds, all that happened to it in one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The contract's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: String,
    /// By which events of the contract.
    pub standard: Standard,
    /// Of an ERC-721 or ERC-1155, decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "42"))]
    pub token: Option<String>,
    /// In which way it is held.
    pub what: BalanceKind,
    /// Base units, decimal, with a sign.
    #[cfg_attr(feature = "openapi", schema(example = "-250000"))]
    pub change: String,
    /// The other side, where there is exactly one; the zero address for what was made or destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub other: Option<String>,
    /// The hash of the transaction, of the first if there are several.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe340394a06")
    )]
    pub transaction: String,
    /// The number of the block.
    #[cfg_attr(feature = "openapi", schema(example = 21000000))]
    pub block: u64,
    /// When its block was made, by the block itself (RFC 3339, UTC).
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
    /// The wallet's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub wallet: String,
    /// Base units, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
    pub amount: String,
}

/// Holders, in the order of their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holders {
    /// By which events of the contract.
    pub standard: Standard,
    /// A page of them; the next begins after the last wallet.
    pub holders: Vec<Holder>,
    /// Whether everything that the contract logged up to the final block is in it.
    pub is_complete: bool,
}

/// The owner of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Owner {
    /// The owner's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub owner: String,
    /// The block of the transfer.
    #[cfg_attr(feature = "openapi", schema(example = 20999000))]
    pub since_block: u64,
    /// At the end of this block.
    #[cfg_attr(feature = "openapi", schema(example = 21000000))]
    pub block: u64,
    /// Whether that can't change any more.
    pub is_final: bool,
}

/// A message that was sent on chain, with payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentMessage {
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// The MultiSender that it went through; EIP-55.
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: String,
    /// Its number there, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "12"))]
    pub batch: String,
    /// The sender's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub sender: String,
    /// What was paid: an ERC-20, EIP-55; without it, ether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What its sender wrote. Nobody vouches for it; characters that could deceive are taken out.
    pub text: String,
    /// Of what the message stands for, chosen by its sender; hexadecimal.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe340394a06")
    )]
    pub content_hash: String,
    /// The hash of the transaction.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe340394a06")
    )]
    pub transaction: String,
    /// The number of the block.
    #[cfg_attr(feature = "openapi", schema(example = 21000000))]
    pub block: u64,
    /// When its block was made, by the block itself (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether it can't be undone any more.
    pub is_final: bool,
}

/// A recipient's part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessagePart {
    /// The recipient's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub recipient: String,
    /// Base units, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
    pub amount: String,
    /// What became of it.
    pub outcome: PartOutcome,
}

/// A message with what each recipient got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageWithParts {
    /// The message itself.
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
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
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

/// A transaction to look after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrackTransaction {
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// Its hash: `0x` and 64 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{64}$"))]
    pub hash: String,
}

/// A transaction that is looked after for a week, or until it is final or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transaction {
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// Its hash: `0x` and 64 hexadecimal digits.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe340394a06")
    )]
    pub hash: String,
    /// What became of it.
    pub state: TransactionState,
    /// The block that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = 21000000))]
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
    /// It is known. If it could not be fetched again, `problem` says why.
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
    /// What went wrong, in a sentence for people.
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
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// The contract's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: String,
    /// The token's id within its contract, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "42"))]
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
    /// The chain (EIP-155).
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub chain_id: u64,
    /// The wallet's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub wallet: String,
    /// The contract's address (EIP-55).
    #[cfg_attr(feature = "openapi", schema(example = "0x5FbDB2315678afecb367f032d93F642f64180aa3"))]
    pub contract: String,
    /// The token's id within its contract, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "42"))]
    pub token: String,
    /// How many of it, decimal.
    #[cfg_attr(feature = "openapi", schema(example = "1500000000000000000"))]
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
