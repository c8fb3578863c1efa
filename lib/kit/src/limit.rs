//! Rate limits: counters in Redis that expire with their window.
//!
//! `limit:{kind}:{subject}:{window}`, one round trip a check. Redis may be flushed; a limit then starts over.
//!
//! Where a subject has an allowance for each of many others, these are members: fields of a few small hashes of the subject,
//! `limit:{kind}:{subject}:{window}:{group}`. So many have a field of their own, and all that come after them share one. So a
//! subject takes a bounded part of Redis, however many others it names, and nobody gets more than an allowance each.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use crate::Failure;
use crate::clock::Clock;
use crate::redis::Redis;

/// Gives back, but never below nothing. KEYS: counters. ARGV: for each the amount, and the member or an empty text. One that is
/// gone, because it expired or Redis was flushed, stays away.
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"for i = 1, #KEYS do
            local amount, member = ARGV[2 * i - 1], ARGV[2 * i]
            if member == '' then
              local left = tonumber(redis.call('GET', KEYS[i]) or '0') - tonumber(amount)
              if left > 0 then redis.call('DECRBY', KEYS[i], amount) else redis.call('DEL', KEYS[i]) end
            else
              local left = tonumber(redis.call('HGET', KEYS[i], member) or '0') - tonumber(amount)
              if left > 0 then redis.call('HINCRBY', KEYS[i], member, '-' .. amount)
              else redis.call('HDEL', KEYS[i], member) end
            end
          end
          return 0",
    )
});

/// A member for whom there is no field shares that of the others. KEYS: the hash. ARGV: the member, and that of the others. Answers
/// what they have taken together.
static SHARE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local taken = redis.call('HGET', KEYS[1], ARGV[1])
          if not taken then return 0 end
          redis.call('HDEL', KEYS[1], ARGV[1])
          return redis.call('HINCRBY', KEYS[1], ARGV[2], taken)",
    )
});

/// Groups of a subject's members.
const GROUPS: u8 = 4;
/// Members of a group that have a field of their own. Far enough below 128 that Redis keeps the hash in its compact form.
const MEMBERS_MAX: i64 = 64;
/// The field that all further members share. No id has six bytes.
const OTHERS: &[u8] = b"others";
/// A counter outlives its window by so much: clocks differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

/// 1 if the member is in the set now, 0 if there is no room for it.
static TAKE_MEMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
          local count = redis.call('SCARD', KEYS[1])
          if count >= tonumber(ARGV[2]) then return 0 end
          redis.call('SADD', KEYS[1], ARGV[1])
          if count == 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
          return 1",
    )
});

/// A limit: so many within a window.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// What is counted; part of the key.
    pub kind: &'static str,
    /// How many within a window.
    pub max: u32,
    /// Its length. Windows begin at multiples of it since 1970, the same for everybody.
    pub window: Duration,
}

impl Limit {
    /// The window that `now` falls into, and the time until it ends.
    pub fn window_at(&self, clock: &Clock) -> (i64, Duration) {
        self.window_of(clock.now_ms())
    }

    fn window_of(&self, now_ms: i64) -> (i64, Duration) {
        let length = self.window.as_millis() as i64;
        let window = now_ms / length;
        (window, Duration::from_millis(((window + 1) * length - now_ms).unsigned_abs()))
    }

    /// The key of a subject's counter.
    pub fn key(&self, subject: &str, window: i64) -> String {
        // a message has five of them: put together in one piece, without the steps of a formatter
        ["limit:", self.kind, ":", subject, ":", &window.to_string()].concat()
    }

    /// Takes a place for one of different things, or fails with `rate_limited`; what has one already is free. Members that are
    /// whole numbers take 8 bytes each, others some 100.
    pub async fn take_member(&self, redis: &Redis, clock: &Clock, subject: &str, member: &str) -> Result<(), Failure> {
        let (window, left) = self.window_at(clock);
        let mut script = TAKE_MEMBER.key(self.key(subject, window));
        script.arg(member).arg(self.max).arg((left + CLOCKS_DIFFER).as_secs());
        match script.invoke_async(&mut redis.clone()).await? {
            true => Ok(()),
            false => Err(self.refused(left)),
        }
    }

