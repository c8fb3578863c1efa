//! Direct messages: mailboxes, the sockets in front of them, receipts' way, typing, presence.
//!
//! What must hold:
//! - `stored` is said only after JetStream has synced the message for every device of the recipient, all or none;
//! - every message reaches its device in the order of the mailbox, and again after a reconnect until it is acknowledged;
//! - a gateway holds no state that its death would lose, and never touches a database;
//! - the server sees ciphertexts only.

mod checks;
mod connection;
mod consumers;
mod gateway;
mod jobs;
mod mailbox;
mod presence;
mod router;
mod session;
mod submit;

use nepto_kit::domain::{Domain, Facets, Parts};

pub use gateway::Gateway;

/// The domain. Its messages live in JetStream, so it has no tables.
pub fn domain() -> Domain {
    Domain { name: "messaging", schema: &[], mount }
}

fn mount(parts: &Parts) -> anyhow::Result<Facets> {
    Ok(Facets { consumers: consumers::consumers(parts), jobs: jobs::jobs(parts), ..Facets::default() })
}
