//! Who passes a gate (`nepto_proto::gate`), and what follows from it: the rules of it, without database, nodes and clock.
//!
//! What must hold:
//! - unknown never grants and never takes: a node that is away, a contradiction, what was not collected yet;
//! - granting needs the configured confirmations, and taking away a final block;
//! - every answer says why, clause by clause, with value, wallet, block and time.

pub mod decide;
pub mod evaluate;
pub mod facts;
#[cfg(test)]
mod tests;
pub mod total;
