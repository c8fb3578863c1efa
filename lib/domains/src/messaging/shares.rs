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

/// Checks a message of a device, and takes what it costs. Whether the recipient has most likely accepted the sender only decides
/// what is taken at once: what all who are accepted may send to one account is not for strangers to use up.
pub async fn admit(
    ctx: &Ctx,
    fullness: &Fullness,
    from: (AccountId, DeviceId),
    send: &ReadSend,
    is_contact: bool,
) -> Result<Admitted, Refusal> {
    let of_sender = costs_of_sender(ctx, from.0, send);
    let of_recipient = is_contact.then(|| cost_of_recipient(ctx, send));
    let (known, mut taken) = checks::ask_redis(ctx, from.0, send.to, of_sender.into_iter().chain(of_recipient)).await?;
    let cleared = match checks::check(ctx, from, send.to, send.id, &send.send, known).await {
        Ok(cleared) => cleared,
        Err(refusal) => {
            give_back(ctx, taken);
            return Err(refusal);
        }
    };
    if is_contact && cleared.request {
        give_back(ctx, taken.split_last());
    }
    let taken_too = is_contact && !cleared.request;
    match admit_to_store(ctx, fullness, from.0, send, cleared, &mut taken, taken_too).await {
        Ok(room) => Ok(Admitted { cleared, room, taken }),
        Err(failure) => {
            checks::not_stored(ctx, from, send.to, send.id, cleared).await;
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
    is_paid: bool,
) -> Result<Option<Vec<DeviceId>>, Failure> {
    let is_newcomer = cleared.request || is_new(ctx, sender);
    if is_newcomer && fullness.is_crowded(&ctx.config.section::<Mailbox>()) {
        metrics::counter!("nepto_store_crowded_total").increment(1);
        return Err(waits(ErrorCode::StoreCrowded, ASK_AGAIN_AFTER, "try again later"));
    }
    if cleared.request {
        return room_for_request(ctx, send, taken, is_new(ctx, sender)).await.map(Some);
    }
    if !is_paid && let Err(exhausted) = taken.add(&ctx.redis, &ctx.clock, &[cost_of_recipient(ctx, send)]).await? {
        return Err(checks::exhausted(exhausted));
    }
    Ok(None)
}

/// The devices of the recipient that take one more request. Requests are few, so their mailboxes are asked. Of all that is there
/// for strangers, new accounts have a half: they cost nothing, and must not shut out those that do.
async fn room_for_request(
    ctx: &Ctx,
    send: &ReadSend,
    taken: &mut Taken,
    is_new: bool,
) -> Result<Vec<DeviceId>, Failure> {
    let config = ctx.config.section::<Mailbox>();
    let part = if is_new { 2 } else { 1 };
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
    let below = (config.requests_below() / part).max(1);
    let has_room = |device: &DeviceId| counts.get(device).copied().unwrap_or(0) < below;
    let room: Vec<DeviceId> = devices.filter(has_room).collect();
    if room.is_empty() {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = "too much waits for the recipient's devices already; try again when they were online";
        return Err(waits(ErrorCode::RequestsFull, ASK_AGAIN_AFTER, detail));
    }
    let amount = bytes(copies).max(MESSAGE_BYTES_MIN);
    let cost = |kind, max| {
        let limit = Limit { kind, max, window: DAY };
        Cost { limit, subject: send.to.to_string(), amount, refundable: true }
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

/// Bytes that a message takes of its recipient's mailboxes.
fn bytes_to_recipient(send: &ReadSend) -> u64 {
    bytes(&send.send.to_devices).max(MESSAGE_BYTES_MIN)
}

/// What a message costs its sender. Receipts, which are for the recipient's devices only, have half as much for themselves:
/// clients send them by themselves, and whoever makes a client send many must not keep its owner from writing.
fn costs_of_sender(ctx: &Ctx, sender: AccountId, send: &ReadSend) -> [Cost; 2] {
    let config = ctx.config.section::<Mailbox>();
    let max = match is_new(ctx, sender) {
        true => config.bytes_per_new_account_per_day,
        false => config.bytes_per_account_per_day,
    };
    let ([of, of_pair], part) = match send.send.recipient_only {
        false => (["bytes_of", "bytes_of_to"], 1),
        true => (["receipt_bytes_of", "receipt_bytes_of_to"], 2),
    };
    let to_recipient = bytes_to_recipient(send);
    let all = to_recipient + bytes(&send.send.own_devices);
    let cost = |kind, max, subject, amount| {
        let limit = Limit { kind, max, window: DAY };
        Cost { limit, subject, amount, refundable: true }
    };
    [
        cost(of, max / part, sender.to_string(), all),
        cost(of_pair, config.bytes_per_pair_per_day / part, format!("{sender}:{}", send.to), to_recipient),
    ]
}

/// What it costs of that which all whom the recipient has accepted may send to them.
fn cost_of_recipient(ctx: &Ctx, send: &ReadSend) -> Cost {
    let limit =
        Limit { kind: "bytes_to", max: ctx.config.section::<Mailbox>().bytes_per_recipient_per_day, window: DAY };
    Cost { limit, subject: send.to.to_string(), amount: bytes_to_recipient(send), refundable: true }
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
