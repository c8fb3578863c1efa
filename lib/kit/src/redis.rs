//! Redis: one connection for the whole process, made again when it breaks, and left when it leads to a server that takes no
//! writes any more, or is not the primary any more.
//!
//! A primary hands its place on: to a replica that Sentinels promote, behind a name that now leads elsewhere, to itself after
//! a restart. Replication and Redis' own files lag behind, so whoever takes over may lack the last that its predecessor was
//! told: a nonce that was used, a session that was ended, a block. So every server begins empty. Each connection first claims
//! its server with [`CLAIM`], before any other command: the server is a primary that takes writes, and what it holds is of its
//! own reign, or is deleted ([0035](../../../docs/adr/0035-servers-that-move.md)).

mod primary;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Script,
    ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::address;
use crate::config;
use crate::health::Health;

use self::primary::Primary;

/// A connection may take so long to be made, and a command to be answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Pauses before a further attempt to connect, after which a command fails.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];
/// How often it is looked whether the server of the connection is still the primary.
const PULSE: Duration = Duration::from_secs(1);
/// How long the key that `/readyz` writes stays.
const PROBE_TTL: Duration = Duration::from_secs(10);

/// Says whose reign the keys of a server belong to.
const REIGN: &str = "nepto:reign";
/// So many keys without a time to live may be older versions' of ours: places of routers, one for each shard.
const LASTING_KEYS_MAX: u32 = 256;

/// A primary has an id, which nobody had before it: a replica that is promoted draws one, and a server that starts. KEYS: where
/// it was noted. ARGV: the number of the database, how many keys without a time to live may be ours. Every way ends with a
/// write, which fails where nobody may write; `PERSIST` is one that needs no memory. Answers what it found: `same`, `first`, or
/// `other` after everything was deleted.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local told = redis.call('INFO', 'replication')
          if not string.find(told, 'role:master', 1, true) then
            return redis.error_reply('READONLY this server is a replica')
          end
          local reign = string.match(told, 'master_replid:(%x+)')
          if not reign then return redis.error_reply('ERR INFO replication names no master_replid') end
          local known = redis.call('GET', KEYS[1])
          if known == reign then
            redis.call('PERSIST', KEYS[1])
            return 'same'
          end
          if known then
            redis.call('FLUSHDB', 'ASYNC')
          else
            local keys, expire =
              string.match(redis.call('INFO', 'keyspace'), 'db' .. ARGV[1] .. ':keys=(%d+),expires=(%d+)')
            if keys and keys - expire > tonumber(ARGV[2]) then
              return redis.error_reply('NOTOURS ' .. (keys - expire) .. ' keys of this database never expire, so they are not '
                .. 'of Nepto, which would delete them; give it a number of its own: redis://host:port/1')
            end
          end
          redis.call('SET', KEYS[1], reign)
          return known and 'other' or 'first'",
    )
});

static DELETE_IF_EQUAL: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// Compare-and-delete: deletes a key if it still has this value, so that whoever wrote it can't delete what another one wrote
/// since. Whether it was deleted.
pub async fn delete_if_equal(redis: &Redis, key: &str, value: &str) -> RedisResult<bool> {
    DELETE_IF_EQUAL.key(key).arg(value).invoke_async(&mut redis.clone()).await
}

/// The connection. Clones share it.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    primary: Primary,
    /// None while there is none: the next command makes it.
    current: RwLock<Option<Arc<Connection>>>,
    /// Held by whoever connects: when that failed last, and how.
    connecting: Mutex<Option<(Instant, RedisError)>>,
    connections: AtomicU64,
}

/// To a server that was claimed.
struct Connection {
    link: MultiplexedConnection,
    to: ConnectionAddr,
    number: u64,
}

impl Redis {
    /// Connects, and from then on looks every second whether the connection leads to the primary. Fails if nobody answers at
    /// first.
    pub async fn connect(config: &config::Redis) -> anyhow::Result<Self> {
        let redis = Self::lazy(config)?;
        redis.0.connection().await.map_err(|error| {
            let at = match config.sentinels.is_empty() {
                true => address::shown(&config.url),
                false => format!("{:?} of the Sentinels in redis.sentinels", config.master),
            };
            anyhow::anyhow!("Redis at {at} can't be reached: {}", reason(&error))
        })?;
        tokio::spawn(watch(Arc::downgrade(&redis.0)));
        Ok(redis)
    }

    /// Forgets everything that is in this database of it.
    pub async fn forget_everything(&self) -> RedisResult<()> {
        redis::cmd("FLUSHDB").exec_async(&mut self.clone()).await
    }

