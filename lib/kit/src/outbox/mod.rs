//! Events that are committed together with the change that caused them.
//!
//! A domain writes a row of table `outbox` in the same transaction as its change
//! ([`Transaction::emit`](crate::db::Transaction::emit)); a relay publishes the rows to the stream `EVENTS`, in order and many at
//! once, and deletes them. Every process that writes may run one: a lease lets one at a time publish, and the row's id is the
//! `Nats-Msg-Id`, so that what two publish after all, or one before and after its death, is stored once.
//!
//! No event is lost: one that can't be written down is an error before anything is committed, and a row that can't be read stays
//! where it is and turns `/readyz` red. The events behind it go out without it; their consumers cope with any order.
//!
//! Events about one thing may be numbered ([`Row::about`]): a consumer that remembers the last number can't be
//! misled by an older event that comes late, whichever way it went.

#[cfg(test)]
mod tests;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use nepto_proto::event::Event;
use surrealdb::types::{Error, Kind, SurrealValue, Value};
use tokio::sync::Notify;

use crate::batch::{self, BatchError, Part};
use crate::clock::{Clock, Random};
use crate::consumer::Heartbeat;
use crate::db::{Db, DbError, Id, RecordId, Table, id_of, vars};
use crate::lease::Lease;
use crate::{Ctx, Failure, crash, traces};

use self::unreadable::Unreadable;

/// The tables, in every domain's database.
pub(crate) const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS outbox SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS subject ON outbox TYPE string;
    DEFINE FIELD IF NOT EXISTS body ON outbox TYPE string;
    DEFINE FIELD IF NOT EXISTS about ON outbox TYPE option<string>;
    DEFINE FIELD IF NOT EXISTS version ON outbox TYPE option<int>;
    DEFINE FIELD IF NOT EXISTS trace ON outbox TYPE option<string>;
    -- event_version:[about]: the number of the last event about it
    DEFINE TABLE IF NOT EXISTS event_version SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS number ON event_version TYPE int;
";

/// Rows that are read, published and deleted at once: half of what JetStream takes as one batch.
const BATCH: usize = 500;
const _: () = assert!(BATCH <= batch::MESSAGES_MAX);
/// Fewer go one by one: JetStream opens a store of its own for each batch, which pays only if it saves some syncs of the disk.
const BATCH_MIN: usize = 8;
/// How soon the relay looks again, without being woken, after it found something or failed: what others began may be committed now.
const POLL_MIN: Duration = Duration::from_millis(500);
/// While there is nothing it looks less and less often, down to this: what it may still find is left by a process that died.
const POLL_MAX: Duration = Duration::from_secs(4);
/// While another relay publishes, so long until the next look at what is left.
const BUSY: Duration = Duration::from_millis(20);
/// A relay that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(2);
/// An outbox that could not be published for so long turns `/readyz` red.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The table `outbox`; ids are UUIDs of the time of the event, so that they are in its order.
#[derive(Debug)]
struct Events;

impl Table for Events {
    const NAME: &'static str = "outbox";
    type Key = String;
}

/// An event that is to be committed with what caused it: [`Transaction::emit`](crate::db::Transaction::emit).
#[derive(Debug, Clone, SurrealValue)]
pub struct Row {
    id: Id<Events>,
    subject: String,
    body: String,
    about: Option<String>,
    version: Option<u64>,
    /// What it belongs to, if that is traced ([`traces`]).
    trace: Option<String>,
}

/// An event that has no body. Nothing of the change that it belongs to is committed.
#[derive(Debug, thiserror::Error)]
#[error("the event {subject} can't be written: {source}")]
pub struct Unwritable {
    subject: String,
    source: serde_json::Error,
}

impl From<Unwritable> for Failure {
    fn from(error: Unwritable) -> Self {
        Self::internal(error)
    }
}

/// A row as the relay finds it. One that can't be read has a place all the same, behind which the others are.
struct Waiting {
    id: Id<Events>,
    row: Result<Row, String>,
}

impl SurrealValue for Waiting {
    fn kind_of() -> Kind {
        Row::kind_of()
    }

    fn into_value(self) -> Value {
        self.row.map_or_else(|_| self.id.into_value(), Row::into_value)
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let id = id_of(&value).map_or(Value::None, Value::RecordId);
        let row = Row::from_value(value).map_err(|error| error.message().to_owned());
        Ok(Self { id: Id::from_value(id)?, row })
    }
}

