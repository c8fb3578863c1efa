//! What somebody may send to a person who has not accepted them: a few messages, small ones, and only into mailboxes that have
//! room for requests (docs/adr/0019).

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::limit::{Cost, Exhausted, Limit, Taken, group_of};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::DeviceCiphertext;
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use redis::Script;

use super::config::{Limits, Mailbox};
use super::costs::{ASK_AGAIN_AFTER, DAY, bytes_to_recipient, waits};
use super::mailbox;

/// How long the messages of an unanswered request are counted.
const REQUEST_MEMORY: Duration = Duration::from_secs(30 * 86_400);
/// People who are counted for one sender are in so many groups, by their ids.
const GROUPS: u8 = 8;
/// People of a group. Below 128, so that Redis keeps the set in its compact form: 20 bytes for each of them.
const PEOPLE_MAX: u8 = 100;
/// Messages whose repetitions are known. Of one that is older a repetition is one more.
const IDS_MAX: u8 = 100;

/// KEYS: the people of a group whom the sender has written to, each with the time of the first message in seconds, times 2^20, and
/// how many there were; and the messages that were counted, each with its time in milliseconds.
///
/// ARGV: 1 the person, 2 the message, 3 how many messages a person may get; 4 now, and 5 since when messages are repetitions, in
/// milliseconds; 6 now, and 7 since when people are remembered, in seconds; 8 how many people and 9 how many messages are remembered;
/// 10 the time to live of the people and 11 of the messages, in seconds.
///
/// Answers 0 where there is no room, 1 for a repetition, 2 for one that is counted now; where there is no room for another person
/// less than 0, the seconds until there is.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5])
          if redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 1 end
          local unit, forgotten = 1048576, tonumber(ARGV[7])
          redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', forgotten * unit))
          local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
          local n = score and tonumber(score) % unit or 0
          if n >= tonumber(ARGV[3]) then return 0 end
          if score then
            redis.call('ZINCRBY', KEYS[1], 1, ARGV[1])
          else
            if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[8]) then
              local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
              return math.min(-1, forgotten - math.floor(tonumber(oldest) / unit))
            end
            redis.call('ZADD', KEYS[1], string.format('%.0f', tonumber(ARGV[6]) * unit + 1), ARGV[1])
          end
          redis.call('EXPIRE', KEYS[1], ARGV[10])
          redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
          redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[9]))
          redis.call('EXPIRE', KEYS[2], ARGV[11])
          return 2",
    )
});
/// Undoes it. ARGV: person, message.
static UNCOUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('ZREM', KEYS[2], ARGV[2]) == 1 then
            local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
            if score and tonumber(score) % 1048576 > 1 then redis.call('ZINCRBY', KEYS[1], -1, ARGV[1])
            else redis.call('ZREM', KEYS[1], ARGV[1]) end
          end
          return redis.status_reply('OK')",
    )
});

