//! One process at a time: a key in Redis that its holder keeps alive. A lease saves work; it is no lock, and what must not
//! happen twice is guarded by the database.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use crate::Ctx;

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
}
