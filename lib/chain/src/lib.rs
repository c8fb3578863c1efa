//! What Nepto knows of EVM chains: asking nodes that may lag, fail or lie; proving that no log of a block is missing;
//! following a chain through its reorganizations; checking signatures. No domain words.

pub mod block;
pub mod follow;
pub mod receipts;
pub mod rpc;
pub mod signature;
pub mod source;
pub mod topics;
pub mod wake;
pub mod watch;
