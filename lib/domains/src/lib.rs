//! The domains of Nepto, one folder each. What domains ask and tell each other stands in
//! `nepto_proto` (`svc` and `event`); none reaches into another's folder.

pub mod accounts;
pub mod assets;
pub mod auth;
pub mod chains;
pub mod collector;
pub mod communities;
#[cfg(test)]
mod example;
mod forget;
pub mod gateway;
pub mod keys;
pub mod media;
pub mod messaging;
mod request;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
pub mod tokengate;

pub use forget::forget_chain;
use nepto_kit::Config;
use nepto_kit::config::Declared;
use nepto_kit::domain::Domain;
use nepto_kit::metric::Metric;
use nepto_kit::nats;

/// Every domain. A new one is a folder and a line here.
pub fn all() -> Vec<Domain> {
    vec![
        auth::domain(),
        accounts::domain(),
        keys::domain(),
        messaging::domain(),
        communities::domain(),
        collector::domain(),
        assets::domain(),
        media::domain(),
    ]
}

/// Every domain, and the one that is for tests alone.
#[cfg(test)]
fn all_and_example() -> Vec<Domain> {
    all().into_iter().chain([example::domain()]).collect()
}

/// What they, and the sockets in front of them, read of the configuration.
pub fn sections() -> Vec<Declared> {
    sections_of(&all())
}

fn sections_of(domains: &[Domain]) -> Vec<Declared> {
    domains.iter().flat_map(|domain| domain.sections).chain(gateway::SECTIONS).copied().collect()
}

/// What they, and the sockets in front of them, count and measure.
pub fn metrics() -> Vec<Metric> {
    all().iter().flat_map(|domain| domain.metrics).chain(gateway::METRICS).copied().collect()
}

/// What they say about the streams of `nats/streams.toml`.
pub fn streams(config: &Config) -> nats::Wanted {
    nats::Wanted {
        sharded: messaging::stream_bounds(config),
        channels: communities::stream_bounds(config),
        chains: config.section::<chains::Chains>().iter().map(|chain| chain.id).collect(),
    }
}
