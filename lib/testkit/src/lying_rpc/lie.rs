//! The vocabulary: what an RPC can do wrong.

use std::net::SocketAddr;

use super::dialect::{Dialect, Refusal};

/// What [`LyingRpc`](super::LyingRpc) does wrong. Everything that a lie does not name stays as the chain says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// Leaves logs out, under the right block hash and beside the right blooms: those whose block number and index in the
    /// block add up to a multiple of `every`, so that every method leaves out the same ones.
    DropLogs {
        /// 1 leaves out all.
        every: u64,
    },
    /// Leaves out the last receipts of each block.
    DropReceipts {
        /// Receipts that are missing at the end of each block.
        last: usize,
    },
    /// Knows no logs and no receipts of any block: `[]`, as nodes answer that lag or have pruned.
    Empty,
    /// Knows no receipts: `null`, as for a block that it never saw.
    NoReceipts,
    /// Answers with the receipts of an earlier block, under the hash and number of the one that was asked for. It is the
    /// nearest that has any.
    SwapReceipts,
    /// Changes a field of every block and head, and keeps the hash.
    ForgeHeader {
        /// The field that is changed.
        field: HeaderField,
    },
    /// Is behind: the last blocks do not exist for it, by number, tag or hash, in logs, receipts, calls and new heads.
    Lag {
        /// Blocks that it is behind.
        blocks: u64,
    },
    /// Has stopped following the chain: nothing after this block exists for it.
    Stuck {
        /// The last block that it has.
        at: u64,
    },
    /// Says that this is the last block, and knows those after it: a cache before a node.
    StaleHead {
        /// What it takes for the last block.
        at: u64,
    },
    /// Says that no later block is safe or final yet, as while most validators are away.
    NotFinal {
        /// The last one that is.
        at: u64,
    },
    /// Has lost a block that is not its last: by number or hash it does not exist, and neither do its receipts.
    NoBlock {
        /// The height of the lost block.
        at: u64,
    },
    /// Says that it serves another chain.
    OtherChain {
        /// The EIP-155 id that it claims.
        id: u64,
    },
    /// Is a balancer before two nodes, which may be on different branches: every n-th request goes to the other.
    Balanced {
        /// The other node, an [`Anvil`](crate::Anvil) most likely.
        other: SocketAddr,
        /// 1 sends everything there.
        every: usize,
    },
    /// Refuses `eth_getLogs` for more blocks.
    TooMany {
        /// Whose words it uses.
        dialect: Dialect,
        /// The most blocks of one request.
        blocks_max: u64,
    },
    /// Refuses every n-th request.
    RateLimit {
        /// 1 refuses all.
        every: usize,
        /// When to come back, as far as the form can say so.
        retry_after_s: u64,
        /// How it says so.
        form: Refusal,
    },
    /// Answers late, and truly.
    Slow {
        /// Milliseconds that each answer is held back.
        ms: u64,
    },
    /// Never answers, and keeps the connection.
    Hang,
    /// Closes the connection instead of answering.
    Close,
    /// Closes the connection in the middle of the answer.
    CloseHalfway,
    /// Answers with a web page.
    Garbage,
    /// Answers under another id than the request's.
    WrongId,
    /// Says nothing of new heads to whom it promised to; other requests are answered.
    SilentHeads,
    /// Tells every new head twice.
    RepeatHeads,
    /// Refuses new WebSockets; HTTP works.
    NoSockets,
}

/// What a forged header lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderField {
    /// Empty: no event could be in the block.
    LogsBloom,
    /// That of a block without transactions.
    ReceiptsRoot,
    /// A block that nobody knows.
    ParentHash,
    /// A second later.
    Timestamp,
}

/// Requests that are none, for counting and for lies: a new head that is told.
pub(super) const NEW_HEAD: &str = "eth_subscription";
/// The same: a client that wants a WebSocket.
pub(super) const UPGRADE: &str = "websocket";

impl Lie {
    /// Whether it has to do with a request for this method.
    pub(super) fn concerns(&self, method: &str) -> bool {
        let logs = method == "eth_getLogs";
        let receipts = method == "eth_getBlockReceipts";
        let receipt = method == "eth_getTransactionReceipt";
        let blocks = ["eth_getBlockByNumber", "eth_getBlockByHash", NEW_HEAD].contains(&method);
        match self {
            Self::DropLogs { .. } => logs || receipts || receipt,
            Self::Empty => logs || receipts,
            Self::NoReceipts => receipts || receipt,
            Self::DropReceipts { .. } | Self::SwapReceipts => receipts,
            Self::TooMany { .. } => logs,
            Self::ForgeHeader { .. } => blocks,
            Self::NoBlock { .. } => receipts || (blocks && method != NEW_HEAD),
            Self::OtherChain { .. } => method == "eth_chainId",
            Self::NotFinal { .. } => method == "eth_getBlockByNumber",
            Self::StaleHead { .. } => ["eth_blockNumber", "eth_getBlockByNumber"].contains(&method),
            Self::SilentHeads | Self::RepeatHeads => method == NEW_HEAD,
            Self::NoSockets => method == UPGRADE,
            Self::Lag { .. } | Self::Stuck { .. } => method != UPGRADE,
            Self::Balanced { .. }
            | Self::RateLimit { .. }
            | Self::Slow { .. }
            | Self::Hang
            | Self::Close
            | Self::CloseHalfway
            | Self::Garbage
            | Self::WrongId => ![NEW_HEAD, UPGRADE].contains(&method),
        }
    }

    /// How many of the requests that it has to do with it leaves alone for each that it spoils, and one.
    pub(super) fn every(&self) -> usize {
        match self {
            Self::Balanced { every, .. } | Self::RateLimit { every, .. } => (*every).max(1),
            _ => 1,
        }
    }
}
