//! Looks which jobs of a domain are due, and runs them.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use nepto_proto::api::operator::JobOutcome;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::schedule::Decision;
use super::store::{Claim, End, JobRow, Store};
use super::{Fence, Job, Run, Schedule};
use crate::clock::from_ms;
use crate::clock_check::{APART_MAX, Verdict};
use crate::consumer::Heartbeat;
use crate::db::Db;
use crate::{Ctx, crash};

/// How often a scheduler looks. A due time is kept to within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run whose process is gone is replaced after this.
const HELD: Duration = Duration::from_secs(15);
/// The first due time of an interval comes after a random part of it, or of this: jobs of one age don't start together.
const FIRST_WITHIN: Duration = Duration::from_secs(30);
/// Runs for one due time whose process died. After that it is skipped: a run that kills its process must not kill all.
const ATTEMPTS_MAX: i64 = 3;
/// A loop that is silent for longer has stalled.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Of what a run says, that is remembered.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Runs the jobs of a domain until the process stops; `db` is the domain's database.
pub async fn serve(ctx: Ctx, db: Db, jobs: Vec<Job>) -> anyhow::Result<()> {
    let beat = Heartbeat::of_loop(&ctx, format!("jobs {}", db.name()), SILENCE_MAX);
    let mut scheduler = Scheduler::new(ctx.clone(), db, jobs, HELD);
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => break,
            _ = look.tick() => {}
            Some(done) = scheduler.runs.join_next() => {
                scheduler.done(done);
                continue;
            }
        }
        beat.comes_round();
        match scheduler.look().await {
            Ok(()) => beat.beat(&ctx),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    domain = scheduler.store.0.name(),
                    error,
                    "nobody knows which jobs are due; trying again"
                );
            }
        }
    }
    // what runs may end within the time that the process has
    while scheduler.runs.join_next().await.is_some() {}
    Ok(())
}

pub(super) struct Scheduler {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    jobs: Vec<Job>,
    held: Duration,
    registered: bool,
    /// Names of jobs that run here.
    running: HashSet<&'static str>,
    runs: JoinSet<&'static str>,
}

impl Scheduler {
    pub(super) fn new(ctx: Ctx, db: Db, jobs: Vec<Job>, held: Duration) -> Self {
        let (running, runs) = (HashSet::new(), JoinSet::new());
        Self { ctx, store: Store(db), jobs, held, registered: false, running, runs }
    }

