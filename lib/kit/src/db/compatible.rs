//! The oldest version that may open a database. A migration that breaks older code says which code it does not break, and the
//! database keeps the highest of them: older code is told so instead of reading, or writing, what it does not understand.

use surrealdb::types::{SurrealValue, vars};

use super::{Db, DbError, Migration};
use crate::version::Version;

/// Where it stands, in the table of migrations. Its name is for good: the oldest code has to find it.
const ROW: &str = "migration:compatible_from";

#[derive(SurrealValue)]
struct Compatible {
    oldest: Vec<i64>,
    by: Vec<i64>,
}

impl Db {
    /// An error if newer code made the database one that this program must not open. Changes nothing.
    pub async fn check_version(&self) -> anyhow::Result<()> {
        self.refuse_older(Version::OWN).await
    }

    /// An error if the database is one that this code, of the version `own`, does not understand any more.
    pub(super) async fn refuse_older(&self, own: Version) -> anyhow::Result<()> {
        let statement = format!("RETURN IF record::exists({ROW}) {{ (SELECT oldest, by FROM ONLY {ROW}) }}");
        let row = match self.run::<Option<Compatible>>(&statement, vars! {}).await {
            Err(DbError::Corrupt { problem, .. }) => {
                anyhow::bail!(
                    "the row {ROW} of the database {} can't be read ({problem}), so it is not opened: a newer version \
                     may have written it; install the version that ran last",
                    self.name()
                )
            }
            row => row?,
        };
        let Some(Compatible { oldest, by }) = row else { return Ok(()) };
        let (Some(oldest), Some(by)) = (Version::from_value(&oldest), Version::from_value(&by)) else {
            anyhow::bail!("the row {ROW} of the database {} names no version; nothing was changed", self.name())
        };
        anyhow::ensure!(
            own >= oldest,
            "the database {} was changed by nepto-server {by}, and this is {own}, which does not understand it any more; \
             nothing was changed. Install {oldest} or newer, or restore a backup that {own} made",
            self.name()
        );
        Ok(())
    }

    /// Raises what the database says to what a migration declares, before the migration begins: one that is killed halfway
    /// leaves nothing that older code would open. It never goes back.
    pub(super) async fn declare(&self, migration: &Migration, own: Version) -> Result<(), DbError> {
        let Some(oldest) = migration.compatible_from else { return Ok(()) };
        let statement = format!(
            "{{
            LET $known = (SELECT VALUE oldest FROM ONLY {ROW});
            IF $known = NONE OR $known < $oldest {{ UPSERT {ROW} SET oldest = $oldest, by = $by, at = time::now() }};
            }}"
        );
        self.execute(&statement, vars! { oldest: oldest.value(), by: own.value() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    const EXPANDS: Migration = Migration {
        number: 1,
        statements: "DEFINE TABLE IF NOT EXISTS one SCHEMALESS",
        rows: &[],
        compatible_from: None,
    };
    const CONTRACTS: Migration = Migration {
        number: 2,
        statements: "REMOVE TABLE IF EXISTS one",
        rows: &[],
        compatible_from: Some(Version([0, 2, 0])),
    };
    const FAILS: Migration =
        Migration { number: 3, statements: "NO SUCH STATEMENT", rows: &[], compatible_from: Some(Version([0, 10, 0])) };

    async fn database() -> Db {
        databases("mem://").of("things").await.unwrap()
    }

    async fn refusal(db: &Db, own: Version) -> Option<String> {
        let opened = db.migrate_as(own, &[EXPANDS]).await;
        let checked = db.is_migrated_as(own, &[EXPANDS]).await;
        assert_eq!(opened.is_err(), checked.is_err(), "whoever migrates and whoever looks are told the same");
        opened.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn older_code_is_refused_from_the_migration_on_that_breaks_it() {
        let db = database().await;
        let (old, between, new) = (Version([0, 1, 9]), Version([0, 2, 0]), Version([0, 3, 0]));
        db.migrate_as(new, &[EXPANDS]).await.unwrap();
        assert_eq!(refusal(&db, old).await, None, "what only adds breaks nobody");

        db.migrate_as(new, &[EXPANDS, CONTRACTS]).await.unwrap();
        assert_eq!(refusal(&db, between).await, None, "the neighbour of the version that contracts");
        let said = refusal(&db, old).await.unwrap();
        for part in ["things was changed by nepto-server 0.3.0, and this is 0.1.9", "Install 0.2.0 or newer"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[tokio::test]
    async fn a_migration_that_fails_keeps_older_code_out_and_nothing_lets_it_in_again() {
        let db = database().await;
        let newest = Version([0, 11, 0]);
        db.migrate_as(newest, &[EXPANDS, CONTRACTS, FAILS]).await.unwrap_err();
        assert!(refusal(&db, Version([0, 9, 0])).await.is_some());
        // a migration with a lower bound, seen later, does not lower it
        db.declare(&CONTRACTS, newest).await.unwrap();
        assert!(refusal(&db, Version([0, 9, 0])).await.is_some());
        assert_eq!(refusal(&db, Version([0, 10, 0])).await, None);
    }

    #[tokio::test]
    async fn what_the_row_says_in_another_form_is_no_permission() {
        let db = database().await;
        db.migrate_as(Version::OWN, &[EXPANDS]).await.unwrap();
        for row in ["oldest = '9.0.0', by = '9.0.0'", "oldest = [0, 1], by = [0, 1, 0]", "oldest = NONE"] {
            db.execute(&format!("UPSERT {ROW} CONTENT {{}}"), vars! {}).await.unwrap();
            db.execute(&format!("UPSERT {ROW} SET {row}"), vars! {}).await.unwrap();
            assert!(refusal(&db, Version::OWN).await.is_some(), "{row}");
        }
    }
}
