//! Who is connected: `presence:{account}:{device}` = `node:epoch`, 45 s, refreshed every 15 s by the node that holds the
//! socket. Redis may be flushed; the next refresh writes it again.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use nepto_kit::token::{self, Claims, SessionState};
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::Control;
use nepto_proto::subject::Live;
use nepto_proto::{AccountId, DeviceId};
use redis::{AsyncCommands, Script};

use crate::accounts::WhoAccepts;
use crate::keys::{DeviceList, ListDevices};

const TTL: Duration = Duration::from_secs(45);
const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// Keys of one MGET or pipeline: 0.3 ms of Redis for each hundred.
const CHUNK: usize = 500;
/// Questions to other domains at once.
const CALLS_MAX: usize = 16;

/// Writes the presence of a new connection and returns its epoch: the time of Redis in microseconds, so that connections of
/// one device are ordered wherever they are.
static APPEAR: LazyLock<Script> = LazyLock::new(|| {
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
/// Compare-and-delete, so that an old connection can't erase its successor.
static VANISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// The connections of this node.
pub struct Presence {
    ctx: Ctx,
    here: Mutex<HashMap<(AccountId, DeviceId), Connection>>,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    epoch: u64,
    claims: Claims,
}

impl Presence {
    pub fn new(ctx: &Ctx) -> Self {
        Self { ctx: ctx.clone(), here: Mutex::default() }
    }

    /// A device has connected: tells older connections to close. It is here until what is returned is dropped.
    pub async fn appear(self: &Arc<Self>, claims: Claims) -> Result<Here, Failure> {
        let key = key(claims.account, claims.device);
        let epoch: u64 =
            APPEAR.key(key).arg(&*self.ctx.node).arg(TTL.as_secs()).invoke_async(&mut self.ctx.redis.clone()).await?;
        let connection = Connection { epoch, claims };
        self.here.lock().unwrap_or_else(PoisonError::into_inner).insert((claims.account, claims.device), connection);
        let here = Here { presence: self.clone(), account: claims.account, device: claims.device, epoch };
        self.tell(claims.account, claims.device, &Control::Superseded { epoch }).await;
        Ok(here)
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
    async fn vanish(&self, account: AccountId, device: DeviceId, epoch: u64) {
        self.forget(account, device, epoch);
        let gone: Result<i64, _> =
            VANISH.key(key(account, device)).arg(self.value(epoch)).invoke_async(&mut self.ctx.redis.clone()).await;
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

    /// Says the same to every session of this node.
    pub async fn tell_all(&self, control: &Control) {
        for connection in self.connections() {
            self.tell(connection.claims.account, connection.claims.device, control).await;
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
            let (account, device) = (connection.claims.account, connection.claims.device);
            if alive == 0 {
                self.tell(account, device, &Control::Superseded { epoch: connection.epoch + 1 }).await;
            }
            if state.as_deref() == Some(SessionState::Revoked.as_str()) {
                self.tell(account, device, &Control::Revoked { session: connection.claims.session }).await;
            }
        }
        // Redis forgot these sessions, or was flushed: ask who owns them
        let forgotten =
            chunk.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|(connection, _)| connection);
        futures_util::stream::iter(forgotten)
            .for_each_concurrent(CALLS_MAX, |connection| async {
                if let Ok(SessionState::Revoked) = token::session_state(&self.ctx, &connection.claims).await {
                    let control = Control::Revoked { session: connection.claims.session };
                    self.tell(connection.claims.account, connection.claims.device, &control).await;
                }
            })
            .await;
        Ok(())
    }

    async fn tell(&self, account: AccountId, device: DeviceId, control: &Control) {
        let Ok(control) = serde_json::to_vec(control) else { return };
        if let Err(error) = self.ctx.nats.publish(Live::Control.subject(account, device), control.into()).await {
            tracing::warn!(%error, "a session was not told");
        }
    }

    fn value(&self, epoch: u64) -> String {
        format!("{}:{epoch}", self.ctx.node)
    }
}

/// A connection that is here. However it ends, it does not stay behind as a ghost.
pub struct Here {
    presence: Arc<Presence>,
    account: AccountId,
    device: DeviceId,
    /// Of the connection: newer ones have larger ones.
    pub epoch: u64,
}

impl Here {
    /// Leaves in good order: nobody takes the device for connected any more.
    pub async fn leave(self) {
        self.presence.vanish(self.account, self.device, self.epoch).await;
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.presence.forget(self.account, self.device, self.epoch);
    }
}

fn key(account: AccountId, device: DeviceId) -> String {
    format!("presence:{account}:{device}")
}

/// Which of these accounts have a connected device, among those that have accepted the asker (and the asker itself).
pub async fn online(ctx: &Ctx, asker: AccountId, accounts: &[AccountId]) -> Result<Vec<AccountId>, Failure> {
    let others: Vec<AccountId> = accounts.iter().copied().filter(|account| *account != asker).collect();
    let mut visible = match others.is_empty() {
        true => Vec::new(),
        false => ctx.call(&WhoAccepts { asker, accounts: others }).await?,
    };
    visible.extend(accounts.iter().copied().find(|account| *account == asker));
    let devices = device_lists(ctx, &visible).await?;
    let asked: Vec<(AccountId, DeviceId)> =
        devices.iter().flat_map(|(account, list)| list.devices.iter().map(|(device, _)| (*account, *device))).collect();
    let mut found: Vec<AccountId> = connected(ctx, &asked).await?.into_iter().map(|(account, _)| account).collect();
    found.dedup();
    Ok(found)
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

async fn device_lists(ctx: &Ctx, accounts: &[AccountId]) -> Result<Vec<(AccountId, DeviceList)>, Failure> {
    let mut lists = Vec::with_capacity(accounts.len());
    for chunk in accounts.chunks(CHUNK) {
        let keys: Vec<String> = chunk.iter().map(|account| DeviceList::cache_key(*account)).collect();
        let known: Vec<Option<String>> = ctx.redis.clone().mget(&keys).await?;
        for (account, text) in chunk.iter().zip(known) {
            let list = match text.as_deref().and_then(DeviceList::decode) {
                Some(list) => list,
                None => ctx.call(&ListDevices { account: *account }).await?,
            };
            lists.push((*account, list));
        }
    }
    Ok(lists)
}
