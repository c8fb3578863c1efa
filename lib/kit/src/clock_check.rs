//! Whether the clock of this machine goes as that of NATS does, by which messages are dated and expire, and which all processes have in
//! common. Redis is asked as well, although nothing hangs on its clock: two that agree say whose is wrong.
//!
//! What must hold while this clock is known to be wrong:
//! - nothing lasting is made by it: doors ask [`ClockCheck::refuse_if_wrong`], and no job runs;
//! - it does not say that somebody else's question comes too late (`service`);
//! - new requests go elsewhere (`/readyz/rotation`), and whoever comes all the same is answered as far as no time is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use nepto_proto::ErrorCode;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::Failure;
use crate::clock::Clock;
use crate::health::Health;
use crate::redis::Redis;

/// A clock that is further from that of NATS is wrong.
pub const OFF_MAX: Duration = Duration::from_secs(2);
/// Two clocks that are not wrong are this far apart at the most. Whoever compares a time that another process wrote with its own clock
/// allows for as much.
pub const APART_MAX: Duration = OFF_MAX.saturating_mul(2);

/// What the check is called.
const NAME: &str = "clock";
const NOBODY_SAYS: &str = "neither NATS nor Redis says what time it is, so nobody knows whether this clock is right";
/// Whoever does not say what time it is within this does not say it.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// What was found is told to everybody for so long.
const RECENT: Duration = Duration::from_secs(1);
/// When whoever was refused may try again, maybe at another process.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the clocks of others say of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes as that of NATS does, or that of Redis where NATS says nothing; or Redis agrees with it that NATS' is wrong.
    Right,
    /// It is off, or nobody knows whose is. What to do, for operators.
    Wrong(String),
    /// Neither NATS nor Redis says what time it is.
    Unknown,
}

/// Compares the clock of this process with those of others.
pub struct ClockCheck {
    clock: Clock,
    jetstream: Context,
    redis: Redis,
    /// Who asks while the others are being asked waits here for what they say.
    newest: Mutex<Option<(Instant, Verdict)>>,
    is_off: AtomicBool,
}

impl ClockCheck {
    /// Of this clock.
    pub fn new(clock: Clock, jetstream: Context, redis: Redis) -> Self {
        Self { clock, jetstream, redis, newest: Mutex::default(), is_off: AtomicBool::new(false) }
    }

    /// Adds the check `clock` to `/readyz`, which every process asks itself every fifteen seconds. What it says first, and that it is
    /// over, is logged. Where Redis agrees with this clock, that of NATS is wrong: that is logged and no more, because all processes
    /// would be red together, and can do what they are there for.
    pub fn register(self: &Arc<Self>, health: &Health) {
        let check = self.clone();
        health.register(NAME, move || {
            let check = check.clone();
            async move {
                match check.verdict().await {
                    Verdict::Right => Ok(()),
                    Verdict::Wrong(problem) => Err(problem),
                    Verdict::Unknown => Err(NOBODY_SAYS.to_owned()),
                }
            }
        });
    }

    /// What the others say, at most a second ago.
    pub async fn verdict(&self) -> Verdict {
        let mut newest = self.newest.lock().await;
        if let Some((at, verdict)) = &*newest
            && at.elapsed() < RECENT
        {
            return verdict.clone();
        }
        self.ask(&mut newest).await
    }

    /// What the others say now, whatever they said before: for what can't be undone.
    pub async fn verdict_now(&self) -> Verdict {
        self.ask(&mut *self.newest.lock().await).await
    }

    async fn ask(&self, newest: &mut Option<(Instant, Verdict)>) -> Verdict {
        let verdict = self.compare().await;
        *newest = Some((Instant::now(), verdict.clone()));
        verdict
    }

    /// Whether this clock is known to be wrong.
    pub async fn is_wrong(&self) -> bool {
        matches!(self.verdict().await, Verdict::Wrong(_))
    }

    /// Refuses what would last and goes by the time, while this clock is known to be wrong: who is new, what rests, what expires. What
    /// only takes something away is not refused.
    pub async fn refuse_if_wrong(&self) -> Result<(), Failure> {
        if !self.is_wrong().await {
            return Ok(());
        }
        let detail = "the clock of this server is wrong, and this would be dated by it; try again, as another server may answer, or \
                      tell the operator, who reads more in `/readyz`";
        let mut refused = Failure::new(ErrorCode::Unavailable, detail);
        refused.retry_after = Some(TRY_AGAIN_AFTER);
        Err(refused)
    }

