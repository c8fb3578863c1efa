//! `message-router`: looks after messages off the path of their delivery.
//!
//! A stored message travels to its device at most once by itself. Some seconds later the router looks whether it is still
//! in the mailbox. If the device is connected, its session is told to read, and looked at once more; if the device is away,
//! or stays silent, the event `messaging.waiting` says so, for whoever pushes notifications. What was acknowledged and
//! purged before needs nothing.
//!
//! One router reads each shard: whoever holds its lease in Redis; the others stand by. Beside the lease lies the router's
//! place, below which everything is settled: a successor begins there and leaves nothing out. If Redis has forgotten it, it
//! begins with the oldest message that is still in a mailbox. JetStream keeps no place for it, because messages that a
//! consumer has not acknowledged make every purge of a mailbox read them all (docs/adr/0009).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::consumer::Heartbeat;
use nepto_kit::{Ctx, lease, nats};
use nepto_proto::event::{Event, MailboxNotice, MessageWaiting};
use nepto_proto::subject::{Shard, parse_mailbox};
use nepto_proto::{AccountId, DeviceId};
use redis::Script;

use super::config::Mailbox;
use super::{acked, epoch_place, mailbox};
use crate::gateway::connected;

/// The queue, as `worker --queues` knows it.
pub const NAME: &str = "message-router";
/// How often due messages are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Mailboxes looked at in parallel.
const LOOKS_MAX: usize = 64;
/// A router that is gone is replaced after this; refreshed at every tick.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// How long a place is kept while no router runs.
const PLACE_TTL: Duration = Duration::from_secs(7 * 24 * 3_600);

type Device = (AccountId, DeviceId);

/// Takes the lease, or keeps it, and notes the router's place if it has one. Answers whether it is held, and the place.
static LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local holder = redis.call('GET', KEYS[1])
          if holder and holder ~= ARGV[1] then return {0, ''} end
          redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
          if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4]) end
          return {1, redis.call('GET', KEYS[2]) or ''}",
    )
});

/// Routes all shards until the process stops.
pub async fn serve(ctx: Ctx) -> anyhow::Result<()> {
    let shards = ctx.config.nats.shards.all();
    try_join_all(shards.map(|shard| route(ctx.clone(), shard))).await.map(drop)
}

async fn route(ctx: Ctx, shard: Shard) -> anyhow::Result<()> {
    let beat = Heartbeat::of_reader(&ctx, shard.stream(), NAME);
    let holder = ctx.random.alphanumeric(20);
    loop {
        beat.comes_round();
        let mut router = Router {
            ctx: ctx.clone(),
            shard,
            holder: holder.clone(),
            beat: beat.clone(),
            epoch: 0,
            reached: 0,
            pending: BTreeMap::new(),
        };
        let ended = tokio::select! {
            () = ctx.stop.cancelled() => {
                lease::release(&ctx, &lease_of(shard), &holder).await;
                return Ok(());
            }
            ended = router.run() => ended,
        };
        if let Err(error) = ended {
            // what was not settled comes again
            tracing::warn!(stream = shard.stream(), error = format!("{error:#}"), "the router starts over");
        }
        tokio::time::sleep(TICK).await;
    }
}

fn lease_of(shard: Shard) -> String {
    format!("lease:router:{}", shard.stream())
}

/// A message that is neither acknowledged nor announced.
struct PendingMessage {
    device: Device,
    due_ms: i64,
    nudged: bool,
}

