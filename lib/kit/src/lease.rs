//! One process at a time: a key in Redis that its holder keeps alive. A lease saves work; it is no lock, and what must not
//! happen twice is guarded by the database.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use crate::Ctx;
use crate::redis::delete_if_equal;

static HOLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local holder = redis.call('GET', KEYS[1])
          if holder and holder ~= ARGV[1] then return 0 end
          redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
          return 1",
    )
});

/// A lease that this process wants.
pub struct Lease {
    ctx: Ctx,
    key: String,
    holder: String,
    ttl: Duration,
}

impl Lease {
    /// A lease of this name, which is free again so long after its holder was last heard.
    pub fn new(ctx: &Ctx, name: &str, ttl: Duration) -> Self {
        Self { ctx: ctx.clone(), key: format!("lease:{name}"), holder: ctx.random.alphanumeric(20), ttl }
    }

    /// Takes it or keeps it; whether it is ours. While Redis is away nobody can say, and everybody may go on.
    pub async fn hold(&self) -> bool {
        let held: Result<u8, _> = HOLD
            .key(&self.key)
            .arg(&self.holder)
            .arg(self.ttl.as_millis() as u64)
            .invoke_async(&mut self.ctx.redis.clone())
            .await;
        match held {
            Ok(held) => held == 1,
            Err(error) => {
                tracing::warn!(lease = self.key, %error, "nobody knows who holds it; going on");
                true
            }
        }
    }

    /// Works until the process stops, and frees the lease, so that the next process need not wait until it is over.
    pub async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let ended = tokio::select! {
            () = self.ctx.stop.cancelled() => None,
            ended = work => Some(ended),
        };
        self.free().await;
        ended
    }

    /// Frees it, if it is ours.
    pub async fn free(&self) {
        release(&self.ctx, &self.key, &self.holder).await;
    }
}

/// Whether somebody holds it, or was heard so recently that it is not free yet.
pub async fn is_held(ctx: &Ctx, name: &str) -> redis::RedisResult<bool> {
    redis::cmd("EXISTS").arg(format!("lease:{name}")).query_async(&mut ctx.redis.clone()).await
}

/// Frees a lease if it is this holder's.
pub async fn release(ctx: &Ctx, key: &str, holder: &str) {
    if let Err(error) = delete_if_equal(&ctx.redis, key, holder).await {
        tracing::debug!(lease = key, %error, "not freed; it ends by itself");
    }
}
