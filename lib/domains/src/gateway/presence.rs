//! Which device is connected where, and that the newer of two connections stays: `presence:{account}:{device}` =
//! `node:epoch`, 45 s, refreshed every 15 s by the node that holds the socket. Redis may be flushed; the next refresh writes
//! it again.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use nepto_kit::frames::Connections;
use nepto_kit::redis::delete_if_equal;
use nepto_kit::subscriptions::Subscriptions;
use nepto_kit::token::{self, Claims};
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::Control;
use nepto_proto::subject::Live;
use nepto_proto::svc::auth::SessionState;
use nepto_proto::{AccountId, DeviceId};
use redis::{AsyncCommands, Script};

const TTL: Duration = Duration::from_secs(45);
const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// Keys of one MGET or pipeline: 0.3 ms of Redis for each hundred.
const CHUNK: usize = 500;
/// Questions to other domains at once.
const CALLS_MAX: usize = 16;

/// Writes the presence of a new connection and returns its epoch: the time of Redis in microseconds, so that connections of
/// one device are ordered wherever they are.
static CONNECT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local time = redis.call('TIME')
          local epoch = string.format('%d%06d', time[1], time[2])
          redis.call('SET', KEYS[1], ARGV[1] .. ':' .. epoch, 'EX', ARGV[2])
          return epoch",
    )
});
/// Keeps a presence alive; 0 where a newer connection has taken over.
static REFRESH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local known = redis.call('GET', KEYS[1])
          if known and known ~= ARGV[1] then return 0 end
          redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
          return 1",
    )
});

/// The connections of this node.
pub struct Presence {
    ctx: Ctx,
    /// What the sockets of this node listen to.
    subscriptions: Subscriptions,
    here: Mutex<HashMap<(AccountId, DeviceId), Connection>>,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    epoch: u64,
    claims: Claims,
}

impl Connections for Presence {
    fn devices(&self) -> Vec<(AccountId, DeviceId)> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Presence {
    pub fn new(ctx: &Ctx, subscriptions: Subscriptions) -> Self {
        Self { ctx: ctx.clone(), subscriptions, here: Mutex::default() }
    }

    /// A device has connected: tells older connections to close. It is here until what is returned is dropped.
    pub async fn connect(self: &Arc<Self>, claims: Claims) -> Result<PresenceGuard, Failure> {
        let key = key(claims.account, claims.device);
        let epoch: u64 =
            CONNECT.key(key).arg(&*self.ctx.node).arg(TTL.as_secs()).invoke_async(&mut self.ctx.redis.clone()).await?;
        let connection = Connection { epoch, claims };
        self.here.lock().unwrap_or_else(PoisonError::into_inner).insert((claims.account, claims.device), connection);
        let (account, device) = (claims.account, claims.device);
        let guard = PresenceGuard { presence: self.clone(), account, device, epoch };
        self.notify(account, device, &Control::Superseded { epoch }).await;
        Ok(guard)
    }

    /// The last connection of a device to this node.
    pub fn newest_here(&self, account: AccountId, device: DeviceId) -> Option<u64> {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.get(&(account, device)).map(|connection| connection.epoch)
    }

    /// A connection is not kept alive any more; what Redis knows of it expires.
    fn forget(&self, account: AccountId, device: DeviceId, epoch: u64) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.get(&(account, device)).is_some_and(|connection| connection.epoch == epoch) {
            here.remove(&(account, device));
        }
    }

    /// A connection has closed.
    async fn disconnect(&self, account: AccountId, device: DeviceId, epoch: u64) {
        self.forget(account, device, epoch);
        // an old connection can't delete its successor's presence
        let gone = delete_if_equal(&self.ctx.redis, &key(account, device), &self.value(epoch)).await;
        if let Err(error) = gone {
            tracing::debug!(%error, "a presence was not removed and will expire");
        }
    }

