//! The smallest domain that has one of everything, for tests alone. It is mounted like the others: one folder, and one line
//! in `all_and_example`. Its operation and its event would stand in `nepto_proto` if it were not for tests.
//!
//! It lives here and not in the testkit, because a domain needs the kit, which the testkit stands beside; and behind
//! `cfg(test)` and not behind a feature, so that no program can be built with it.
//!
//! What must hold: a note is kept with the event that tells of it, and whoever follows the board hears it.

mod config;
mod consumers;
mod frames;
mod jobs;
mod ops;
mod routes;
mod services;
mod store;
mod tests;

use nepto_kit::domain::{Api, Domain};
use nepto_proto::event::Event;
use nepto_proto::svc::Operation;
use serde::{Deserialize, Serialize};

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "example",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let board = parts.shared(ops::Board::new)?;
            Ok(Api { services: services::services(&board), routes: routes::routes(board) })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Board::new)?))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Board::new)?))),
        frames: Some(frames::mount),
        ..Domain::NONE
    }
}

/// How many notes are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CountNotes {}

impl Operation for CountNotes {
    type Reply = u64;
    const DOMAIN: &'static str = "example";
    const NAME: &'static str = "count_notes";
}

/// A note was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NoteMade {
    /// What it says.
    text: String,
}

impl Event for NoteMade {
    const DOMAIN: &'static str = "example";
    const NAME: &'static str = "note_made";
}
