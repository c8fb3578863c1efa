//! How much lies in the streams, and how far their consumers are. NATS has no page for Prometheus, so a process with jobs asks it.

use std::time::Duration;

use async_nats::jetstream::consumer::Info as Consumer;
use async_nats::jetstream::stream::Info as Stream;
use futures_util::TryStreamExt;
use tokio::time::MissedTickBehavior;

use crate::{Ctx, nats};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Looks until the process stops. A look that fails is no fault of this process: `/readyz` says what is.
pub async fn watch(ctx: Ctx) -> anyhow::Result<()> {
    let streams = nats::declared_streams(&ctx.config.nats)?;
    let round = ctx.health.round("stream levels");
    let mut due = tokio::time::interval(LOOK_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        round.begin();
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            _ = due.tick() => {}
        }
        for stream in &streams {
            if let Some(Err(error)) = ctx.stop.run_until_cancelled(look(&ctx, stream)).await {
                tracing::debug!(stream, error = format!("{error:#}"), "not looked at");
                // a stream without a leader does not answer, and no copy of it takes anything
                note_current(stream, 0);
            }
        }
    }
}

async fn look(ctx: &Ctx, name: &str) -> anyhow::Result<()> {
    let stream = ctx.jetstream.get_stream(name).await?;
    note_stream(stream.cached_info());
    let mut consumers = stream.consumers();
    while let Some(consumer) = consumers.try_next().await? {
        // those of one connection have names that are drawn
        if consumer.config.durable_name.is_some() {
            note_consumer(&consumer);
        }
    }
    Ok(())
}

fn note_stream(info: &Stream) {
    let name = || info.config.name.clone();
    metrics::gauge!("nepto_stream_messages", "stream" => name()).set(info.state.messages as f64);
    metrics::gauge!("nepto_stream_bytes", "stream" => name()).set(info.state.bytes as f64);
    if info.config.max_bytes > 0 {
        metrics::gauge!("nepto_stream_bytes_max", "stream" => name()).set(info.config.max_bytes as f64);
    }
    let current = info.cluster.as_ref().map_or(1, |cluster| {
        let leader = usize::from(cluster.leader.is_some());
        leader + cluster.replicas.iter().filter(|replica| replica.current && !replica.offline).count()
    });
    metrics::gauge!("nepto_stream_replicas", "stream" => name()).set(info.config.num_replicas as f64);
    note_current(&info.config.name, current);
}

fn note_current(stream: &str, copies: usize) {
    metrics::gauge!("nepto_stream_replicas_current", "stream" => stream.to_owned()).set(copies as f64);
}

fn note_consumer(info: &Consumer) {
    let (stream, consumer) = (info.stream_name.clone(), info.name.clone());
    metrics::gauge!("nepto_consumer_pending_messages", "stream" => stream.clone(), "consumer" => consumer.clone())
        .set(info.num_pending as f64);
    metrics::gauge!("nepto_consumer_unacknowledged_messages", "stream" => stream, "consumer" => consumer)
        .set(info.num_ack_pending as f64);
}
