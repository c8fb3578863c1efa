//! Due times, fences, progress and history: rows of the domain's own database.

use nepto_proto::api::operator::JobOutcome;
use surrealdb::types::SurrealValue;

use super::Fence;
use crate::db::{Db, DbError, Id, RecordId, Table, Text, vars};

/// The tables, in every domain's database.
pub(crate) const TABLES: &str = "
    -- job:<name>: when it is due, and who runs it
    DEFINE TABLE IF NOT EXISTS job SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS schedule ON job TYPE string;
    DEFINE FIELD IF NOT EXISTS due_at_ms ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS is_paused ON job TYPE bool;
    DEFINE FIELD IF NOT EXISTS is_asked ON job TYPE bool;
    DEFINE FIELD IF NOT EXISTS fence ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS fenced_writes ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS attempts ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS held_until_ms ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS run_due_ms ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS run_is_manual ON job TYPE bool;
    DEFINE FIELD IF NOT EXISTS started_at_ms ON job TYPE int;
    DEFINE FIELD IF NOT EXISTS progress ON job TYPE option<string>;
    -- job_run:[name, number]: the last runs
    DEFINE TABLE IF NOT EXISTS job_run SCHEMAFULL;
    DEFINE FIELD IF NOT EXISTS due_at_ms ON job_run TYPE int;
    DEFINE FIELD IF NOT EXISTS started_at_ms ON job_run TYPE int;
    DEFINE FIELD IF NOT EXISTS ended_at_ms ON job_run TYPE option<int>;
    DEFINE FIELD IF NOT EXISTS outcome ON job_run TYPE string;
    DEFINE FIELD IF NOT EXISTS detail ON job_run TYPE string;
    DEFINE FIELD IF NOT EXISTS node ON job_run TYPE string;
    DEFINE FIELD IF NOT EXISTS is_manual ON job_run TYPE bool;
";

/// Runs of a job that are remembered.
pub const HISTORY_MAX: i64 = 50;

/// The table `job`; ids are `job:<name>`.
#[derive(Debug)]
pub struct JobTable;

impl Table for JobTable {
    const NAME: &'static str = "job";
    type Key = String;
}

/// The table `job_run`; ids are `job_run:[name, number]`.
#[derive(Debug)]
pub struct RunTable;

impl Table for RunTable {
    const NAME: &'static str = "job_run";
    type Key = (String, i64);
}

/// A job as it stands.
#[derive(Debug, Clone, SurrealValue)]
pub struct JobRow {
    pub id: Id<JobTable>,
    pub schedule: String,
    pub due_at_ms: i64,
    pub is_paused: bool,
    pub is_asked: bool,
    pub fence: i64,
    /// Runs that were begun for the same due time.
    pub attempts: i64,
    /// Until when a run holds it; 0 if none does.
    pub held_until_ms: i64,
    pub run_due_ms: i64,
    pub run_is_manual: bool,
    pub started_at_ms: i64,
    pub progress: Option<String>,
}

impl JobRow {
    pub fn name(&self) -> &str {
        &self.id.0
    }
}

/// A run as it stands.
#[derive(Debug, Clone, SurrealValue)]
pub struct RunRow {
    pub id: Id<RunTable>,
    pub due_at_ms: i64,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub outcome: Text<JobOutcome>,
    pub detail: String,
    pub node: String,
    pub is_manual: bool,
}

impl RunRow {
    pub fn number(&self) -> i64 {
        self.id.0.1
    }
}

/// A run that is to begin.
pub struct Claim<'a> {
    pub due_ms: i64,
    pub is_manual: bool,
    /// Runs that were begun for this due time, with this one.
    pub attempts: i64,
    pub now_ms: i64,
    pub held_until_ms: i64,
    pub node: &'a str,
}

/// How a run ended.
pub struct End {
    pub outcome: JobOutcome,
    pub detail: String,
    pub now_ms: i64,
    /// When the job is due next; as before, if there is none.
    pub next_due_ms: Option<i64>,
}

/// The rows of a domain's jobs.
#[derive(Clone)]
pub struct Store(pub Db);

pub fn job_id(name: &str) -> RecordId {
    Id::<JobTable>(name.to_owned()).record()
}

fn run_id(name: &str, number: i64) -> RecordId {
    Id::<RunTable>((name.to_owned(), number)).record()
}

