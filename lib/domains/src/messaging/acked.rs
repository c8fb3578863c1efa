//! What devices have acknowledged: noted in Redis within a second, purged from the mailboxes some seconds later.
//!
//! A purge of a mailbox costs JetStream half a millisecond whether it removes one message or a hundred, so many small
//! acknowledgements become one purge. The router asks what was noted, and need not read the mailboxes of those who are
//! connected. If Redis forgets it, the mailbox still knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use nepto_kit::Ctx;
use nepto_proto::{AccountId, DeviceId};
use redis::AsyncCommands;
use tokio::time::Instant;

use super::mailbox::purge;

/// How often acknowledgements are noted.
pub const NOTE_EVERY: Duration = Duration::from_secs(1);
/// As long as the router may ask for it.
const NOTE_TTL: Duration = Duration::from_secs(300);
/// Acknowledgements of one device that are purged without waiting any longer.
const ACKNOWLEDGED_MAX: u32 = 512;
/// Purges of a process under way at once: they share a queue of JetStream's with everything else that it is asked.
const PURGES_MAX: usize = 1;
/// How often it is looked for what is to be purged.
const PURGE_TICK: Duration = Duration::from_millis(100);
/// Keys of one pipeline or MGET.
const CHUNK: usize = 500;

type Device = (AccountId, DeviceId);

/// What waits to be noted and purged.
#[derive(Clone, Default)]
pub struct Purger(Arc<Mutex<HashMap<Device, Acknowledged>>>);

#[derive(Clone, Copy)]
struct Acknowledged {
    up_to: u64,
    /// The epoch of the sequence.
    epoch: u64,
    due: Instant,
    count: u32,
    noted: bool,
}

impl Purger {
    /// Everything up to and including this sequence may go, and goes after `purge_in` at the latest.
    pub fn acknowledge(&self, device: Device, epoch: u64, up_to: u64, purge_in: impl FnOnce() -> Duration) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.entry(device).or_insert_with(|| Acknowledged {
            up_to: 0,
            epoch,
            due: Instant::now() + purge_in(),
            count: 0,
            noted: false,
        });
        known.up_to = if known.epoch == epoch { known.up_to.max(up_to) } else { up_to };
        known.epoch = epoch;
        known.count = known.count.saturating_add(1);
        known.noted = false;
    }

    /// Notes and purges until the process stops, and then purges what is left. What was acknowledged in a mailbox that was
    /// made anew since says nothing about the new one: `epoch_of` tells.
    pub async fn run(&self, ctx: &Ctx, epoch_of: impl Fn(AccountId) -> u64) {
        tokio::join!(self.run_notes(ctx), self.run_purges(ctx, epoch_of));
    }

    async fn run_notes(&self, ctx: &Ctx) {
        let mut due = tokio::time::interval(NOTE_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return,
                _ = due.tick() => {}
            }
            if let Err(error) = self.note(ctx).await {
                // the router looks into the mailboxes instead
                tracing::warn!(%error, "acknowledgements were not noted");
            }
        }
    }

    async fn run_purges(&self, ctx: &Ctx, epoch_of: impl Fn(AccountId) -> u64) {
        let mut due = tokio::time::interval(PURGE_TICK);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                () = ctx.stop.cancelled() => true,
                _ = due.tick() => false,
            };
            let now = Instant::now();
            let ripe = self.take(|known| stopping || known.count >= ACKNOWLEDGED_MAX || known.due <= now);
            let valid = ripe.into_iter().filter(|((account, _), known)| known.epoch == epoch_of(*account));
            purge_all(ctx, valid.map(|(device, known)| (device, known.up_to)).collect()).await;
            if stopping {
                return;
            }
        }
    }

    /// Takes those that it is time to purge.
    fn take(&self, ripe: impl Fn(&Acknowledged) -> bool) -> Vec<(Device, Acknowledged)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extract_if(|_, acknowledged| ripe(acknowledged)).collect()
    }

    async fn note(&self, ctx: &Ctx) -> redis::RedisResult<()> {
        let news: Vec<(String, String)> = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let news = waiting.iter_mut().filter(|(_, acknowledged)| !acknowledged.noted);
            news.map(|(device, acknowledged)| {
                acknowledged.noted = true;
                (key(*device), format!("{}:{}", acknowledged.epoch, acknowledged.up_to))
            })
            .collect()
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

async fn purge_all(ctx: &Ctx, ripe: Vec<(Device, u64)>) {
    metrics::counter!("nepto_mailbox_purges_total").increment(ripe.len() as u64);
    futures_util::stream::iter(ripe)
        .for_each_concurrent(PURGES_MAX, |((account, device), up_to)| async move {
            if let Err(error) = purge(ctx, account, device, Some(up_to)).await {
                // The client's cursor keeps it from seeing them again; they are purged with the next acknowledgement.
                tracing::warn!(%account, %device, error = format!("{error:#}"), "a mailbox was not purged");
            }
        })
        .await;
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
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn many_acknowledgements_become_one_purge() {
        let purger = Purger::default();
        let device = (AccountId::new(Uuid::from_u128(1)), DeviceId::try_from(1).unwrap());
        let acknowledge = |epoch, up_to| purger.acknowledge(device, epoch, up_to, || Duration::from_secs(10));
        for up_to in [3, 9, 7] {
            acknowledge(1, up_to);
        }
        let due = |known: &Acknowledged| known.due <= Instant::now();
        let take = |ripe: &dyn Fn(&Acknowledged) -> bool| -> Vec<(Device, u64)> {
            purger.take(ripe).into_iter().map(|(device, known)| (device, known.up_to)).collect()
        };
        assert_eq!(take(&due), []);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(take(&due), [(device, 9)]);
        assert_eq!(take(&|_| true), [], "it is purged once");
        // a mailbox made anew begins again
        acknowledge(1, 9);
        acknowledge(2, 4);
        assert_eq!(take(&|_| true), [(device, 4)]);
    }
}