impl Waiting {
    /// The message that it becomes, or what is wrong with it.
    fn part(&self) -> Result<Part, String> {
        self.row.as_ref().map_err(Clone::clone).and_then(|row| row.part().map_err(|error| error.to_string()))
    }
}

/// What a transaction does with `$events`.
pub(crate) const INSERT: &str = "INSERT INTO outbox $events;\n";

/// The same for rows that are [`about`](Row::about) something: each gets the next number of its thing. Two changes of one thing
/// conflict, so the numbers are in the order of the commits. They are the time in milliseconds, or one more than the last: so they
/// go on upward after a restore too, where the last ones are forgotten, but not by those who were told of them.
pub(crate) const INSERT_NUMBERED: &str = "
    FOR $event IN $events {
        LET $last = (UPSERT ONLY type::record('event_version', $event.about) SET number =
            math::max([(number ?? 0) + 1, time::millis(time::now())]));
        CREATE $event.id SET subject = $event.subject, body = $event.body, about = $event.about, version = $last.number,
            trace = $event.trace;
    };\n";

/// The row whose `number` is that of the last event about something.
pub fn version_id(about: &str) -> RecordId {
    RecordId::new("event_version", about)
}

impl Row {
    /// An event as a row.
    pub fn new<E: Event>(event: &E, clock: &Clock, random: &Random) -> Result<Self, Unwritable> {
        let subject = E::subject();
        match serde_json::to_string(event) {
            Ok(body) => {
                let id = Id(random.uuid(clock).simple().to_string());
                Ok(Self { id, subject, body, about: None, version: None, trace: traces::current() })
            }
            Err(source) => Err(Unwritable { subject, source }),
        }
    }

    /// An event about something, whose field `version` is written when it is committed.
    pub fn about<E: Event>(event: &E, about: &str, clock: &Clock, random: &Random) -> Result<Self, Unwritable> {
        Ok(Self { about: Some(about.to_owned()), ..Self::new(event, clock, random)? })
    }

    pub(crate) const fn is_numbered(&self) -> bool {
        self.about.is_some()
    }

    /// The body, with its number.
    fn numbered_body(&self) -> Result<String, serde_json::Error> {
        let Some(version) = self.version else { return Ok(self.body.clone()) };
        let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&self.body)?;
        body.insert("version".to_owned(), version.into());
        serde_json::to_string(&body)
    }

    fn part(&self) -> Result<Part, serde_json::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, self.id.0.as_str());
        if let Some(trace) = &self.trace {
            headers.insert(traces::HEADER, trace.as_str());
        }
        Ok(Part { subject: self.subject.clone(), headers, body: self.numbered_body()?.into() })
    }
}

