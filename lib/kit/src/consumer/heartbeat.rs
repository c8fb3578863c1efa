//! The life sign of a loop, for `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;

use crate::Ctx;

/// A consumer that has not asked for messages for this long has stalled.
const STALLED_AFTER_MS: i64 = 60_000;

/// The life sign of a consumer's loop, and a look at the consumer itself, for `/readyz`.
#[derive(Clone)]
pub struct Heartbeat(Arc<AtomicI64>);

impl Heartbeat {
    /// Of the loop around a durable consumer.
    pub fn of_consumer(ctx: &Ctx, stream: impl Into<String>, consumer: &'static str) -> Self {
        Self::register(ctx, stream.into(), consumer, true)
    }

    /// Of a loop that reads a stream and keeps its own place.
    pub fn of_reader(ctx: &Ctx, stream: impl Into<String>, reader: &'static str) -> Self {
        Self::register(ctx, stream.into(), reader, false)
    }

    fn register(ctx: &Ctx, stream: String, name: &'static str, durable: bool) -> Self {
        let beat = Self(Arc::new(AtomicI64::new(ctx.clock.now_ms())));
        let (checked, beat_ctx) = (beat.clone(), ctx.clone());
        ctx.health.register(format!("consumer {stream}/{name}"), move || {
            let (beat, stream, ctx) = (checked.clone(), stream.clone(), beat_ctx.clone());
            async move {
                let silent_ms = ctx.clock.now_ms() - beat.0.load(Ordering::Relaxed);
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
        beat
    }

    /// Of any other loop, which must beat within `silence_max`.
    pub fn of_loop(ctx: &Ctx, name: impl Into<String>, silence_max: Duration) -> Self {
        let beat = Self(Arc::new(AtomicI64::new(ctx.clock.now_ms())));
        let (checked, clock) = (beat.clone(), ctx.clock.clone());
        ctx.health.register(name, move || {
            let silent_ms = clock.now_ms() - checked.0.load(Ordering::Relaxed);
            let stalled = silent_ms > silence_max.as_millis() as i64;
            std::future::ready(if stalled { Err(format!("silent for {} s", silent_ms / 1_000)) } else { Ok(()) })
        });
        beat
    }

    /// The loop is alive.
    pub fn beat(&self, ctx: &Ctx) {
        self.0.store(ctx.clock.now_ms(), Ordering::Relaxed);
    }
}