    fn refused(&self, left: Duration) -> Failure {
        metrics::counter!("nepto_rate_limited_total", "kind" => self.kind).increment(1);
        Failure::rate_limited(left, format!("at most {} within {} s", self.max, self.window.as_secs()))
    }

    /// Takes `amount`, or takes nothing and fails with `rate_limited`.
    pub async fn take(&self, redis: &Redis, clock: &Clock, subject: &str, amount: u32) -> Result<(), Failure> {
        self.take_of(redis, clock, subject, None, amount).await
    }

    /// The same, of what the subject has for one of its members.
    pub async fn take_of(
        &self,
        redis: &Redis,
        clock: &Clock,
        subject: &str,
        member: Option<Vec<u8>>,
        amount: u32,
    ) -> Result<(), Failure> {
        let cost = Cost { limit: *self, subject: subject.to_owned(), member, amount: amount.into(), refundable: false };
        match Taken::default().add(redis, clock, &[cost]).await? {
            Ok(()) => Ok(()),
            Err(Exhausted { left, .. }) => Err(self.refused(left)),
        }
    }
}

/// Bytes of a command to Redis that takes from an allowance, beside its key: its name, a member, and the digits of an amount.
const INCREMENT_BYTES: usize = 7 + 9 + 20;

/// What something costs of one allowance.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The allowance that it is taken from.
    pub limit: Limit,
    /// Who pays, for instance an account's id; part of the key.
    pub subject: String,
    /// Of whom the subject pays, if it has an allowance for each: an id in a few bytes.
    pub member: Option<Vec<u8>>,
    /// How much of it.
    pub amount: u64,
    /// Whether it is given back if it was of no use. What counts attempts is not.
    pub refundable: bool,
}

impl Cost {
    /// Whether a counter that shows this has only now begun, and is to end with its window.
    fn begins(&self, count: i64) -> bool {
        count <= self.amount.cast_signed()
    }

    /// Where it is counted.
    fn counter(&self, window: i64) -> String {
        let key = self.limit.key(&self.subject, window);
        match &self.member {
            None => key,
            Some(member) => [&*key, ":", &group_of(member, GROUPS).to_string()].concat(),
        }
    }
}

/// The group of a member, of so many.
pub fn group_of(member: &[u8], groups: u8) -> u8 {
    member.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) % groups
}

/// An allowance in which there was not enough left.
#[derive(Debug, Clone, Copy)]
pub struct Exhausted {
    /// The allowance that is used up.
    pub limit: Limit,
    /// How long until its window ends and it is whole again.
    pub left: Duration,
}

/// What was taken from allowances and may be given back.
#[derive(Debug, Default)]
pub struct Taken(Vec<Counted>);

/// What was added to a counter.
#[derive(Debug)]
struct Counted {
    key: String,
    /// The field of a hash.
    member: Option<Vec<u8>>,
    amount: u64,
}

impl Taken {
    /// Takes more, all or nothing: answers the allowance that was exhausted, if one was.
    pub async fn add(
        &mut self,
        redis: &Redis,
        clock: &Clock,
        costs: &[Cost],
    ) -> Result<Result<(), Exhausted>, redis::RedisError> {
        Ok(self.add_and_read(redis, clock, costs, &[]).await?.map(drop))
    }

