//! Who may open a connection. A device may say hello so often; a session whose connection was closed for abuse is kept out
//! for a while.
//!
//! It is the session that is kept out, not the device or the account: whoever steals a token keeps out the session that it
//! belongs to, and signing in again is a new session, which ends the old one of the same device.

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::limit::Limit;
use nepto_kit::token::Claims;
use nepto_kit::{Ctx, Failure};
use nepto_proto::SessionId;
use redis::{AsyncCommands, Script};

use super::config::{Gateway, Limits};

const MINUTE: Duration = Duration::from_secs(60);

/// KEYS: whether the session is kept out, hellos of the device. ARGV: maximum, window.
/// Answers milliseconds to wait: 0 for none, -1 until the window ends.
static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local left = redis.call('PTTL', KEYS[1])
          if left > 0 then return left end
          local count = redis.call('INCR', KEYS[2])
          if count == 1 then redis.call('EXPIRE', KEYS[2], ARGV[2]) end
          if count > tonumber(ARGV[1]) then return -1 end
          return 0",
    )
});

/// Whether a device may connect now. Fails with `rate_limited`.
pub async fn admit(ctx: &Ctx, claims: &Claims) -> Result<(), Failure> {
    let max = ctx.config.section::<Limits>().hellos_per_device_per_minute;
    let hellos = Limit { kind: "hellos", max, window: MINUTE };
    let (window, left) = hellos.window_at(&ctx.clock);
    let wait_ms: i64 = ADMIT
        .key(barred_key(claims.session))
        .key(hellos.key(&format!("{}:{}", claims.account, claims.device), window))
        .arg(hellos.max)
        .arg(MINUTE.as_secs())
        .invoke_async(&mut ctx.redis.clone())
        .await?;
    let (kind, wait, detail) = match u64::try_from(wait_ms) {
        Ok(0) => return Ok(()),
        Ok(wait_ms) => {
            let detail = "the last connection was closed for sending too much; wait, or sign in again";
            ("barred", Duration::from_millis(wait_ms), detail.to_owned())
        }
        Err(_) => (hellos.kind, left, format!("a device connects at most {} times a minute", hellos.max)),
    };
    metrics::counter!("nepto_rate_limited_total", "kind" => kind).increment(1);
    Err(Failure::rate_limited(wait, detail))
}

/// Keeps a session out for as long as the configuration says.
pub async fn bar(ctx: &Ctx, session: SessionId) {
    let barred_s = ctx.config.section::<Gateway>().barred_s;
    let barred: redis::RedisResult<()> = ctx.redis.clone().set_ex(barred_key(session), 1, barred_s).await;
    if let Err(error) = barred {
        tracing::warn!(%error, "a session that was closed for abuse is not kept out");
    }
}

fn barred_key(session: SessionId) -> String {
    format!("barred:{session}")
}
