//! Tests of the whole against real servers: one target, a module per topic.

mod allowances;
mod backups;
mod chain;
mod channels;
mod cli;
mod cli_channels;
mod cli_communities;
mod cli_running;
mod cli_trust;
mod clocks;
mod communities;
mod consent;
mod contract_wallets;
mod databases;
mod faults;
mod floods;
mod frames;
mod guarded;
mod handles;
mod http;
mod last_release;
mod mailbox;
mod meddler;
mod media;
mod nats;
mod old_copies;
mod people;
mod prekeys;
mod readiness;
mod redis;
mod requests;
mod roles;
mod server;
mod service_manager;
mod services;
mod sessions;
mod sight;
mod sign_in;
mod sign_up;
mod socket;
mod talking;
mod tokens;
mod traces;
mod uploads;
mod work;
mod wrong_starts;

/// The same as the server has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
