//! The socket gateway: holds connections and nothing else. `kill -9` of a gateway loses no acknowledged message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nepto_kit::{Ctx, Failure};
use nepto_proto::limits::FRAME_BYTES_MAX;
use nepto_proto::subject::Shard;
use nepto_proto::{AccountId, ErrorCode};
use tokio::sync::RwLock;

use super::connection;
use super::mailbox::{Purger, Store};
use super::presence::Presence;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "nepto.v1";
/// Bytes of a connection's read buffer: idle sockets are many, and it is kept for as long as they live.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes that may wait to be written on one connection; past it the client is too slow.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// What the connections of a process share.
pub struct Gateway {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    pub(super) purger: Purger,
    pub(super) presence: Presence,
    open: AtomicUsize,
    /// When each shard's stream was made: the epoch of its sequences.
    epochs: RwLock<Vec<u64>>,
}

impl Gateway {
    /// Starts what runs beside the connections.
    pub async fn start(ctx: &Ctx) -> anyhow::Result<Arc<Self>> {
        let gateway = Arc::new(Self {
            store: Store::start(ctx),
            purger: Purger::default(),
            presence: Presence::new(ctx),
            open: AtomicUsize::new(0),
            epochs: RwLock::default(),
            ctx: ctx.clone(),
        });
        gateway.read_epochs().await?;
        for shard in ctx.config.nats.shards.all() {
            let jetstream = ctx.jetstream.clone();
            ctx.health.register(format!("stream {}", shard.stream()), move || {
                let jetstream = jetstream.clone();
                async move { jetstream.get_stream(shard.stream()).await.map(drop).map_err(|error| error.to_string()) }
            });
        }
        ctx.tasks.spawn(gateway.purger.clone().run(ctx.clone()));
        let presence = gateway.clone();
        ctx.tasks.spawn(async move { presence.presence.run().await });
        let reconnects = gateway.clone();
        ctx.tasks.spawn(async move { reconnects.follow_reconnects().await });
        Ok(gateway)
    }

    /// The route of the socket.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new().route("/v1/socket", get(upgrade)).with_state(self)
    }

    /// The epoch of an account's mailboxes.
    pub async fn epoch_of(&self, account: AccountId) -> u64 {
        let shard = self.ctx.config.nats.shards.of(account);
        self.epochs.read().await.get(shard.index()).copied().unwrap_or_default()
    }

    async fn read_epochs(&self) -> anyhow::Result<()> {
        let mut epochs = Vec::new();
        for shard in self.ctx.config.nats.shards.all() {
            epochs.push(self.read_epoch(shard).await?);
        }
        *self.epochs.write().await = epochs;
        Ok(())
    }

    async fn read_epoch(&self, shard: Shard) -> anyhow::Result<u64> {
        let name = shard.stream();
        let stream = self.ctx.jetstream.get_stream(&name).await.map_err(|error| {
            anyhow::anyhow!("the stream {name} is not there: {error}; run `nepto-server provision`")
        })?;
        Ok((stream.cached_info().created.unix_timestamp_nanos() / 1_000) as u64)
    }

    /// After the connection to NATS was lost, live copies may have been missed, and the streams may be others.
    async fn follow_reconnects(&self) {
        let mut connects = self.ctx.nats_connects.clone();
        loop {
            tokio::select! {
                () = self.ctx.stop.cancelled() => return,
                changed = connects.changed() => if changed.is_err() { return },
            }
            if let Err(error) = self.read_epochs().await {
                tracing::warn!(error = format!("{error:#}"), "the mailbox epochs could not be read");
            }
            self.presence.nudge_all().await;
        }
    }
}

async fn upgrade(State(gateway): State<Arc<Gateway>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX);
    if upgrade.selected_protocol().is_none() {
        let detail = format!("ask for the WebSocket subprotocol {SUBPROTOCOL}");
        return Failure::new(ErrorCode::Malformed, detail).into_response();
    }
    if gateway.ctx.stop.is_cancelled() {
        return Failure::new(ErrorCode::Unavailable, "this gateway is stopping").into_response();
    }
    let Some(place) = Place::take(&gateway) else {
        return Failure::new(ErrorCode::Unavailable, "this gateway is full; try another").into_response();
    };
    let tasks = gateway.ctx.tasks.clone();
    upgrade.on_upgrade(move |socket| tasks.track_future(connection::serve(place, socket)))
}

/// One of the connections that a gateway has room for; given back when dropped.
pub struct Place(Arc<Gateway>);

impl Place {
    fn take(gateway: &Arc<Gateway>) -> Option<Self> {
        let before = gateway.open.fetch_add(1, Ordering::Relaxed);
        let place = Self(gateway.clone());
        metrics::gauge!("nepto_gateway_sockets").increment(1.0);
        (before < gateway.ctx.config.gateway.sockets_max).then_some(place)
    }

    /// The gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("nepto_gateway_sockets").decrement(1.0);
    }
}
