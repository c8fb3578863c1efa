//! Communities: who belongs to them, their channels, and who may do what where.
//!
//! What must hold:
//! - what may be done in a channel is computed in one place, which every door asks: HTTP, sockets, other domains. What one may not
//!   see and what never was are the same answer;
//! - who changes something is judged by the same state that the change is committed to. Nobody gives what they lack: not by a
//!   role, its order, an override, a channel, nor by an invite, which is judged again when somebody joins by it;
//! - a copy of a decision that was made of an older state never counts;
//! - an invite for so many lets exactly so many in, and a ban and a join at the same moment end in a ban;
//! - a time-out is the account's, and stays when it leaves;
//! - every change has its entry in the audit log, committed with it;
//! - a community has one owner, who is a member; when it is deleted it is gone for everybody else at once, and for good after the
//!   time in which its owner may restore it.

mod channel;
mod config;
mod consumers;
mod jobs;
mod model;
mod ops;
mod ranks;
mod routes;
mod services;
mod store;
#[cfg(test)]
mod tests;

use nepto_kit::config::Declared;
use nepto_kit::domain::{Api, Domain};

#[cfg(test)]
pub(crate) use channel::HISTORY;
pub use channel::stream_bounds;

const SECTIONS: &[Declared] = &[Declared::of::<config::Bounds>(), channel::SECTION];

/// The domain: what it has for each role.
pub fn domain() -> Domain {
    Domain {
        name: "communities",
        schema: store::SCHEMA,
        sections: SECTIONS,
        api: Some(|parts| {
            let communities = parts.shared(ops::Communities::new)?;
            let mut services = services::services(&communities);
            services.extend(channel::services(parts)?);
            Ok(Api { services, routes: routes::routes(communities).merge(channel::routes(parts)?) })
        }),
        queues: &[consumers::ACCESS_CHANGED, channel::HISTORY, channel::REMOVED],
        workers: Some(|parts| {
            let mut workers = consumers::consumers(&parts.shared(ops::Communities::new)?);
            workers.extend(channel::workers(parts)?);
            Ok(workers)
        }),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Communities::new)?))),
        metrics: channel::METRICS,
        frames: Some(channel::frames::mount),
        restored: Some(|db, _| Box::pin(store::after_restore(db))),
        ..Domain::NONE
    }
}
