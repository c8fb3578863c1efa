//! A transaction that may refuse, and that emits events: all of it is committed, or nothing.
//!
//! It is written in the order in which it runs. What it throws belongs to it: a refusal is bound to its code where the
//! condition stands, and whatever else a statement may throw is no refusal but a fault.

use nepto_proto::ErrorCode;
use surrealdb::types::{SurrealValue, Value, Variables};

use super::{Db, DbError, read, read_rows};
use crate::job::Fence;
use crate::outbox;

/// Why a transaction changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Code(ErrorCode),
    Stale,
    Superseded,
}

impl Refusal {
    /// What is thrown. The library keeps of it no more than a sentence that ends with it.
    fn word(self) -> &'static str {
        match self {
            Self::Code(code) => code.as_str(),
            Self::Stale => "stale",
            Self::Superseded => "job_superseded",
        }
    }

    /// Which of these was thrown.
    pub(super) fn of(error: &surrealdb::Error, possible: &[Self]) -> Option<Self> {
        let thrown = error.message().rsplit(": ").next().filter(|_| error.details().is_thrown())?;
        possible.iter().copied().find(|refusal| refusal.word() == thrown)
    }
}

impl From<Refusal> for DbError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Code(code) => Self::Refused(code),
            Refusal::Stale => Self::Stale,
            Refusal::Superseded => Self::Superseded,
        }
    }
}

/// A transaction that is being written; see [`Db::transaction`].
#[must_use = "it does nothing until it is run"]
pub struct Transaction {
    db: Db,
    block: String,
    variables: Variables,
    refusals: Vec<Refusal>,
}

impl Transaction {
    pub(super) fn new(db: &Db, variables: Variables) -> Self {
        Self { db: db.clone(), block: String::new(), variables, refusals: Vec::new() }
    }

    /// Statements, in SurrealQL. One that returns ends the transaction, and what was done so far is committed.
    pub fn then(mut self, statements: &str) -> Self {
        self.block.push_str(statements.trim_end());
        if !self.block.ends_with(';') {
            self.block.push(';');
        }
        self.block.push('\n');
        self
    }

    /// Refuses with this code where the condition holds: [`DbError::Refused`].
    pub fn refuse_if(self, condition: &str, code: ErrorCode) -> Self {
        self.end_if(condition, Refusal::Code(code))
    }

    /// Somebody was faster where the condition holds: [`DbError::Stale`].
    pub fn stale_if(self, condition: &str) -> Self {
        self.end_if(condition, Refusal::Stale)
    }

    /// A write of a job's run, refused once a later run has begun: [`DbError::Superseded`]. From here on `$fenced` is the job's
    /// row.
    ///
    /// Reads the fence, and writes beside it: a reader alone would not conflict with whoever takes over at this moment.
    pub fn fenced(mut self, fence: &Fence) -> Self {
        self.variables.insert("fenced", fence.job().clone());
        self.variables.insert("fence", fence.number());
        self.then("LET $newest_fence = (SELECT VALUE fence FROM ONLY $fenced)")
            .end_if("$newest_fence != $fence", Refusal::Superseded)
            .then("UPDATE $fenced SET fenced_writes += 1")
    }

    /// Commits events with the change. Those that are about something get the next number of their thing.
    pub fn emit(mut self, events: impl IntoIterator<Item = outbox::Row>) -> Self {
        let (numbered, others): (Vec<_>, Vec<_>) = events.into_iter().partition(outbox::Row::is_numbered);
        for (rows, insert) in [(others, outbox::INSERT), (numbered, outbox::INSERT_NUMBERED)] {
            if !rows.is_empty() {
                let events = format!("events_{}", self.variables.len());
                self.block.push_str(&insert.replace("$events", &format!("${events}")));
                self.variables.insert(events, rows);
            }
        }
        self
    }

    /// A block within it, behind `IF …` or `FOR … IN …`.
    pub fn within(mut self, head: &str, body: impl FnOnce(Self) -> Self) -> Self {
        self.block.push_str(head);
        self.block.push_str(" {\n");
        let mut outer = body(self);
        outer.block.push_str("};\n");
        outer
    }

    fn end_if(mut self, condition: &str, refusal: Refusal) -> Self {
        self.refusals.push(refusal);
        let word = refusal.word();
        self.then(&format!("IF {condition} {{ THROW '{word}' }}"))
    }

    /// Runs it, and reads what it returns.
    pub async fn run<T: SurrealValue>(self) -> Result<T, DbError> {
        let Self { db, block, variables, refusals } = self;
        read(db.answer(&format!("{{\n{block}}}"), variables, &refusals).await?, &block)
    }

