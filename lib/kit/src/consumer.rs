//! Durable consumers: fetch, run, acknowledge; what fails is retried with growing delays and then put aside in `DLQ`,
//! where an operator can read and replay it. A consumer that was deleted or does not fetch turns `/readyz` red.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use nepto_proto::ErrorCode;
use nepto_proto::event::Event;
use nepto_proto::subject::{self, EVENTS_STREAM};

use crate::clock::backoff;
use crate::{Ctx, Failure, dead_letters};

/// Deliveries of one message that failed of its own accord until it is put aside. While something that it needs is out of
/// reach, it waits for as long as it takes.
const DELIVERIES_MAX: i64 = 8;
/// Between two tries at the most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Messages that one process works on at once.
const CONCURRENCY_MAX: usize = 64;
/// A consumer that has not asked for messages for this long has stalled.
const STALLED_AFTER_MS: i64 = 60_000;
/// One request for messages waits so long.
const FETCH_EXPIRES: Duration = Duration::from_secs(15);

type Run = Arc<dyn Fn(bytes::Bytes) -> BoxFuture<'static, Result<(), ConsumeError>> + Send + Sync>;

/// Why a message was not worked off.
#[derive(Debug)]
enum ConsumeError {
    /// It will never work.
    Poison(String),
    /// It may work later.
    Retry(String),
    /// Something that it needs is out of reach: no fault of its own.
    Wait(String),
}

type Serve = Box<dyn FnOnce(Ctx) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// A queue worker, one for each durable consumer of `nats/streams.toml`.
pub struct Consumer {
    /// The durable name.
    pub name: &'static str,
    serve: Serve,
}

impl Consumer {
    /// A worker with a loop of its own.
    pub fn new<F>(name: &'static str, serve: impl FnOnce(Ctx) -> F + Send + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, serve: Box::new(move |ctx| Box::pin(serve(ctx))) }
    }

    /// Works until the process stops.
    pub async fn serve(self, ctx: Ctx) -> anyhow::Result<()> {
        (self.serve)(ctx).await
    }

    /// A consumer of one kind of event. Each event may come more than once.
    pub fn of_event<E: Event, F>(name: &'static str, run: impl Fn(E) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let run = Arc::new(run);
        let run: Run = Arc::new(move |body| {
            let run = run.clone();
            Box::pin(async move {
                let event = serde_json::from_slice(&body).map_err(|error| ConsumeError::Poison(error.to_string()))?;
                run(event).await.map_err(|failure| {
                    failure.log();
                    match failure.code {
                        ErrorCode::Unavailable | ErrorCode::Timeout => ConsumeError::Wait(failure.to_string()),
                        _ => ConsumeError::Retry(failure.to_string()),
                    }
                })
            })
        });
        Self::new(name, move |ctx| EventLoop { name, run }.serve(ctx))
    }
}

/// Works off events one by one.
struct EventLoop {
    name: &'static str,
    run: Run,
}

impl EventLoop {
    async fn serve(self, ctx: Ctx) -> anyhow::Result<()> {
        let beat = Heartbeat::of_consumer(&ctx, EVENTS_STREAM, self.name);
        loop {
            let fetched = tokio::select! {
                () = ctx.stop.cancelled() => return Ok(()),
                fetched = self.fetch_and_run(&ctx, &beat) => fetched,
            };
            if let Err(error) = fetched {
                tracing::warn!(
                    consumer = self.name,
                    error = format!("{error:#}"),
                    "the consumer can't fetch; trying again"
                );
                tokio::time::sleep(backoff(&ctx.random, 4, Duration::from_millis(50), Duration::from_secs(1))).await;
            }
        }
    }

    async fn fetch_and_run(&self, ctx: &Ctx, beat: &Heartbeat) -> anyhow::Result<()> {
        let consumer: PullConsumer = ctx.jetstream.get_consumer_from_stream(self.name, EVENTS_STREAM).await?;
        loop {
            beat.beat(ctx);
            let batch = consumer.fetch().max_messages(CONCURRENCY_MAX).expires(FETCH_EXPIRES).messages().await?;
            batch
                .for_each_concurrent(CONCURRENCY_MAX, |message| async {
                    match message {
                        Ok(message) => self.work_off(ctx, message).await,
                        Err(error) => tracing::warn!(consumer = self.name, %error, "a fetch broke off"),
                    }
                })
                .await;
            // a deleted consumer answers nothing, so look whether it is still there
            ctx.jetstream
                .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>(
                    self.name,
                    EVENTS_STREAM,
                )
                .await?;
        }
    }

    async fn work_off(&self, ctx: &Ctx, message: Message) {
        let deliveries = message.info().map(|info| info.delivered).unwrap_or(1);
        let failed = match (self.run)(message.payload.clone()).await {
            Ok(()) => None,
            Err(ConsumeError::Retry(reason)) if deliveries >= DELIVERIES_MAX => Some(ConsumeError::Poison(reason)),
            Err(error) => Some(error),
        };
        let outcome = match failed {
            None => message.double_ack().await.map(|()| "done"),
            Some(ConsumeError::Retry(reason) | ConsumeError::Wait(reason)) => {
                let attempt = deliveries.unsigned_abs() as u32;
                let wait = backoff(&ctx.random, attempt, Duration::from_millis(100), RETRY_AFTER_MAX);
                tracing::warn!(consumer = self.name, reason, deliveries, "will be tried again");
                message.ack_with(AckKind::Nak(Some(wait))).await.map(|()| "retried")
            }
            Some(ConsumeError::Poison(reason)) => {
                tracing::error!(consumer = self.name, reason, deliveries, "put aside");
                match dead_letter(ctx, self.name, &message, &reason).await {
                    Ok(()) => message.ack_with(AckKind::Term).await.map(|()| "dead"),
                    // it stays, and comes again
                    Err(error) => Err(error.into()),
                }
            }
        };
        match outcome {
            Ok(outcome) => {
                metrics::counter!("nepto_consumed_total", "consumer" => self.name, "outcome" => outcome).increment(1);
            }
            Err(error) => tracing::warn!(consumer = self.name, %error, "not acknowledged; it will come again"),
        }
    }
}

async fn dead_letter(ctx: &Ctx, consumer: &str, message: &Message, reason: &str) -> anyhow::Result<()> {
    let headers = dead_letters::headers(&message.subject, reason);
    let subject = subject::dead_letter(EVENTS_STREAM, consumer);
    ctx.jetstream.publish_with_headers(subject, headers, message.payload.clone()).await?.await?;
    Ok(())
}

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
