//! What somebody may send to a person who has not accepted them: a few messages, small ones, and only into mailboxes that have
//! room for requests (docs/adr/0019).

use std::time::Duration;

use nepto_kit::limit::{Cost, Exhausted, Limit, Membership, Taken, take_place};
use nepto_kit::{Ctx, Failure};
use nepto_proto::wire::DeviceCiphertext;
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use redis::AsyncCommands;

use super::mailbox;
use super::send::{ASK_AGAIN_AFTER, DAY, bytes};

/// How long the messages of an unanswered request are counted.
const REQUEST_MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// Counts a message of a request by its id: one that is sent again is still one. Whether this one is new.
pub async fn count(ctx: &Ctx, sender: AccountId, to: AccountId, id: ClientMsgId) -> Result<bool, Failure> {
    let max = ctx.config.limits.request_messages;
    match take_place(&ctx.redis, (&key(sender, to), &id.to_vec()), max, REQUEST_MEMORY).await? {
        Membership::Refused => {
            Err(Failure::new(ErrorCode::RequestLimit, format!("{max} messages wait for an answer already")))
        }
        membership => Ok(membership == Membership::New),
    }
}

/// It was not stored.
pub async fn uncount(ctx: &Ctx, sender: AccountId, to: AccountId, id: ClientMsgId) {
    let gone: redis::RedisResult<()> = ctx.redis.clone().srem(key(sender, to), id.to_vec()).await;
    if let Err(error) = gone {
        tracing::debug!(%error, "a request was not given back");
    }
}

/// Where they are counted.
pub fn key(sender: AccountId, to: AccountId) -> String {
    format!("limit:request_ids:{sender}:{to}")
}

/// The devices of the recipient that take one more request. Requests are few, so their mailboxes are asked.
pub async fn room(
    ctx: &Ctx,
    to: AccountId,
    copies: &[DeviceCiphertext],
    taken: &mut Taken,
) -> Result<Vec<DeviceId>, Failure> {
    let config = &ctx.config.mailbox;
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
    let has_room = |device: &DeviceId| counts.get(device).copied().unwrap_or(0) < config.requests_below();
    let room: Vec<DeviceId> = devices.filter(has_room).collect();
    if room.is_empty() {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = "too much waits for the recipient's devices already; try again when they were online";
        return Err(waits(ErrorCode::RequestsFull, ASK_AGAIN_AFTER, detail));
    }
    let limit = Limit { kind: "request_bytes_to", max: config.request_bytes_per_recipient_per_day, window: DAY };
    let cost = [Cost { limit, subject: to.to_string(), amount: bytes(copies), refundable: true }];
    if let Err(Exhausted { limit, left }) = taken.add(&ctx.redis, &ctx.clock, &cost).await? {
        metrics::counter!("nepto_requests_refused_total").increment(1);
        let detail = format!("all strangers together may send {} bytes a day to one account", limit.max);
        return Err(waits(ErrorCode::RequestsFull, left, &detail));
    }
    Ok(room)
}

/// A refusal that time mends.
pub fn waits(code: ErrorCode, retry_after: Duration, detail: &str) -> Failure {
    let mut failure = Failure::new(code, format!("{} ({detail})", code.title()));
    failure.retry_after = Some(retry_after);
    failure
}
