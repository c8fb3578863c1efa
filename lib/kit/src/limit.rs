//! Rate limits: counters in Redis that expire with their window.
//!
//! `limit:{kind}:{subject}:{window}`, one Lua script a check. Redis may be flushed; a limit then starts anew.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use crate::Failure;
use crate::clock::Clock;
use crate::redis::Redis;

static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local count = redis.call('INCRBY', KEYS[1], ARGV[1])
          if count == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
          return count",
    )
});

/// 0 where there is no room for the member, 1 where it is in the set already, 2 where it is now.
static TAKE_MEMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
          local count = redis.call('SCARD', KEYS[1])
          if count >= tonumber(ARGV[2]) then return 0 end
          redis.call('SADD', KEYS[1], ARGV[1])
          if count == 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
          return 2",
    )
});

/// What became of a member that wanted a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// There is no room.
    Refused,
    /// It had a place already: a repetition is free.
    Known,
    /// It has one now.
    New,
}

/// Takes a place in a set that has room for `max` and is forgotten `ttl` after its first member came.
pub async fn take_place(
    redis: &Redis,
    (key, member): (&str, impl redis::ToSingleRedisArg),
    max: u32,
    ttl: Duration,
) -> Result<Membership, redis::RedisError> {
    let mut script = TAKE_MEMBER.key(key);
    let answer: u8 = script.arg(member).arg(max).arg(ttl.as_secs().max(1)).invoke_async(&mut redis.clone()).await?;
    Ok(match answer {
        0 => Membership::Refused,
        1 => Membership::Known,
        _ => Membership::New,
    })
}

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
        redis: &Redis,
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

    /// Takes a place for one of different things, or fails with `rate_limited`; what has one already is free.
    pub async fn take_member(&self, redis: &Redis, clock: &Clock, subject: &str, member: &str) -> Result<(), Failure> {
        let (window, left) = self.window_at(clock);
        match take_place(redis, (&self.key(subject, window), member), self.max, self.window).await? {
            Membership::Known | Membership::New => Ok(()),
            Membership::Refused => Err(self.refused(left)),
        }
    }

    fn refused(&self, left: Duration) -> Failure {
        metrics::counter!("nepto_rate_limited_total", "kind" => self.kind).increment(1);
        Failure::rate_limited(left, format!("at most {} within {} s", self.max, self.window.as_secs()))
    }

    /// Undoes a [`Limit::try_take`] that was of no use, while its window lasts.
    pub async fn give_back(
        &self,
        redis: &Redis,
        clock: &Clock,
        subject: &str,
        amount: u32,
    ) -> Result<(), redis::RedisError> {
        let (window, _) = self.window_at(clock);
        GIVE_BACK.key(self.key(subject, window)).arg(amount).invoke_async(&mut redis.clone()).await
    }

    /// Takes `amount`, or fails with `rate_limited`.
    pub async fn take(&self, redis: &Redis, clock: &Clock, subject: &str, amount: u32) -> Result<(), Failure> {
        if self.try_take(redis, clock, subject, amount).await? {
            return Ok(());
        }
        let (_, left) = self.window_at(clock);
        Err(self.refused(left))
    }
}
