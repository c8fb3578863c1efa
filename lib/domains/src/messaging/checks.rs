//! What a gateway asks before it stores a message: limits, consent, device lists. One round trip to Redis, and another one
//! for a request; the owning domains are asked only where Redis does not know.

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::{Mismatch, SendDm};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use redis::Script;

use super::config::{Limits, Mailbox};
use crate::accounts::{BeginsToWrite, MayWrite, Standing, Verdict, WhoAccepts, Wrote};
use crate::keys::{DeviceList, ListDevices};

const MINUTE: Duration = Duration::from_secs(60);
/// When what others take may be different.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// How long the messages of an unanswered request are counted.
const REQUEST_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// KEYS: the requests of a pair, by member the time at which each was counted, and `n`, how many. ARGV: member, maximum, time to
/// live in seconds, now and the time of repetitions in milliseconds.
/// Answers 0 where there is no room, 1 for a repetition, 2 for one that is counted now.
static COUNT_REQUEST: LazyLock<Script> = LazyLock::new(|| {
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
static GIVE_REQUEST_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'n', -1) end
          return redis.status_reply('OK')",
    )
});

/// A message that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The recipient has not accepted the sender yet.
    pub request: bool,
    /// It is a request that was not counted before; given back by [`not_stored`].
    pub counted: bool,
    /// Once it is stored, the two know each other better than before: see [`noted`].
    pub unsettled: bool,
}

