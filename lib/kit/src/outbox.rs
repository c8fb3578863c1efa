//! Events that are committed together with the change that caused them.
//!
//! A domain writes a row of table `outbox` in the same transaction as its change; the relay publishes the rows in order
//! to the stream `EVENTS` and deletes them. Several relays may run: the row's id is the `Nats-Msg-Id`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use nepto_proto::event::Event;
use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Notify;

use crate::clock::{Clock, Random};
use crate::db::{Db, DbError, RecordId, vars};
use crate::{Ctx, crash};

/// The table, in every domain's database.
pub(crate) const TABLE: &str = "
    DEFINE TABLE IF NOT EXISTS outbox SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS subject ON outbox TYPE string;
    DEFINE FIELD IF NOT EXISTS body ON outbox TYPE string;
";

/// Rows that a relay reads at once.
const BATCH: usize = 100;
/// How often the relay looks without being woken.
const POLL: Duration = Duration::from_millis(500);

/// A row to put into a statement's variables as `$events`, with `INSERT INTO outbox $events;` inside the block.
#[derive(Debug, Clone, SurrealValue)]
pub struct Row {
    id: RecordId,
    subject: String,
    body: String,
}

/// The statement that goes into the block of the change.
pub const INSERT: &str = "INSERT INTO outbox $events;";

impl Row {
    /// An event as a row.
    pub fn new<E: Event>(event: &E, clock: &Clock, random: &Random) -> Self {
        Self {
            id: RecordId::new("outbox", random.uuid(clock).simple().to_string()),
            subject: E::subject(),
            body: serde_json::to_string(event).unwrap_or_default(),
        }
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

    /// Says that there is something to publish; without it the relay finds it within half a second.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Publishes until the process stops.
    pub async fn serve(self) -> anyhow::Result<()> {
        loop {
            match self.publish_batch().await {
                Ok(BATCH..) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the outbox could not be published; trying again"),
            }
            tokio::select! {
                () = self.ctx.stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn publish_batch(&self) -> anyhow::Result<usize> {
        let rows: Vec<Row> =
            self.db.run("SELECT * FROM outbox ORDER BY id LIMIT $limit", vars! { limit: BATCH as i64 }).await?;
        let count = rows.len();
        for row in rows {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, key_text(&row.id));
            let ack = self.ctx.jetstream.publish_with_headers(row.subject, headers, row.body.into()).await?;
            ack.await?;
            crash::at("outbox", "published");
            self.delete(row.id).await?;
        }
        Ok(count)
    }

    async fn delete(&self, id: RecordId) -> Result<(), DbError> {
        self.db.run::<Value>("DELETE $id", vars! { id: id }).await.map(drop)
    }
}

fn key_text(id: &RecordId) -> String {
    match &id.key {
        surrealdb::types::RecordIdKey::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}
