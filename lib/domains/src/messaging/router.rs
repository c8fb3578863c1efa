//! `message-router`: looks after messages off the path of their delivery.
//!
//! A stored message travels to its device at most once by itself. Some seconds later the router looks whether it is still
//! in the mailbox. If the device is connected, its session is told to read, and looked at once more; if the device is away,
//! or stays silent, the event `messaging.waiting` says so, for whoever pushes notifications. What was acknowledged and
//! purged before needs nothing.
//!
//! A message is acknowledged to JetStream only when it was settled, so a router that dies leaves nothing out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::Acker;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::Ctx;
use nepto_kit::consumer::Heartbeat;
use nepto_proto::event::{Control, Event, MessageWaiting};
use nepto_proto::subject::{Live, Shard, parse_mailbox};
use nepto_proto::{AccountId, DeviceId};

use super::{mailbox, presence};

/// The durable consumer, one on each shard.
pub const NAME: &str = "message-router";
/// Messages that the server sends ahead.
const BATCH: usize = 1_000;
/// How often due messages are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Mailboxes looked at in parallel.
const LOOKS_MAX: usize = 64;

type Device = (AccountId, DeviceId);

/// Routes all shards until the process stops.
pub async fn serve(ctx: Ctx) -> anyhow::Result<()> {
    let shards = ctx.config.nats.shards.all();
    try_join_all(shards.map(|shard| route(ctx.clone(), shard))).await.map(drop)
}

async fn route(ctx: Ctx, shard: Shard) -> anyhow::Result<()> {
    let beat = Heartbeat::register(&ctx, shard.stream(), NAME);
    loop {
        let mut router = Router { ctx: ctx.clone(), shard, beat: beat.clone(), unsettled: BTreeMap::new() };
        let ended = tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            ended = router.run() => ended,
        };
        if let Err(error) = ended {
            // what was not settled comes again
            tracing::warn!(stream = shard.stream(), error = format!("{error:#}"), "the router starts over");
        }
        tokio::time::sleep(TICK).await;
    }
}

/// A message that was not looked at, or not for the last time.
struct Unsettled {
    device: Device,
    due_ms: i64,
    nudged: bool,
    acker: Acker,
}

struct Router {
    ctx: Ctx,
    shard: Shard,
    beat: Heartbeat,
    /// By sequence in the stream.
    unsettled: BTreeMap<u64, Unsettled>,
}

/// What a look into a mailbox says about the messages of one device.
enum Look {
    /// Everything was acknowledged.
    Settled,
    /// This one, and what comes after it, still waits.
    WaitsFrom(u64),
}

impl Router {
    async fn run(&mut self) -> anyhow::Result<()> {
        let consumer: PullConsumer = self.ctx.jetstream.get_consumer_from_stream(NAME, self.shard.stream()).await?;
        let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
        let mut due = tokio::time::interval(TICK);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = message.ok_or_else(|| anyhow::anyhow!("the consumer ended"))??;
                    self.take(message);
                }
                _ = due.tick() => {
                    self.beat.beat(&self.ctx);
                    self.settle_due().await?;
                }
            }
        }
    }

    fn take(&mut self, message: async_nats::jetstream::Message) {
        let (Ok(info), Some(device)) = (message.info(), parse_mailbox(&message.subject)) else { return };
        let stored_ms = (info.published.unix_timestamp_nanos() / 1_000_000) as i64;
        let due_ms = stored_ms + self.ctx.config.mailbox.grace_ms as i64;
        let seq = info.stream_sequence;
        let (_, acker) = message.split();
        self.unsettled.insert(seq, Unsettled { device, due_ms, nudged: false, acker });
    }

    async fn settle_due(&mut self) -> anyhow::Result<()> {
        let now_ms = self.ctx.clock.now_ms();
        let due: HashSet<Device> =
            self.unsettled.values().filter(|message| message.due_ms <= now_ms).map(|message| message.device).collect();
        metrics::gauge!("nepto_router_unsettled", "stream" => self.shard.stream()).set(self.unsettled.len() as f64);
        if due.is_empty() {
            return Ok(());
        }
        let looks: HashMap<Device, Look> = futures_util::stream::iter(due)
            .map(|device| look(&self.ctx, self.shard, device))
            .buffer_unordered(LOOKS_MAX)
            .try_collect()
            .await?;
        let waiting: Vec<Device> =
            looks.iter().filter(|(_, look)| matches!(look, Look::WaitsFrom(_))).map(|(device, _)| *device).collect();
        let connected: HashSet<Device> = presence::connected(&self.ctx, &waiting).await?.into_iter().collect();
        let mut settled = Vec::new();
        let (mut nudge, mut away) = (HashSet::new(), HashSet::new());
        let again_ms = now_ms + self.ctx.config.mailbox.grace_ms as i64;
        for (seq, message) in self.unsettled.iter_mut().filter(|(_, message)| message.due_ms <= now_ms) {
            match looks.get(&message.device) {
                Some(Look::WaitsFrom(first)) if seq >= first => {
                    if connected.contains(&message.device) && !message.nudged {
                        message.nudged = true;
                        message.due_ms = again_ms;
                        nudge.insert(message.device);
                    } else {
                        away.insert(message.device);
                        settled.push(*seq);
                    }
                }
                _ => settled.push(*seq),
            }
        }
        for device in nudge {
            self.nudge(device).await?;
        }
        for device in away {
            self.announce(device).await?;
        }
        self.acknowledge(settled).await
    }

    async fn nudge(&self, (account, device): Device) -> anyhow::Result<()> {
        metrics::counter!("nepto_router_nudges_total").increment(1);
        let control = serde_json::to_vec(&Control::Nudge)?;
        self.ctx.nats.publish(Live::Control.subject(account, device), control.into()).await?;
        Ok(())
    }

    async fn announce(&self, (account, device): Device) -> anyhow::Result<()> {
        metrics::counter!("nepto_router_waiting_total").increment(1);
        let event = serde_json::to_vec(&MessageWaiting { account, device })?;
        // nobody asks for it yet where notifications don't run, and then it is not kept
        self.ctx.jetstream.publish(MessageWaiting::subject(), event.into()).await?.await?;
        Ok(())
    }

    /// Acknowledges the longest run of settled messages from the oldest on.
    async fn acknowledge(&mut self, settled: Vec<u64>) -> anyhow::Result<()> {
        let settled: HashSet<u64> = settled.into_iter().collect();
        let mut last = None;
        let oldest_open = self.unsettled.keys().copied().find(|seq| !settled.contains(seq)).unwrap_or(u64::MAX);
        for seq in settled {
            if let Some(message) = self.unsettled.remove(&seq)
                && seq < oldest_open
                && last.as_ref().is_none_or(|(known, _)| *known < seq)
            {
                last = Some((seq, message.acker));
            }
        }
        if let Some((_, acker)) = last {
            acker.ack().await.map_err(|error| anyhow::anyhow!("not acknowledged: {error}"))?;
        }
        Ok(())
    }
}

/// The oldest message that still waits for a device.
async fn look(ctx: &Ctx, shard: Shard, device: Device) -> anyhow::Result<(Device, Look)> {
    let page = mailbox::read(&ctx.nats, shard, device.0, device.1, 0, 1).await?;
    Ok((device, page.messages.first().map_or(Look::Settled, |message| Look::WaitsFrom(message.seq))))
}
