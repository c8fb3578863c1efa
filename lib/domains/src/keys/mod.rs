//! The devices of an account, their certificates and prekeys.
//!
//! What must hold:
//! - a device is known only with a wallet's certificate for its identity key and registration id;
//! - an account has at most ten devices, and a device number means one installation for as long as it is listed;
//! - a one-time prekey is handed out at most once, whatever happens at the same moment;
//! - a prekey is taken in only with a signature of the device's identity key, and its id only if it is larger than every one of
//!   its kind before. What is cheap to see is looked at before the first signature, and checks of signatures leave a core free;
//! - an identity key belongs to one account, for good;
//! - strangers together can use up half of a pool and no more, each of them a few keys a day. The other half is for people
//!   whom the owner accepted and for own devices, each of whom gets some a day. Whoever gets no one-time keys still gets a
//!   bundle.

mod config;
mod consumers;
mod frames;
mod jobs;
mod metrics;
mod model;
mod ops;
mod routes;
mod services;
mod signatures;
mod store;
#[cfg(test)]
mod tests;

use nepto_kit::domain::{Api, Domain};

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "keys",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let keys = parts.shared(ops::Keys::new)?;
            Ok(Api { services: services::services(&keys), routes: routes::routes(keys) })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Keys::new)?))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Keys::new)?))),
        metrics: metrics::METRICS,
        frames: Some(frames::mount),
        restored: Some(|db, now_ms| Box::pin(store::after_restore(db, now_ms))),
        ..Domain::NONE
    }
}
