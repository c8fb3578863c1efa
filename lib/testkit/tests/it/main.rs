//! Tests of the whole against real servers: one target, a module per topic.

mod chain;
mod cli;
mod contract_wallets;
mod faults;
mod guarded;
mod handles;
mod nats;
mod people;
mod redis;
mod roles;
mod server;
mod sessions;
mod sign_in;
mod sign_up;
mod socket;
mod talking;
mod tokens;
