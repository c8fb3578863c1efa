//! Signing in with a wallet, sessions, and the wallets of an account.
//!
//! What must hold:
//! - a session begins only with a fresh, single-use nonce and the signature of a wallet over every checked field;
//! - a wallet belongs to one account, an account has at least one wallet, and every wallet is vouched for from the root;
//! - a refresh token works once; a second use ends the session, except right after a lost answer;
//! - an account begins only with what the operator asks for, and who has one is never asked; an invite lets in as many
//!   accounts as it says, whatever fails or happens at the same moment;
//! - who is told that a session ended can rely on it: by then it is dead in Redis, on open sockets and here, and so are
//!   the sessions of a removed device. Events that say so may be late;
//! - a wallet that is a contract belongs to one chain, and what it signed holds for as long as it says so there: sessions,
//!   devices and links end with its attestation. A chain that can't be asked ends nothing, and lets nobody in.

mod config;
mod consumers;
mod invites;
mod issuer;
mod jobs;
mod metrics;
mod model;
mod ops;
mod recheck;
mod routes;
mod services;
mod sessions;
mod sign_up;
mod store;
#[cfg(test)]
mod tests;
mod token_keys;
mod wallets;

use nepto_kit::domain::{Api, Domain};

pub use sign_up::sign_up_needs;
pub use token_keys::{make_token_keys, signing_key_file};

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "auth",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        // the only facet that has the signing key
        api: Some(|parts| {
            let auth = parts.shared(ops::Auth::new)?;
            Ok(Api { services: services::services(&auth), routes: routes::routes(issuer::Issuer::new(auth)?) })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Auth::new)?))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Auth::new)?))),
        operators: Some(|parts| Ok(invites::routes(parts.shared(ops::Auth::new)?))),
        restored: Some(|db, _| Box::pin(store::after_restore(db))),
        metrics: metrics::METRICS,
        ..Domain::NONE
    }
}
