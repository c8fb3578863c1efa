//! Rate limits: counters in Redis that expire with their window.
//!
//! `limit:{kind}:{subject}:{window}`, one Lua script a check. Redis may be flushed; a limit then starts anew.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;
use redis::aio::ConnectionManager;

use crate::Failure;
use crate::clock::Clock;

static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local count = redis.call('INCRBY', KEYS[1], ARGV[1])
          if count == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
          return count",
    )
});

static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DECRBY', KEYS[1], ARGV[1]) end
          return 0",
    )
});

/// A limit: so many within a window.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// What is counted; part of the key.
    pub kind: &'static str,
    /// How many within a window.
    pub max: u32,
    /// The window.
    pub window: Duration,
}

impl Limit {
    /// The window that `now` falls into, and the time until it ends.
    pub fn window_at(&self, clock: &Clock) -> (i64, Duration) {
        let (now, length) = (clock.now_ms(), self.window.as_millis() as i64);
        let window = now / length;
        (window, Duration::from_millis(((window + 1) * length - now).unsigned_abs()))
    }

    /// The key of a subject's counter.
    pub fn key(&self, subject: &str, window: i64) -> String {
        format!("limit:{}:{subject}:{window}", self.kind)
    }

    /// Takes `amount` from a subject's allowance and says whether it was there.
    pub async fn try_take(
        &self,
        redis: &ConnectionManager,
        clock: &Clock,
        subject: &str,
        amount: u32,
    ) -> Result<bool, redis::RedisError> {
        let (window, _) = self.window_at(clock);
        let count: u64 = TAKE
            .key(self.key(subject, window))
            .arg(amount)
            .arg(self.window.as_secs().max(1))
            .invoke_async(&mut redis.clone())
            .await?;
        Ok(count <= u64::from(self.max))
    }

    /// Undoes a [`Limit::try_take`] that was of no use, while its window lasts.
    pub async fn give_back(
        &self,
        redis: &ConnectionManager,
        clock: &Clock,
        subject: &str,
        amount: u32,
    ) -> Result<(), redis::RedisError> {
        let (window, _) = self.window_at(clock);
        GIVE_BACK.key(self.key(subject, window)).arg(amount).invoke_async(&mut redis.clone()).await
    }

    /// Takes `amount`, or fails with `rate_limited`.
    pub async fn take(
        &self,
        redis: &ConnectionManager,
        clock: &Clock,
        subject: &str,
        amount: u32,
    ) -> Result<(), Failure> {
        if self.try_take(redis, clock, subject, amount).await? {
            return Ok(());
        }
        let (_, left) = self.window_at(clock);
        metrics::counter!("nepto_rate_limited_total", "kind" => self.kind).increment(1);
        Err(Failure::rate_limited(left, format!("at most {} within {} s", self.max, self.window.as_secs())))
    }
}
