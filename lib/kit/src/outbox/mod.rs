//! Events that are committed together with the change that caused them.
//!
//! A domain writes a row of table `outbox` in the same transaction as its change; a relay publishes the rows to the stream `EVENTS`,
//! in order and many at once, and deletes them. Every process that writes may run one: a lease lets one at a time publish, and the
//! row's id is the `Nats-Msg-Id`, so that what two publish after all, or one before and after its death, is stored once.
//!
//! Events about one thing may be numbered ([`Row::about`], [`INSERT_NUMBERED`]): a consumer that remembers the last number can't be
//! misled by an older event that comes late, whichever way it went.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use nepto_proto::event::Event;
use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Notify;

use crate::batch::{self, BatchError, Part};
use crate::clock::{Clock, Random};
use crate::consumer::Heartbeat;
use crate::db::{Db, RecordId, vars};
use crate::lease::Lease;
use crate::{Ctx, crash};

/// The tables, in every domain's database.
pub(crate) const TABLE: &str = "
    DEFINE TABLE IF NOT EXISTS outbox SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS subject ON outbox TYPE string;
    DEFINE FIELD IF NOT EXISTS body ON outbox TYPE string;
    DEFINE FIELD IF NOT EXISTS about ON outbox TYPE option<string>;
    DEFINE FIELD IF NOT EXISTS version ON outbox TYPE option<int>;
    -- event_version:[about]: the number of the last event about it
    DEFINE TABLE IF NOT EXISTS event_version SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS number ON event_version TYPE int;
";

/// Rows that are read, published and deleted at once: half of what JetStream takes as one batch.
const BATCH: usize = 500;
const _: () = assert!(BATCH <= batch::MESSAGES_MAX);
/// Fewer go one by one: JetStream opens a store of its own for each batch, which pays only if it saves some syncs of the disk.
const BATCH_MIN: usize = 8;
/// How often the relay looks without being woken.
const POLL: Duration = Duration::from_millis(500);
/// While another relay publishes, so long until the next look at what is left.
const BUSY: Duration = Duration::from_millis(20);
/// A relay that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(2);
/// An outbox that could not be published for so long turns `/readyz` red.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A row to put into a statement's variables as `$events`, with `INSERT INTO outbox $events;` inside the block.
#[derive(Debug, Clone, SurrealValue)]
pub struct Row {
    id: RecordId,
    subject: String,
    body: String,
    about: Option<String>,
    version: Option<i64>,
}

/// The statement that goes into the block of the change.
pub const INSERT: &str = "INSERT INTO outbox $events;";

/// The same for rows that are [`about`](Row::about) something: each gets the next number of its thing. Two changes of one thing
/// conflict, so the numbers are in the order of the commits.
pub const INSERT_NUMBERED: &str = "
    FOR $event IN $events {
        LET $last = (UPSERT ONLY type::record('event_version', $event.about) SET number = (number ?? 0) + 1);
        CREATE $event.id SET subject = $event.subject, body = $event.body, about = $event.about, version = $last.number;
    };";

/// The row whose `number` is that of the last event about something.
pub fn version_id(about: &str) -> RecordId {
    RecordId::new("event_version", about)
}

impl Row {
    /// An event as a row.
    pub fn new<E: Event>(event: &E, clock: &Clock, random: &Random) -> Self {
        Self {
            id: RecordId::new("outbox", random.uuid(clock).simple().to_string()),
            subject: E::subject(),
            body: serde_json::to_string(event).unwrap_or_default(),
            about: None,
            version: None,
        }
    }

    /// An event about something, whose field `version` is written by [`INSERT_NUMBERED`].
    pub fn about<E: Event>(event: &E, about: &str, clock: &Clock, random: &Random) -> Self {
        Self { about: Some(about.to_owned()), ..Self::new(event, clock, random) }
    }

    /// The body, with its number.
    fn numbered_body(&self) -> Result<String, serde_json::Error> {
        let Some(version) = self.version else { return Ok(self.body.clone()) };
        let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&self.body)?;
        body.insert("version".to_owned(), version.into());
        serde_json::to_string(&body)
    }

    fn message(&self) -> anyhow::Result<Part> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, key_text(&self.id));
        let body = self.numbered_body().map_err(|error| anyhow::anyhow!("{}: {error}", key_text(&self.id)))?;
        Ok(Part { subject: self.subject.clone(), headers, body: body.into() })
    }
}

/// Publishes a domain's outbox.
#[derive(Clone)]
pub struct Outbox {
    ctx: Ctx,
    db: Db,
    wake: Arc<Notify>,
}

impl Outbox {
    /// The outbox of a domain's database.
    pub fn new(ctx: &Ctx, db: &Db) -> Self {
        Self { ctx: ctx.clone(), db: db.clone(), wake: Arc::new(Notify::new()) }
    }

