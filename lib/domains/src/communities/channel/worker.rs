//! `channel-history`: brings what happened in channels from the stream into the tables.
//!
//! What must hold: each event counts exactly once, in the order of the stream. The place up to which events are in the tables is committed
//! with what they change, so whoever goes on, in whatever process, begins right behind it; a second worker that believes to be the only
//! one commits nothing, because its place is not the one in the table any more. A lease keeps it from trying.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use nepto_kit::consumer::Heartbeat;
use nepto_kit::lease::Lease;
use nepto_kit::{Ctx, nats};
use nepto_proto::subject::{CHANNELS_STREAM, parse_channel};

use super::projection::{Needs, Projection};
use super::rows::Cursor;
use super::store::Store;
use super::stream::{Event, Stored, unreadable};

/// The queue, as `worker --queues` knows it.
pub const NAME: &str = "channel-history";
/// Events of one commit.
const GROUP_MAX: usize = 500;
/// A worker that is gone is replaced after this.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// How often the lease is kept.
const TICK: Duration = Duration::from_secs(1);

/// Works until the process stops.
pub async fn serve(ctx: Ctx, store: Store) -> anyhow::Result<()> {
    let beat = Heartbeat::of_reader(&ctx, CHANNELS_STREAM, NAME);
    let lease = Lease::new(&ctx, NAME, LEASE_TTL);
    let worker = Worker { ctx: &ctx, store: &store, lease: &lease, beat: &beat };
    lease.until_stop(worker.rounds()).await.unwrap_or(Ok(()))
}

struct Worker<'a> {
    ctx: &'a Ctx,
    store: &'a Store,
    lease: &'a Lease,
    beat: &'a Heartbeat,
}

impl Worker<'_> {
    async fn rounds(&self) -> anyhow::Result<()> {
        loop {
            self.beat.comes_round();
            if self.lease.hold().await {
                if let Err(error) = self.run().await {
                    // what was not committed comes again
                    tracing::warn!(error = format!("{error:#}"), "the history of channels starts over");
                }
            } else {
                self.beat.beat(self.ctx);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn run(&self) -> anyhow::Result<()> {
        let stream = self.ctx.jetstream.get_stream(CHANNELS_STREAM).await?;
        let epoch_ms = nats::stream_epoch_ms(stream.cached_info());
        let mut cursor = self.store.cursor().await?;
        let mut reached = cursor.after(epoch_ms);
        let reader = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: reached + 1 },
            ..OrderedConfig::default()
        };
        let messages = stream.create_consumer(reader).await?.messages().await?;
        let mut groups = Box::pin(messages.ready_chunks(GROUP_MAX));
        let mut due = tokio::time::interval(TICK);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                group = groups.next() => {
                    let group = group.ok_or_else(|| anyhow::anyhow!("the consumer ended"))?;
                    let (mut events, mut pending) = (Vec::with_capacity(group.len()), 0);
                    for message in group {
                        let message = message?;
                        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
                        anyhow::ensure!(info.stream_sequence > reached, "the stream was made anew");
                        (reached, pending) = (info.stream_sequence, info.pending);
                        let stored_at_ms = info.published.unix_timestamp_nanos() / 1_000_000;
                        events.extend(read(&message, reached, stored_at_ms as u64));
                    }
                    metrics::gauge!("nepto_channel_history_pending").set(pending as f64);
                    let after = Cursor { epoch_ms, seq: reached };
                    self.commit(cursor, after, events).await?;
                    cursor = after;
                    self.beat.beat(self.ctx);
                }
                _ = due.tick() => {
                    self.beat.beat(self.ctx);
                    anyhow::ensure!(self.lease.hold().await, "another worker took over");
                }
            }
        }
    }

    async fn commit(&self, cursor: Cursor, after: Cursor, mut events: Vec<Event>) -> anyhow::Result<()> {
        events.retain(|event| !cursor.has(after.epoch_ms, event.place, event.seq));
        let view = self.store.view(None, &Needs::of(&events)).await?;
        anyhow::ensure!(view.cursor == cursor, "another worker commits");
        let mut projection = Projection::over(view.base);
        events.iter().for_each(|event| projection.apply(event));
        self.store.commit(cursor, after, &projection).await?;
        metrics::counter!("nepto_channel_history_events_total").increment(events.len() as u64);
        Ok(())
    }
}

/// An event of the consumer; what is none is passed over.
fn read(message: &async_nats::jetstream::Message, seq: u64, stored_at_ms: u64) -> Option<Event> {
    let (community, channel) = parse_channel(&message.subject)?;
    let stored = Stored { seq, stored_at_ms, event: message.payload.clone() };
    stored.read(community, channel).inspect_err(|error| unreadable(seq, error)).ok()
}
