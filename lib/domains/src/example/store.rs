//! All SurrealQL of this domain.

use nepto_kit::db::{Db, DbError, Migration, RecordId, vars};
use nepto_kit::outbox;

pub const SCHEMA: &[Migration] = &[Migration {
    number: 1,
    statements: "
        DEFINE TABLE IF NOT EXISTS note SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS text ON note TYPE string;
        DEFINE FIELD IF NOT EXISTS made_at_ms ON note TYPE int;
        DEFINE INDEX IF NOT EXISTS made_at ON note FIELDS made_at_ms;
    ",
    rows: &[],
    compatible_from: None,
}];

/// Notes that are deleted at once.
const BATCH: i64 = 500;

#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Keeps a note, with the event that tells of it.
    pub async fn put(&self, id: &str, text: &str, now_ms: i64, event: outbox::Row) -> Result<(), DbError> {
        let variables = vars! { id: RecordId::new("note", id), text: text.to_owned(), now: now_ms };
        let put = self.db.transaction(variables).then("CREATE $id SET text = $text, made_at_ms = $now");
        put.emit([event]).execute().await
    }

    pub async fn count(&self) -> Result<u64, DbError> {
        let count: i64 = self.db.run("RETURN array::len((SELECT VALUE id FROM note))", vars! {}).await?;
        Ok(count.unsigned_abs())
    }

    /// Deletes the notes that were made before this time or at it, some at once; how many.
    pub async fn delete_until(&self, until_ms: i64) -> Result<u64, DbError> {
        let statement = "{
            LET $ids = (SELECT VALUE id FROM note WHERE made_at_ms <= $until LIMIT $batch);
            DELETE $ids RETURN NONE;
            RETURN array::len($ids);
        }";
        let deleted: i64 = self.db.run(statement, vars! { until: until_ms, batch: BATCH }).await?;
        Ok(deleted.unsigned_abs())
    }
}