    /// Says that there is something to publish; without it a relay finds it within half a second.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Publishes until the process stops.
    pub async fn serve(self) -> anyhow::Result<()> {
        let name = format!("outbox:{}", self.db.name());
        let lease = Lease::new(&self.ctx, &name, LEASE_TTL);
        let beat = Heartbeat::of_loop(&self.ctx, format!("outbox {}", self.db.name()), SILENCE_MAX);
        loop {
            beat.comes_round();
            match self.publish_all(&lease, &beat).await {
                Ok(()) => {}
                Err(error) => {
                    let (outbox, error) = (self.db.name(), format!("{error:#}"));
                    tracing::warn!(outbox, error, "the outbox could not be published; trying again");
                }
            }
            tokio::select! {
                () = self.ctx.stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Publishes until nothing waits, unless another relay does.
    async fn publish_all(&self, lease: &Lease, beat: &Heartbeat) -> anyhow::Result<()> {
        while !self.read_after("", 1).await?.is_empty() {
            if self.ctx.stop.is_cancelled() {
                return Ok(());
            }
            if !lease.hold().await {
                tokio::time::sleep(BUSY).await;
                continue;
            }
            let published = self.publish_some(lease, beat).await;
            lease.free().await;
            published?;
        }
        beat.beat(&self.ctx);
        Ok(())
    }

    /// Publishes what waits, while the lease is held. It reads on behind what it has published: the store walks over deleted rows,
    /// so that from the beginning each read would cost more than the one before. What was committed late, and stands before
    /// that, is found by the next look.
    ///
    /// What was published is deleted while the next rows are published: the one waits for the database, the other for JetStream.
    async fn publish_some(&self, lease: &Lease, beat: &Heartbeat) -> anyhow::Result<()> {
        let mut last = String::new();
        let mut stored = Vec::new();
        loop {
            let mut rows = self.read_after(&last, BATCH).await?;
            let count = rows.len();
            if let Some(row) = rows.last() {
                last = key_text(&row.id);
            }
            let (deleted, published) = tokio::join!(self.delete(&stored), self.publish(&rows));
            rows.truncate(published.stored);
            stored = rows;
            beat.beat(&self.ctx);
            let failed = deleted.and(published.failed);
            if failed.is_err() || count < BATCH || self.ctx.stop.is_cancelled() || !lease.hold().await {
                return self.delete(&stored).await.and(failed);
            }
        }
    }

    /// The oldest rows behind an id, in their order: a scan goes along the keys, and sorts nothing.
    async fn read_after(&self, last: &str, count: usize) -> anyhow::Result<Vec<Row>> {
        let statement = "SELECT * FROM type::record('outbox', $last>..) LIMIT $limit";
        Ok(self.db.run(statement, vars! { last: last.to_owned(), limit: count }).await?)
    }

    async fn publish(&self, rows: &[Row]) -> Published {
        // a row that can't be read as an event stops what stands behind it, but not what stands before
        if rows.len() >= BATCH_MIN
            && let Ok(parts) = rows.iter().map(Row::message).collect::<anyhow::Result<Vec<_>>>()
        {
            match batch::publish(&self.ctx.nats, &self.ctx.random.alphanumeric(24), parts).await {
                Ok(()) => return Published { stored: rows.len(), failed: Ok(()) },
                // one was stored by somebody who died then, or is too large, or …
                Err(BatchError::Refused(reason)) => tracing::debug!(reason, "each event goes alone"),
                Err(error) => return Published { stored: 0, failed: Err(error.into()) },
            }
        }
        self.publish_each(rows).await
    }

    /// Publishes row after row: what follows one that fails must not overtake it.
    async fn publish_each(&self, rows: &[Row]) -> Published {
        for (stored, row) in rows.iter().enumerate() {
            if let Err(error) = self.publish_one(row).await {
                return Published { stored, failed: Err(error) };
            }
        }
        Published { stored: rows.len(), failed: Ok(()) }
    }

    async fn publish_one(&self, row: &Row) -> anyhow::Result<()> {
        let Part { subject, headers, body } = row.message()?;
        self.ctx.jetstream.publish_with_headers(subject, headers, body).await?.await?;
        Ok(())
    }

    /// Deletes rows that were published.
    async fn delete(&self, rows: &[Row]) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        crash::at("outbox", "published");
        let ids: Vec<RecordId> = rows.iter().map(|row| row.id.clone()).collect();
        self.db.run::<Value>("DELETE $ids RETURN NONE", vars! { ids: ids }).await?;
        metrics::counter!("nepto_outbox_published_total", "domain" => self.db.name().to_owned())
            .increment(rows.len() as u64);
        Ok(())
    }
}

/// What became of rows that were to be published.
struct Published {
    /// How many of them JetStream has, from the first on.
    stored: usize,
    /// What kept the next one from it.
    failed: anyhow::Result<()>,
}

fn key_text(id: &RecordId) -> String {
    match &id.key {
        surrealdb::types::RecordIdKey::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}
