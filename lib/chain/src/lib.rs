//! What Nepto knows of EVM chains: asking nodes that may lag, fail or lie; proving that no log of a block is missing;
//! following a chain through its reorganizations; checking signatures. No domain words.
//!
//! Clients check signatures, and take nothing else of it: the rest is the feature `logs`.

pub mod block;
#[cfg(feature = "logs")]
pub mod follow;
#[cfg(feature = "logs")]
pub mod holdings;
#[cfg(feature = "logs")]
pub mod receipts;
pub mod rpc;
pub mod signature;
#[cfg(feature = "logs")]
pub mod source;
#[cfg(feature = "logs")]
pub mod topics;
#[cfg(feature = "logs")]
pub mod wake;
#[cfg(feature = "logs")]
pub mod watch;
