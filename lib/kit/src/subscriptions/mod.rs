//! A great many subscriptions of core NATS over one connection, each of which costs next to nothing while it is quiet.
//!
//! The client library gives every subscription a queue of its own, six kilobytes that a gateway would pay for each idle
//! socket (`docs/adr/0011-a-connection-for-subscriptions.md`). Here a subject is a row of a table with those who listen to it,
//! and holds memory only for what has arrived and was not taken yet. However many listen, the subject is subscribed once, and
//! a message is one message in memory (`docs/adr/0024-a-socket-that-knows-no-domain.md`).
//!
//! What must hold:
//! - after [`Listener::subscribe`] has succeeded, what is published next arrives; in a cluster, what is published at
//!   another server as soon as that one has heard of it;
//! - nothing is lost without a word: if a message may have been missed, because this listener did not take the earlier ones or
//!   because the connection was lost, [`Arrivals::missed`] says so. Subscriptions outlive a connection;
//! - a listener that is slow costs no other one anything;
//! - a subject is subscribed for as long as somebody listens, and no longer.

mod link;
mod listener;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::link::Link;
pub use self::listener::{Arrivals, Listener};
use self::table::Table;
pub use self::wire::Message;
use crate::config::Nats;
use crate::health::Health;

/// The table, and the way to change it.
#[derive(Clone)]
pub struct Subscriptions(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// There is something to say to the server.
    said: Notify,
}

impl Subscriptions {
    /// Connects, and gives what must run until the process stops.
    pub async fn connect(
        config: &Nats,
        node: &str,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<(Self, Link)> {
        let shared = Arc::new(Shared { table: Mutex::default(), said: Notify::new() });
        let link = Link::connect(config, node, shared.clone(), stop).await?;
        let checked = shared.clone();
        health.register("nats subscriptions", move || {
            let restored = checked.table().is_restored();
            async move { if restored { Ok(()) } else { Err("no connection".to_owned()) } }
        });
        Ok((Self(shared), link))
    }

    /// Gives a message to those of this process who listen to `subscribed`, without the server.
    pub fn tell(&self, subscribed: &str, subject: &str, payload: Bytes) {
        self.0.table().arrived_here(subscribed, Message::here(subject, payload));
    }

    /// Somebody who listens to nothing yet.
    pub fn listener(&self) -> Listener {
        Listener::new(self.0.clone())
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
