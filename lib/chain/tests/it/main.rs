//! The log source against a real anvil, and against nodes that lie in every way we know.

mod follow;
mod lies;
mod other_chain;
