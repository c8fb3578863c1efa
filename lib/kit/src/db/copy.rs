//! A domain's database copied to another server or store, and checked row by row.
//!
//! What must hold: a copy that is not whole is never taken for one. The rows that say which migrations a database has seen come
//! last, so no process starts on an unfinished copy, and a table that only an unfinished copy has lets the next attempt begin
//! anew. Both sides are read again in the end, and must be equal: had somebody written meanwhile, they were not.

use anyhow::{Context as _, ensure};
use sha2::{Digest, Sha256};
use surrealdb::types::{RecordId, ToSql, Value, Variables, vars};

use super::column::id_of;
use super::migrate::{MIGRATIONS, Migration};
use super::{Databases, Db, DbError};
use crate::config::Place;

/// Rows that are read and written at once.
const PORTION: usize = 500;
/// The table that only an unfinished copy has.
const UNFINISHED: &str = "unfinished_copy";

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows it has, here and there.
    pub rows: u64,
    /// SHA-256 of all rows in the order of their keys.
    pub digest: String,
}

impl Databases {
    /// Copies a domain's database to where the configuration says, from a place where it was until now. Nothing may run that
    /// writes to either. `told` hears how many rows there are so far.
    pub async fn copy_from(
        &self,
        place: &Place,
        domain: &str,
        schema: &[Migration],
        told: impl FnMut(&str, u64),
    ) -> anyhow::Result<Vec<Copied>> {
        let (from, to) = (self.at(place, domain).await?, self.of(domain).await?);
        ensure!(place.url != self.config.of(domain).url, "the database of {domain} is at {} already", from.at());
        copy(&from, &to, schema, told).await
    }
}

pub(super) async fn copy(
    from: &Db,
    to: &Db,
    schema: &[Migration],
    mut told: impl FnMut(&str, u64),
) -> anyhow::Result<Vec<Copied>> {
    ensure!(
        from.is_migrated(schema).await?,
        "the database at {} is not of this version: run `nepto-server provision` of this version on it first",
        from.at()
    );
    make_room(from, to).await?;
    to.apply(&format!("DEFINE TABLE {UNFINISHED} SCHEMALESS")).await?;
    to.define(schema).await?;
    let (tables, known) = (from.tables().await?, to.tables().await?);
    let mut copied = Vec::new();
    for table in tables.iter().filter(|table| *table != MIGRATIONS) {
        ensure!(known.contains(table), "{table} is no table of this version: what is it, at {}?", from.at());
        copied.push(copy_table(from, to, table, &mut told).await.with_context(|| format!("the table {table}"))?);
    }
    for table in &copied {
        check(from, to, table).await?;
    }
    to.apply(&format!("REMOVE TABLE {UNFINISHED}")).await?;
    // from here on it is a database that processes start on
    let last = copy_table(from, to, MIGRATIONS, &mut told).await?;
    check(from, to, &last).await?;
    copied.push(last);
    Ok(copied)
}

/// Removes an unfinished copy. Whatever else is there is somebody's database.
async fn make_room(from: &Db, to: &Db) -> anyhow::Result<()> {
    let there = to.tables().await?;
    ensure!(
        there.is_empty() || there.iter().any(|table| table == UNFINISHED),
        "there is a database of {} at {} already, with {} tables. If nobody needs it, remove it as root (`REMOVE DATABASE`; \
         then `nepto-server database-users`, if it had users), and copy again; what is at {} stays as it is",
        to.name(),
        to.at(),
        there.len(),
        from.at()
    );
    for table in there {
        to.apply(&format!("REMOVE TABLE `{table}`")).await?;
    }
    Ok(())
}