impl Store {
    /// Makes the row of a job, or says when it is due where its schedule is another one than before.
    pub async fn register(&self, name: &str, schedule: &str, first_ms: i64) -> Result<(), DbError> {
        let statement = "{
            LET $known = (SELECT VALUE schedule FROM ONLY $id);
            IF $known = $schedule { RETURN NONE };
            IF $known { UPDATE $id SET schedule = $schedule, due_at_ms = $first; RETURN NONE };
            CREATE $id SET schedule = $schedule, due_at_ms = $first, is_paused = false, is_asked = false, fence = 0,
                fenced_writes = 0, attempts = 0, held_until_ms = 0, run_due_ms = 0, run_is_manual = false, started_at_ms = 0;
        }";
        let variables = vars! { id: job_id(name), schedule: schedule.to_owned(), first: first_ms };
        match self.0.execute(statement, variables).await {
            // another process was faster
            Err(DbError::Exists) => Ok(()),
            done => done,
        }
    }

    /// All jobs of the domain.
    pub async fn jobs(&self) -> Result<Vec<JobRow>, DbError> {
        self.0.rows("SELECT * FROM job", vars! {}).await
    }

    pub async fn job(&self, name: &str) -> Result<Option<JobRow>, DbError> {
        self.0.run("SELECT * FROM ONLY $id", vars! { id: job_id(name) }).await
    }

    /// Begins a run, if the job still stands as it was read. Its fence, or `None` if somebody was faster.
    pub async fn claim(&self, row: &JobRow, claim: Claim<'_>) -> Result<Option<Fence>, DbError> {
        let (name, number) = (row.name(), row.fence + 1);
        let statement = "{
            LET $job = (SELECT fence, held_until_ms, due_at_ms FROM ONLY $id);
            IF $job.fence != $fence OR $job.held_until_ms != $held OR $job.due_at_ms != $due_at { RETURN false };
            UPDATE $id SET fence = $number, held_until_ms = $held_until, run_due_ms = $due, run_is_manual = $is_manual,
                started_at_ms = $now, attempts = $attempts, is_asked = is_asked AND !$is_manual;
            UPDATE $last SET outcome = 'superseded', detail = 'its process was gone or stood still', ended_at_ms = $now
                WHERE outcome = 'running';
            CREATE $run SET due_at_ms = $due, started_at_ms = $now, outcome = 'running', detail = '', node = $node,
                is_manual = $is_manual;
            DELETE $forgotten;
            RETURN true;
        }";
        let variables = vars! {
            id: row.id.clone(),
            last: run_id(name, row.fence),
            run: run_id(name, number),
            forgotten: run_id(name, number - HISTORY_MAX),
            fence: row.fence,
            held: row.held_until_ms,
            due_at: row.due_at_ms,
            number: number,
            held_until: claim.held_until_ms,
            due: claim.due_ms,
            is_manual: claim.is_manual,
            now: claim.now_ms,
            attempts: claim.attempts,
            node: claim.node.to_owned(),
        };
        let is_mine: bool = self.0.run(statement, variables).await?;
        Ok(is_mine.then(|| Fence { job: job_id(name), number }))
    }

    /// Holds a job for longer; whether the run still holds it.
    pub async fn hold(&self, fence: &Fence, until_ms: i64) -> Result<bool, DbError> {
        let statement = "{
            LET $job = (SELECT fence, held_until_ms FROM ONLY $id);
            IF $job.fence != $number OR $job.held_until_ms = 0 { RETURN false };
            UPDATE $id SET held_until_ms = $until;
            RETURN true;
        }";
        self.0.run(statement, vars! { id: fence.job.clone(), number: fence.number, until: until_ms }).await
    }

    /// Saves how far a run is.
    pub async fn save(&self, fence: &Fence, progress: String) -> Result<(), DbError> {
        let save = self.0.transaction(vars! { progress: progress }).fenced(fence);
        save.then("UPDATE $fenced SET progress = $progress").execute().await
    }

    /// Ends a run; whether it was still the newest. What it saved is kept until one ends well.
    pub async fn end(&self, name: &str, fence: &Fence, end: End) -> Result<bool, DbError> {
        let statement = "{
            LET $newest = (SELECT VALUE fence FROM ONLY $id);
            IF $newest != $number { RETURN false };
            UPDATE $id SET held_until_ms = 0, attempts = 0, due_at_ms = $next ?? due_at_ms,
                progress = IF $outcome = 'ok' { NONE } ELSE { progress };
            UPDATE $run SET outcome = $outcome, detail = $detail, ended_at_ms = $now;
            RETURN true;
        }";
        let variables = vars! {
            id: fence.job.clone(),
            run: run_id(name, fence.number),
            number: fence.number,
            next: end.next_due_ms,
            outcome: Text(end.outcome),
            detail: end.detail,
            now: end.now_ms,
        };
        self.0.run(statement, variables).await
    }

    /// Skips due times, if the job still stands as it was read.
    pub async fn skip(&self, row: &JobRow, next_due_ms: i64) -> Result<(), DbError> {
        let statement = "UPDATE $id SET due_at_ms = $next, held_until_ms = 0, attempts = 0
            WHERE fence = $fence AND due_at_ms = $due_at AND held_until_ms = $held RETURN NONE";
        let variables = vars! {
            id: row.id.clone(),
            next: next_due_ms,
            fence: row.fence,
            due_at: row.due_at_ms,
            held: row.held_until_ms,
        };
        self.0.execute(statement, variables).await
    }

    /// Lets a job run at once; whether there is one of this name.
    pub async fn ask(&self, name: &str) -> Result<bool, DbError> {
        let statement = "RETURN array::len((UPDATE $id SET is_asked = true)) > 0";
        self.0.run(statement, vars! { id: job_id(name) }).await
    }

    /// Keeps a job from running, or lets it run again; whether there is one of this name.
    pub async fn pause(&self, name: &str, is_paused: bool) -> Result<bool, DbError> {
        let statement = "RETURN array::len((UPDATE $id SET is_paused = $is_paused)) > 0";
        self.0.run(statement, vars! { id: job_id(name), is_paused: is_paused }).await
    }

    /// The last runs, the newest first.
    pub async fn runs(&self, name: &str) -> Result<Vec<RunRow>, DbError> {
        let statement = "SELECT * FROM job_run:[$name, 0]..[$name, []]";
        let mut runs: Vec<RunRow> = self.0.rows(statement, vars! { name: name.to_owned() }).await?;
        runs.sort_by_key(|run| std::cmp::Reverse(run.number()));
        Ok(runs)
    }

    /// The run of this number, while it is kept.
    pub async fn run_of(&self, name: &str, number: i64) -> Result<Option<RunRow>, DbError> {
        self.0.run("SELECT * FROM ONLY $id", vars! { id: run_id(name, number) }).await
    }
}
