//! Slow mode: who posted in a channel waits before the next message. A message that was not stored holds nobody back, and what is sent
//! again is the same message.

use std::time::Duration;

use nepto_kit::redis::delete_if_equal;
use nepto_kit::{Ctx, Failure};
use nepto_proto::permissions::Permission;
use nepto_proto::svc::communities::AccessIn;
use nepto_proto::{AccountId, ErrorCode};

use super::post::NewMessage;

/// A place that a message took: its key, and the message.
pub type Held = Option<(String, String)>;

/// Takes the author's place in a channel that is in slow mode, or fails with `slow_mode`.
pub async fn hold(ctx: &Ctx, access: &AccessIn, from: AccountId, message: &NewMessage) -> Result<Held, Failure> {
    if access.slow_mode_s == 0 || access.permissions.contains(Permission::BypassSlowMode) {
        return Ok(None);
    }
    let (key, id) = (format!("slow:{}:{from}", message.channel), message.id.to_string());
    let wait_ms = u64::from(access.slow_mode_s) * 1_000;
    let (holder, left_ms): (Option<String>, i64) = redis::pipe()
        .cmd("SET")
        .arg(&key)
        .arg(&id)
        .arg("NX")
        .arg("PX")
        .arg(wait_ms)
        .ignore()
        .cmd("GET")
        .arg(&key)
        .cmd("PTTL")
        .arg(&key)
        .query_async(&mut ctx.redis.clone())
        .await?;
    match holder {
        Some(holder) if holder != id => {
            let left_ms = left_ms.clamp(1, wait_ms.cast_signed()).cast_unsigned();
            let mut failure = Failure::new(ErrorCode::SlowMode, format!("one message in {} s", access.slow_mode_s));
            failure.retry_after = Some(Duration::from_millis(left_ms));
            Err(failure)
        }
        _ => Ok(Some((key, id))),
    }
}

/// Gives the place back of a message that was not stored.
pub async fn release(ctx: &Ctx, held: Held) {
    let Some((key, id)) = held else { return };
    if let Err(error) = delete_if_equal(&ctx.redis, &key, &id).await {
        tracing::debug!(%error, "a place in slow mode ends by itself");
    }
}