    /// Refreshes until the process stops. Also the slow way to learn what a lost control message would have said: that a
    /// connection was superseded on another node, or its session signed out.
    pub async fn run(&self) {
        let mut due = tokio::time::interval(REFRESH_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ctx.stop.cancelled() => return,
                _ = due.tick() => {}
            }
            let connections = self.connections();
            metrics::gauge!("nepto_gateway_devices").set(connections.len() as f64);
            for chunk in connections.chunks(CHUNK) {
                if let Err(error) = self.refresh(chunk).await {
                    tracing::warn!(%error, "presence was not refreshed; trying again");
                    break;
                }
            }
        }
    }

    fn connections(&self) -> Vec<Connection> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    async fn refresh(&self, chunk: &[Connection]) -> redis::RedisResult<()> {
        let mut redis = self.ctx.redis.clone();
        let mut pipeline = redis::pipe();
        pipeline.load_script(&REFRESH).ignore();
        for connection in chunk {
            let (account, device) = (connection.claims.account, connection.claims.device);
            let mut call = REFRESH.key(key(account, device));
            pipeline.invoke_script(call.arg(self.value(connection.epoch)).arg(TTL.as_secs()));
        }
        let alive: Vec<u8> = pipeline.query_async(&mut redis).await?;
        let sessions: Vec<String> = chunk.iter().map(|c| SessionState::key(c.claims.session)).collect();
        let states: Vec<Option<String>> = redis.mget(&sessions).await?;
        for ((connection, alive), state) in chunk.iter().zip(alive).zip(&states) {
            if alive == 0 {
                self.tell_here(connection, &Control::Superseded { epoch: connection.epoch + 1 });
            }
            if state.as_deref() == Some(SessionState::Revoked.as_str()) {
                self.tell_here(connection, &Control::Revoked { session: connection.claims.session });
            }
        }
        // Redis forgot these sessions, or was flushed: ask who owns them
        let forgotten =
            chunk.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|(connection, _)| connection);
        futures_util::stream::iter(forgotten)
            .for_each_concurrent(CALLS_MAX, |connection| async {
                if let Ok(SessionState::Revoked) = token::session_state(&self.ctx, &connection.claims).await {
                    self.tell_here(connection, &Control::Revoked { session: connection.claims.session });
                }
            })
            .await;
        Ok(())
    }

    /// Tells the sockets of a device that are here, whatever becomes of NATS.
    fn tell_here(&self, Connection { claims, .. }: &Connection, control: &Control) {
        let Ok(control) = serde_json::to_vec(control) else { return };
        let (account, device) = (claims.account, claims.device);
        let subject = Live::Control.subject(account, device);
        self.subscriptions.tell(&Live::all(account, device), &subject, control.into());
    }

    async fn notify(&self, account: AccountId, device: DeviceId, control: &Control) {
        let Ok(control) = serde_json::to_vec(control) else { return };
        if let Err(error) = self.ctx.nats.publish(Live::Control.subject(account, device), control.into()).await {
            tracing::warn!(%error, "a connection was not notified");
        }
    }

    fn value(&self, epoch: u64) -> String {
        format!("{}:{epoch}", self.ctx.node)
    }
}

/// A connection that is here. However it ends, it does not stay behind as a ghost.
pub struct PresenceGuard {
    presence: Arc<Presence>,
    account: AccountId,
    device: DeviceId,
    /// Of the connection: newer ones have larger ones.
    pub epoch: u64,
}

impl PresenceGuard {
    /// Leaves in good order: nobody takes the device for connected any more.
    pub async fn leave(self) {
        self.presence.disconnect(self.account, self.device, self.epoch).await;
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        self.presence.forget(self.account, self.device, self.epoch);
    }
}

fn key(account: AccountId, device: DeviceId) -> String {
    format!("presence:{account}:{device}")
}

/// Which of these devices are connected.
pub async fn connected(ctx: &Ctx, devices: &[(AccountId, DeviceId)]) -> redis::RedisResult<Vec<(AccountId, DeviceId)>> {
    let mut found = Vec::new();
    for chunk in devices.chunks(CHUNK) {
        let keys: Vec<String> = chunk.iter().map(|(account, device)| key(*account, *device)).collect();
        let present: Vec<Option<String>> = ctx.redis.clone().mget(&keys).await?;
        found.extend(chunk.iter().zip(present).filter(|(_, value)| value.is_some()).map(|(asked, _)| *asked));
    }
    Ok(found)
}