    /// Runs it, and reads the rows that it returns.
    pub async fn rows<T: SurrealValue>(self) -> Result<Vec<T>, DbError> {
        let Self { db, block, variables, refusals } = self;
        read_rows(db.answer(&format!("{{\n{block}}}"), variables, &refusals).await?, &block)
    }

    /// Runs it for its effect.
    pub async fn execute(self) -> Result<(), DbError> {
        self.run::<Value>().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::AccountId;
    use nepto_proto::event::{DeviceRemoved, WalletLinked};
    use surrealdb::types::vars;
    use uuid::Uuid;

    use super::*;
    use crate::clock::{Clock, Random};
    use crate::testing::databases;

    async fn database() -> Db {
        let db = databases("mem://").of("test").await.unwrap();
        db.migrate(&[]).await.unwrap();
        db.execute("DEFINE TABLE note SCHEMALESS", vars! {}).await.unwrap();
        db
    }

    fn event() -> outbox::Row {
        let event = DeviceRemoved { account: AccountId::new(Uuid::nil()), device: 1.try_into().unwrap() };
        outbox::Row::new(&event, &Clock::default(), &Random::default()).unwrap()
    }

    fn event_about(wallet: &str) -> outbox::Row {
        let event = WalletLinked { account: AccountId::new(Uuid::nil()), wallet: wallet.to_owned(), version: 0 };
        outbox::Row::about(&event, wallet, &Clock::default(), &Random::default()).unwrap()
    }

    async fn count(db: &Db, table: &str) -> usize {
        db.rows::<Value>(&format!("SELECT VALUE id FROM {table}"), vars! {}).await.unwrap().len()
    }

    /// Makes a note and two events, and refuses if there are more notes than these.
    fn note(db: &Db, max: i64) -> Transaction {
        db.transaction(vars! { max: max })
            .then("CREATE note SET text = 'a'")
            .emit([event(), event_about("0xA")])
            .then("LET $count = array::len((SELECT VALUE id FROM note));")
            .refuse_if("$count > $max", ErrorCode::WalletLimit)
    }

    #[tokio::test]
    async fn a_refusal_has_its_code_and_leaves_nothing_behind() {
        let db = database().await;
        assert_eq!(note(&db, 1).then("RETURN $count").run::<i64>().await.unwrap(), 1);
        let refused = note(&db, 1).then("RETURN $count").run::<i64>().await.unwrap_err();
        assert!(matches!(refused, DbError::Refused(ErrorCode::WalletLimit)), "{refused}");
        assert_eq!((count(&db, "note").await, count(&db, "outbox").await), (1, 2));
        assert_eq!(note(&db, 2).then("RETURN $count").run::<i64>().await.unwrap(), 2);
        let versions: Vec<Option<i64>> =
            db.rows("SELECT VALUE version FROM outbox ORDER BY version", vars! {}).await.unwrap();
        let [None, None, Some(first), Some(second)] = versions[..] else { panic!("{versions:?}") };
        assert!(0 < first && first < second, "{versions:?}");
    }

    #[tokio::test]
    async fn what_it_did_not_declare_is_no_refusal() {
        let db = database().await;
        // the very word, from elsewhere: an assertion of the schema, an event of a table
        let thrown = note(&db, 9).then("THROW 'handle_taken'").execute().await.unwrap_err();
        assert!(matches!(thrown, DbError::Other(_)), "{thrown}");
        let thrown = db.execute("{ THROW 'wallet_limit' }", vars! {}).await.unwrap_err();
        assert!(matches!(thrown, DbError::Other(_)), "{thrown}");
    }

    #[tokio::test]
    async fn a_block_within_counts_only_where_it_is_run() {
        let db = database().await;
        let notes = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            db.transaction(vars! { texts: texts })
                .within("FOR $text IN $texts", |each| {
                    each.then("CREATE note SET text = $text").stale_if("$text = 'late'")
                })
                .within("IF array::len($texts) > 1", |many| many.emit([event()]))
        };
        notes(&["a"]).execute().await.unwrap();
        assert_eq!((count(&db, "note").await, count(&db, "outbox").await), (1, 0));
        let late = notes(&["b", "late", "c"]).execute().await.unwrap_err();
        assert!(matches!(late, DbError::Stale), "{late}");
        assert_eq!((count(&db, "note").await, count(&db, "outbox").await), (1, 0));
        notes(&["b", "c"]).execute().await.unwrap();
        assert_eq!((count(&db, "note").await, count(&db, "outbox").await), (3, 1));
    }
}