/// Why a message may not be stored.
#[derive(Debug)]
pub enum Refusal {
    /// Encrypted for other devices than there are.
    Mismatch(Mismatch),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Checks a message of a device. What is known of the two comes from [`ask_redis`]. What it is refused for is decided before anything is used up: neither a request nor a new
/// contact is taken by a message for other devices than there are, and a repetition takes none a second time.
pub async fn check(
    ctx: &Ctx,
    from: (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
    send: &SendDm,
    known: Known,
) -> Result<Cleared, Refusal> {
    let (sender, device) = from;
    let recipient_devices = match known.recipient_devices {
        Some(list) => list,
        None => ctx.call(&ListDevices { account: to }).await?,
    };
    if recipient_devices.devices.is_empty() && to != sender {
        // a list that never changed is nobody's
        let failure = match recipient_devices.revision {
            0 => Failure::new(ErrorCode::AccountUnknown, "nobody here has this account id"),
            _ => Failure::new(ErrorCode::DeviceUnknown, "the recipient has no device that could receive it"),
        };
        return Err(failure.into());
    }
    let mismatch = if to == sender {
        recipient_devices.without(device).mismatch(to, id, &send.to_devices)
    } else {
        let own = match (send.recipient_only, known.sender_devices) {
            (true, _) => None,
            (false, Some(list)) => Some(list),
            (false, None) => Some(ctx.call(&ListDevices { account: sender }).await?),
        };
        let own = own.and_then(|list| list.without(device).mismatch(sender, id, &send.own_devices));
        recipient_devices.mismatch(to, id, &send.to_devices).or(own)
    };
    let standing = match known.verdict {
        _ if to == sender => Standing { verdict: Verdict::Accepted, settled: true },
        // it decides nothing, so there is nothing to note
        _ if send.automatic => Standing { verdict: may_answer(ctx, sender, to).await?, settled: true },
        Some(verdict) => Standing { verdict, settled: true },
        None => ctx.call(&MayWrite { from: sender, to }).await?,
    };
    match standing.verdict {
        Verdict::Accepted | Verdict::Requested => {}
        Verdict::Blocked => return Err(Failure::new(ErrorCode::Blocked, "").into()),
        Verdict::YouBlocked => return Err(Failure::new(ErrorCode::YouBlocked, "").into()),
    }
    if let Some(mismatch) = mismatch {
        return Err(Refusal::Mismatch(mismatch));
    }
    let request = standing.verdict == Verdict::Requested;
    let counted = request && count_request(ctx, from, to, id).await?;
    let cleared = Cleared { request, counted, unsettled: !standing.settled };
    if cleared.unsettled
        && let Err(failure) = ctx.call(&BeginsToWrite { from: sender, to }).await
    {
        not_stored(ctx, from, to, id, cleared).await;
        return Err(failure.into());
    }
    Ok(cleared)
}

/// A message was stored. Only then is it one that makes people known to each other; and its sender is told only after that,
/// so that whoever was interrupted in between sends it again.
pub async fn noted(ctx: &Ctx, sender: AccountId, to: AccountId, cleared: Cleared) -> Result<(), Failure> {
    if cleared.unsettled { ctx.call(&Wrote { from: sender, to }).await } else { Ok(()) }
}

/// A message was refused after all: it was none of the few that somebody who was not accepted may send.
pub async fn not_stored(ctx: &Ctx, from: (AccountId, DeviceId), to: AccountId, id: ClientMsgId, cleared: Cleared) {
    if cleared.counted {
        let mut script = GIVE_REQUEST_BACK.key(requests_key(from.0, to));
        let gone: redis::RedisResult<()> =
            script.arg(request_member(from.1, id)).invoke_async(&mut ctx.redis.clone()).await;
        if let Err(error) = gone {
            tracing::debug!(%error, "a request was not given back");
        }
    }
}

/// Whether a device may say something by itself: the recipient must have accepted its owner, who decides nothing by it.
async fn may_answer(ctx: &Ctx, sender: AccountId, to: AccountId) -> Result<Verdict, Failure> {
    if ctx.call(&WhoAccepts { asker: sender, accounts: vec![to] }).await?.contains(&to) {
        return Ok(Verdict::Accepted);
    }
    Err(Failure::new(ErrorCode::RequestLimit, "what a device says by itself is only for who has accepted its owner"))
}

/// The messages of a request are counted by what the store tells repetitions by, device and id, and for as long: a repetition
/// that is stored anew is one more. Whether this one is new.
async fn count_request(
    ctx: &Ctx,
    (sender, device): (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
) -> Result<bool, Failure> {
    let max = ctx.config.section::<Limits>().request_messages;
    let answer: u8 = COUNT_REQUEST
        .key(requests_key(sender, to))
        .arg(request_member(device, id))
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

fn request_member(device: DeviceId, id: ClientMsgId) -> String {
    format!("{device}:{id}")
}

/// Where they are.
pub fn requests_key(sender: AccountId, to: AccountId) -> String {
    format!("limit:requests:{sender}:{to}")
}

/// What Redis knows of a sender and a recipient.
#[derive(Debug, Default)]
pub struct Known {
    verdict: Option<Verdict>,
    recipient_devices: Option<DeviceList>,
    sender_devices: Option<DeviceList>,
}

/// Counts a message against the limits a minute and takes its other costs, or takes nothing and fails with `rate_limited`;
/// and reads what is known of the two.
pub async fn ask_redis(
    ctx: &Ctx,
    sender: AccountId,
    to: AccountId,
    costs: impl IntoIterator<Item = Cost>,
) -> Result<(Known, Taken), Failure> {
    let limits = ctx.config.section::<Limits>();
    let a_minute = |kind, max, subject| {
        let limit = Limit { kind, max, window: MINUTE };
        Cost { limit, subject, amount: 1, refundable: false }
    };
    let mut all = vec![
        a_minute("sends", limits.sends_per_account_per_minute, sender.to_string()),
        a_minute("sends_to", limits.sends_per_pair_per_minute, format!("{sender}:{to}")),
    ];
    all.extend(costs);
    let keys = [Verdict::cache_key(sender, to), DeviceList::cache_key(to), DeviceList::cache_key(sender)];
    let mut taken = Taken::default();
    match taken.add_and_read(&ctx.redis, &ctx.clock, &all, &keys).await? {
        Ok(values) => {
            let value = |at: usize| values.get(at).and_then(Option::as_deref).unwrap_or_default();
            let known = Known {
                verdict: Verdict::parse(value(0)),
                recipient_devices: DeviceList::decode(value(1)),
                sender_devices: DeviceList::decode(value(2)),
            };
            Ok((known, taken))
        }
        Err(allowance) => Err(exhausted(allowance)),
    }
}

/// The refusal where an allowance is exhausted.
pub fn exhausted(Exhausted { limit, left }: Exhausted) -> Failure {
    metrics::counter!("nepto_rate_limited_total", "kind" => limit.kind).increment(1);
    let (what, left) = match limit.kind {
        "sends" | "sends_to" => ("messages a minute", left),
        "bytes_of" => ("bytes a day of one account", left),
        "bytes_of_to" => ("bytes a day of one account for one other", left),
        "receipt_bytes_of" => ("bytes of receipts a day of one account", left),
        "receipt_bytes_of_to" => ("bytes of receipts a day of one account for one other", left),
        // others' messages on their way count until it is known that they are refused
        _ => ("bytes a day for one account", left.min(ASK_AGAIN_AFTER)),
    };
    Failure::rate_limited(left, format!("at most {} {what}", limit.max))
}
