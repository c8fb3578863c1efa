//! What devices have acknowledged: noted in Redis within a second, purged from the mailboxes some time later.
//!
//! What must hold: a message is purged only when no retry of it can come any more. After a restart JetStream knows an id by
//! the message that is still there, and by nothing else (docs/adr/0019). The one exception is a mailbox of which half waits
//! to be purged: room for what is new counts more.
//!
//! A purge of a mailbox costs JetStream half a millisecond whether it removes one message or a hundred, so many small
//! acknowledgements become one purge. The router asks what was noted, and need not read the mailboxes of those who are
//! connected. If Redis forgets it, the mailbox still knows.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nepto_kit::Ctx;
use nepto_proto::limits::ACK_WINDOW;
use nepto_proto::{AccountId, DeviceId};
use redis::AsyncCommands;

use super::config::Mailbox;
use super::mailboxes::Mailboxes;

/// How often acknowledgements are noted.
pub const NOTE_EVERY: Duration = Duration::from_secs(1);
/// As long as the router may ask for it.
const NOTE_TTL: Duration = Duration::from_secs(300);
/// Old messages of one device that are purged without waiting any longer: whoever comes back to a full mailbox makes room
/// with the first window.
const AT_ONCE: u32 = ACK_WINDOW;
/// Parts of what a device acknowledged that wait at once; past it the last one grows.
const PARTS_MAX: usize = 4;
/// The clocks of this machine and of NATS, which says when a message was stored, may differ by so much.
const CLOCKS_DIFFER_MS: i64 = 1_000;
/// How often it is looked for what is to be purged.
const PURGE_TICK: Duration = Duration::from_millis(100);
/// Keys of one pipeline or MGET.
const CHUNK: usize = 500;

type Device = (AccountId, DeviceId);

/// Messages that a device has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// Up to and including this one.
    pub up_to: u64,
    /// When the last of them was stored, milliseconds since 1970.
    pub stored_at_ms: i64,
    /// How many they are, about.
    pub messages: u32,
}

/// What waits to be noted and purged.
#[derive(Clone)]
pub struct Purger {
    waiting: Arc<Mutex<Waiting>>,
    /// A retry within this time must be recognised.
    window_ms: i64,
    /// So many messages of one device don't wait for that.
    waiting_max: u32,
}

/// The acknowledgements of all devices that are not purged yet. Costs follow what is acknowledged and what is due, not
/// how many devices wait.
#[derive(Default)]
struct Waiting {
    devices: HashMap<Device, Acknowledged>,
    /// When something of each device is to be purged, milliseconds since 1970.
    due: BTreeSet<(i64, Device)>,
    /// Those of which Redis does not know the latest.
    unnoted: HashSet<Device>,
}

/// The acknowledgements of one device that are not purged yet.
struct Acknowledged {
    /// The epoch of the sequences.
    epoch: u64,
    /// The oldest first, each with the time until which it grows.
    parts: VecDeque<(Acked, i64)>,
}

impl Acknowledged {
    fn up_to(&self) -> u64 {
        self.parts.back().map_or(0, |(part, _)| part.up_to)
    }

    fn messages(&self) -> u32 {
        self.parts.iter().fold(0, |sum, (part, _)| sum.saturating_add(part.messages))
    }

    /// Answers whether it was news.
    fn add(&mut self, more: Acked, now_ms: i64, spread_ms: impl FnOnce() -> i64) -> bool {
        if more.up_to <= self.up_to() {
            return false;
        }
        let is_full = self.parts.len() >= PARTS_MAX;
        match self.parts.back_mut().filter(|(_, until_ms)| is_full || now_ms < *until_ms) {
            Some((part, _)) => *part = Acked { messages: part.messages.saturating_add(more.messages), ..more },
            None => self.parts.push_back((more, now_ms + spread_ms())),
        }
        true
    }
}

