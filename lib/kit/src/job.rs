//! Background jobs: one struct each, idempotent, leased so that one process at a time runs it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Script;
use std::sync::LazyLock;

use crate::Ctx;

/// A job that runs again and again.
#[derive(Clone)]
pub struct Job {
    /// Its name: the lease, the metrics, the log.
    pub name: &'static str,
    /// From the start of one run to the start of the next.
    pub every: Duration,
    /// A run that takes longer is given up.
    pub timeout: Duration,
    /// One run; the text says what it did.
    pub run: Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<String>> + Send + Sync>,
}

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

impl Job {
    /// A job with this code.
    pub fn new<F>(
        name: &'static str,
        every: Duration,
        timeout: Duration,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        Self { name, every, timeout, run: Arc::new(move || Box::pin(run())) }
    }

    /// Runs until the process stops. The first run comes after a random part of the interval, so that many processes don't
    /// start together.
    pub async fn serve(self, ctx: Ctx) -> anyhow::Result<()> {
        let first = Duration::from_millis(ctx.random.below(self.every.as_millis().min(30_000) as u64));
        let mut due = tokio::time::interval_at(tokio::time::Instant::now() + first, self.every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return Ok(()),
                _ = due.tick() => {}
            }
            self.run_once(&ctx).await;
        }
    }

    async fn run_once(&self, ctx: &Ctx) {
        let started = std::time::Instant::now();
        let lease = format!("lease:job:{}", self.name);
        let holder = ctx.random.alphanumeric(20);
        let mut redis = ctx.redis.clone();
        let taken: Result<Option<String>, _> = redis::cmd("SET")
            .arg(&lease)
            .arg(&holder)
            .arg("NX")
            .arg("PX")
            .arg(self.timeout.as_millis() as u64)
            .query_async(&mut redis)
            .await;
        match taken {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(job = self.name, %error, "no lease");
                return;
            }
        }
        let outcome = match tokio::time::timeout(self.timeout, (self.run)()).await {
            Ok(Ok(done)) => {
                tracing::info!(job = self.name, done, took_ms = started.elapsed().as_millis() as u64, "job done");
                "ok"
            }
            Ok(Err(error)) => {
                tracing::error!(job = self.name, error = format!("{error:#}"), "job failed");
                "failed"
            }
            Err(_) => {
                tracing::error!(job = self.name, "job took too long");
                "timeout"
            }
        };
        metrics::counter!("nepto_job_runs_total", "job" => self.name, "outcome" => outcome).increment(1);
        metrics::histogram!("nepto_job_seconds", "job" => self.name).record(started.elapsed());
        if let Err(error) = RELEASE.key(lease).arg(holder).invoke_async::<i64>(&mut redis).await {
            tracing::warn!(job = self.name, %error, "the lease was not released and will expire");
        }
    }
}
