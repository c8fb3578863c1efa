//! What every process of Nepto is built from: configuration, clock, telemetry, health, shutdown, and the runners
//! for routes, services, consumers and jobs. No domain words.
//!
//! A role gets a [`Ctx`], mounts its facets of the [`Domain`](domain::Domain)s, and ends when [`Ctx::stop`] is cancelled.

pub mod address;
pub mod batch;
pub mod clock;
pub mod clock_check;
pub mod config;
pub mod consumer;
pub mod crash;
pub mod ctx;
pub mod db;
pub mod dead_letters;
pub mod direct_get;
pub mod domain;
pub mod error;
pub mod fetch;
pub mod frames;
pub mod group;
pub mod health;
pub mod http;
pub mod job;
pub mod json;
pub mod lease;
pub mod limit;
pub mod metric;
pub mod nats;
pub mod outbox;
mod pages;
pub mod redis;
pub mod roll_call;
pub mod seal;
pub mod service;
pub mod stream_copy;
pub mod stream_levels;
pub mod subscriptions;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod token;
pub mod traces;
pub mod version;

pub use config::Config;
pub use ctx::Ctx;
pub use error::Failure;