impl Purger {
    /// As the configuration of the mailboxes says.
    pub fn new(ctx: &Ctx) -> Self {
        let mailbox = ctx.config.section::<Mailbox>();
        let window_ms = (mailbox.duplicate_window_s * 1_000) as i64 + CLOCKS_DIFFER_MS;
        let waiting_max = u32::try_from(mailbox.messages_max / 2).unwrap_or(u32::MAX).max(1);
        Self { waiting: Arc::default(), window_ms, waiting_max }
    }

    /// All of this may go, and goes once it is old enough. What is acknowledged within `spread_ms` goes together.
    pub fn acknowledge(&self, device: Device, epoch: u64, part: Acked, now_ms: i64, spread_ms: impl FnOnce() -> i64) {
        let mut waiting = self.lock();
        let Waiting { devices, due, unnoted } = &mut *waiting;
        let known = devices.entry(device).or_insert_with(|| Acknowledged { epoch, parts: VecDeque::new() });
        due.remove(&(self.due_ms(known), device));
        if known.epoch != epoch {
            *known = Acknowledged { epoch, parts: VecDeque::new() };
        }
        if known.add(part, now_ms, spread_ms) {
            unnoted.insert(device);
        }
        due.insert((self.due_ms(known), device));
    }

    /// When something of a device is to be purged.
    fn due_ms(&self, known: &Acknowledged) -> i64 {
        if known.messages() >= self.waiting_max {
            return i64::MIN;
        }
        let part_due_ms = |(part, until_ms): &(Acked, i64)| {
            let whole_ms = if part.messages >= AT_ONCE { i64::MIN } else { *until_ms };
            whole_ms.max(part.stored_at_ms + self.window_ms)
        };
        known.parts.front().map_or(i64::MAX, part_due_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes and purges until the process stops, and then purges what is old enough.
    pub async fn run(&self, ctx: &Ctx) {
        tokio::join!(self.run_notes(ctx), self.run_purges(ctx));
    }

    async fn run_notes(&self, ctx: &Ctx) {
        let mut due = tokio::time::interval(NOTE_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                () = ctx.stop.cancelled() => true,
                _ = due.tick() => false,
            };
            if let Err(error) = self.note(ctx).await {
                // the router looks into the mailboxes instead
                tracing::warn!(%error, "acknowledgements were not noted");
            }
            if stopping {
                return;
            }
        }
    }

    async fn run_purges(&self, ctx: &Ctx) {
        let mut due = tokio::time::interval(PURGE_TICK);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                () = ctx.stop.cancelled() => true,
                _ = due.tick() => false,
            };
            purge_all(ctx, self.take(ctx.clock.now_ms(), stopping)).await;
            if stopping {
                return;
            }
        }
    }

    /// Takes what it is time to purge: the device, the epoch, up to where.
    fn take(&self, now_ms: i64, stopping: bool) -> Vec<(Device, u64, u64)> {
        let mut waiting = self.lock();
        let Waiting { devices, due, .. } = &mut *waiting;
        if stopping {
            // what still grows does not grow any more
            for part in devices.values_mut().flat_map(|known| &mut known.parts) {
                part.1 = i64::MIN;
            }
            *due = devices.iter().map(|(device, known)| (self.due_ms(known), *device)).collect();
        }
        let mut ripe = Vec::new();
        while let Some((_, device)) = due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            due.pop_first();
            let Some(known) = devices.get_mut(&device) else { continue };
            let mut up_to = None;
            while self.due_ms(known) <= now_ms {
                let part = match known.messages() >= self.waiting_max {
                    true => known.parts.drain(..).next_back(),
                    false => known.parts.pop_front(),
                };
                up_to = part.map(|(part, _)| part.up_to);
            }
            ripe.extend(up_to.map(|up_to| (device, known.epoch, up_to)));
            match known.parts.is_empty() {
                true => drop(devices.remove(&device)),
                false => drop(due.insert((self.due_ms(known), device))),
            }
        }
        ripe
    }

    async fn note(&self, ctx: &Ctx) -> redis::RedisResult<()> {
        let news: Vec<(String, String)> = {
            let mut waiting = self.lock();
            let unnoted = std::mem::take(&mut waiting.unnoted);
            let known = unnoted.into_iter().filter_map(|device| Some((device, waiting.devices.get(&device)?)));
            known.map(|(device, known)| (key(device), format!("{}:{}", known.epoch, known.up_to()))).collect()
        };
        for chunk in news.chunks(CHUNK) {
            let mut pipeline = redis::pipe();
            for (key, place) in chunk {
                pipeline.set_ex(key, place, NOTE_TTL.as_secs()).ignore();
            }
            pipeline.exec_async(&mut ctx.redis.clone()).await?;
        }
        Ok(())
    }
}

