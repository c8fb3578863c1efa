//! What a gateway asks before it stores a message: limits, consent, device lists. One round trip to Redis; the owning
//! domains are asked only where Redis does not know.

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::{Mismatch, SendDm};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use redis::Script;

use crate::accounts::{MayWrite, Verdict, WhoAccepts};
use crate::keys::{DeviceList, ListDevices};

const MINUTE: Duration = Duration::from_secs(60);
/// How long the messages of an unanswered request are counted.
const REQUEST_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// KEYS: account limit, pair limit, consent, devices of the recipient, devices of the sender, request counter.
/// ARGV: account maximum, pair maximum, window, request maximum, request memory.
/// Answers: which limit was hit (0 none, 1 account, 2 pair, 3 requests), consent, devices, devices.
static CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local function take(key, max, ttl)
            local count = redis.call('INCR', key)
            if count == 1 then redis.call('EXPIRE', key, ttl) end
            return count <= tonumber(max)
          end
          if not take(KEYS[1], ARGV[1], ARGV[3]) then return {1, '', '', ''} end
          if not take(KEYS[2], ARGV[2], ARGV[3]) then return {2, '', '', ''} end
          local known = redis.call('MGET', KEYS[3], KEYS[4], KEYS[5])
          if known[1] and string.match(known[1], '^requested') and not take(KEYS[6], ARGV[4], ARGV[5]) then return {3, '', '', ''} end
          return {0, known[1] or '', known[2] or '', known[3] or ''}",
    )
});

/// Counts a request whose sender Redis did not know yet; the same counter as in [`CHECK`].
static COUNT_REQUEST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local count = redis.call('INCR', KEYS[1])
          if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
          return count",
    )
});

/// A message that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The recipient has not accepted the sender yet.
    pub request: bool,
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

/// Checks a message of a device.
pub async fn check(
    ctx: &Ctx,
    from: (AccountId, DeviceId),
    to: AccountId,
    id: ClientMsgId,
    send: &SendDm,
) -> Result<Cleared, Refusal> {
    let (sender, device) = from;
    let known = ask_redis(ctx, sender, to).await?;
    let recipient_devices = match known.recipient_devices {
        Some(list) => list,
        None => ctx.call(&ListDevices { account: to }).await?,
    };
    if recipient_devices.devices.is_empty() && to != sender {
        let detail = "the recipient has no device that could receive it";
        return Err(Failure::new(ErrorCode::DeviceUnknown, detail).into());
    }
    let verdict = match known.verdict {
        _ if to == sender => Verdict::Accepted,
        _ if send.automatic => may_answer(ctx, sender, to).await?,
        Some(verdict) => verdict,
        None => {
            let verdict = ctx.call(&MayWrite { from: sender, to }).await?;
            if verdict == Verdict::Requested {
                count_request(ctx, sender, to).await?;
            }
            verdict
        }
    };
    match verdict {
        Verdict::Accepted | Verdict::Requested => {}
        Verdict::Blocked => return Err(Failure::new(ErrorCode::Blocked, "").into()),
        Verdict::YouBlocked => return Err(Failure::new(ErrorCode::YouBlocked, "").into()),
    }
    let expected = if to == sender { recipient_devices.without(device) } else { recipient_devices };
    if let Some(mismatch) = expected.mismatch(to, id, &send.to_devices) {
        return Err(Refusal::Mismatch(mismatch));
    }
    if !send.own_devices.is_empty() {
        let own = match known.sender_devices {
            Some(list) => list,
            None => ctx.call(&ListDevices { account: sender }).await?,
        };
        if let Some(mismatch) = own.without(device).mismatch(sender, id, &send.own_devices) {
            return Err(Refusal::Mismatch(mismatch));
        }
    }
    Ok(Cleared { request: verdict == Verdict::Requested })
}

/// Whether a device may say something by itself: the recipient must have accepted its owner, who decides nothing by it.
async fn may_answer(ctx: &Ctx, sender: AccountId, to: AccountId) -> Result<Verdict, Failure> {
    if ctx.call(&WhoAccepts { asker: sender, accounts: vec![to] }).await?.contains(&to) {
        return Ok(Verdict::Accepted);
    }
    Err(Failure::new(ErrorCode::RequestLimit, "what a device says by itself is only for who has accepted its owner"))
}

async fn count_request(ctx: &Ctx, sender: AccountId, to: AccountId) -> Result<(), Failure> {
    let mut redis = ctx.redis.clone();
    let mut script = COUNT_REQUEST.key(requests_key(sender, to));
    let count: u64 = script.arg(REQUEST_MEMORY.as_secs()).invoke_async(&mut redis).await?;
    if count > u64::from(ctx.config.limits.request_messages) { Err(too_many_requests(ctx)) } else { Ok(()) }
}

fn requests_key(sender: AccountId, to: AccountId) -> String {
    format!("limit:requests_to:{sender}:{to}")
}

fn too_many_requests(ctx: &Ctx) -> Failure {
    let detail = format!("{} messages wait for an answer already", ctx.config.limits.request_messages);
    Failure::new(ErrorCode::RequestLimit, detail)
}

struct Known {
    verdict: Option<Verdict>,
    recipient_devices: Option<DeviceList>,
    sender_devices: Option<DeviceList>,
}

async fn ask_redis(ctx: &Ctx, sender: AccountId, to: AccountId) -> Result<Known, Failure> {
    let limits = &ctx.config.limits;
    let per_account = Limit { kind: "sends", max: limits.sends_per_account_per_minute, window: MINUTE };
    let per_pair = Limit { kind: "sends_to", max: limits.sends_per_pair_per_minute, window: MINUTE };
    let (window, left) = per_account.window_at(&ctx.clock);
    let (limited, verdict, recipient, own): (u8, String, String, String) = CHECK
        .key(per_account.key(&sender.to_string(), window))
        .key(per_pair.key(&format!("{sender}:{to}"), window))
        .key(Verdict::cache_key(sender, to))
        .key(DeviceList::cache_key(to))
        .key(DeviceList::cache_key(sender))
        .key(requests_key(sender, to))
        .arg(per_account.max)
        .arg(per_pair.max)
        .arg(MINUTE.as_secs())
        .arg(limits.request_messages)
        .arg(REQUEST_MEMORY.as_secs())
        .invoke_async(&mut ctx.redis.clone())
        .await?;
    match limited {
        0 => {}
        3 => return Err(too_many_requests(ctx)),
        which => {
            let limit = if which == 1 { per_account } else { per_pair };
            metrics::counter!("nepto_rate_limited_total", "kind" => limit.kind).increment(1);
            return Err(Failure::rate_limited(left, format!("at most {} messages a minute", limit.max)));
        }
    }
    Ok(Known {
        verdict: Verdict::parse(&verdict),
        recipient_devices: DeviceList::decode(&recipient),
        sender_devices: DeviceList::decode(&own),
    })
}
