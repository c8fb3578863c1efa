//! Tests of the core, two and more devices exchanging ciphertexts without a network.

mod chat;
mod contracts;
mod crash;
mod guard;
mod keys;
mod login;
mod loss;
mod names;
mod network;
mod own_devices;
mod removed;
mod resets;
mod server;
mod stock;
mod trust;
pub(crate) mod world;