async fn copy_table(from: &Db, to: &Db, table: &str, told: &mut impl FnMut(&str, u64)) -> anyhow::Result<Copied> {
    let (mut summary, mut after, mut portion) = (Summary::new(table), None, PORTION);
    loop {
        let rows = from.page(table, after.as_ref(), portion).await?;
        let Some(last) = rows.last() else { return Ok(summary.end()) };
        let insert = format!("INSERT INTO `{table}` $rows RETURN NONE");
        match to.execute(&insert, vars! { rows: rows.clone() }).await {
            Ok(()) => {}
            // large rows may not fit into one transaction, nor into the time of one
            Err(error @ (DbError::Timeout | DbError::Other(_))) if portion > 1 => {
                portion /= 2;
                tracing::debug!(table, %error, portion, "fewer rows are copied at once");
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        summary.add(&rows);
        after = Some(id_of(last).context("a row without an id")?);
        told(table, summary.rows);
    }
}

async fn check(from: &Db, to: &Db, copied: &Copied) -> anyhow::Result<()> {
    let (source, copy) = tokio::try_join!(summary(from, &copied.table), summary(to, &copied.table))?;
    let table = &copied.table;
    ensure!(
        source == *copied,
        "the table {table} at {} has changed while it was copied ({} rows, then {}): stop every process that writes to it, \
         and copy again",
        from.at(),
        copied.rows,
        source.rows
    );
    ensure!(
        copy == *copied,
        "the table {table} at {} is not equal to what was copied ({} rows instead of {}); copy again",
        to.at(),
        copy.rows,
        copied.rows
    );
    Ok(())
}

async fn summary(db: &Db, table: &str) -> anyhow::Result<Copied> {
    let (mut summary, mut after) = (Summary::new(table), None);
    loop {
        let rows = db.page(table, after.as_ref(), PORTION).await?;
        let Some(last) = rows.last() else { return Ok(summary.end()) };
        summary.add(&rows);
        after = Some(id_of(last).context("a row without an id")?);
    }
}

/// What is counted and hashed of a table.
struct Summary<'a> {
    table: &'a str,
    rows: u64,
    digest: Sha256,
}

impl<'a> Summary<'a> {
    fn new(table: &'a str) -> Self {
        Self { table, rows: 0, digest: Sha256::new() }
    }

    fn add(&mut self, rows: &[Value]) {
        self.rows += rows.len() as u64;
        for row in rows {
            let text = row.to_sql();
            // the length keeps rows apart, whatever is in them
            self.digest.update((text.len() as u64).to_be_bytes());
            self.digest.update(text);
        }
    }

    fn end(self) -> Copied {
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Copied { table: self.table.to_owned(), rows: self.rows, digest }
    }
}

impl Db {
    /// The names of its tables.
    async fn tables(&self) -> Result<Vec<String>, DbError> {
        self.run("RETURN object::keys((INFO FOR DB).tables)", Variables::new()).await
    }

    /// The rows behind one, in the order of their keys.
    async fn page(&self, table: &str, after: Option<&RecordId>, rows: usize) -> Result<Vec<Value>, DbError> {
        let (source, variables) = match after {
            None => (format!("`{table}`"), Variables::new()),
            Some(after) => (format!("type::record('{table}', record::id($after)>..)"), vars! { after: after.clone() }),
        };
        self.rows(&format!("SELECT * FROM {source} LIMIT {rows}"), variables).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    const SCHEMA: &[Migration] = &[Migration {
        number: 1,
        statements: "
            DEFINE TABLE IF NOT EXISTS thing SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS body ON thing TYPE bytes;
            DEFINE FIELD IF NOT EXISTS at ON thing TYPE datetime DEFAULT time::now();
            DEFINE INDEX IF NOT EXISTS body ON thing FIELDS body;
            DEFINE TABLE IF NOT EXISTS empty SCHEMALESS;",
        rows: &[],
        compatible_from: None,
    }];
    /// More than two portions, and a rest.
    const ROWS: i64 = 2 * PORTION as i64 + 3;

    /// A store of its own.
    async fn database() -> Db {
        databases("mem://").of("things").await.unwrap()
    }

    async fn filled() -> Db {
        let db = database().await;
        db.migrate(SCHEMA).await.unwrap();
        let statement = "INSERT INTO thing (array::range(0..$rows).map(|$n| {
            { id: [$n % 7, <string>$n], body: <bytes><string>$n }
        })) RETURN NONE";
        db.execute(statement, vars! { rows: ROWS }).await.unwrap();
        db.execute("CREATE thing:`it's` SET body = <bytes>'x'", Variables::new()).await.unwrap();
        db
    }

    async fn copied(from: &Db, to: &Db) -> Result<Vec<Copied>, String> {
        copy(from, to, SCHEMA, |_, _| {}).await.map_err(|error| format!("{error:#}"))
    }

    async fn rows(db: &Db) -> i64 {
        db.run("RETURN count(SELECT id FROM thing)", Variables::new()).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_has_every_row_and_is_a_database_of_this_version() {
        let (from, to) = (filled().await, database().await);
        let tables = copied(&from, &to).await.unwrap();
        let things = tables.iter().find(|table| table.table == "thing").unwrap();
        assert_eq!((things.rows as i64, rows(&to).await), (ROWS + 1, ROWS + 1));
        assert!(tables.iter().any(|table| (table.table.as_str(), table.rows) == ("empty", 0)));
        assert!(to.is_migrated(SCHEMA).await.unwrap());
        assert_eq!(to.tables().await.unwrap(), from.tables().await.unwrap());
        // one that is there is not touched
        let refused = copied(&from, &to).await.unwrap_err();
        assert!(refused.contains("already"), "{refused}");
        assert_eq!(rows(&to).await, ROWS + 1);
    }

    #[tokio::test]
    async fn an_unfinished_copy_is_none_and_begins_anew() {
        let (from, to) = (filled().await, database().await);
        tokio::select! {
            biased;
            () = async { while rows_or_none(&to).await < PORTION as i64 { tokio::task::yield_now().await } } => {}
            done = copied(&from, &to) => panic!("it was done before it was killed: {done:?}"),
        }
        assert!(!to.is_migrated(SCHEMA).await.unwrap(), "no process may start on it");
        copied(&from, &to).await.unwrap();
        assert_eq!(rows(&to).await, ROWS + 1);
    }

    async fn rows_or_none(db: &Db) -> i64 {
        db.run("RETURN count(SELECT id FROM thing)", Variables::new()).await.unwrap_or(0)
    }

    #[tokio::test]
    async fn what_is_written_meanwhile_makes_it_fail() {
        for statement in [
            "CREATE thing:new SET body = <bytes>'x'",
            "UPDATE thing:[3, '3'] SET body = <bytes>'y'",
            "DELETE thing:[3, '3']",
        ] {
            for (at_source, said) in [(true, "has changed while"), (false, "is not equal")] {
                let (from, to) = (filled().await, database().await);
                to.define(SCHEMA).await.unwrap();
                let copied = copy_table(&from, &to, "thing", &mut |_: &str, _| {}).await.unwrap();
                check(&from, &to, &copied).await.unwrap();
                let db = if at_source { &from } else { &to };
                db.execute(statement, Variables::new()).await.unwrap();
                let error = check(&from, &to, &copied).await.unwrap_err().to_string();
                assert!(error.contains(said), "{statement}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn only_a_database_of_this_version_is_copied() {
        let (from, to) = (database().await, database().await);
        let refused = copied(&from, &to).await.unwrap_err();
        assert!(refused.contains("nepto-server provision"), "{refused}");
        assert!(to.tables().await.unwrap().is_empty());
        from.migrate(SCHEMA).await.unwrap();
        from.apply("DEFINE TABLE theirs SCHEMALESS").await.unwrap();
        let refused = copied(&from, &to).await.unwrap_err();
        assert!(refused.contains("theirs"), "{refused}");
    }
}
