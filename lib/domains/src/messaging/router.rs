//! `message-router`: looks after messages off the path of their delivery.
//!
//! A stored message travels to its device at most once by itself. Some seconds later the router looks whether it is still
//! in the mailbox. If the device is connected, its session is told to read, and looked at once more; if the device is away,
//! or stays silent, the event `messaging.waiting` says so, for whoever pushes notifications. What was acknowledged and
//! purged before needs nothing.
//!
//! A message is acknowledged to JetStream only when it and everything before it was settled, so a router that dies leaves
//! nothing out. That takes one router for each shard: whoever holds its lease in Redis; the others stand by.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::Acker;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::Ctx;
use nepto_kit::consumer::Heartbeat;
use nepto_proto::event::{Control, Event, MessageWaiting};
use nepto_proto::subject::{Live, Shard, parse_mailbox};
use nepto_proto::{AccountId, DeviceId};
use redis::Script;

use super::{mailbox, presence};

/// The durable consumer, one on each shard.
pub const NAME: &str = "message-router";
/// Messages that the server sends ahead.
const BATCH: usize = 1_000;
/// How often due messages are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Mailboxes looked at in parallel.
const LOOKS_MAX: usize = 64;

/// A router that is gone is replaced after this; refreshed at every tick.
const LEASE_TTL: Duration = Duration::from_secs(10);

type Device = (AccountId, DeviceId);

/// Takes the lease, or keeps it; 0 where another holds it.
static LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local holder = redis.call('GET', KEYS[1])
          if holder and holder ~= ARGV[1] then return 0 end
          redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
          return 1",
    )
});

/// Routes all shards until the process stops.
pub async fn serve(ctx: Ctx) -> anyhow::Result<()> {
    let shards = ctx.config.nats.shards.all();
    try_join_all(shards.map(|shard| route(ctx.clone(), shard))).await.map(drop)
}

async fn route(ctx: Ctx, shard: Shard) -> anyhow::Result<()> {
    let beat = Heartbeat::register(&ctx, shard.stream(), NAME);
    let holder = ctx.random.alphanumeric(20);
    loop {
        let mut router =
            Router { ctx: ctx.clone(), shard, holder: holder.clone(), beat: beat.clone(), watched: BTreeMap::new() };
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

/// A message that was not acknowledged to JetStream yet.
struct Watched {
    device: Device,
    due_ms: i64,
    nudged: bool,
    /// Nothing is left to do; it waits for those before it.
    settled: bool,
    acker: Acker,
}

struct Router {
    ctx: Ctx,
    shard: Shard,
    holder: String,
    beat: Heartbeat,
    /// By sequence in the stream.
    watched: BTreeMap<u64, Watched>,
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
        while !self.holds_lease().await? {
            self.beat.beat(&self.ctx);
            tokio::time::sleep(LEASE_TTL / 4).await;
        }
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
                    anyhow::ensure!(self.holds_lease().await?, "another router took over");
                    self.settle_due().await?;
                }
            }
        }
    }

    async fn holds_lease(&self) -> redis::RedisResult<bool> {
        let held: u8 = LEASE
            .key(format!("lease:router:{}", self.shard.stream()))
            .arg(&self.holder)
            .arg(LEASE_TTL.as_millis() as u64)
            .invoke_async(&mut self.ctx.redis.clone())
            .await?;
        Ok(held == 1)
    }

    fn take(&mut self, message: async_nats::jetstream::Message) {
        let (Ok(info), Some(device)) = (message.info(), parse_mailbox(&message.subject)) else { return };
        let stored_ms = (info.published.unix_timestamp_nanos() / 1_000_000) as i64;
        let due_ms = stored_ms + self.ctx.config.mailbox.grace_ms as i64;
        let seq = info.stream_sequence;
        trace(&message, device);
        let (_, acker) = message.split();
        let new = |acker| Watched { device, due_ms, nudged: false, settled: false, acker };
        match self.watched.entry(seq) {
            Entry::Vacant(place) => drop(place.insert(new(acker))),
            // it was sent again: what is known of it stays
            Entry::Occupied(known) => known.into_mut().acker = acker,
        }
    }

    async fn settle_due(&mut self) -> anyhow::Result<()> {
        let now_ms = self.ctx.clock.now_ms();
        let is_due = |message: &Watched| !message.settled && message.due_ms <= now_ms;
        let due: HashSet<Device> =
            self.watched.values().filter(|message| is_due(message)).map(|message| message.device).collect();
        metrics::gauge!("nepto_router_unsettled", "stream" => self.shard.stream()).set(self.watched.len() as f64);
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
        let (mut nudge, mut away) = (HashSet::new(), HashSet::new());
        let again_ms = now_ms + self.ctx.config.mailbox.grace_ms as i64;
        for (seq, message) in self.watched.iter_mut().filter(|(_, message)| is_due(message)) {
            match looks.get(&message.device) {
                Some(Look::WaitsFrom(first)) if seq >= first => {
                    if connected.contains(&message.device) && !message.nudged {
                        message.nudged = true;
                        message.due_ms = again_ms;
                        nudge.insert(message.device);
                    } else {
                        away.insert(message.device);
                        message.settled = true;
                    }
                }
                _ => message.settled = true,
            }
        }
        for device in nudge {
            self.nudge(device).await?;
        }
        for device in away {
            self.announce(device).await?;
        }
        self.acknowledge().await
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

    /// Acknowledges the run of settled messages from the oldest on: one word for all of them.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let mut last = None;
        while let Some(oldest) = self.watched.first_entry().filter(|oldest| oldest.get().settled) {
            last = Some(oldest.remove().acker);
        }
        match last {
            Some(acker) => acker.ack().await.map_err(|error| anyhow::anyhow!("not acknowledged: {error}")),
            None => Ok(()),
        }
    }
}

/// The id that follows a message through the logs stands in the id that it was stored under.
fn trace(message: &async_nats::jetstream::Message, (account, device): Device) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID)).map_or("", |id| id.as_str());
        let request_id = id.split(':').nth(2).unwrap_or("-");
        tracing::debug!(request_id, to = %account, %device, "looked after");
    }
}

/// The oldest message that still waits for a device.
async fn look(ctx: &Ctx, shard: Shard, device: Device) -> anyhow::Result<(Device, Look)> {
    let page = mailbox::read(&ctx.nats, shard, device.0, device.1, 0, 1).await?;
    Ok((device, page.messages.first().map_or(Look::Settled, |message| Look::WaitsFrom(message.seq))))
}