struct Router {
    ctx: Ctx,
    shard: Shard,
    holder: String,
    beat: Heartbeat,
    /// Of the stream's sequences.
    epoch: u64,
    /// The last message that was read.
    reached: u64,
    /// By sequence in the stream.
    pending: BTreeMap<u64, PendingMessage>,
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
        let place = loop {
            match self.lease(None).await? {
                Some(place) => break place,
                None => {
                    self.beat.beat(&self.ctx);
                    tokio::time::sleep(LEASE_TTL / 4).await;
                }
            }
        };
        let stream = self.ctx.jetstream.get_stream(self.shard.stream()).await?;
        self.epoch = nats::stream_epoch(stream.cached_info());
        self.reached = epoch_place(&place, self.epoch);
        let reader = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.reached + 1 },
            headers_only: true,
            ..OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(reader).await?.messages().await?;
        let mut due = tokio::time::interval(TICK);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let message = message.ok_or_else(|| anyhow::anyhow!("the consumer ended"))??;
                    self.take(&message);
                }
                _ = due.tick() => {
                    self.beat.beat(&self.ctx);
                    let place = format!("{}:{}", self.epoch, self.settled_up_to());
                    anyhow::ensure!(self.lease(Some(place)).await?.is_some(), "another router took over");
                    self.settle_due().await?;
                }
            }
        }
    }

    /// Everything up to here is settled.
    fn settled_up_to(&self) -> u64 {
        self.pending.first_key_value().map_or(self.reached, |(oldest, _)| oldest - 1)
    }

    /// The place that is noted, or `None` where another router holds the lease.
    async fn lease(&self, place: Option<String>) -> redis::RedisResult<Option<String>> {
        let stream = self.shard.stream();
        let (held, place): (u8, String) = LEASE
            .key(lease_of(self.shard))
            .key(format!("place:router:{stream}"))
            .arg(&self.holder)
            .arg(LEASE_TTL.as_millis() as u64)
            .arg(place.unwrap_or_default())
            .arg(PLACE_TTL.as_secs())
            .invoke_async(&mut self.ctx.redis.clone())
            .await?;
        Ok((held == 1).then_some(place))
    }

    fn take(&mut self, message: &async_nats::jetstream::Message) {
        let (Ok(info), Some(device)) = (message.info(), parse_mailbox(&message.subject)) else { return };
        let stored_ms = (info.published.unix_timestamp_nanos() / 1_000_000) as i64;
        let due_ms = stored_ms + self.ctx.config.section::<Mailbox>().grace_ms as i64;
        trace(message, device);
        self.reached = info.stream_sequence;
        self.pending.insert(self.reached, PendingMessage { device, due_ms, nudged: false });
    }

    async fn settle_due(&mut self) -> anyhow::Result<()> {
        let now_ms = self.ctx.clock.now_ms();
        self.settle_acknowledged(now_ms).await?;
        let due = self.due_devices(now_ms);
        metrics::gauge!("nepto_router_unsettled_messages", "stream" => self.shard.stream())
            .set(self.pending.len() as f64);
        if due.is_empty() {
            return Ok(());
        }
        let looks: HashMap<Device, Look> = futures_util::stream::iter(due)
            .map(|(device, first)| look(&self.ctx, self.shard, device, first))
            .buffer_unordered(LOOKS_MAX)
            .try_collect()
            .await?;
        let waiting: Vec<Device> =
            looks.iter().filter(|(_, look)| matches!(look, Look::WaitsFrom(_))).map(|(device, _)| *device).collect();
        let connected: HashSet<Device> = connected(&self.ctx, &waiting).await?.into_iter().collect();
        let (mut nudge, mut away) = (HashSet::new(), HashSet::new());
        let again_ms = now_ms + self.ctx.config.section::<Mailbox>().grace_ms as i64;
        let mut look_after = |seq: u64, message: &mut PendingMessage| match looks.get(&message.device) {
            Some(Look::WaitsFrom(first)) if seq >= *first => {
                let remind = connected.contains(&message.device) && !message.nudged;
                if remind {
                    message.nudged = true;
                    message.due_ms = again_ms;
                    nudge.insert(message.device);
                } else {
                    away.insert(message.device);
                }
                remind
            }
            _ => false,
        };
        self.pending.retain(|seq, message| message.due_ms > now_ms || look_after(*seq, message));
        for device in nudge {
            self.nudge(device).await?;
        }
        for device in away {
            self.announce(device).await?;
        }
        Ok(())
    }

    /// Each with its first message that is due.
    fn due_devices(&self, now_ms: i64) -> HashMap<Device, u64> {
        let mut due = HashMap::new();
        for (seq, message) in self.pending.iter().filter(|(_, message)| message.due_ms <= now_ms) {
            due.entry(message.device).or_insert(*seq);
        }
        due
    }

    /// What was acknowledged needs nothing; most of it is noted in Redis, and no mailbox is read for it.
    async fn settle_acknowledged(&mut self, now_ms: i64) -> anyhow::Result<()> {
        let devices: Vec<Device> = self.due_devices(now_ms).into_keys().collect();
        let noted = acked::noted(&self.ctx, self.epoch, &devices).await?;
        self.pending.retain(|seq, message| {
            message.due_ms > now_ms || noted.get(&message.device).is_none_or(|up_to| seq > up_to)
        });
        Ok(())
    }

    async fn nudge(&self, (account, device): Device) -> anyhow::Result<()> {
        metrics::counter!("nepto_router_nudges_total").increment(1);
        mailbox::notify(&self.ctx.nats, account, device, &MailboxNotice::Nudge).await
    }

    async fn announce(&self, (account, device): Device) -> anyhow::Result<()> {
        metrics::counter!("nepto_router_waiting_total").increment(1);
        let event = serde_json::to_vec(&MessageWaiting { account, device })?;
        // nobody asks for it yet where notifications don't run, and then it is not kept
        self.ctx.jetstream.publish(MessageWaiting::subject(), event.into()).await?.await?;
        Ok(())
    }
}

/// The id that follows a message through the logs stands in the id that it was stored under.
fn trace(message: &async_nats::jetstream::Message, (account, device): Device) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID)).map_or("", |id| id.as_str());
        let request_id = id.split(':').next().unwrap_or("-");
        tracing::debug!(request_id, to = %account, %device, "looked after");
    }
}

/// The oldest message from this one on that still waits for a device. What is older was acknowledged, and is not purged yet.
async fn look(ctx: &Ctx, shard: Shard, device: Device, from: u64) -> anyhow::Result<(Device, Look)> {
    let page = mailbox::read(&ctx.nats, shard, device.0, device.1, from.saturating_sub(1), 1).await?;
    Ok((device, page.messages.first().map_or(Look::Settled, |message| Look::WaitsFrom(message.seq))))
}