    /// The same, and reads keys on the way: their values, if everything was taken. Plain commands in one pipeline: a script
    /// costs Redis twice as much (`bench/README.md`), and what is refused need only be undone afterwards. Until then it counts.
    pub async fn add_and_read(
        &mut self,
        redis: &Redis,
        clock: &Clock,
        costs: &[Cost],
        keys: &[String],
    ) -> Result<Result<Vec<Option<String>>, Exhausted>, redis::RedisError> {
        let now_ms = clock.now_ms();
        let mut counted: Vec<Counted> = costs
            .iter()
            .map(|cost| Counted {
                key: cost.counter(cost.limit.window_of(now_ms).0),
                member: cost.member.clone(),
                amount: cost.amount,
            })
            .collect();
        let mut pipeline = redis::Pipeline::with_capacity(costs.len() + 1);
        for Counted { key, member, amount } in &counted {
            let mut increment = redis::Cmd::with_capacity(4, INCREMENT_BYTES + key.len());
            match member {
                None => increment.arg("INCRBY").arg(key).arg(*amount),
                Some(member) => increment.arg("HINCRBY").arg(key).arg(member).arg(*amount),
            };
            pipeline.add_command(increment);
        }
        if !keys.is_empty() {
            pipeline.mget(keys);
        }
        let mut answers: Vec<redis::Value> = pipeline.query_async(&mut redis.clone()).await?;
        let values = if keys.is_empty() { None } else { answers.pop() };
        let mut counts: Vec<i64> = answers.into_iter().map(redis::from_redis_value).collect::<Result<_, _>>()?;
        begin(redis, now_ms, costs, &mut counted, &mut counts).await?;
        let exhausted = costs.iter().zip(&counts).find(|(cost, count)| **count > i64::from(cost.limit.max));
        let taken = counted.into_iter().zip(costs).filter(|(_, cost)| cost.refundable).map(|(counted, _)| counted);
        if let Some((Cost { limit, .. }, _)) = exhausted {
            Self(taken.collect()).give_back(redis).await?;
            return Ok(Err(Exhausted { limit: *limit, left: limit.window_at(clock).1 }));
        }
        self.0.extend(taken);
        Ok(Ok(values.map(redis::from_redis_value).transpose()?.unwrap_or_default()))
    }

    /// The last that was taken, to be given back for itself.
    pub fn split_last(&mut self) -> Self {
        Self(self.0.pop().into_iter().collect())
    }

    /// Gives everything back that was of no use, as far as its windows last.
    pub async fn give_back(self, redis: &Redis) -> Result<(), redis::RedisError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut script = GIVE_BACK.prepare_invoke();
        for Counted { key, member, amount } in &self.0 {
            script.key(key).arg(*amount).arg(member.as_deref().unwrap_or_default());
        }
        script.invoke_async(&mut redis.clone()).await
    }
}

