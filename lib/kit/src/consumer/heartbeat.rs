//! The life sign of a loop, for `/readyz` and the watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;

use crate::Ctx;
use crate::health::Round;

/// A consumer that has not asked for messages for this long has stalled.
const STALLED_AFTER_MS: i64 = 60_000;

/// Work that takes long says so often that its loop comes round.
const ROUND_EVERY: Duration = Duration::from_secs(30);

/// The life sign of a loop: that it gets something done, for `/readyz`, and that it comes round at all, for the watchdog.
#[derive(Clone)]
pub struct Heartbeat {
    /// When it last got something done, for `/readyz`. A loop that waits for a store that is gone comes round all the same.
    done_at_ms: Arc<AtomicI64>,
    /// When it last came round. By another clock: one that is set forward must not end the process.
    round: Round,
}

impl Heartbeat {
    /// Of the loop around a durable consumer.
    pub fn of_consumer(ctx: &Ctx, stream: impl Into<String>, consumer: &'static str) -> Self {
        Self::register(ctx, stream.into(), consumer, true)
    }

    /// Of a loop that reads a stream and keeps its own place.
    pub fn of_reader(ctx: &Ctx, stream: impl Into<String>, reader: &'static str) -> Self {
        Self::register(ctx, stream.into(), reader, false)
    }

    fn new(ctx: &Ctx, name: &str) -> Self {
        Self { done_at_ms: Arc::new(AtomicI64::new(ctx.clock.now_ms())), round: ctx.health.round(name) }
    }

    fn register(ctx: &Ctx, stream: String, name: &'static str, durable: bool) -> Self {
        let check = format!("consumer {stream}/{name}");
        let heartbeat = Self::new(ctx, &check);
        let (checked, beat_ctx) = (heartbeat.done_at_ms.clone(), ctx.clone());
        ctx.health.register(check, move || {
            let (done_at_ms, stream, ctx) = (checked.clone(), stream.clone(), beat_ctx.clone());
            async move {
                let silent_ms = ctx.clock.now_ms() - done_at_ms.load(Ordering::Relaxed);
                if silent_ms > STALLED_AFTER_MS {
                    return Err(format!("has not fetched for {} s", silent_ms / 1_000));
                }
                let found = ctx.jetstream.get_stream(&stream).await.map_err(|error| error.to_string())?;
                if durable {
                    let consumer: Result<PullConsumer, _> = found.get_consumer(name).await;
                    consumer.map_err(|error| error.to_string())?;
                }
                Ok(())
            }
        });
        heartbeat
    }

    /// Of any other loop, which must beat within `silence_max`.
    pub fn of_loop(ctx: &Ctx, name: impl Into<String>, silence_max: Duration) -> Self {
        let name = name.into();
        let heartbeat = Self::new(ctx, &name);
        let (checked, clock) = (heartbeat.done_at_ms.clone(), ctx.clock.clone());
        ctx.health.register(name, move || {
            let silent_ms = clock.now_ms() - checked.load(Ordering::Relaxed);
            let stalled = silent_ms > silence_max.as_millis() as i64;
            std::future::ready(if stalled { Err(format!("silent for {} s", silent_ms / 1_000)) } else { Ok(()) })
        });
        heartbeat
    }

    /// The loop comes round, and does what it is for.
    pub fn beat(&self, ctx: &Ctx) {
        self.done_at_ms.store(ctx.clock.now_ms(), Ordering::Relaxed);
        self.round.begin();
    }

    /// Work of one round that may take any time, like deleting what a pipeline made: the loop counts as coming round meanwhile.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(ROUND_EVERY) => self.round.begin(),
            }
        }
    }

    /// The loop comes round, whether it can do what it is for or not.
    pub fn comes_round(&self) {
        self.round.begin();
    }
}
