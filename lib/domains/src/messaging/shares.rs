//! Whether a message may be stored: what [`checks`](super::checks) say of limits, consent and devices, and then what it may
//! take of the store (docs/adr/0019).
//!
//! What must hold: strangers together have a share of a mailbox, in messages and in bytes, and what accepted people send is
//! stored whatever strangers did. Nobody's bytes are without a bound, whoever accepted them. A message that was not stored,
//! or not anew, costs nothing.

use std::time::Duration;

use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::DeviceCiphertext;
use nepto_proto::{AccountId, DeviceId, ErrorCode};

use super::checks::{self, ASK_AGAIN_AFTER, Cleared, Refusal};
use super::config::Mailbox;
use super::fullness::Fullness;
use super::mailbox;
use super::submit::ReadSend;

const DAY: Duration = Duration::from_secs(86_400);
/// What a message counts at least: it takes a place in a mailbox, however small it is.
const MESSAGE_BYTES_MIN: u64 = 4 * 1024;

/// A message that may be stored.
pub struct Admitted {
    /// What the checks said.
    pub cleared: Cleared,
    /// For a request: the devices of the recipient that have room for one.
    pub room: Option<Vec<DeviceId>>,
    /// To be given back if it is not stored.
    pub taken: Taken,
}

/// Checks a message of a device, and takes what it costs.
pub async fn admit(
    ctx: &Ctx,
    fullness: &Fullness,
    from: (AccountId, DeviceId),
    send: &ReadSend,
) -> Result<Admitted, Refusal> {
    let (known, mut taken) = checks::ask_redis(ctx, from.0, send.to, costs(ctx, from.0, send)).await?;
    let cleared = match checks::check(ctx, from, send.to, send.id, &send.send, known).await {
        Ok(cleared) => cleared,
        Err(refusal) => {
            give_back(ctx, taken);
            return Err(refusal);
        }
    };
    match admit_to_store(ctx, fullness, from.0, send, cleared, &mut taken).await {
        Ok(room) => Ok(Admitted { cleared, room, taken }),
        Err(failure) => {
            checks::not_stored(ctx, from.0, send.to, send.id, cleared).await;
            give_back(ctx, taken);
            Err(failure.into())
        }
    }
}

async fn admit_to_store(
    ctx: &Ctx,
    fullness: &Fullness,
    sender: AccountId,
    send: &ReadSend,
    cleared: Cleared,
    taken: &mut Taken,
) -> Result<Option<Vec<DeviceId>>, Failure> {
    let is_newcomer = cleared.request || is_new(ctx, sender);
    if is_newcomer && fullness.is_crowded(&ctx.config.section::<Mailbox>()) {
        metrics::counter!("nepto_store_crowded_total").increment(1);
        return Err(waits(ErrorCode::StoreCrowded, ASK_AGAIN_AFTER, "try again later"));
    }
    match cleared.request {
        false => Ok(None),
        true => room_for_request(ctx, send, taken).await.map(Some),
    }
}

/// The devices of the recipient that take one more request. Requests are few, so their mailboxes are asked.
async fn room_for_request(ctx: &Ctx, send: &ReadSend, taken: &mut Taken) -> Result<Vec<DeviceId>, Failure> {
    let config = ctx.config.section::<Mailbox>();
    let copies = &send.send.to_devices;
    if copies.iter().any(|copy| copy.ciphertext.len() > config.request_bytes_max as usize) {
        let detail = format!(
            "a message to somebody who has not accepted you has at most {} bytes; write less",
            config.request_bytes_max
        );
        return Err(Failure::new(ErrorCode::RequestLimit, detail));
    }
    let shard = ctx.config.nats.shards.of(send.to);
    let counts = mailbox::counts(&ctx.nats, shard, send.to).await;
    let counts = counts.map_err(|error| Failure::unavailable("JetStream", error))?;
    let devices = copies.iter().filter_map(|copy| DeviceId::try_from(copy.device).ok());
    let has_room = |device: &DeviceId| counts.get(device).copied().unwrap_or(0) < config.requests_below();
    let room: Vec<DeviceId> = devices.filter(has_room).collect();
    if room.is_empty() {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = "too much waits for the recipient's devices already; try again when they were online";
        return Err(waits(ErrorCode::RequestsFull, ASK_AGAIN_AFTER, detail));
    }
    let limit = Limit { kind: "request_bytes_to", max: config.request_bytes_per_recipient_per_day, window: DAY };
    let cost = [Cost { limit, subject: send.to.to_string(), amount: bytes(copies), refundable: true }];
    if let Err(Exhausted { limit, left }) = taken.add(&ctx.redis, &ctx.clock, &cost).await? {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = format!("all strangers together may send {} bytes a day to one account", limit.max);
        return Err(waits(ErrorCode::RequestsFull, left, &detail));
    }
    Ok(room)
}

