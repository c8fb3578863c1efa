//! Asking the nodes of a chain: JSON-RPC over HTTP, to several endpoints of which any may lag, fail, limit or lie.
//!
//! [`Pool::ask`] puts a question to one endpoint after the other, the healthiest first, until one gives an answer that
//! passes the caller's validation. An answer that does not is a mark against its endpoint. A node of another chain is not
//! asked.

mod dialect;
mod endpoint;
mod identity;
#[cfg(feature = "logs")]
mod log_span;
mod pool;

use std::time::Duration;

use alloy_primitives::B256;
pub use dialect::Range;
pub use endpoint::{Endpoint, EndpointStatus, Limits};
pub use pool::{Addresses, Pool};

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The endpoint is out of reach, too slow, or does not speak JSON-RPC.
    #[error("{0}")]
    Failed(String),
    /// The endpoint wants to be asked less.
    #[error("the endpoint limits requests")]
    Limited(Option<Duration>),
    /// The endpoint says that it can't: an unknown method, bad parameters, a reverted call.
    #[error("the endpoint refuses: {message} ({code})")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words, as they came.
        message: String,
        /// What a reverted call returned, hexadecimal.
        data: Option<String>,
    },
    /// The range of blocks holds more than the endpoint gives at once.
    #[error("the range is too large for the endpoint")]
    TooMany(Option<Range>),
    /// The endpoint does not have it: `null`, or an error that says so.
    #[error("the endpoint does not have it")]
    Missing,
    /// No endpoint has this block of the chain, or its receipts.
    #[error("no node gives block {0}")]
    NoBlock(u64),
    /// The endpoint is a node of another chain. It is asked again from time to time.
    #[error("the node serves chain {serves}, not {wanted}")]
    OtherChain {
        /// EIP-155: what it says.
        serves: u64,
        /// What it should say.
        wanted: u64,
    },
    /// Every endpoint rests after failures.
    #[error("no node can be asked now: {why}")]
    Resting {
        /// Until the first is asked again.
        left: Duration,
        /// Of each endpoint, what went wrong last.
        why: String,
    },
    /// The answer contradicts itself or what is proven.
    #[error("a false answer: {0}")]
    Lie(String),
    /// A header that Ethereum's rule gives another hash. Which of the two it is can't be told from one answer, so nobody is
    /// called a liar for it.
    #[error(
        "the header of block {number} does not have the hash {claimed} by Ethereum's rule: the chain has headers of another \
         kind than is known here, and can't be followed, or the node changed it"
    )]
    Header {
        /// Its height, as it says.
        number: u64,
        /// What the node says.
        claimed: B256,
    },
    /// There is no endpoint to ask.
    #[error("no endpoint is configured")]
    NoEndpoint,
}

impl RpcError {
    /// An answer that is not what the method answers.
    pub fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::Failed(format!("an answer that can't be read: {error}"))
    }

    /// How much it says, when several endpoints failed in different ways.
    pub(crate) const fn weight(&self) -> u8 {
        match self {
            Self::NoEndpoint => 0,
            // who is of another chain is as if it were not there
            Self::OtherChain { .. } => 1,
            Self::Missing | Self::NoBlock(_) => 2,
            Self::Failed(_) => 3,
            Self::Limited(_) | Self::Resting { .. } => 4,
            Self::Refused { .. } => 5,
            Self::TooMany(_) => 6,
            Self::Lie(_) | Self::Header { .. } => 7,
        }
    }
}
