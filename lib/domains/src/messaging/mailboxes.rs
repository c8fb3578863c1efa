//! What a process knows of the streams behind the mailboxes: whether they are still the same, and how far they came.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use nepto_kit::frames::Connections;
use nepto_kit::{Ctx, Failure, nats};
use nepto_proto::event::MailboxNotice;
use nepto_proto::subject::{Shard, Shards};
use nepto_proto::{AccountId, DeviceId};
use tokio::time::Instant;

use super::config::Mailbox;
use super::fullness::Fullness;
use super::mailbox::{self, notify};

/// JetStream says that it made a stream (NATS ADR-8, advisories).
const STREAM_CREATED: &str = "$JS.EVENT.ADVISORY.STREAM.CREATED.*";
/// How often the streams are looked at, should that advisory be lost.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// An epoch was told just now for so long.
const TOLD_JUST_NOW: Duration = Duration::from_secs(1);
/// After a look that failed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What is known of the streams behind the mailboxes.
pub struct Mailboxes {
    shards: Shards,
    known: Vec<Stream>,
}

#[derive(Default)]
struct Stream {
    /// Of its sequences: when the stream was made, and how often it was restored (`provision --restored`).
    epoch: AtomicU64,
    /// The last sequence that was seen; there may be more.
    reached: AtomicU64,
    /// What its stream held at the last look at all.
    bytes: AtomicU64,
}

impl Mailboxes {
    /// Looks at all of them, which must be there.
    pub async fn find(ctx: &Ctx) -> anyhow::Result<Self> {
        let shards = ctx.config.nats.shards;
        let mailboxes = Self { shards, known: shards.all().map(|_| Stream::default()).collect() };
        mailboxes.look_at_all(ctx).await?;
        Ok(mailboxes)
    }

    /// The epoch of an account's mailboxes.
    pub fn epoch_of(&self, account: AccountId) -> u64 {
        self.of(account).epoch.load(Ordering::Relaxed)
    }

    /// Where a client that stored everything up to `seq` goes on: there, unless the mailbox never came so far. Then it is
    /// another mailbox than the client thinks, and everything in it is new.
    pub async fn resume_at(&self, ctx: &Ctx, account: AccountId, seq: u64) -> Result<u64, Failure> {
        let known = self.of(account);
        if seq <= known.reached.load(Ordering::Relaxed) {
            return Ok(seq);
        }
        let found = look(ctx, self.shards.of(account)).await;
        let Found { epoch, reached, .. } = found.map_err(|error| Failure::unavailable("JetStream", error))?;
        // a new epoch is for `watch` to notice, which tells the open sockets
        if epoch == known.epoch.load(Ordering::Relaxed) {
            known.reached.store(reached, Ordering::Relaxed);
        }
        Ok(if seq <= reached { seq } else { 0 })
    }

    /// Somebody may recreate the mailboxes, above all while the connection to NATS is lost: then no cursor of an open socket
    /// means anything. A socket that misses the notice finds out with its next ping.
    pub async fn watch(&self, ctx: &Ctx, fullness: &Fullness, connections: &dyn Connections) -> anyhow::Result<()> {
        let mut created = ctx.nats.subscribe(STREAM_CREATED).await?;
        let mut connects = ctx.nats_connects.clone();
        let mut due = tokio::time::interval(LOOK_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return Ok(()),
                Some(_) = created.next() => {
                    due.reset_immediately();
                    continue;
                }
                changed = connects.changed() => {
                    changed?;
                    due.reset_immediately();
                    continue;
                }
                _ = due.tick() => {}
            }
            let looked = self.look_at_all(ctx).await;
            let bytes = self.known.iter().map(|known| known.bytes.load(Ordering::Relaxed));
            fullness.note_streams(&ctx.config.section::<Mailbox>(), bytes);
            match looked {
                Ok(true) => notify_all(ctx, connections).await,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the mailboxes were not found; looking again");
                    due.reset_after(LOOK_AGAIN_AFTER);
                }
            }
        }
    }

    /// What was told just now about the epochs of streams.
    pub fn of_now<'a>(ctx: &'a Ctx) -> EpochsNow<'a> {
        EpochsNow { ctx, connects: *ctx.nats_connects.borrow(), told: HashMap::new() }
    }

    fn of(&self, account: AccountId) -> &Stream {
        &self.known[self.shards.of(account).index()]
    }

    /// Whether any was recreated since the last look. Nothing is noted unless all are found: a change is told once.
    async fn look_at_all(&self, ctx: &Ctx) -> anyhow::Result<bool> {
        let found = try_join_all(self.shards.all().map(|shard| look(ctx, shard))).await?;
        let mut recreated = false;
        for (known, Found { epoch, reached, bytes }) in self.known.iter().zip(found) {
            let before = known.epoch.swap(epoch, Ordering::Relaxed);
            known.reached.store(reached, Ordering::Relaxed);
            known.bytes.store(bytes, Ordering::Relaxed);
            recreated |= before != 0 && before != epoch;
        }
        Ok(recreated)
    }
}

