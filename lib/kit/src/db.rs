//! SurrealDB: one database per domain, migrations, and transactions that are retried on conflict.

mod column;
mod compatible;
mod connection;
mod copy;
mod migrate;
pub mod restoring;
pub mod snapshot;
mod transaction;
mod users;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nepto_proto::ErrorCode;
use surrealdb::types::{ErrorDetails, QueryError, SurrealValue, ToSql, Value, Variables};
use surrealdb_core::kvs::Datastore;
use tokio::sync::Mutex;

use crate::address;
use crate::clock::{Random, backoff};
use crate::config::{Database, Place};
use crate::health::Health;
use connection::{Connection, User};

pub(crate) use self::column::id_of;
pub use self::column::{Body, Id, Int, Key, Pack, Packed, Rows, Table, Text};
pub use self::connection::STORE_BOUNDS;
pub use self::copy::Copied;
pub use self::migrate::{Migration, Portions};
use self::restoring::refuse_half_restored;
use self::transaction::Refusal;
pub use self::transaction::Transaction;
pub use self::users::{Export, define_users};
pub use surrealdb::types::{Bytes, Datetime, RecordId, array, vars};

/// A transaction that conflicts is tried so often in all.
const ATTEMPTS_MAX: u32 = 12;
/// Rows that are deleted at once.
const DELETE_BATCH: usize = 5_000;
/// Rows that are changed at once.
const CHANGE_BATCH: usize = 2_000;
/// What `/readyz` does. One row for all processes, so that none is left behind.
const PROBE: &str = "{
    UPSERT probe:readiness SET at = time::now();
    RETURN (SELECT VALUE at FROM ONLY probe:readiness);
}";
/// A query that takes longer is given up.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// What was asked was refused, and nothing changed: [`Transaction::refuse_if`].
    #[error("refused: {0}")]
    Refused(ErrorCode),
    /// Somebody was faster: what the change builds on is not there any more, and nothing changed: [`Transaction::stale_if`].
    #[error("somebody was faster")]
    Stale,
    /// The run of the job that this belongs to was replaced by a later one ([`Transaction::fenced`]), and nothing changed.
    #[error("a later run of this job has begun")]
    Superseded,
    /// A row that does not mean what it must. It is never left out: see "A row that can't be read" of the operator's manual.
    #[error("the row {row} can't be read: {problem}")]
    Corrupt {
        /// Its id, or what was asked for.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A record with this id is there already.
    #[error("the record exists already")]
    Exists,
    /// Others changed the same rows, again and again.
    #[error("gave up after {ATTEMPTS_MAX} conflicts")]
    Conflict,
    /// The server is gone, or the connection to it broke.
    #[error("the database is out of reach: {0}")]
    Unreachable(Box<surrealdb::Error>),
    /// No answer in time.
    #[error("no answer within {} s", QUERY_TIMEOUT.as_secs())]
    Timeout,
    /// Anything else: a statement that is not valid, a value of the wrong type.
    #[error(transparent)]
    Other(#[from] Box<surrealdb::Error>),
}

impl From<surrealdb::Error> for DbError {
    fn from(error: surrealdb::Error) -> Self {
        match error.details() {
            ErrorDetails::AlreadyExists(_) => Self::Exists,
            ErrorDetails::Query(Some(QueryError::TransactionConflict)) => Self::Conflict,
            ErrorDetails::Connection(_) => Self::Unreachable(Box::new(error)),
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// The way to SurrealDB, from which each domain gets its own database: in one store, on one server, or on several.
pub struct Databases {
    config: Database,
    /// What was connected to, by its address. Nothing is connected to before a domain asks for it.
    open: Mutex<BTreeMap<String, Connection>>,
    random: Random,
}

/// One domain's database, which nobody else writes. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    name: Arc<str>,
    /// Its server, or its store, as people may see it.
    at: Arc<str>,
    inner: Arc<Connection>,
    random: Random,
}

impl Databases {
    /// As configured. Nothing is opened yet.
    pub fn new(config: &Database, random: Random) -> Self {
        Self { config: config.clone(), open: Mutex::default(), random }
    }

    /// The database of a domain: connected to, or opened, with the first domain of its server or store that asks.
    pub async fn of(&self, domain: &str) -> anyhow::Result<Db> {
        self.at(&self.config.of(domain), domain).await
    }

    /// The database of a domain at another place than the configuration says.
    pub async fn at(&self, place: &Place, domain: &str) -> anyhow::Result<Db> {
        let (user, at) = (user(place)?, address::shown(&place.url));
        let connected = async {
            let inner = self.connection(place).await?;
            inner.enter(domain, user.as_ref()).await?;
            anyhow::Ok(inner)
        };
        let inner = connected.await.map_err(|error| {
            anyhow::anyhow!(
                "the database of {domain} at {at} can't be opened: {error}{}",
                hint(&error.to_string(), place)
            )
        })?;
        Ok(Db { name: domain.into(), at: at.into(), inner: Arc::new(inner), random: self.random.clone() })
    }

    async fn connection(&self, place: &Place) -> anyhow::Result<Connection> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.get(&place.url) {
            return Ok(connection.clone());
        }
        if let Some(path) = place.url.strip_prefix("surrealkv://") {
            refuse_half_restored(Path::new(path))?;
            // what is in it is nobody else's business on this machine
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let connection = Connection::new(&place.url).await?;
        open.insert(place.url.clone(), connection.clone());
        Ok(connection)
    }

    /// The store of this process as it is now, with the databases of all domains that are not a server's.
    pub async fn snapshot(&self) -> anyhow::Result<snapshot::Parts> {
        Ok(snapshot::open(self.store().await?).await)
    }

    /// Writes and closes the store of this process, so that its folder can be moved.
    pub async fn close(self) -> anyhow::Result<()> {
        let closed = self.store().await?.shutdown().await;
        // with the last way to it the library would close it again, in the background and when its folder is elsewhere already,
        // and log as errors what it finds closed
        std::mem::forget(self.open);
        closed
    }

    async fn store(&self) -> anyhow::Result<Arc<Datastore>> {
        let place = self.config.common();
        anyhow::ensure!(place.is_embedded(), "this process has no databases of its own: they are a server's");
        match self.connection(&place).await? {
            Connection::Store(_, store) => Ok(store),
            Connection::Server(_) => anyhow::bail!("{} is no store", address::shown(&place.url)),
        }
    }
}

/// Who signs in at a place: nobody to a store, or without a password.
fn user(place: &Place) -> anyhow::Result<Option<User>> {
    let Some(file) = place.password_file.as_ref().filter(|_| !place.is_embedded()) else { return Ok(None) };
    let password = std::fs::read_to_string(file)
        .map_err(|error| anyhow::anyhow!("database.password_file {}: {error}", file.display()))?;
    Ok(Some(User { name: place.username.clone(), password: password.trim().to_owned(), of: place.user_of }))
}

/// What may be wrong where nobody is let in.
fn hint(error: &str, place: &Place) -> String {
    match (error.to_lowercase().contains("auth"), place.password_file.is_some()) {
        (true, true) => format!(
            "; is {:?} a user of the {}, with this password?",
            place.username,
            match place.user_of {
                crate::config::UserOf::Server => "whole server",
                crate::config::UserOf::Database => "database (`nepto-server database-users` makes it)",
            }
        ),
        (true, false) => "; database.password_file names no password".to_owned(),
        _ => String::new(),
    }
}

/// What a statement answered, as one value.
fn read<T: SurrealValue>(answer: Value, statement: &str) -> Result<T, DbError> {
    let id = id_of(&answer);
    T::from_value(answer).map_err(|error| {
        let row = id.map_or_else(|| format!("of {statement}"), |id| id.to_sql());
        unreadable(row, error.message().to_owned())
    })
}

/// What a statement answered, row by row. All of them can be read, or the first that can't be is the error.
fn read_rows<T: SurrealValue>(answer: Value, statement: &str) -> Result<Vec<T>, DbError> {
    let rows: Vec<Value> = read(answer, statement)?;
    rows.into_iter().map(|row| read(row, statement)).collect()
}

fn unreadable(row: String, problem: String) -> DbError {
    name_unreadable(&row, &problem);
    DbError::Corrupt { row, problem }
}

/// A row can't be read: it is counted, and named in the log.
pub(crate) fn name_unreadable(row: &str, problem: &str) {
    metrics::counter!("nepto_rows_unreadable_total").increment(1);
    tracing::error!(row, problem, "a row can't be read");
}

impl Db {
    /// The domain that it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server, or its store, without a password.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// `/readyz` writes a row and reads it: a database on a full disk, or one that became read-only, still answers.
    pub fn register(&self, domain: &str, health: &Health) {
        let db = self.clone();
        health.register(format!("database {domain}"), move || {
            let db = db.clone();
            async move {
                match db.run::<Value>(PROBE, vars! {}).await {
                    // another process wrote at the same moment, so it takes writes
                    Ok(_) | Err(DbError::Conflict) => Ok(()),
                    Err(error) => Err(format!("{}: {error}", db.at)),
                }
            }
        });
    }

    /// Runs one statement, or one `{ … }` block, which is one transaction, and returns its value. A conflict with another
    /// transaction is retried with jitter, up to a bound.
    pub async fn run<T: SurrealValue>(&self, statement: &str, variables: Variables) -> Result<T, DbError> {
        read(self.answer(statement, variables, &[]).await?, statement)
    }

    /// The same for a statement that answers with rows. All of them can be read, or the first that can't be is the error.
    pub async fn rows<T: SurrealValue>(&self, statement: &str, variables: Variables) -> Result<Vec<T>, DbError> {
        read_rows(self.answer(statement, variables, &[]).await?, statement)
    }

    /// Begins to write a transaction with these variables.
    pub fn transaction(&self, variables: Variables) -> Transaction {
        Transaction::new(self, variables)
    }

    async fn answer(&self, statement: &str, variables: Variables, refusals: &[Refusal]) -> Result<Value, DbError> {
        let started = std::time::Instant::now();
        let answer = self.answer_at_last(statement, variables, refusals).await;
        let outcome = match &answer {
            Ok(_) => "done",
            Err(DbError::Refused(_) | DbError::Stale | DbError::Superseded | DbError::Exists) => "refused",
            Err(_) => "failed",
        };
        metrics::histogram!("nepto_database_seconds", "domain" => self.name.to_string(), "outcome" => outcome)
            .record(started.elapsed());
        answer
    }

    async fn answer_at_last(
        &self,
        statement: &str,
        variables: Variables,
        refusals: &[Refusal],
    ) -> Result<Value, DbError> {
        for attempt in 0..ATTEMPTS_MAX {
            match self.attempt(statement, variables.clone(), refusals).await {
                Err(DbError::Conflict) => {
                    metrics::counter!("nepto_database_conflicts_total").increment(1);
                    let wait = backoff(&self.random, attempt, Duration::from_millis(2), Duration::from_millis(200));
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
        Err(DbError::Conflict)
    }

    /// Runs a statement for its effect.
    pub async fn execute(&self, statement: &str, variables: Variables) -> Result<(), DbError> {
        self.run::<Value>(statement, variables).await.map(drop)
    }

    /// Deletes the rows of a table whose keys begin with these parts, written as in SurrealQL, some at a time; how many.
    pub async fn delete_under(&self, table: &str, key: &str) -> Result<u64, DbError> {
        let statement = format!(
            "{{
            LET $ids = (SELECT VALUE id FROM type::record('{table}', [{key}]..[{key}, []]) LIMIT {DELETE_BATCH});
            DELETE $ids RETURN NONE;
            RETURN array::len($ids);
            }}"
        );
        let mut all = 0;
        loop {
            match self.run::<i64>(&statement, Variables::new()).await? {
                0 => return Ok(all),
                some => all += some as u64,
            }
        }
    }

    /// Changes every row of a table, some rows at a time, in SurrealQL that changes the rows with the ids `$rows`; how many. For
    /// tables that nobody else writes meanwhile.
    pub async fn change_all(&self, table: &str, change: &str) -> Result<u64, DbError> {
        #[derive(SurrealValue)]
        struct Portion {
            rows: i64,
            last: Value,
        }
        let (mut all, mut after) = (0, Value::None);
        loop {
            let source = match after {
                Value::None => table.to_owned(),
                _ => format!("type::record('{table}', $after>..)"),
            };
            let statement = format!(
                "{{
                LET $rows = (SELECT VALUE id FROM {source} LIMIT {CHANGE_BATCH});
                IF array::len($rows) = 0 {{ RETURN NONE }};
                {change};
                RETURN {{ rows: array::len($rows), last: record::id(array::last($rows)) }};
                }}"
            );
            match self.run::<Option<Portion>>(&statement, vars! { after: after }).await? {
                None => return Ok(all),
                Some(portion) => {
                    all += portion.rows.unsigned_abs();
                    after = portion.last;
                }
            }
        }
    }

    async fn attempt(&self, statement: &str, variables: Variables, refusals: &[Refusal]) -> Result<Value, DbError> {
        let query = self.inner.query(statement, variables);
        let mut results = tokio::time::timeout(QUERY_TIMEOUT, query).await.map_err(|_| DbError::Timeout)??;
        let mut errors = results.take_errors();
        match errors.remove(&0) {
            Some(error) => Err(Refusal::of(&error, refusals).map_or_else(|| error.into(), DbError::from)),
            None => Ok(results.take(0)?),
        }
    }
}