    /// Connects with the first command.
    pub fn lazy(config: &config::Redis) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            primary: Primary::new(config)?,
            current: RwLock::new(None),
            connecting: Mutex::new(None),
            connections: AtomicU64::new(0),
        })))
    }

    /// `/readyz` writes: a replica, a Redis without memory and one that wants a password answer everything else.
    pub fn register(&self, health: &Health, node: &str) {
        let (redis, key) = (self.clone(), format!("probe:{node}"));
        health.register("redis", move || {
            let (mut redis, key) = (redis.clone(), key.clone());
            async move {
                let written = redis::cmd("SET")
                    .arg(key)
                    .arg(1)
                    .arg("PX")
                    .arg(PROBE_TTL.as_millis() as u64)
                    .exec_async(&mut redis)
                    .await;
                written.map_err(|error| reason(&error))
            }
        });
    }
}

/// Looks whether the server of the connection is still the primary, also while nobody asks anything, until nobody is left to ask.
async fn watch(redis: Weak<Inner>) {
    loop {
        tokio::time::sleep(PULSE).await;
        let Some(redis) = redis.upgrade() else { return };
        redis.pulse().await;
    }
}

impl Inner {
    fn current(&self) -> Option<Arc<Connection>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection, or a new one. Those who wait while somebody connects get what comes of it.
    async fn connection(&self) -> RedisResult<Arc<Connection>> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let asked = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        if let Some((at, error)) = &*failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                *failed = None;
                Ok(connection)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let mut pauses = RETRY_AFTER.into_iter();
        loop {
            let attempt = tokio::time::timeout(ANSWER_WITHIN, self.attempt()).await;
            match (attempt.unwrap_or_else(|_| Err(unanswered())), pauses.next()) {
                (Ok(connection), _) => return Ok(connection),
                (Err(error), Some(pause)) if !error.is_timeout() => tokio::time::sleep(pause).await,
                (Err(error), _) => return Err(error),
            }
        }
    }

    async fn attempt(&self) -> RedisResult<Connection> {
        let client = self.primary.find().await?;
        let to = client.get_connection_info().addr().clone();
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let mut link = client.get_multiplexed_async_connection_with_config(&settings).await?;
        self.claim(&mut link, &to).await?;
        Ok(Connection { link, to, number: self.connections.fetch_add(1, Ordering::Relaxed) })
    }

    /// Makes sure that a server is a primary that takes writes, and that it holds nothing of a predecessor.
    async fn claim(&self, link: &mut MultiplexedConnection, to: &ConnectionAddr) -> RedisResult<()> {
        let mut claim = CLAIM.key(REIGN);
        claim.arg(self.primary.database()).arg(LASTING_KEYS_MAX);
        let found: String = claim.invoke_async(link).await?;
        if found == "other" {
            metrics::counter!("nepto_redis_emptied_total").increment(1);
            tracing::warn!(server = %to, "this Redis took over from another one, or restarted: it was emptied");
        }
        Ok(())
    }

    async fn pulse(&self) {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(error = reason(&error), "Redis is out of reach"),
        };
        if let Err(error) = self.claim(&mut connection.link.clone(), &connection.to).await {
            self.leave(&connection, &reason(&error));
        } else if self.primary.is_elsewhere(&connection.to).await {
            self.leave(&connection, "Sentinels name another primary");
        }
    }

    /// Leaves a connection, unless somebody did already: the next command looks for the primary.
    fn leave(&self, left: &Connection, why: &str) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.number == left.number) {
            tracing::warn!(server = %left.to, why, "the connection to Redis is left for a new one");
            *current = None;
        }
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let connection = self.0.connection().await?;
            let answer = connection.link.clone().send_packed_command(cmd).await;
            let problem = match &answer {
                Err(error) => leads_nowhere(error),
                Ok(value) => told_of_it(value),
            };
            if let Some(why) = problem {
                self.0.leave(&connection, &why);
            }
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let connection = self.0.connection().await?;
            let answer = connection.link.clone().send_packed_commands(cmd, offset, count).await;
            let problem = match &answer {
                Err(error) => leads_nowhere(error),
                Ok(values) => values.iter().find_map(told_of_it),
            };
            if let Some(why) = problem {
                self.0.leave(&connection, &why);
            }
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.0.primary.database()
    }
}

fn unanswered() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// As the server says it (`READONLY`, `OOM`, `NOAUTH`), which is what an operator looks for.
fn reason(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Why a connection is of no use any more, if that is what an error says: it broke, nobody answers, or the server is none that
/// may be written to: a replica, or (`NOREPLICAS`) one that its replicas have left, perhaps for another primary. A script
/// tells what its command met, in Redis 6 as text only.
fn leads_nowhere(error: &RedisError) -> Option<String> {
    let detail = || error.detail().unwrap_or_default();
    let is_useless = match error.kind() {
        ErrorKind::Io => true,
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            detail().contains("-READONLY ") || detail().contains("-NOREPLICAS ")
        }
        _ => error.code() == Some("NOREPLICAS") || error.is_unrecoverable_error(),
    };
    is_useless.then(|| reason(error))
}

fn told_of_it(value: &Value) -> Option<String> {
    match value {
        Value::ServerError(error) => leads_nowhere(&error.clone().into()),
        _ => None,
    }
}