/// What begins is to end with its window; a member for whom its group has no room any more shares what the others have.
async fn begin(
    redis: &Redis,
    now_ms: i64,
    costs: &[Cost],
    counted: &mut [Counted],
    counts: &mut [i64],
) -> redis::RedisResult<()> {
    let begun: Vec<usize> = (0..costs.len()).filter(|at| costs[*at].begins(counts[*at])).collect();
    if begun.is_empty() {
        return Ok(());
    }
    let mut pipeline = redis::pipe();
    for at in &begun {
        let Counted { key, member, .. } = &counted[*at];
        let ends_after = costs[*at].limit.window_of(now_ms).1 + CLOCKS_DIFFER;
        pipeline.cmd("EXPIRE").arg(key).arg(ends_after.as_secs()).ignore();
        if member.is_some() {
            pipeline.cmd("HLEN").arg(key);
        }
    }
    let members: Vec<i64> = pipeline.query_async(&mut redis.clone()).await?;
    let grouped = begun.into_iter().filter(|at| costs[*at].member.is_some());
    for (at, _) in grouped.zip(members).filter(|(_, members)| *members > MEMBERS_MAX) {
        let Counted { key, member, .. } = &mut counted[at];
        let mut share = SHARE.key(&*key);
        share.arg(member.as_deref().unwrap_or_default()).arg(OTHERS);
        counts[at] = share.invoke_async(&mut redis.clone()).await?;
        *member = Some(OTHERS.to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nepto_testkit::Redis as Server;
    use redis::AsyncCommands as _;

    use super::*;

    #[tokio::test]
    async fn what_is_refused_or_given_back_leaves_nothing_behind() {
        let server = Server::start().await.unwrap();
        let (redis, clock) = (crate::testing::redis(&server).await, Clock::default());
        let limit = Limit { kind: "test", max: 10, window: Duration::from_secs(86_400) };
        let cost = |amount, refundable| Cost { limit, subject: "a".to_owned(), member: None, amount, refundable };
        let mut taken = Taken::default();
        taken.add(&redis, &clock, &[cost(6, true)]).await.unwrap().unwrap();
        assert!(taken.add(&redis, &clock, &[cost(6, true)]).await.unwrap().is_err());
        taken.add(&redis, &clock, &[cost(4, true)]).await.unwrap().unwrap();
        // of several, all or nothing; what counts attempts is counted all the same
        let other = Cost { subject: "b".to_owned(), ..cost(10, true) };
        assert!(Taken::default().add(&redis, &clock, &[other.clone(), cost(1, true)]).await.unwrap().is_err());
        Taken::default().add(&redis, &clock, &[other]).await.unwrap().unwrap();
        taken.give_back(&redis).await.unwrap();
        let mut again = Taken::default();
        again.add(&redis, &clock, &[cost(10, true)]).await.unwrap().unwrap();
        // Redis forgets; what is given back then must not become somebody's credit, or a debt
        redis::cmd("FLUSHALL").exec_async(&mut redis.clone()).await.unwrap();
        Taken::default().add(&redis, &clock, &[cost(1, false)]).await.unwrap().unwrap();
        again.give_back(&redis).await.unwrap();
        Taken::default().add(&redis, &clock, &[cost(10, true)]).await.unwrap().unwrap();
        assert!(limit.take(&redis, &clock, "a", 1).await.is_err());
        let ttl: i64 = redis.clone().ttl(limit.key("a", limit.window_at(&clock).0)).await.unwrap();
        assert!(ttl > 0, "{ttl}");
    }

    #[tokio::test]
    async fn a_subject_takes_a_bounded_part_of_redis_however_many_others_it_names() {
        const NAMED: u64 = 2_000;
        let server = Server::start().await.unwrap();
        let (redis, clock) = (crate::testing::redis(&server).await, Clock::default());
        let limit = Limit { kind: "test", max: 10, window: Duration::from_secs(86_400) };
        let cost = |number: u64, amount, refundable| {
            let member = Some(number.to_be_bytes().to_vec());
            Cost { limit, subject: "a".to_owned(), member, amount, refundable }
        };
        // each has an allowance of its own, and gets back what was of no use
        for number in 0..2 {
            let mut taken = Taken::default();
            taken.add(&redis, &clock, &[cost(number, 10, true)]).await.unwrap().unwrap();
            assert!(Taken::default().add(&redis, &clock, &[cost(number, 1, true)]).await.unwrap().is_err());
            taken.give_back(&redis).await.unwrap();
            Taken::default().add(&redis, &clock, &[cost(number, 10, false)]).await.unwrap().unwrap();
        }
        let mut left_over = 0;
        for number in 2..NAMED {
            let taken = Taken::default().add(&redis, &clock, &[cost(number, 1, false)]).await.unwrap();
            left_over += u64::from(taken.is_err());
        }
        let (own, shared) = (u64::from(GROUPS) * MEMBERS_MAX.unsigned_abs(), u64::from(GROUPS * 10));
        assert_eq!(left_over, NAMED - own - shared, "all others share one allowance in each group");
        // who came first has what they had, and no more
        assert!(Taken::default().add(&redis, &clock, &[cost(0, 1, false)]).await.unwrap().is_err());
        Taken::default().add(&redis, &clock, &[cost(2, 9, false)]).await.unwrap().unwrap();
        let keys: Vec<String> = redis.clone().keys("limit:test:*").await.unwrap();
        assert_eq!(keys.len(), usize::from(GROUPS));
        let mut bytes = 0;
        for key in &keys {
            let ttl: i64 = redis.clone().ttl(key).await.unwrap();
            assert!(ttl > 0, "{ttl}");
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(key);
            bytes += usage.query_async::<u64>(&mut redis.clone()).await.unwrap();
        }
        assert!(bytes < 8 * 1024, "{bytes} bytes for {NAMED} others");
    }
}
