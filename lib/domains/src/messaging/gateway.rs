//! The socket gateway: holds connections and nothing else. `kill -9` of a gateway loses no acknowledged message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{FutureExt, StreamExt};
use nepto_kit::http::{Acquaintance, Bounds, Full, Origin, Share, Shares};
use nepto_kit::subscriptions::Subscriptions;
use nepto_kit::{Ctx, Failure, nats};
use nepto_proto::event::Control;
use nepto_proto::subject::{Shard, Shards};
use nepto_proto::{AccountId, DeviceId};
use tokio::sync::Semaphore;

use super::acked::{Acked, Purger};
use super::config::{self, Mailbox as MailboxSection};
use super::connection::Spent;
use super::fullness::Fullness;
use super::handshake::upgrade;
use super::mailbox::Store;
use super::presence::Presence;

/// Mailboxes of a process that are read at once: after a lost connection to NATS, everybody's.
const READS_MAX: usize = 256;
/// JetStream says that it made a stream (NATS ADR-8, advisories).
const STREAM_CREATED: &str = "$JS.EVENT.ADVISORY.STREAM.CREATED.*";
/// How often the streams are looked at, should that word be lost.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// After a look that failed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What the connections of a process share.
pub struct Gateway {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    purger: Purger,
    pub(super) presence: Arc<Presence>,
    pub(super) subscriptions: Subscriptions,
    /// Turns to read a mailbox.
    pub(super) reads: Arc<Semaphore>,
    pub(super) fullness: Arc<Fullness>,
    pub(super) spent: Spent,
    /// Open sockets.
    sockets: Shares,
    /// Those that have not said hello: they cost nobody a wallet, so nobody may have many.
    greetings: Shares,
    mailboxes: Mailboxes,
}

fn socket_bounds(ctx: &Ctx) -> Bounds {
    let (http, all) = (&ctx.config.http, ctx.config.section::<config::Gateway>().sockets_max);
    Bounds { all, network: http.connections_per_address_max, prefix: http.connections_per_prefix_max }
}

fn greeting_bounds(ctx: &Ctx) -> Bounds {
    let (http, all) = (&ctx.config.http, ctx.config.section::<config::Gateway>().sockets_max);
    Bounds { all, network: http.greetings_per_address_max, prefix: http.greetings_per_prefix_max }
}

/// A loop beside the connections, with its name: it must run for as long as the process does.
pub type Part = (String, BoxFuture<'static, anyhow::Result<()>>);

impl Gateway {
    /// A gateway, and what must run beside its connections.
    pub async fn new(ctx: &Ctx) -> anyhow::Result<(Arc<Self>, Vec<Part>)> {
        let (store, lanes) = Store::new(ctx);
        let (subscriptions, link) =
            Subscriptions::connect(&ctx.config.nats, &ctx.node, &ctx.health, ctx.stop.clone()).await?;
        let gateway = Arc::new(Self {
            store,
            purger: Purger::new(ctx),
            presence: Arc::new(Presence::new(ctx)),
            subscriptions,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            fullness: Arc::default(),
            spent: Spent::default(),
            sockets: Shares::new("sockets", socket_bounds(ctx)),
            greetings: Shares::new("greetings", greeting_bounds(ctx)),
            mailboxes: Mailboxes::find(ctx).await?,
            ctx: ctx.clone(),
        });
        for shard in ctx.config.nats.shards.all() {
            let jetstream = ctx.jetstream.clone();
            ctx.health.register(format!("stream {}", shard.stream()), move || {
                let jetstream = jetstream.clone();
                async move { jetstream.get_stream(shard.stream()).await.map(drop).map_err(|error| error.to_string()) }
            });
        }
        let (full, mailbox) = (gateway.fullness.clone(), ctx.config.section::<MailboxSection>());
        ctx.health.register("message store", move || std::future::ready(full.check(&mailbox)));
        let (presence, purges, mailboxes) = (gateway.presence.clone(), gateway.clone(), gateway.clone());
        let (fullness, watching) = (gateway.fullness.clone(), ctx.clone());
        let purges = async move { purges.purger.run(&purges.ctx, |account| purges.epoch_of(account)).await };
        let mut parts: Vec<Part> = vec![
            ("purges".to_owned(), Box::pin(purges.map(Ok))),
            ("presence".to_owned(), Box::pin(async move { presence.run().map(Ok).await })),
            ("subscriptions".to_owned(), Box::pin(link.run().map(Ok))),
            ("mailboxes".to_owned(), Box::pin(async move { mailboxes.watch_mailboxes().await })),
            ("fullness".to_owned(), Box::pin(async move { fullness.watch(&watching).map(Ok).await })),
        ];
        for (index, lane) in lanes.into_iter().enumerate() {
            parts.push((format!("lane {index}"), Box::pin(lane.run().map(Ok))));
        }
        Ok((gateway, parts))
    }

    /// The route of the socket.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new().route("/v1/socket", get(upgrade)).with_state(self)
    }

    /// This part of a mailbox may go: some time soon, and not with everybody else's. The epoch is that of the connection.
    pub fn acknowledge(&self, account: AccountId, device: DeviceId, epoch: u64, part: Acked) {
        let spread_ms = || {
            let every = self.ctx.config.section::<MailboxSection>().purge_every_ms;
            (every / 2 + self.ctx.random.below(every)).cast_signed()
        };
        self.purger.acknowledge((account, device), epoch, part, self.ctx.clock.now_ms(), spread_ms);
    }

    /// The epoch of an account's mailboxes.
    pub fn epoch_of(&self, account: AccountId) -> u64 {
        self.mailboxes.of(account).epoch.load(Ordering::Relaxed)
    }

    /// Where a client that stored everything up to `seq` goes on: there, unless the mailbox never came so far. Then it is
    /// another mailbox than the client thinks, and everything in it is new.
    pub async fn resume_at(&self, account: AccountId, seq: u64) -> Result<u64, Failure> {
        let known = self.mailboxes.of(account);
        if seq <= known.reached.load(Ordering::Relaxed) {
            return Ok(seq);
        }
        let found = look(&self.ctx, self.mailboxes.shards.of(account)).await;
        let Found { epoch, reached, .. } = found.map_err(|error| Failure::unavailable("JetStream", error))?;
        // a new epoch is for `watch_mailboxes` to notice, who tells the open sockets
        if epoch == known.epoch.load(Ordering::Relaxed) {
            known.reached.store(reached, Ordering::Relaxed);
        }
        Ok(if seq <= reached { seq } else { 0 })
    }

    /// Somebody may have made the mailboxes anew, above all while the connection to NATS was lost: then no cursor of an
    /// open socket means anything. A socket that misses the word finds out with its next ping.
    async fn watch_mailboxes(&self) -> anyhow::Result<()> {
        let mut created = self.ctx.nats.subscribe(STREAM_CREATED).await?;
        let mut connects = self.ctx.nats_connects.clone();
        let mut due = tokio::time::interval(LOOK_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ctx.stop.cancelled() => return Ok(()),
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
            let looked = self.mailboxes.look_at_all(&self.ctx).await;
            let bytes = self.mailboxes.known.iter().map(|known| known.bytes.load(Ordering::Relaxed));
            self.fullness.note_streams(&self.ctx.config.section::<MailboxSection>(), bytes);
            match looked {
                Ok(anew) if anew => self.presence.tell_all(&Control::MailboxAnew).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the mailboxes were not found; looking again");
                    due.reset_after(LOOK_AGAIN_AFTER);
                }
            }
        }
    }
}

