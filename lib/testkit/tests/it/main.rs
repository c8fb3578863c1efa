//! Tests of the whole against real servers: one target, a module per topic.

mod chain;
mod cli;
mod cli_trust;
mod contract_wallets;
mod faults;
mod guarded;
mod meddler;
mod nats;
mod people;
mod redis;
mod roles;
mod server;
mod sign_in;
mod socket;
mod talking;
mod tokens;
