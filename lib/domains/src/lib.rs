//! The domains of Nepto, one folder each. A domain meets another only through its `mod.rs` or by events.

pub mod accounts;
pub mod assets;
pub mod auth;
mod chains;
pub mod collector;
#[cfg(test)]
mod example;
mod forget;
pub mod gateway;
pub mod keys;
pub mod messaging;
mod parameters;
#[cfg(test)]
mod testing;
mod text;

pub use forget::forget_chain;
use nepto_kit::domain::Domain;

/// Every domain. A new one is a folder and a line here.
pub fn all() -> Vec<Domain> {
    vec![auth::domain(), accounts::domain(), keys::domain(), messaging::domain(), collector::domain(), assets::domain()]
}
