//! Two and more devices exchanging ciphertexts without a network.

mod chat;
mod contracts;
mod crash;
mod guard;
mod keys;
mod loss;
mod names;
mod removed;
mod resets;
mod restored;
mod stock;
mod trust;
mod wallet;
pub(crate) mod world;
