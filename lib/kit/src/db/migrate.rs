//! Migrations: how the tables of a domain get from one version to the next.
//!
//! Definitions are applied at once. Rows are changed in portions, each in a transaction together with how far it got, so that a
//! table of any size fits, and a process that is killed in between goes on behind the last portion that it committed.

use surrealdb::types::{SurrealValue, Value, Variables, vars};

use super::{Db, DbError};
use crate::version::Version;
use crate::{job, outbox};

/// The table that says which migrations a database has seen.
pub(super) const MIGRATIONS: &str = "migration";
/// The row that says that the outbox and the jobs have the tables of this version; another name where these change.
const OWN_TABLES: &str = "own-3";
/// Rows that one transaction of a migration changes: a second's work at most.
const PORTION: usize = 2_000;
/// What a portion answers where another process was faster with it.
const PASSED: i64 = -1;

/// A step of a domain's schema. Applied once, in the order of the numbers; never changed afterwards.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3, …
    pub number: i64,
    /// SurrealQL that does no harm when it runs twice: processes that start together may both apply it. Tables that may be
    /// large are changed by `rows` instead.
    pub statements: &'static str,
    /// What happens to the rows of tables afterwards, one table after the other.
    pub rows: &'static [Portions],
    /// The oldest version that goes on working afterwards; `None` if that is every version which could open the database
    /// before. It must be a version that was released: the one before this runs beside this one, while a deployment is upgraded.
    pub compatible_from: Option<Version>,
}

/// A change of every row of a table, some rows at a time.
#[derive(Debug, Clone, Copy)]
pub struct Portions {
    /// The table.
    pub table: &'static str,
    /// SurrealQL that changes the rows with the ids `$rows`.
    pub change: &'static str,
}

impl Db {
    /// Whether all migrations were applied, and our own tables are there. An error if newer code made the database one that this
    /// code must not open.
    pub async fn is_migrated(&self, migrations: &[Migration]) -> anyhow::Result<bool> {
        self.is_migrated_as(Version::OWN, migrations).await
    }

    pub(super) async fn is_migrated_as(&self, own: Version, migrations: &[Migration]) -> anyhow::Result<bool> {
        self.refuse_older(own).await?;
        let is_ours = self.has_seen(OWN_TABLES.to_owned()).await?;
        match migrations.last() {
            Some(last) => Ok(is_ours && self.has_seen(last.number).await?),
            None => Ok(is_ours),
        }
    }

    /// Defines all tables, for rows that come from a database which has seen these migrations.
    pub(super) async fn define(&self, migrations: &[Migration]) -> anyhow::Result<()> {
        self.define_own(Version::OWN).await?;
        for migration in migrations {
            self.apply(migration.statements).await?;
        }
        Ok(())
    }

    async fn define_own(&self, own: Version) -> anyhow::Result<()> {
        self.execute("DEFINE TABLE IF NOT EXISTS migration SCHEMALESS", vars! {}).await?;
        self.refuse_older(own).await?;
        self.execute("DEFINE TABLE IF NOT EXISTS probe SCHEMALESS", vars! {}).await?;
        self.apply(outbox::TABLES).await?;
        self.apply(job::TABLES).await
    }

    /// Applies the migrations that this database has not seen. An error, before anything is changed, if newer code made it one
    /// that this code must not open.
    pub async fn migrate(&self, migrations: &[Migration]) -> anyhow::Result<()> {
        self.migrate_as(Version::OWN, migrations).await
    }