    async fn compare(&self) -> Verdict {
        let (nats, redis) = tokio::join!(self.ahead_of(self.nats()), self.ahead_of(self.redis()));
        if nats.is_none() && redis.is_none() {
            return Verdict::Unknown;
        }
        let problem = problem(nats, redis);
        match (&problem, self.is_off.swap(problem.is_some(), Ordering::Relaxed)) {
            (Some(Problem::OfNats(problem) | Problem::OfThisMachine(problem)), false) => {
                tracing::error!(problem, "a clock is wrong");
            }
            (None, true) => tracing::info!("the clocks go right again"),
            _ => {}
        }
        match problem {
            Some(Problem::OfThisMachine(problem)) => Verdict::Wrong(problem),
            Some(Problem::OfNats(_)) | None => Verdict::Right,
        }
    }

    /// By how many milliseconds this clock is ahead of another one, at least; negative if it is behind. `None` where nobody says what
    /// that one shows.
    async fn ahead_of(&self, other: impl Future<Output = Option<i64>>) -> Option<i64> {
        let asked = self.clock.now_ms();
        let told = timeout(ANSWER_MAX, other).await.ok()??;
        // it was told at some moment in between
        Some((asked - told).max(0) + (self.clock.now_ms() - told).min(0))
    }

    async fn nats(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Told {
            #[serde(rename = "ts", with = "time::serde::rfc3339")]
            at: OffsetDateTime,
        }
        let told: Told = self.jetstream.request("STREAM.INFO.PROBE", &()).await.ok()?;
        Some((told.at.unix_timestamp_nanos() / 1_000_000) as i64)
    }

    async fn redis(&self) -> Option<i64> {
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut self.redis.clone()).await.ok()?;
        Some(seconds * 1_000 + micros / 1_000)
    }
}

/// A clock that is wrong, and what to do about it.
#[derive(Debug)]
enum Problem {
    /// Of this machine, or nobody knows whose.
    OfThisMachine(String),
    OfNats(String),
}

