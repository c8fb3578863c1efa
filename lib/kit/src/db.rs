//! SurrealDB: one database per domain, migrations, and transactions that are retried on conflict.

mod column;
mod connection;
pub mod key;
mod migrate;

use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use nepto_proto::ErrorCode;
use surrealdb::opt::auth::Root;
use surrealdb::types::{ErrorDetails, QueryError, SurrealValue, ToSql, Value, Variables};

use crate::address;
use crate::clock::{Random, backoff};
use crate::config::Database;
use crate::health::Health;
use crate::job::Fence;
use connection::Connection;

pub use column::{Body, Fixed, Id, Int, Key, Table, Text};
pub use connection::STORE_BOUNDS;
pub use migrate::{Migration, Portions};
pub use surrealdb::types::{Bytes, Datetime, RecordId, array, vars};

/// A transaction that conflicts is tried so often in all.
const ATTEMPTS_MAX: u32 = 12;
/// Rows that are deleted at once.
const DELETE_BATCH: usize = 5_000;
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
    /// The statement refused what was asked, and changed nothing: `THROW '<code>'`.
    #[error("refused: {0}")]
    Refused(ErrorCode),
    /// Somebody was faster: what the statement builds on is not there any more, and it changed nothing: `THROW 'stale'`.
    #[error("somebody was faster")]
    Stale,
    /// The run of the job that this belongs to was replaced by a later one ([`crate::job::Fence`]), and it changed nothing.
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
            ErrorDetails::Thrown => match thrown(error.message()) {
                STALE => Self::Stale,
                Fence::SUPERSEDED => Self::Superseded,
                code => code.parse().map_or_else(|()| Self::Other(Box::new(error)), Self::Refused),
            },
            ErrorDetails::AlreadyExists(_) => Self::Exists,
            ErrorDetails::Query(Some(QueryError::TransactionConflict)) => Self::Conflict,
            ErrorDetails::Connection(_) => Self::Unreachable(Box::new(error)),
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// What a statement throws that came too late. Everything else that one throws is the code of an error; a test of the
/// repository reads all statements for it.
const STALE: &str = "stale";

/// The library keeps what was thrown only in a sentence.
fn thrown(message: &str) -> &str {
    message.rsplit(": ").next().unwrap_or(message)
}

/// The connection to SurrealDB, from which each domain gets its own database.
pub struct Databases {
    root: Connection,
    random: Random,
}

/// One domain's database, which nobody else writes. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    name: Arc<str>,
    inner: Arc<Connection>,
    random: Random,
}

impl Databases {
    /// Opens the embedded database or connects to a server.
    pub async fn connect(config: &Database, random: Random) -> anyhow::Result<Self> {
        if let Some(path) = config.url.strip_prefix("surrealkv://") {
            // what is in it is nobody else's business on this machine
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let credentials = match &config.password_file {
            Some(file) => {
                let password = std::fs::read_to_string(file)
                    .map_err(|error| anyhow::anyhow!("database.password_file {}: {error}", file.display()))?;
                Some(Root { username: config.username.clone(), password: password.trim().to_owned() })
            }
            None => None,
        };
        let connected = Connection::new(&config.url, credentials).await;
        let root = connected.map_err(|error| {
            anyhow::anyhow!("the database {} can't be opened: {error}", address::shown(&config.url))
        })?;
        Ok(Self { root, random })
    }

    /// The database of a domain.
    pub async fn of(&self, domain: &str) -> Result<Db, DbError> {
        let inner = self.root.clone();
        inner.enter(domain).await?;
        Ok(Db { name: domain.into(), inner: Arc::new(inner), random: self.random.clone() })
    }
}

/// What a statement answered. Which row can't be read is looked for only if there is one.
fn read<T: SurrealValue>(answer: Value, statement: &str) -> Result<T, DbError> {
    let kept = answer.clone();
    T::from_value(answer).map_err(|error| {
        let row = unreadable::<T>(kept).unwrap_or_else(|| format!("of {statement}"));
        corrupt(row, error.message().to_owned())
    })
}

/// What a row means that says more than its columns do, such as amounts packed into bytes. One that means nothing is an error.
pub fn readable<T>(id: &RecordId, meaning: Option<T>) -> Result<T, DbError> {
    meaning.ok_or_else(|| corrupt(id.to_sql(), "its key or its bytes mean nothing".to_owned()))
}

fn corrupt(row: String, problem: String) -> DbError {
    metrics::counter!("nepto_rows_unreadable_total").increment(1);
    tracing::error!(row, problem, "a row can't be read");
    DbError::Corrupt { row, problem }
}

/// The id of the row that can't be read.
fn unreadable<T: SurrealValue>(answer: Value) -> Option<String> {
    let row = match answer {
        Value::Array(rows) => {
            let is_bad = |row: &Value| T::from_value(Value::Array(vec![row.clone()].into())).is_err();
            rows.into_iter().find(is_bad)?
        }
        row => row,
    };
    match row {
        Value::RecordId(id) => Some(id.to_sql()),
        Value::Object(fields) => match fields.get("id")? {
            Value::RecordId(id) => Some(id.to_sql()),
            _ => None,
        },
        _ => None,
    }
}

impl Db {
    /// The domain that it belongs to.
    pub fn name(&self) -> &str {
        &self.name
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
                    Err(error) => Err(error.to_string()),
                }
            }
        });
    }

    /// Runs one statement, or one `{ … }` block, which is one transaction, and returns its value. A conflict with another
    /// transaction is retried with jitter, up to a bound.
    pub async fn run<T: SurrealValue>(&self, statement: &str, variables: Variables) -> Result<T, DbError> {
        for attempt in 0..ATTEMPTS_MAX {
            match self.attempt(statement, variables.clone()).await {
                Err(DbError::Conflict) => {
                    metrics::counter!("nepto_database_conflicts_total").increment(1);
                    let wait = backoff(&self.random, attempt, Duration::from_millis(2), Duration::from_millis(200));
                    tokio::time::sleep(wait).await;
                }
                done => return read(done?, statement),
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

    async fn attempt(&self, statement: &str, variables: Variables) -> Result<Value, DbError> {
        let query = self.inner.query(statement, variables);
        let mut results = tokio::time::timeout(QUERY_TIMEOUT, query).await.map_err(|_| DbError::Timeout)??;
        let mut errors = results.take_errors();
        match errors.remove(&0) {
            Some(error) => Err(error.into()),
            None => Ok(results.take(0)?),
        }
    }
}