    pub(super) async fn migrate_as(&self, own: Version, migrations: &[Migration]) -> anyhow::Result<()> {
        self.define_own(own).await?;
        let ours = vars! { ours: OWN_TABLES.to_owned() };
        self.execute("UPSERT type::record('migration', $ours) SET at = time::now()", ours).await?;
        for migration in migrations {
            if self.has_seen(migration.number).await? {
                continue;
            }
            let number = migration.number;
            self.declare(migration, own).await?;
            let applied = self.apply_one(migration).await;
            applied.map_err(|error| error.context(format!("migration {number} of {} failed", self.name())))?;
            let statement = "CREATE type::record('migration', $number) SET at = time::now()";
            match self.execute(statement, vars! { number: number }).await {
                // another process was faster with the same, idempotent step
                Err(DbError::Exists) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn has_seen(&self, migration: impl SurrealValue) -> Result<bool, DbError> {
        let statement = "RETURN record::exists(type::record('migration', $migration))";
        self.run(statement, vars! { migration: migration }).await
    }

    async fn apply_one(&self, Migration { number, statements, rows, .. }: &Migration) -> anyhow::Result<()> {
        self.apply(statements).await?;
        for (step, portions) in (0_i64..).zip(*rows) {
            let changed = self.change_rows((*number, step), portions).await?;
            tracing::info!(
                database = self.name(),
                migration = number,
                table = portions.table,
                changed,
                "rows are migrated"
            );
        }
        Ok(())
    }

    /// Runs definitions, which may be several statements.
    pub(super) async fn apply(&self, definitions: &str) -> anyhow::Result<()> {
        let mut results = self.inner.query(definitions, Variables::new()).await?;
        match results.take_errors().into_values().next() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Changes the rows of a table in the order of their keys; how many. How far it is stands in `migration:[number, step]`. Large
    /// rows may not fit into one transaction, nor into the time of one: then fewer are changed at once.
    async fn change_rows(&self, (number, step): (i64, i64), portions: &Portions) -> Result<i64, DbError> {
        let (mut all, mut portion) = (0, PORTION);
        loop {
            let after = self.portion_done(number, step).await?;
            match self.change_portion((number, step), portions, after, portion).await {
                Ok(0) => return Ok(all),
                Ok(PASSED) => {}
                Ok(changed) => all += changed,
                Err(error) if portion == 1 => return Err(error),
                Err(error) => {
                    portion /= 2;
                    tracing::warn!(table = portions.table, %error, portion, "fewer rows are migrated at once");
                }
            }
        }
    }

    /// The key of the last row that was changed; `NONE` before the first.
    async fn portion_done(&self, number: i64, step: i64) -> Result<Value, DbError> {
        let statement = "RETURN (SELECT VALUE after FROM ONLY type::record('migration', [$number, $step]))";
        self.run(statement, vars! { number: number, step: step }).await
    }

    async fn change_portion(
        &self,
        (number, step): (i64, i64),
        Portions { table, change }: &Portions,
        after: Value,
        portion: usize,
    ) -> Result<i64, DbError> {
        let source = match after {
            Value::None => (*table).to_owned(),
            _ => format!("type::record('{table}', $after>..)"),
        };
        let statement = format!(
            "{{
            LET $progress = type::record('migration', [$number, $step]);
            LET $done = (SELECT VALUE after FROM ONLY $progress);
            IF $done != $after {{ RETURN {PASSED} }};
            LET $rows = (SELECT VALUE id FROM {source} LIMIT {portion});
            IF array::len($rows) = 0 {{ RETURN 0 }};
            {change};
            UPSERT $progress SET after = record::id(array::last($rows)) RETURN NONE;
            RETURN array::len($rows);
            }}"
        );
        self.run(&statement, vars! { number: number, step: step, after: after }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    /// More than two portions.
    const ROWS: i64 = 2 * PORTION as i64 + 500;

    const MIGRATIONS: &[Migration] = &[Migration {
        number: 1,
        statements: "DEFINE TABLE IF NOT EXISTS thing SCHEMALESS",
        rows: &[Portions { table: "thing", change: "UPDATE $rows SET changes = (changes ?? 0) + 1 RETURN NONE" }],
        compatible_from: None,
    }];

    #[tokio::test]
    async fn rows_that_are_too_large_together_are_changed_apart() {
        const LARGE: &[Migration] = &[Migration {
            number: 1,
            statements: "DEFINE TABLE IF NOT EXISTS thing SCHEMALESS",
            rows: &[Portions {
                table: "thing",
                change: "LET $fits = IF array::len($rows) > 300 { <int> 'too many' }; UPDATE $rows SET changes = 1 RETURN NONE",
            }],
            compatible_from: None,
        }];
        let db = database().await;
        db.migrate(LARGE).await.unwrap();
        let changed: i64 = db.run("RETURN count(SELECT id FROM thing WHERE changes = 1)", vars! {}).await.unwrap();
        assert_eq!(changed, ROWS);
    }

    /// A database with rows, some of whose keys are arrays as the domains' are.
    async fn database() -> Db {
        let db = databases("mem://").of("things").await.unwrap();
        db.migrate(&[]).await.unwrap();
        let statement = "INSERT INTO thing (array::range(0..$rows).map(|$n| {
            { id: [math::floor($n / 100), <string>$n] }
        })) RETURN NONE";
        db.execute("DEFINE TABLE IF NOT EXISTS thing SCHEMALESS", vars! {}).await.unwrap();
        db.execute(statement, vars! { rows: ROWS }).await.unwrap();
        db
    }

    /// How many rows were changed so often.
    async fn changed(db: &Db, times: i64) -> i64 {
        let statement = "RETURN array::len((SELECT VALUE id FROM thing WHERE (changes ?? 0) = $times))";
        db.run(statement, vars! { times: times }).await.unwrap()
    }

    #[tokio::test]
    async fn a_migration_that_is_killed_twice_changes_each_row_once() {
        let db = database().await;
        for portions in 1..=2 {
            tokio::select! {
                biased;
                () = async {
                    while changed(&db, 1).await < portions * PORTION as i64 {
                        tokio::task::yield_now().await;
                    }
                } => {}
                done = db.migrate(MIGRATIONS) => panic!("it was done before it was killed: {done:?}"),
            }
            assert!(!db.is_migrated(MIGRATIONS).await.unwrap());
        }
        db.migrate(MIGRATIONS).await.unwrap();
        assert!(db.is_migrated(MIGRATIONS).await.unwrap());
        assert_eq!((changed(&db, 0).await, changed(&db, 1).await), (0, ROWS));
    }

    #[tokio::test]
    async fn two_processes_that_migrate_at_once_change_each_row_once() {
        let db = database().await;
        let (one, other) = tokio::join!(db.migrate(MIGRATIONS), db.migrate(MIGRATIONS));
        one.and(other).unwrap();
        assert_eq!((changed(&db, 0).await, changed(&db, 1).await), (0, ROWS));
    }
}