/// Whether a relay found anything to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Something,
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

    /// Says that there is something to publish; without it a relay finds it within four seconds.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Publishes until the process stops.
    pub async fn serve(self) -> anyhow::Result<()> {
        let name = format!("outbox:{}", self.db.name());
        let lease = Lease::new(&self.ctx, &name, LEASE_TTL);
        let beat = Heartbeat::of_loop(&self.ctx, format!("outbox {}", self.db.name()), SILENCE_MAX);
        let mut unreadable = Unreadable::register(&self.ctx.health, self.db.name());
        let mut poll = POLL_MIN;
        loop {
            beat.comes_round();
            match self.publish_all(&lease, &beat, &mut unreadable).await {
                Ok(Found::Nothing) => poll = (poll * 2).min(POLL_MAX),
                Ok(Found::Something) => poll = POLL_MIN,
                Err(error) => {
                    poll = POLL_MIN;
                    let (outbox, error) = (self.db.name(), format!("{error:#}"));
                    tracing::warn!(outbox, error, "the outbox could not be published; trying again");
                }
            }
            tokio::select! {
                () = self.ctx.stop.cancelled() => return Ok(()),
                () = self.wake.notified() => poll = POLL_MIN,
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// Publishes until nothing waits that can be read. While another relay publishes, it waits, and is alive as long as that one
    /// gets on.
    async fn publish_all(&self, lease: &Lease, beat: &Heartbeat, unreadable: &mut Unreadable) -> anyhow::Result<Found> {
        let (mut seen, mut found) = (None, Found::Nothing);
        while let Some(first) = self.first().await? {
            found = Found::Something;
            if self.ctx.stop.is_cancelled() {
                return Ok(found);
            }
            if !lease.hold().await {
                if seen.as_ref() != Some(&first) {
                    beat.beat(&self.ctx);
                    seen = Some(first);
                }
                beat.comes_round();
                tokio::time::sleep(BUSY).await;
                continue;
            }
            unreadable.begin_look();
            let published = self.publish_some(lease, beat, unreadable).await;
            lease.free().await;
            published?;
            if unreadable.end_look() > 0 {
                return Ok(found);
            }
        }
        unreadable.none();
        beat.beat(&self.ctx);
        Ok(found)
    }

    /// Publishes what waits, while the lease is held, and passes over rows that can't be read. It reads on behind what it has seen:
    /// the store walks over deleted rows, so that from the beginning each read would cost more than the one before. What was
    /// committed late, and stands before that, is found by the next look.
    ///
    /// What was published is deleted while the next rows are published: the one waits for the database, the other for JetStream.
    async fn publish_some(&self, lease: &Lease, beat: &Heartbeat, unreadable: &mut Unreadable) -> anyhow::Result<()> {
        let (mut last, mut stored) = (String::new(), Vec::new());
        loop {
            let rows = self.read_after(&last).await?;
            let count = rows.len();
            if let Some(row) = rows.last() {
                last.clone_from(&row.id.0);
            }
            let (deleted, published) = tokio::join!(self.delete(&stored), self.publish(&rows, unreadable));
            stored = published.stored;
            beat.beat(&self.ctx);
            let failed = deleted.and(published.failed);
            if failed.is_err() || count < BATCH || self.ctx.stop.is_cancelled() || !lease.hold().await {
                return self.delete(&stored).await.and(failed);
            }
        }
    }

    /// The oldest row.
    async fn first(&self) -> Result<Option<RecordId>, DbError> {
        let first = self.db.rows("SELECT VALUE id FROM type::record('outbox', ''>..) LIMIT 1", vars! {}).await?;
        Ok(first.into_iter().next())
    }

    /// The oldest rows behind an id, in their order: a scan goes along the keys, and sorts nothing.
    async fn read_after(&self, last: &str) -> Result<Vec<Waiting>, DbError> {
        let statement = "SELECT * FROM type::record('outbox', $last>..) LIMIT $limit";
        self.db.rows(statement, vars! { last: last.to_owned(), limit: BATCH }).await
    }

    /// Publishes rows, but for those that can't be read.
    async fn publish(&self, rows: &[Waiting], unreadable: &mut Unreadable) -> Published {
        let read = rows.iter().filter_map(|row| {
            let id = row.id.clone().record();
            match row.part() {
                Ok(part) => Some((id, part)),
                Err(problem) => {
                    unreadable.found(&id, &problem);
                    None
                }
            }
        });
        let (ids, parts): (Vec<RecordId>, Vec<Part>) = read.unzip();
        if parts.len() >= BATCH_MIN {
            match batch::publish(&self.ctx.nats, &self.ctx.random.alphanumeric(24), parts.clone()).await {
                Ok(_) => return Published { stored: ids, failed: Ok(()) },
                // one was stored by somebody who died then, or is too large, or …
                Err(error @ BatchError::Refused { .. }) => tracing::debug!(%error, "each event goes alone"),
                Err(error) => return Published { stored: Vec::new(), failed: Err(error.into()) },
            }
        }
        self.publish_each(ids, parts).await
    }

    /// Publishes one after the other: what follows one that JetStream does not take must not overtake it.
    async fn publish_each(&self, mut stored: Vec<RecordId>, parts: Vec<Part>) -> Published {
        for (number, part) in parts.into_iter().enumerate() {
            if let Err(error) = batch::publish_one(&self.ctx.nats, part).await {
                stored.truncate(number);
                return Published { stored, failed: Err(error.into()) };
            }
        }
        Published { stored, failed: Ok(()) }
    }

    /// Deletes rows that were published.
    async fn delete(&self, ids: &[RecordId]) -> anyhow::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        crash::at("outbox", "published");
        self.db.execute("DELETE $ids RETURN NONE", vars! { ids: ids.to_vec() }).await?;
        metrics::counter!("nepto_outbox_published_total", "domain" => self.db.name().to_owned())
            .increment(ids.len() as u64);
        Ok(())
    }
}

/// What became of rows that were to be published.
struct Published {
    /// Those that JetStream has.
    stored: Vec<RecordId>,
    /// What kept the next one from being stored.
    failed: anyhow::Result<()>,
}
