//! Background jobs: what runs on a schedule.
//!
//! What must hold:
//! - each due time of a job has one run, whatever the number of `cron` processes. Due times are kept in the domain's own database, so a
//!   Redis that forgets everything changes nothing;
//! - a run whose process died or stands still is replaced by another one for the same due time, which goes on from the progress that
//!   was saved. The old one can't write any more what it writes with its [`Fence`];
//! - due times that were missed are caught up or skipped as the job says;
//! - the last runs can be read, and an operator can start, pause and resume a job.
//!
//! A job is idempotent all the same: a run may die after its work and before it says so.

mod routes;
mod schedule;
mod scheduler;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::db::{DbError, RecordId};

pub use self::routes::routes;
pub use self::schedule::{Missed, Schedule};
pub use self::scheduler::serve;
use self::store::Store;
pub(crate) use self::store::TABLES;

/// A run takes no longer, unless the job says so.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What a run may save of its progress.
const PROGRESS_BYTES_MAX: usize = 64 * 1024;

type Work = Arc<dyn Fn(Run) -> BoxFuture<'static, anyhow::Result<String>> + Send + Sync>;

/// A job that runs again and again.
#[derive(Clone)]
pub struct Job {
    /// Its name, unique among all jobs: its row, the metrics, the log, the operator's commands.
    pub name: &'static str,
    schedule: Schedule,
    missed: Missed,
    timeout: Duration,
    work: Work,
}

/// A job whose work is still to be said.
pub struct Plan {
    name: &'static str,
    schedule: Schedule,
    missed: Missed,
    timeout: Duration,
}

impl Job {
    /// A job that is due at this interval.
    pub fn every(name: &'static str, interval: Duration) -> Plan {
        Self::at(name, Schedule::every(interval))
    }

    /// A job that is due as a cron expression says, with its time zone: `0 3 * * MON Europe/Berlin`.
    pub fn cron(name: &'static str, expression: &str) -> anyhow::Result<Plan> {
        Ok(Self::at(name, Schedule::cron(expression)?))
    }

    fn at(name: &'static str, schedule: Schedule) -> Plan {
        Plan { name, schedule, missed: Missed::Newest, timeout: TIMEOUT }
    }
}

impl Plan {
    /// A run that takes longer is given up; 60 s if nothing is said.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What becomes of due times at which nobody ran; [`Missed::Newest`] if nothing is said.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// What a run does; the text says what it did.
    pub fn run<F>(self, work: impl Fn(Run) -> F + Send + Sync + 'static) -> Job
    where
        F: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        let Self { name, schedule, missed, timeout } = self;
        Job { name, schedule, missed, timeout, work: Arc::new(move |run| Box::pin(work(run))) }
    }
}

/// A run, as its work sees it.
#[derive(Clone)]
pub struct Run {
    job: &'static str,
    store: Store,
    fence: Fence,
    due_ms: i64,
    progress: Option<String>,
}

impl Run {
    /// The time that it is for, which may be long past.
    pub fn due_at(&self) -> OffsetDateTime {
        crate::clock::from_ms(self.due_ms)
    }

    /// What the last run that did not end well had saved; none if that means nothing to this version, which the log then says.
    pub fn progress<T: DeserializeOwned>(&self) -> Option<T> {
        let job = self.job;
        let unread = |error: &serde_json::Error| {
            tracing::warn!(job, %error, "what the last run saved can't be read; the job begins at the beginning");
        };
        serde_json::from_str(self.progress.as_deref()?).inspect_err(unread).ok()
    }

    /// Saves how far it is, for a run that has to go on from here. Throws `job_superseded` if there is one already.
    pub async fn save<T: Serialize>(&self, progress: &T) -> anyhow::Result<()> {
        let progress = serde_json::to_string(progress)?;
        anyhow::ensure!(progress.len() <= PROGRESS_BYTES_MAX, "more than {PROGRESS_BYTES_MAX} bytes of progress");
        Ok(self.store.save(&self.fence, progress).await?)
    }

    /// The guard of what it writes.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }
}

/// The guard of what a run writes into the database of its domain ([`crate::db::Transaction::fenced`]). A run that was replaced
/// changes nothing and gets `job_superseded`.
///
/// The writes of one run conflict with each other, and are tried again: a run writes its batches one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    job: RecordId,
    number: i64,
}

impl Fence {
    pub(crate) const fn job(&self) -> &RecordId {
        &self.job
    }

    /// Whether a write was refused because its run was replaced.
    pub fn is_superseded(error: &DbError) -> bool {
        matches!(error, DbError::Superseded)
    }

    /// The token: a later run has a higher one.
    pub fn number(&self) -> i64 {
        self.number
    }
}