/// One after the other: they share a queue of JetStream's with everything else that it is asked. What was acknowledged in a mailbox
/// that was recreated since says nothing about the new one.
async fn purge_all(ctx: &Ctx, ripe: Vec<(Device, u64, u64)>) {
    metrics::counter!("nepto_mailbox_purges_total").increment(ripe.len() as u64);
    let mut epochs = Mailboxes::of_now(ctx);
    for ((account, device), epoch, up_to) in ripe {
        if let Err(error) = epochs.purge((account, device), epoch, up_to).await {
            // The client's cursor keeps it from seeing them again; they are purged with the next acknowledgement.
            tracing::warn!(%account, %device, error = format!("{error:#}"), "a mailbox was not purged");
        }
    }
}

/// How far each of these devices has acknowledged, under this epoch; 0 where that is not known.
pub async fn noted(ctx: &Ctx, epoch: u64, devices: &[Device]) -> redis::RedisResult<HashMap<Device, u64>> {
    let mut found = HashMap::with_capacity(devices.len());
    for chunk in devices.chunks(CHUNK) {
        let keys: Vec<String> = chunk.iter().map(|device| key(*device)).collect();
        let places: Vec<Option<String>> = ctx.redis.clone().mget(&keys).await?;
        let places = places.into_iter().map(|place| super::epoch_place(place.as_deref().unwrap_or_default(), epoch));
        found.extend(chunk.iter().copied().zip(places));
    }
    Ok(found)
}

fn key((account, device): Device) -> String {
    format!("acked:{account}:{device}")
}

#[cfg(test)]
mod tests {
    use nepto_kit::nats::{NotConnected, is_connected, stream_epoch};
    use nepto_testkit::{Nats, Redis, eventually, seconds};
    use uuid::Uuid;

    use super::super::mailbox::purge;
    use super::*;
    use crate::testing::{account, connected};

    const DEVICE: u128 = 1;

    #[tokio::test]
    async fn a_purge_is_only_for_the_stream_and_the_connection_that_it_was_meant_for() {
        let (nats, redis) = tokio::try_join!(Nats::start(), Redis::start()).unwrap();
        let ctx = connected(&nats, &redis, |_| {}).await;
        let device = (account(1), DeviceId::try_from(1).unwrap());
        let shard = ctx.config.nats.shards.of(device.0);
        let make = async || {
            let streams = crate::streams(&ctx.config);
            nepto_kit::nats::provision(&ctx.jetstream, &ctx.config.nats, &streams, false).await.unwrap();
        };
        let store = async |count: usize| {
            for _ in 0..count {
                let stored = ctx.jetstream.publish(shard.mailbox(device.0, device.1), "x".into()).await.unwrap();
                stored.await.unwrap();
            }
        };
        let waiting = async || ctx.jetstream.get_stream(shard.stream()).await.unwrap().cached_info().state.messages;
        let epoch = async || stream_epoch(ctx.jetstream.get_stream(shard.stream()).await.unwrap().cached_info());

        make().await;
        store(3).await;
        let before = epoch().await;
        purge_all(&ctx, vec![(device, before, 1)]).await;
        assert_eq!(waiting().await, 2);
        ctx.jetstream.delete_stream(shard.stream()).await.unwrap();
        make().await;
        store(2).await;
        purge_all(&ctx, vec![(device, before, 3)]).await;
        assert_eq!(waiting().await, 2, "nobody acknowledged these");
        let now = epoch().await;
        assert_ne!(now, before);
        purge_all(&ctx, vec![(device, now, 2)]).await;
        assert_eq!(waiting().await, 0);

        store(2).await;
        nats.kill9().unwrap();
        eventually(seconds(5), async || Ok(!is_connected(&ctx.nats))).await.unwrap();
        let error = purge(&ctx, device.0, device.1, 100).await.unwrap_err();
        assert!(error.is::<NotConnected>(), "{error:#}");
        nats.restart().await.unwrap();
        eventually(seconds(10), async || Ok(is_connected(&ctx.nats))).await.unwrap();
        // the client sends in order: a purge that it had kept would have come before this
        store(1).await;
        assert_eq!(waiting().await, 3);
    }

