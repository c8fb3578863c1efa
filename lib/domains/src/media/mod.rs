//! Files: encrypted attachments of direct messages.
//!
//! What must hold:
//! - what an account may store is reserved when an upload begins, so that nothing which was begun is refused for others' bytes,
//!   and given back when it ends, expires or is deleted;
//! - one at a time writes to an upload, and only the one whose claim is in its row: bytes count from the moment at which the row
//!   names them, so whatever is cut, retried or overlaps leaves the same bytes or a typed error;
//! - a file is stored under the SHA-256 of its bytes, once, for as long as a row names it; it is stored before its row says that
//!   it can be read, and its row is gone before it is;
//! - a full disk refuses uploads with `media_full` before anything else notices;
//! - a file is never shown by a browser: it is an attachment without a type, whatever is in it.
//!
//! The server can't read these files. It learns their padded sizes, who stored them, and who asked for their addresses.

mod address;
mod blobs;
mod config;
mod downloads;
mod expiry;
mod jobs;
mod metrics;
mod model;
mod ops;
mod range;
mod routes;
mod store;
#[cfg(test)]
mod tests;
mod tus;
mod uploads;

use nepto_kit::domain::{Api, Domain};

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "media",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| Ok(Api { routes: routes::routes(parts.shared(ops::Media::new)?), services: Vec::new() })),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Media::new)?))),
        metrics: metrics::METRICS,
        ..Domain::NONE
    }
}
