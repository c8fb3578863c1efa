//! Chains: real anvils, nodes that lie, and a server that must know all the same who holds what.

mod assets;
mod reorgs;
mod world;