fn waits(code: ErrorCode, retry_after: Duration, detail: &str) -> Failure {
    let mut failure = Failure::new(code, format!("{} ({detail})", code.title()));
    failure.retry_after = Some(retry_after);
    failure
}

fn is_new(ctx: &Ctx, account: AccountId) -> bool {
    is_younger(account, ctx.clock.now_ms(), Duration::from_secs(ctx.config.section::<Mailbox>().new_account_for_s))
}

/// Account ids are UUIDs of version 7: they say when they were made.
fn is_younger(account: AccountId, now_ms: i64, than: Duration) -> bool {
    let made_at_ms = account.uuid().get_timestamp().map(|made| {
        let (s, ns) = made.to_unix();
        s.saturating_mul(1_000).saturating_add(u64::from(ns) / 1_000_000).cast_signed()
    });
    made_at_ms.is_some_and(|made_at_ms| i128::from(now_ms) - i128::from(made_at_ms) < than.as_millis().cast_signed())
}

fn bytes(copies: &[DeviceCiphertext]) -> u64 {
    copies.iter().map(|copy| copy.ciphertext.len() as u64).sum()
}

/// What a message costs of allowances of bytes.
fn costs(ctx: &Ctx, sender: AccountId, send: &ReadSend) -> [Cost; 3] {
    let (config, to) = (ctx.config.section::<Mailbox>(), send.to);
    let to_recipient = bytes(&send.send.to_devices).max(MESSAGE_BYTES_MIN);
    let all = to_recipient + bytes(&send.send.own_devices);
    let max = match is_new(ctx, sender) {
        true => config.bytes_per_new_account_per_day,
        false => config.bytes_per_account_per_day,
    };
    let cost = |kind, max, subject, amount| {
        let limit = Limit { kind, max, window: DAY };
        Cost { limit, subject, amount, refundable: true }
    };
    [
        cost("bytes_of", max, sender.to_string(), all),
        cost("bytes_of_to", config.bytes_per_pair_per_day, format!("{sender}:{to}"), to_recipient),
        cost("bytes_to", config.bytes_per_recipient_per_day, to.to_string(), to_recipient),
    ]
}

/// Gives everything back, some time soon: the message was not stored, or had been before.
pub fn give_back(ctx: &Ctx, taken: Taken) {
    let ctx = ctx.clone();
    ctx.tasks.clone().spawn(async move {
        if let Err(error) = taken.give_back(&ctx.redis).await {
            tracing::debug!(%error, "an allowance was not given back");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_kit::clock::{Clock, Random};
    use time::OffsetDateTime;

    #[test]
    fn the_id_of_an_account_tells_how_old_it_is() {
        let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap());
        let account = AccountId::new(Random::seeded(1).uuid(&clock));
        let is_new = |later: Duration| is_younger(account, clock.now_ms() + later.as_millis() as i64, DAY);
        assert!(is_new(Duration::ZERO) && is_new(DAY - Duration::from_millis(1)));
        assert!(!is_new(DAY));
    }
}
