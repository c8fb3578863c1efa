//! A great many subscriptions of core NATS over one connection, each of which costs next to nothing while it is quiet.
//!
//! The client library gives every subscription a queue of its own, six kilobytes that a gateway would pay for each idle
//! socket (`docs/adr/0011-a-connection-for-subscriptions.md`). Here a subscription is a row of a table, and holds memory
//! only for what has arrived and was not taken yet.
//!
//! What must hold:
//! - after [`Subscriptions::subscribe`] has returned, what is published next arrives; in a cluster, what is published at
//!   another server as soon as that one has heard of it;
//! - nothing is lost without a word: if a message may have been missed, because nobody took the earlier ones or because the
//!   connection was lost, [`Arrivals::missed`] says so. Subscriptions outlive a connection.

mod link;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::link::Link;
pub use self::wire::Message;
use crate::Failure;
use crate::config::Nats;
use crate::health::Health;

/// Messages of one subscription that nobody took yet; what is more is missed.
const WAITING_MAX: usize = 1_024;
/// And their bytes.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// The server confirms a subscription within this time.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// The table, and the way to change it.
#[derive(Clone)]
pub struct Subscriptions(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// There is something to say to the server.
    said: Notify,
}

#[derive(Default)]
struct Table {
    last_sid: u64,
    rows: HashMap<u64, Arc<Row>>,
    /// What is to be said; `None` while there is no connection.
    outbox: Option<Outbox>,
    /// Everything is subscribed.
    restored: bool,
}

/// Told when the server has read a subscription, or why it refuses it.
type Confirm = oneshot::Sender<Result<(), String>>;

#[derive(Default)]
struct Outbox {
    bytes: BytesMut,
    /// Who waits until the server has read that.
    confirm: Vec<Confirm>,
}

struct Row {
    subject: String,
    arrived: Mutex<Arrivals>,
    waker: AtomicWaker,
}

/// What has arrived for a subscription, oldest first.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// In the order in which they arrived.
    pub messages: Vec<Message>,
    /// More was, or may have been, published meanwhile.
    pub missed: bool,
    bytes: usize,
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
            let restored = checked.table().restored;
            async move { if restored { Ok(()) } else { Err("no connection".to_owned()) } }
        });
        Ok((Self(shared), link))
    }

    /// Subscribes, and waits until the server knows.
    pub async fn subscribe(&self, subject: String) -> Result<Subscription, Failure> {
        let unavailable = |why: &str| Failure::unavailable("NATS", anyhow::anyhow!("{why}"));
        let (subscription, confirmed) = {
            let mut table = self.0.table();
            let sid = table.last_sid + 1;
            let Some(outbox) = &mut table.outbox else { return Err(unavailable("no connection for subscriptions")) };
            outbox.subscribe(sid, &subject);
            let (confirm, confirmed) = oneshot::channel();
            outbox.confirm.push(confirm);
            table.last_sid = sid;
            let row = Arc::new(Row { subject, arrived: Mutex::default(), waker: AtomicWaker::new() });
            table.rows.insert(sid, row.clone());
            (Subscription { sid, row, shared: self.0.clone() }, confirmed)
        };
        self.0.said.notify_one();
        match timeout(CONFIRM_WITHIN, confirmed).await {
            Ok(Ok(Ok(()))) => Ok(subscription),
            Ok(Ok(Err(refusal))) => Err(unavailable(&refusal)),
            Ok(Err(_)) => Err(unavailable("the connection for subscriptions was lost")),
            Err(_) => Err(unavailable("a subscription was not confirmed")),
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// A connection was made: everything is subscribed again.
    fn connected(&mut self) {
        let mut outbox = Outbox::default();
        for (sid, row) in &self.rows {
            outbox.subscribe(*sid, &row.subject);
        }
        self.outbox = Some(outbox);
    }

    /// The server has read all of that: what was published in between may have been missed.
    fn restored(&mut self) {
        self.restored = true;
        for row in self.rows.values() {
            row.arrivals().missed = true;
            row.waker.wake();
        }
    }

    /// Whether the connection that was lost had been of use.
    fn lost(&mut self) -> bool {
        self.outbox = None;
        std::mem::take(&mut self.restored)
    }

    fn arrived(&self, sid: u64, message: Message) {
        // a message may cross with the end of its subscription
        if let Some(row) = self.rows.get(&sid) {
            row.arrived(message);
        }
    }
}

impl Outbox {
    fn subscribe(&mut self, sid: u64, subject: &str) {
        for part in ["SUB ", subject, " ", &sid.to_string(), "\r\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }
}

impl Row {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, message: Message) {
        let mut arrivals = self.arrivals();
        let size = message.size();
        if arrivals.messages.len() < WAITING_MAX && arrivals.bytes + size <= WAITING_BYTES_MAX {
            arrivals.bytes += size;
            arrivals.messages.push(message);
        } else if !std::mem::replace(&mut arrivals.missed, true) {
            metrics::counter!("nepto_nats_slow_consumer_total").increment(1);
        }
        drop(arrivals);
        self.waker.wake();
    }
}

/// One subscription; dropping it unsubscribes.
pub struct Subscription {
    sid: u64,
    row: Arc<Row>,
    shared: Arc<Shared>,
}

impl Subscription {
    /// Everything that has arrived since the last call, as soon as there is something. Nothing is lost if the future is
    /// dropped. Arrivals outlive the connection, so this never ends by itself.
    pub async fn next(&mut self) -> Arrivals {
        std::future::poll_fn(|context| {
            self.row.waker.register(context.waker());
            let mut arrivals = self.row.arrivals();
            if arrivals.messages.is_empty() && !arrivals.missed {
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut *arrivals))
        })
        .await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        table.rows.remove(&self.sid);
        if let Some(outbox) = &mut table.outbox {
            outbox.bytes.extend_from_slice(format!("UNSUB {}\r\n", self.sid).as_bytes());
            drop(table);
            self.shared.said.notify_one();
        }
    }
}
