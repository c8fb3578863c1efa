//! Profiles, handles, and who may write to whom.
//!
//! What must hold:
//! - a handle belongs to one account, and so does what looks like it; one that was given up rests before it moves;
//! - writing to somebody means accepting their answers; being written to means nothing until one accepts;
//! - only what was stored is writing: what was refused makes nobody known to anybody;
//! - a list of contacts grows by what its owner decides; of strangers it has so many, for so long, and a new one is always taken;
//! - whoever one comes to know by one's own doing, by writing or by deciding, is a new contact, so many of which a day has;
//! - a block holds in both directions: who blocked can't write either, and learns why.

mod admin;
mod config;
#[cfg(test)]
mod handle_tests;
mod handles;
mod jobs;
mod model;
mod ops;
mod routes;
mod services;
mod store;
#[cfg(test)]
mod tests;

use nepto_kit::domain::{Api, Domain};

#[cfg(test)]
pub(crate) use {config::Limits, ops::Accounts, store::writing_key};

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "accounts",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let accounts = parts.shared(ops::Accounts::new)?;
            Ok(Api { services: services::services(&accounts), routes: routes::routes(accounts) })
        }),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Accounts::new)?))),
        operators: Some(|parts| Ok(admin::routes(parts.shared(ops::Accounts::new)?))),
        ..Domain::NONE
    }
}