/// What is known of the streams behind the mailboxes.
struct Mailboxes {
    shards: Shards,
    known: Vec<Mailbox>,
}

#[derive(Default)]
struct Mailbox {
    /// Of its sequences: when the stream was made, and how often it was restored (`provision --restored`).
    epoch: AtomicU64,
    /// The last sequence that was seen; there may be more.
    reached: AtomicU64,
    /// What its stream held at the last look at all.
    bytes: AtomicU64,
}

impl Mailboxes {
    async fn find(ctx: &Ctx) -> anyhow::Result<Self> {
        let shards = ctx.config.nats.shards;
        let mailboxes = Self { shards, known: shards.all().map(|_| Mailbox::default()).collect() };
        mailboxes.look_at_all(ctx).await?;
        Ok(mailboxes)
    }

    fn of(&self, account: AccountId) -> &Mailbox {
        &self.known[self.shards.of(account).index()]
    }

    /// Whether any was made anew since the last look. Nothing is noted unless all are found: a change is told once.
    async fn look_at_all(&self, ctx: &Ctx) -> anyhow::Result<bool> {
        let found = try_join_all(self.shards.all().map(|shard| look(ctx, shard))).await?;
        let mut anew = false;
        for (known, Found { epoch, reached, bytes }) in self.known.iter().zip(found) {
            let before = known.epoch.swap(epoch, Ordering::Relaxed);
            known.reached.store(reached, Ordering::Relaxed);
            known.bytes.store(bytes, Ordering::Relaxed);
            anew |= before != 0 && before != epoch;
        }
        Ok(anew)
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

/// One of the connections that a gateway has room for; given back when dropped.
pub struct Place {
    gateway: Arc<Gateway>,
    /// Until it has said hello.
    greeting: Option<(Share, Acquaintance)>,
    _socket: Share,
}

impl Place {
    /// Takes one, if there is room, also for who asks.
    pub fn take(gateway: &Arc<Gateway>, origin: Origin, acquaintance: Acquaintance) -> Result<Self, Full> {
        let socket = gateway.sockets.take(Some(origin))?;
        let greeting = Some((gateway.greetings.take(Some(origin))?, acquaintance));
        metrics::gauge!("nepto_gateway_sockets").increment(1.0);
        Ok(Self { gateway: gateway.clone(), greeting, _socket: socket })
    }

    /// The gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// It has said hello.
    pub fn greeted(&mut self) {
        if let Some((_, acquaintance)) = self.greeting.take() {
            acquaintance.make();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("nepto_gateway_sockets").decrement(1.0);
    }
}
