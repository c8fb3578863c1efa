//! The domains of Nepto, one folder each. A domain meets another only through its `mod.rs` or by events.

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod chains;
pub mod collector;
mod forget;
pub mod keys;
pub mod messaging;
mod parameters;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;

pub use forget::forget_chain;
use nepto_kit::Config;
use nepto_kit::config::Declared;
use nepto_kit::domain::Domain;
use nepto_kit::nats;

/// Every domain. A new one is a folder and a line here.
pub fn all() -> Vec<Domain> {
    vec![auth::domain(), accounts::domain(), keys::domain(), messaging::domain(), collector::domain(), assets::domain()]
}

/// What they read of the configuration.
pub fn sections() -> Vec<Declared> {
    all().iter().flat_map(|domain| domain.sections).copied().collect()
}

/// What they say about the streams of `nats/streams.toml`.
pub fn streams(config: &Config) -> nats::Wanted {
    nats::Wanted {
        sharded: messaging::stream_bounds(config),
        chains: config.section::<chains::Chains>().iter().map(|chain| chain.id).collect(),
    }
}