/// What is wrong where this clock is so much ahead of these. Where NATS says nothing, as long as its streams are gone for instance, one
/// that differs from Redis' is not to be trusted.
fn problem(nats: Option<i64>, redis: Option<i64>) -> Option<Problem> {
    let is_off = |ms: i64| ms.abs() > OFF_MAX.as_millis() as i64;
    let way = |ms: i64| ((ms.abs() + 500) / 1_000, if ms > 0 { "ahead of" } else { "behind" });
    let Some(ms) = nats else {
        let (by, way) = way(redis.filter(|ms| is_off(*ms))?);
        return Some(Problem::OfThisMachine(format!(
            "the clock of this machine is {by} s {way} that of Redis, and NATS does not say what time it is: set the one that is wrong \
             (`timedatectl`), and keep all of them by NTP"
        )));
    };
    if !is_off(ms) {
        return None;
    }
    let (by, way) = way(ms);
    Some(match redis {
        Some(redis) if is_off(redis) && (redis > 0) == (ms > 0) => Problem::OfThisMachine(format!(
            "the clock of this machine is {by} s {way} those of NATS and Redis: set it (`timedatectl`), and keep all of them by NTP"
        )),
        Some(redis) if !is_off(redis) => Problem::OfNats(format!(
            "the clock of this machine, and of Redis, is {by} s {way} that of NATS: set that one (`timedatectl`), and keep all of \
             them by NTP"
        )),
        _ => Problem::OfThisMachine(format!(
            "the clock of this machine is {by} s {way} that of NATS: set the one that is wrong (`timedatectl`), and keep all of them \
             by NTP"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ground, Logged, WANTED};
    use crate::{Ctx, nats};

    /// A clock that stands still, so much ahead of that of this machine.
    fn ahead(ctx: &Ctx, by: time::Duration) -> Clock {
        Clock::manual(ctx.clock.now() + by)
    }

    fn check(ctx: &Ctx, clock: Clock) -> Arc<ClockCheck> {
        Arc::new(ClockCheck::new(clock, ctx.jetstream.clone(), ctx.redis.clone()))
    }

    async fn said(ctx: &Ctx, check: &Arc<ClockCheck>) -> Option<String> {
        check.register(&ctx.health);
        let checks = ctx.health.ask_all().await.checks;
        checks.into_iter().find(|check| check.name == "clock").unwrap().error
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_told_with_what_to_do_until_it_is_right() {
        let ground = Ground::new().await;
        let ctx = &ground.ctx;
        assert_eq!(said(ctx, &ctx.clock_check).await, None);
        for (off_s, wanted) in [
            (3_600, Some("this machine is 3600 s ahead of those of NATS and Redis: set it")),
            (-172_800, Some("this machine is 172800 s behind those of NATS and Redis: set it")),
            (4, Some("4 s ahead of")),
            (1, None),
        ] {
            let logged = Logged::from_now_on();
            let check = check(ctx, ahead(ctx, time::Duration::seconds(off_s)));
            let problem = said(ctx, &check).await;
            assert_eq!(problem.is_some(), wanted.is_some(), "{problem:?}");
            check.compare().await;
            let lines = logged.with("a clock is wrong");
            assert_eq!(lines.len(), usize::from(wanted.is_some()), "once: {lines:?}");
            let Some(wanted) = wanted else { continue };
            assert!(problem.is_some_and(|problem| problem.contains(wanted)) && lines[0].contains(wanted), "{lines:?}");
        }
        // also where NATS has no streams, and so tells no time
        let late = check(ctx, ahead(ctx, time::Duration::days(200)));
        ctx.jetstream.delete_stream("PROBE").await.unwrap();
        assert!(said(ctx, &late).await.is_some_and(|problem| problem.contains("that of Redis, and NATS does not say")));
        nats::provision(&ctx.jetstream, &ctx.config.nats, &WANTED, false).await.unwrap();
        // and when it was set
        let logged = Logged::from_now_on();
        let clock = ahead(ctx, time::Duration::seconds(-9));
        let set = check(ctx, clock.clone());
        assert!(said(ctx, &set).await.is_some());
        clock.advance(Duration::from_secs(9));
        assert_eq!(set.compare().await, Verdict::Right);
        assert_eq!(logged.with("go right again").len(), 1);
    }

    #[tokio::test]
    async fn what_lasts_is_refused_while_the_clock_is_known_to_be_wrong() {
        let ground = Ground::new().await;
        let ctx = &ground.ctx;
        ctx.clock_check.refuse_if_wrong().await.unwrap();
        let clock = ahead(ctx, time::Duration::seconds(-9));
        let wrong = check(ctx, clock.clone());
        let refused = wrong.refuse_if_wrong().await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (ErrorCode::Unavailable, Some(TRY_AGAIN_AFTER)));
        assert!(refused.detail.contains("clock") && refused.detail.contains("try again"), "{refused}");
        // what was found a moment ago is not asked for again
        clock.advance(Duration::from_secs(9));
        wrong.refuse_if_wrong().await.unwrap_err();
        tokio::time::sleep(RECENT).await;
        clock.advance(RECENT);
        wrong.refuse_if_wrong().await.unwrap();
    }

    #[tokio::test]
    async fn a_clock_that_nobody_can_judge_is_not_right_and_shuts_no_door() {
        let ground = Ground::new().await;
        let alone = check(&ground.ctx, Clock::manual(OffsetDateTime::UNIX_EPOCH));
        ground.ctx.jetstream.delete_stream("PROBE").await.unwrap();
        ground.redis.kill9().unwrap();
        assert_eq!(alone.verdict().await, Verdict::Unknown);
        alone.refuse_if_wrong().await.unwrap();
        assert!(said(&ground.ctx, &alone).await.is_some_and(|problem| problem.contains("nobody knows")));
    }

    #[test]
    fn two_that_agree_say_whose_clock_is_wrong() {
        assert!(problem(None, None).is_none());
        assert!(problem(None, Some(2_000)).is_none());
        assert!(problem(Some(2_000), Some(9_000)).is_none());
        let said = problem(None, Some(-9_000));
        let wanted = "9 s behind that of Redis, and NATS does not say";
        assert!(matches!(&said, Some(Problem::OfThisMachine(said)) if said.contains(wanted)), "{said:?}");
        for (nats, redis, wanted) in [
            (9_000, Some(9_100), "set it"),
            (9_000, Some(-9_000), "set the one that is wrong"),
            (9_000, None, "set the one that is wrong"),
        ] {
            let said = problem(Some(nats), redis);
            assert!(matches!(&said, Some(Problem::OfThisMachine(said)) if said.contains(wanted)), "{said:?}");
        }
        let said = problem(Some(-9_000), Some(0));
        let wanted = "and of Redis, is 9 s behind that of NATS: set that one";
        assert!(matches!(&said, Some(Problem::OfNats(said)) if said.contains(wanted)), "{said:?}");
    }
}