/// Epochs that JetStream told within the last second, over the connection that there is.
///
/// A sequence means something in one epoch only. So whatever is only right in one is sent right after an answer that named it, over the
/// same connection, and not at all where there is none: the client would keep it for the next, and streams may be made anew meanwhile.
/// What is left is a request that is handed to the client in the moment in which its connection dies, and streams that are made anew
/// before it is back.
pub struct EpochsNow<'a> {
    ctx: &'a Ctx,
    connects: u64,
    told: HashMap<usize, (Instant, u64)>,
}

impl EpochsNow<'_> {
    /// Purges a mailbox up to and including a sequence of this epoch. Of one that was made anew since, that says nothing, and nothing is
    /// purged. An error where nobody says which it is.
    pub async fn purge(
        &mut self,
        (account, device): (AccountId, DeviceId),
        epoch: u64,
        up_to: u64,
    ) -> anyhow::Result<()> {
        if !nats::is_connected(&self.ctx.nats) {
            // what was told over another connection counts no more
            self.told.clear();
            nats::connected(&self.ctx.nats).await?;
        }
        if self.of(account).await? == epoch {
            mailbox::purge(self.ctx, account, device, up_to).await?;
        }
        Ok(())
    }

    /// The epoch of an account's mailboxes.
    async fn of(&mut self, account: AccountId) -> anyhow::Result<u64> {
        let (connects, shard) = (*self.ctx.nats_connects.borrow(), self.ctx.config.nats.shards.of(account));
        if connects != self.connects {
            self.connects = connects;
            self.told.clear();
        }
        if let Some((at, epoch)) = self.told.get(&shard.index())
            && at.elapsed() < TOLD_JUST_NOW
        {
            return Ok(*epoch);
        }
        let Found { epoch, .. } = look(self.ctx, shard).await?;
        self.told.insert(shard.index(), (Instant::now(), epoch));
        Ok(epoch)
    }
}

/// A shard's stream, as it is now.
struct Found {
    epoch: u64,
    reached: u64,
    bytes: u64,
}

async fn look(ctx: &Ctx, shard: Shard) -> anyhow::Result<Found> {
    let name = shard.stream();
    let stream =
        ctx.jetstream.get_stream(&name).await.map_err(|error| {
            anyhow::anyhow!("the stream {name} is not there: {error}; run `nepto-server provision`")
        })?;
    let info = stream.cached_info();
    Ok(Found { epoch: nats::stream_epoch(info), reached: info.state.last_sequence, bytes: info.state.bytes })
}

/// Tells all devices that are connected here.
async fn notify_all(ctx: &Ctx, connections: &dyn Connections) {
    for (account, device) in connections.devices() {
        if let Err(error) = notify(&ctx.nats, account, device, &MailboxNotice::Recreated).await {
            tracing::warn!(%error, "a connection was not notified");
        }
    }
}
