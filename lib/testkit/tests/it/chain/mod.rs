//! Chains: real anvils, nodes that lie, and a server that must know all the same who holds what.

mod assets;
mod crashes;
mod dead_letters;
mod events;
mod faults;
mod hooks;
mod late;
mod listener;
mod messages;
mod odd_tokens;
mod reorgs;
mod transactions;
mod world;
