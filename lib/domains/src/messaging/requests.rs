//! What somebody may send to a person who has not accepted them: a few messages, small ones, and only into mailboxes that have
//! room for requests (docs/adr/0019).

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::DeviceCiphertext;
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use redis::Script;

use super::config::{Limits, Mailbox};
use super::costs::{ASK_AGAIN_AFTER, DAY, bytes_to_recipient, waits};
use super::mailbox;

/// How long the messages of an unanswered request are counted.
const REQUEST_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// KEYS: the requests of a pair, by member the time at which each was counted, and `n`, how many. ARGV: member, maximum, time to
/// live in seconds, now and the time of repetitions in milliseconds.
/// Answers 0 where there is no room, 1 for a repetition, 2 for one that is counted now.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local at = redis.call('HGET', KEYS[1], ARGV[1])
          if at and tonumber(ARGV[4]) - tonumber(at) < tonumber(ARGV[5]) then return 1 end
          local n = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
          if n >= tonumber(ARGV[2]) then return 0 end
          redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], 'n', n + 1)
          if n == 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
          return 2",
    )
});
/// Undoes it. ARGV: the member.
static UNCOUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'n', -1) end
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
    let max = ctx.config.section::<Limits>().request_messages;
    let answer: u8 = COUNT
        .key(key(sender, to))
        .arg(member(device, id))
        .arg(max)
        .arg(REQUEST_MEMORY.as_secs())
        .arg(ctx.clock.now_ms())
        .arg(ctx.config.section::<Mailbox>().duplicate_window_s.saturating_mul(1_000))
        .invoke_async(&mut ctx.redis.clone())
        .await?;
    match answer {
        0 => Err(Failure::new(ErrorCode::RequestLimit, format!("{max} messages wait for an answer already"))),
        counted => Ok(counted == 2),
    }
}

/// It was not stored.
pub async fn uncount(ctx: &Ctx, (sender, device): (AccountId, DeviceId), to: AccountId, id: ClientMsgId) {
    let mut script = UNCOUNT.key(key(sender, to));
    let gone: redis::RedisResult<()> = script.arg(member(device, id)).invoke_async(&mut ctx.redis.clone()).await;
    if let Err(error) = gone {
        tracing::debug!(%error, "a request was not given back");
    }
}

fn member(device: DeviceId, id: ClientMsgId) -> String {
    format!("{device}:{id}")
}

/// Where they are counted.
pub fn key(sender: AccountId, to: AccountId) -> String {
    format!("limit:requests:{sender}:{to}")
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
        Cost { limit, subject: to.to_string(), amount: bytes_to_recipient(copies), refundable: true }
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