    fn purger(waiting_max: u32) -> (Purger, Device) {
        let device = (AccountId::new(Uuid::from_u128(DEVICE)), DeviceId::try_from(1).unwrap());
        (Purger { waiting: Arc::default(), window_ms: 120_000, waiting_max }, device)
    }

    fn part(up_to: u64, stored_at_ms: i64) -> Acked {
        Acked { up_to, stored_at_ms, messages: 1 }
    }

    #[test]
    fn many_acknowledgements_become_one_purge() {
        let (purger, device) = purger(1_000);
        let acknowledge = |epoch, up_to| purger.acknowledge(device, epoch, part(up_to, 0), 0, || 200_000);
        for up_to in [3, 9, 7] {
            acknowledge(1, up_to);
        }
        assert_eq!(purger.take(199_999, false), []);
        assert_eq!(purger.take(200_000, false), [(device, 1, 9)]);
        assert_eq!(purger.take(300_000, true), [], "it is purged once");
        // a mailbox recreated begins again
        acknowledge(1, 9);
        acknowledge(2, 4);
        assert_eq!(purger.take(300_000, true), [(device, 2, 4)]);
    }

    #[test]
    fn what_may_be_sent_again_stays_also_when_the_process_stops() {
        let (purger, device) = purger(1_000);
        purger.acknowledge(device, 1, part(5, 10_000), 10_000, || 10_000);
        assert_eq!(purger.take(20_000, false), [], "due, but only ten seconds old");
        assert_eq!(purger.take(129_999, true), []);
        assert_eq!(purger.take(130_000, false), [(device, 1, 5)]);
    }

    #[test]
    fn what_comes_later_does_not_hold_up_what_is_old_enough() {
        let (purger, device) = purger(1_000);
        for second in 1..=1_000_i64 {
            let now_ms = second * 1_000;
            purger.acknowledge(device, 1, part(second.unsigned_abs(), now_ms), now_ms, || 60_000);
            let oldest_kept = (second - 180).max(0).unsigned_abs();
            for (_, _, up_to) in purger.take(now_ms, false) {
                assert!((oldest_kept..=second.unsigned_abs() - 120).contains(&up_to), "{up_to} after {second} s");
            }
        }
        let left: u32 = purger.lock().devices.values().map(Acknowledged::messages).sum();
        assert!((120..=180).contains(&left), "{left}");
    }

    #[test]
    fn who_comes_back_to_a_full_mailbox_makes_room_with_the_first_window() {
        let (purger, device) = purger(100_000);
        let now_ms = 90 * 86_400_000;
        let window = Acked { up_to: 256, stored_at_ms: 0, messages: AT_ONCE };
        purger.acknowledge(device, 1, window, now_ms, || 60_000);
        assert_eq!(purger.take(now_ms, false), [(device, 1, 256)]);
    }

    #[test]
    fn a_mailbox_that_is_half_full_of_what_was_acknowledged_does_not_wait() {
        let (purger, device) = purger(10);
        for up_to in 1..=10 {
            purger.acknowledge(device, 1, part(up_to, 0), 0, || 60_000);
        }
        assert_eq!(purger.take(0, false), [(device, 1, 10)]);
    }
}