    fn done(&mut self, done: Result<&'static str, tokio::task::JoinError>) {
        match done {
            Ok(name) => drop(self.running.remove(name)),
            // what jobs do is caught, so this is a mistake of ours: it ends the process
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Begins what is due.
    pub(super) async fn look(&mut self) -> anyhow::Result<()> {
        if !self.registered {
            if !has_the_time(&self.ctx).await {
                return Ok(());
            }
            for job in &self.jobs {
                let first = self.first_due(&job.schedule);
                self.store.register(job.name, &job.schedule.to_string(), first).await?;
            }
            self.registered = true;
        }
        let rows = self.store.jobs().await?;
        let now = self.ctx.clock.now_ms();
        let mut steps = Vec::new();
        for job in &self.jobs {
            let row = rows.iter().find(|row| row.name() == job.name && !self.running.contains(job.name));
            if let Some(row) = row
                && let Some(step) = self.decide(job, row, now)
            {
                steps.push((job.clone(), row, step));
            }
        }
        // asked only where there is something to do
        if steps.is_empty() || !has_the_time(&self.ctx).await {
            return Ok(());
        }
        for (job, row, step) in steps {
            self.act(job, row, step).await?;
        }
        Ok(())
    }

    fn first_due(&self, schedule: &Schedule) -> i64 {
        let now = self.ctx.clock.now_ms();
        match schedule {
            Schedule::Every(interval) => {
                let within = (*interval).min(FIRST_WITHIN.as_millis() as i64);
                now + self.ctx.random.below(within.unsigned_abs()) as i64
            }
            Schedule::Cron(..) => schedule.after(now).unwrap_or(i64::MAX),
        }
    }

    /// What is to be done about a job now, if anything.
    fn decide(&self, job: &Job, row: &JobRow, now: i64) -> Option<Step> {
        // whoever holds a job for longer than anybody does said so by a clock that was ahead
        let held_max_ms = (self.held + APART_MAX).as_millis() as i64;
        if row.held_until_ms > now && row.held_until_ms - now <= held_max_ms {
            return None;
        }
        let died = row.held_until_ms > 0;
        if died && row.attempts >= ATTEMPTS_MAX {
            let next =
                if row.run_is_manual { row.due_at_ms } else { job.schedule.after(row.run_due_ms).unwrap_or(i64::MAX) };
            return Some(Step::GiveUp { next });
        }
        let attempts = if died { row.attempts + 1 } else { 1 };
        if row.is_asked {
            return Some(Step::Begin { due_ms: now, is_manual: true, attempts });
        }
        if row.is_paused {
            return None;
        }
        if died {
            return Some(Step::Begin { due_ms: row.run_due_ms, is_manual: row.run_is_manual, attempts });
        }
        match job.schedule.decide(job.missed, row.due_at_ms, now) {
            Decision::Wait => None,
            Decision::Run(due_ms) => Some(Step::Begin { due_ms, is_manual: false, attempts }),
            Decision::Skip(next) => Some(Step::Skip { next }),
            Decision::SetBack(next) => Some(Step::SetBack { next }),
        }
    }

    async fn act(&mut self, job: Job, row: &JobRow, step: Step) -> anyhow::Result<()> {
        let next = match step {
            Step::Begin { due_ms, is_manual, attempts } => {
                // those before it may have taken seconds
                let now = self.ctx.clock.now_ms();
                let held_until_ms = now + self.held.as_millis() as i64;
                let claim = Claim { due_ms, is_manual, attempts, now_ms: now, held_until_ms, node: &self.ctx.node };
                if let Some(fence) = self.store.claim(row, claim).await? {
                    self.begin(job, row, fence, due_ms, is_manual);
                }
                return Ok(());
            }
            Step::GiveUp { next } => {
                tracing::error!(job = job.name, attempts = row.attempts, "each run took its process with it; skipped");
                next
            }
            Step::Skip { next } => {
                tracing::info!(job = job.name, "due times that were missed are skipped");
                next
            }
            Step::SetBack { next } => {
                let due_at = from_ms(row.due_at_ms);
                tracing::warn!(job = job.name, %due_at, "it was due later than its schedule says; a clock was ahead");
                next
            }
        };
        Ok(self.store.skip(row, next).await?)
    }

    /// Runs a job that was claimed.
    fn begin(&mut self, job: Job, row: &JobRow, fence: Fence, due_ms: i64, is_manual: bool) {
        crash::at(job.name, "begun");
        self.running.insert(job.name);
        let run = Run { job: job.name, store: self.store.clone(), fence, due_ms, progress: row.progress.clone() };
        let runner = Runner { ctx: self.ctx.clone(), job, run, held: self.held, is_manual };
        self.runs.spawn(async move {
            let name = runner.job.name;
            runner.go().await;
            name
        });
    }

    /// Waits for what runs here.
    #[cfg(test)]
    pub(super) async fn finish(&mut self) {
        while let Some(done) = self.runs.join_next().await {
            self.done(done);
        }
    }
}

/// Whether the clock is known to be right. What is due, and what is too old to be kept, is not said by one that is wrong, nor by one of
/// which nobody knows: it would also put off what is due until its own time has come.
async fn has_the_time(ctx: &Ctx) -> bool {
    // not what was found a second ago: a clock jumps, and then everything is due
    ctx.clock_check.verdict_now().await == Verdict::Right
}

/// What is to be done about a job.
enum Step {
    /// It runs, for this due time.
    Begin { due_ms: i64, is_manual: bool, attempts: i64 },
    /// Each run of a due time took its process with it.
    GiveUp { next: i64 },
    /// What was due was missed, and is not made up for.
    Skip { next: i64 },
    /// It is due later than its schedule can say.
    SetBack { next: i64 },
}

/// One run, in a task of its own.
struct Runner {
    ctx: Ctx,
    job: Job,
    run: Run,
    held: Duration,
    is_manual: bool,
}

impl Runner {
    async fn go(&self) {
        let (job, started) = (self.job.name, Instant::now());
        let work = timeout(self.job.timeout, AssertUnwindSafe((self.job.work)(self.run.clone())).catch_unwind());
        let (outcome, detail) = tokio::select! {
            worked = work => match worked {
                Ok(Ok(Ok(done))) => (JobOutcome::Ok, done),
                Ok(Ok(Err(error))) => (JobOutcome::Failed, format!("{error:#}")),
                Ok(Err(_)) => (JobOutcome::Failed, "it panicked; the log says where".to_owned()),
                Err(_) => (JobOutcome::Timeout, format!("it took longer than {:?}", self.job.timeout)),
            },
            () = self.lost() => (JobOutcome::Superseded, "it stood still, and another run took its place".to_owned()),
        };
        let took_ms = started.elapsed().as_millis() as u64;
        match outcome {
            JobOutcome::Ok => tracing::info!(job, done = detail, took_ms, "job done"),
            _ => tracing::error!(job, outcome = outcome.as_str(), detail, took_ms, "job failed"),
        }
        metrics::counter!("nepto_job_runs_total", "name" => job, "outcome" => outcome.as_str()).increment(1);
        metrics::histogram!("nepto_job_seconds", "name" => job).record(started.elapsed());
        crash::at(job, "worked");
        if outcome != JobOutcome::Superseded {
            self.end(outcome, detail).await;
        }
    }

    async fn end(&self, outcome: JobOutcome, mut detail: String) {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        let next = self.job.schedule.after(self.run.due_ms).unwrap_or(i64::MAX);
        let next_due_ms = (!self.is_manual).then_some(next);
        let end = End { outcome, detail, now_ms: self.ctx.clock.now_ms(), next_due_ms };
        match self.run.store.end(self.job.name, &self.run.fence, end).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(job = self.job.name, "another run had taken its place"),
            Err(error) => {
                tracing::error!(job = self.job.name, %error, "nobody knows that it ended, so it will run once more");
            }
        }
    }

    /// Holds the job for as long as it runs; ends when that is over.
    async fn lost(&self) {
        let mut held_at = Instant::now();
        loop {
            sleep(self.held / 3).await;
            let until_ms = self.ctx.clock.now_ms() + self.held.as_millis() as i64;
            match self.run.store.hold(&self.run.fence, until_ms).await {
                Ok(true) => held_at = Instant::now(),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(job = self.job.name, %error, "it can't be held");
                    if held_at.elapsed() > self.held {
                        return;
                    }
                }
            }
        }
    }
}
