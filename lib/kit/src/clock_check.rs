//! Whether the clock of this machine goes as that of NATS does, by which messages are dated and expire, and which all processes have in
//! common. Redis is asked as well, although nothing hangs on its clock: two that agree say whose is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::Context;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::Ctx;
use crate::clock::Clock;
use crate::redis::Redis;

/// Two processes that are both less than this from NATS' clock are less than four seconds apart: from then on questions between them
/// are found too old to be answered (`service`).
const OFF_MAX_MS: i64 = 2_000;

/// What the check is called.
const NAME: &str = "clock";

/// Adds the check `clock` to `/readyz`, which every process asks itself every fifteen seconds. What it says first, and that it is over,
/// is logged. Where Redis agrees with this clock, that of NATS is wrong: that is logged and no more, because all processes would be
/// red together, and can do what they are there for.
pub fn register(ctx: &Ctx) {
    let check = Arc::new(Check {
        clock: ctx.clock.clone(),
        jetstream: ctx.jetstream.clone(),
        redis: ctx.redis.clone(),
        is_off: AtomicBool::new(false),
    });
    ctx.health.register(NAME, move || {
        let check = check.clone();
        async move { check.run().await }
    });
}

/// Whether this clock is known to be wrong, now, or nobody says that it is right.
pub async fn is_wrong(ctx: &Ctx) -> bool {
    ctx.health.ask(NAME).await.is_some_and(|check| check.error.is_some())
}

struct Check {
    clock: Clock,
    jetstream: Context,
    redis: Redis,
    is_off: AtomicBool,
}

impl Check {
    async fn run(&self) -> Result<(), String> {
        let (nats, redis) = tokio::join!(self.ahead_of(self.nats()), self.ahead_of(self.redis()));
        if nats.is_none() && redis.is_none() {
            return Err(
                "neither NATS nor Redis says what time it is, so nobody knows whether this clock is right".to_owned()
            );
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
            Some(Problem::OfThisMachine(problem)) => Err(problem),
            Some(Problem::OfNats(_)) | None => Ok(()),
        }
    }

    /// By how many milliseconds this clock is ahead of another one, at least; negative if it is behind. `None` where nobody says what
    /// that one shows.
    async fn ahead_of(&self, other: impl Future<Output = Option<i64>>) -> Option<i64> {
        let asked = self.clock.now_ms();
        let told = other.await?;
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
    let is_off = |ms: i64| ms.abs() > OFF_MAX_MS;
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
    use std::time::Duration;

    use super::*;
    use crate::nats;
    use crate::testing::{Ground, Logged, WANTED};

    async fn said(ctx: &Ctx) -> Option<String> {
        let checks = ctx.health.ask_all().await.checks;
        checks.into_iter().find(|check| check.name == "clock").unwrap().error
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_told_with_what_to_do_until_it_is_right() {
        let ground = Ground::new().await;
        let mut ctx = ground.ctx.clone();
        register(&ctx);
        assert_eq!(said(&ctx).await, None);
        for (off_s, wanted) in [
            (3_600, Some("this machine is 3600 s ahead of those of NATS and Redis: set it")),
            (-172_800, Some("this machine is 172800 s behind those of NATS and Redis: set it")),
            (4, Some("4 s ahead of")),
            (1, None),
        ] {
            let logged = Logged::from_now_on();
            ctx.clock = Clock::manual(ground.ctx.clock.now() + time::Duration::seconds(off_s));
            register(&ctx);
            let problem = said(&ctx).await;
            assert_eq!(problem.is_some(), wanted.is_some(), "{problem:?}");
            said(&ctx).await;
            let lines = logged.with("a clock is wrong");
            assert_eq!(lines.len(), usize::from(wanted.is_some()), "once: {lines:?}");
            let Some(wanted) = wanted else { continue };
            assert!(problem.is_some_and(|problem| problem.contains(wanted)) && lines[0].contains(wanted), "{lines:?}");
        }
        // also where NATS has no streams, and so tells no time
        ctx.clock = Clock::manual(ground.ctx.clock.now() + time::Duration::days(200));
        register(&ctx);
        ground.ctx.jetstream.delete_stream("PROBE").await.unwrap();
        assert!(said(&ctx).await.is_some_and(|problem| problem.contains("that of Redis, and NATS does not say")));
        assert!(is_wrong(&ctx).await);
        nats::provision(&ctx.jetstream, &ctx.config.nats, &WANTED, false).await.unwrap();
        // and when it was set
        let logged = Logged::from_now_on();
        ctx.clock = Clock::manual(ground.ctx.clock.now() - Duration::from_secs(9));
        register(&ctx);
        assert!(said(&ctx).await.is_some());
        ctx.clock.advance(Duration::from_secs(9));
        assert_eq!(said(&ctx).await, None);
        assert_eq!(logged.with("go right again").len(), 1);
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