/// Counts a message of a request by what the store tells repetitions by, device and id, and for as long: a repetition that is
/// stored again is one more. Whether this one is new.
pub async fn count(
    ctx: &Ctx,
    (sender, device): (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
) -> Result<bool, Failure> {
    // it is remembered for a month by this clock
    ctx.clock_check.refuse_if_wrong().await?;
    let max = ctx.config.section::<Limits>().request_messages;
    let window_s = ctx.config.section::<Mailbox>().duplicate_window_s;
    let now_ms = ctx.clock.now_ms();
    let window_ms = i64::try_from(window_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let now_s = now_ms / 1_000;
    let answer: i64 = COUNT
        .key(people_key(sender, to))
        .key(messages_key(sender))
        .arg(to.random_half().to_vec())
        .arg(message(device, to, id))
        .arg(max)
        .arg(now_ms)
        .arg(now_ms.saturating_sub(window_ms))
        .arg(now_s)
        .arg(now_s - REQUEST_MEMORY.as_secs().cast_signed())
        .arg(PEOPLE_MAX)
        .arg(IDS_MAX)
        .arg(REQUEST_MEMORY.as_secs())
        .arg(window_s.max(1))
        .invoke_async(&mut ctx.redis.clone())
        .await?;
    match answer {
        0 => Err(Failure::new(ErrorCode::RequestLimit, format!("{max} messages wait for an answer already"))),
        ..0 => {
            metrics::counter!("nepto_rate_limited_total", "kind" => "requested").increment(1);
            let detail = "too many people have not accepted you; write to those who have, or wait";
            Err(Failure::rate_limited(Duration::from_secs(answer.unsigned_abs()), detail))
        }
        counted => Ok(counted == 2),
    }
}

/// It was not stored.
pub async fn uncount(ctx: &Ctx, (sender, device): (AccountId, DeviceId), to: AccountId, id: ClientMsgId) {
    let mut script = UNCOUNT.key(people_key(sender, to));
    script.key(messages_key(sender)).arg(to.random_half().to_vec()).arg(message(device, to, id));
    let gone: redis::RedisResult<()> = script.invoke_async(&mut ctx.redis.clone()).await;
    if let Err(error) = gone {
        tracing::debug!(%error, "a request was not given back");
    }
}

/// A message, as it is told from others of its sender.
fn message(device: DeviceId, to: AccountId, id: ClientMsgId) -> Vec<u8> {
    [&to.random_half()[..], &[device.get()], id.uuid().as_bytes()].concat()
}

/// Where the people are counted whom somebody has written to, those of this one's group.
pub fn people_key(sender: AccountId, to: AccountId) -> String {
    let group = group_of(&to.random_half(), GROUPS);
    format!("limit:requested:{sender}:{group}")
}

/// Where the messages are that were counted lately.
pub fn messages_key(sender: AccountId) -> String {
    format!("limit:request_ids:{sender}")
}

/// The devices of the recipient that take one more request. Requests are few, so their mailboxes are asked. Of all that is there
/// for strangers, new accounts have a half: they cost nothing, and must not shut out those that do.
pub async fn room(
    ctx: &Ctx,
    to: AccountId,
    copies: &[DeviceCiphertext],
    is_new: bool,
    taken: &mut Taken,
) -> Result<Vec<DeviceId>, Failure> {
    let config = ctx.config.section::<Mailbox>();
    let part = if is_new { 2 } else { 1 };
    if copies.iter().any(|copy| copy.ciphertext.len() > config.request_bytes_max as usize) {
        let detail = format!(
            "a message to somebody who has not accepted you has at most {} bytes; write less",
            config.request_bytes_max
        );
        return Err(Failure::new(ErrorCode::RequestLimit, detail));
    }
    let counts = mailbox::counts(&ctx.nats, ctx.config.nats.shards.of(to), to).await;
    let counts = counts.map_err(|error| Failure::unavailable("JetStream", error))?;
    let devices = copies.iter().filter_map(|copy| DeviceId::try_from(copy.device).ok());
    let below = (config.requests_below() / part).max(1);
    let has_room = |device: &DeviceId| counts.get(device).copied().unwrap_or(0) < below;
    let room: Vec<DeviceId> = devices.filter(has_room).collect();
    if room.is_empty() {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = "too much waits for the recipient's devices already; try again when they were online";
        return Err(waits(ErrorCode::RequestsFull, ASK_AGAIN_AFTER, detail));
    }
    let cost = |kind, max| {
        let limit = Limit { kind, max, window: DAY };
        Cost { limit, subject: to.to_string(), member: None, amount: bytes_to_recipient(copies), refundable: true }
    };
    let max = config.request_bytes_per_recipient_per_day;
    let mut costs = vec![cost("request_bytes_to", max)];
    if is_new {
        costs.push(cost("new_request_bytes_to", max / 2));
    }
    if let Err(Exhausted { limit, left }) = taken.add(&ctx.redis, &ctx.clock, &costs).await? {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let who = if limit.kind == "request_bytes_to" { "all strangers" } else { "all new accounts" };
        let detail = format!("{who} together may send {} bytes a day to one account", limit.max);
        return Err(waits(ErrorCode::RequestsFull, left, &detail));
    }
    Ok(room)
}

/// What is counted of one person's messages to another, for tests that copy it.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub struct Counted {
    score: Option<f64>,
    messages: Vec<(Vec<u8>, f64)>,
}

#[cfg(test)]
impl Counted {
    /// Of a sender who has written to nobody else.
    pub async fn of(ctx: &Ctx, sender: AccountId, to: AccountId) -> Self {
        let (score, messages) = redis::pipe()
            .cmd("ZSCORE")
            .arg(people_key(sender, to))
            .arg(to.random_half().to_vec())
            .cmd("ZRANGE")
            .arg(messages_key(sender))
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES")
            .query_async(&mut ctx.redis.clone())
            .await
            .unwrap();
        Self { score, messages }
    }

    /// Counts the same for two others.
    pub fn copy(&self, pipeline: &mut redis::Pipeline, sender: AccountId, to: AccountId) {
        let half = to.random_half().to_vec();
        let mut add = |key: String, score: f64, member: Vec<u8>| {
            pipeline.cmd("ZADD").arg(&key).arg(format!("{score:.0}")).arg(member).ignore();
            pipeline.cmd("EXPIRE").arg(&key).arg(3_600).ignore();
        };
        if let Some(score) = self.score {
            add(people_key(sender, to), score, half.clone());
        }
        for (message, at_ms) in &self.messages {
            add(messages_key(sender), *at_ms, [&half[..], &message[half.len()..]].concat());
        }
    }
}

#[cfg(test)]
mod tests {
    use nepto_testkit::{Nats, Redis};
    use redis::AsyncCommands as _;
    use uuid::Uuid;

    use super::super::costs::{Parties, of_sender};
    use super::super::send::ask_redis;
    use super::*;
    use crate::testing::{account, connected};

    /// What all that one account can make Redis keep for the people it names may take; `docs/OPERATIONS.md` says so.
    const BYTES_MAX: u64 = 64 * 1024;

    fn from(number: u128) -> (AccountId, DeviceId) {
        (account(number), DeviceId::FIRST)
    }

    fn message_id(number: u128) -> ClientMsgId {
        ClientMsgId::new(Uuid::from_u128(number))
    }

    async fn code(ctx: &Ctx, to: u128, id: u128) -> Result<bool, ErrorCode> {
        count(ctx, from(1), account(to), message_id(id)).await.map_err(|failure| failure.code)
    }

    #[tokio::test]
    async fn a_person_gets_so_many_messages_and_one_account_takes_little_of_redis() {
        const NAMED: u128 = 1_200;
        let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
        let (nats, redis) = (nats.unwrap(), redis.unwrap());
        let unlimited = |config: &mut nepto_kit::config::Config| {
            let max = u32::MAX;
            let limits =
                Limits { sends_per_account_per_minute: max, sends_per_pair_per_minute: max, ..Limits::default() };
            config.set_section(limits);
            config.set_section(Mailbox { bytes_per_account_per_day: u32::MAX, ..Mailbox::default() });
        };
        let ctx = connected(&nats, &redis, unlimited).await;
        // at once, from any device
        let device = |number: u128| DeviceId::try_from((number % 3) as u32 + 1).unwrap();
        let at_once = (0..20).map(|id| count(&ctx, (account(1), device(id)), account(2), message_id(id)));
        let counted = futures_util::future::join_all(at_once).await;
        assert_eq!(counted.iter().filter(|counted| matches!(counted, Ok(true))).count(), 5);
        let first = (0..20).find(|id| matches!(counted[*id as usize], Ok(true))).unwrap();
        assert!(
            !count(&ctx, (account(1), device(first)), account(2), message_id(first)).await.unwrap(),
            "a repetition"
        );
        assert_eq!(code(&ctx, 2, 100).await, Err(ErrorCode::RequestLimit));
        uncount(&ctx, (account(1), device(first)), account(2), message_id(first)).await;
        assert_eq!(code(&ctx, 2, 100).await, Ok(true), "one was given back");
        assert_eq!(code(&ctx, 2, 101).await, Err(ErrorCode::RequestLimit));
        // and so many people, of whom none is forgotten for those that come later
        let send = nepto_proto::wire::SendDm::default();
        let config = ctx.config.section::<Mailbox>();
        let mut people = 1;
        for to in 3..NAMED {
            match code(&ctx, to, 0).await {
                Ok(is_new) => people += u64::from(is_new),
                Err(code) => assert_eq!(code, ErrorCode::RateLimited),
            }
            for recipient_only in [false, true] {
                let send = nepto_proto::wire::SendDm { recipient_only, ..send.clone() };
                let parties = Parties::new(account(1), account(to));
                let costs = of_sender(&config, &parties, false, &send);
                assert_eq!(costs.len(), 2);
                ask_redis(&ctx, &parties, costs).await.unwrap();
            }
        }
        assert_eq!(people, u64::from(GROUPS) * u64::from(PEOPLE_MAX));
        assert_eq!(code(&ctx, 2, 102).await, Err(ErrorCode::RequestLimit), "who was first is still known");
        let mut redis = ctx.redis.clone();
        let keys: Vec<String> = redis.keys("limit:*").await.unwrap();
        let mut bytes = 0;
        for key in &keys {
            let used: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut redis).await.unwrap();
            let ttl: i64 = redis.ttl(key).await.unwrap();
            assert!(ttl > 0, "{key} stays for ever");
            bytes += used;
        }
        assert!(bytes < BYTES_MAX, "{bytes} bytes in {} keys", keys.len());
    }
}
