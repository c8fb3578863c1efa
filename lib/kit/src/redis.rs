//! Redis: one connection for the whole process, made again when it breaks, and left when it leads to a server that takes no
//! writes any more.
//!
//! Behind one name the primary may change (a managed Redis, Sentinel with a proxy). New connections reach the new one, while
//! an open one stays with the old one, which answers, and refuses to write, for as long as it lives. The client library
//! reconnects only when the network breaks.

use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Script, ServerErrorKind, Value};
use tokio::time::Instant;

use crate::address;
use crate::health::Health;

/// A connection may take so long to be made, and a command to be answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Attempts to connect before a command fails.
const RETRIES: usize = 2;
/// The longest pause between them.
const RETRY_AFTER_MAX: Duration = Duration::from_millis(500);
/// A connection is left at most this often: while there is no primary at all, a new one leads nowhere better.
const LEAVE_EVERY: Duration = Duration::from_secs(1);
/// How long the key that `/readyz` writes stays.
const PROBE_TTL: Duration = Duration::from_secs(10);

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
    client: Client,
    current: RwLock<Connection>,
}

#[derive(Clone)]
struct Connection {
    manager: ConnectionManager,
    made: Instant,
}

fn settings() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
        .set_number_of_retries(RETRIES)
        .set_max_delay(RETRY_AFTER_MAX)
}

impl Redis {
    /// Forgets everything that is in this database of it.
    pub async fn forget_everything(&self) -> RedisResult<()> {
        redis::cmd("FLUSHDB").exec_async(&mut self.clone()).await
    }

    /// Connects, and reconnects by itself from then on. Fails if nobody answers at first.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = client(url)?;
        let manager = ConnectionManager::new_with_config(client.clone(), settings())
            .await
            .map_err(|error| anyhow::anyhow!("Redis at {} can't be reached: {error}", address::shown(url)))?;
        Ok(Self::new(client, manager))
    }

    /// Connects with the first command.
    pub fn lazy(url: &str) -> anyhow::Result<Self> {
        let client = client(url)?;
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), settings())?;
        Ok(Self::new(client, manager))
    }

    fn new(client: Client, manager: ConnectionManager) -> Self {
        Self(Arc::new(Inner { client, current: RwLock::new(Connection { manager, made: Instant::now() }) }))
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

    fn current(&self) -> Connection {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves a connection for a new one, unless somebody did already. Commands that wait for it are answered by it.
    fn leave(&self, left: &Connection) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.made != left.made || left.made.elapsed() < LEAVE_EVERY {
            return;
        }
        match ConnectionManager::new_lazy_with_config(self.0.client.clone(), settings()) {
            Ok(manager) => {
                tracing::warn!("Redis takes no writes: reconnecting, its name may lead to another server now");
                *current = Connection { manager, made: Instant::now() };
            }
            Err(error) => tracing::error!(%error, "Redis can't be reconnected"),
        }
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut connection = self.current();
            let answer = connection.manager.send_packed_command(cmd).await;
            if answer.as_ref().map_or_else(refuses_writes, tells_of_no_writes) {
                self.leave(&connection);
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
            let mut connection = self.current();
            let answer = connection.manager.send_packed_commands(cmd, offset, count).await;
            if answer.as_ref().map_or_else(refuses_writes, |values| values.iter().any(tells_of_no_writes)) {
                self.leave(&connection);
            }
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.current().manager.get_db()
    }
}

fn client(url: &str) -> anyhow::Result<Client> {
    Client::open(url).map_err(|error| anyhow::anyhow!("redis.url {} is not valid: {error}", address::shown(url)))
}

/// As the server says it (`READONLY`, `OOM`, `NOAUTH`), which is what an operator looks for.
fn reason(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Whether a server says that it is a replica: one that may only be read, or (`MASTERDOWN`) not even that. A script tells
/// what its command met, in Redis 6 as text only.
fn refuses_writes(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.contains("-READONLY "))
        }
        _ => false,
    }
}

fn tells_of_no_writes(value: &Value) -> bool {
    match value {
        Value::ServerError(error) => refuses_writes(&error.clone().into()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    #[test]
    fn a_replica_is_known_by_what_it_says() {
        let told = |line: &str| tells_of_no_writes(&parse_redis_value(line.as_bytes()).unwrap());
        for replica in [
            "-READONLY You can't write against a read only replica.\r\n",
            "-READONLY You can't write against a read only replica. script: 7f92, on @user_script:1.\r\n",
            "-ERR Error running script (call to f_7f92): @user_script:1: @user_script: 1: -READONLY You can't write \
             against a read only replica. \r\n",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        ] {
            assert!(told(replica), "{replica}");
        }
        for other in
            ["-OOM command not allowed when used memory > 'maxmemory'.\r\n", "-NOSCRIPT No matching\r\n", "+OK\r\n"]
        {
            assert!(!told(other), "{other}");
        }
    }
}
