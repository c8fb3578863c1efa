//! Where Redis' primary is: at an address, or where Sentinels say.
//!
//! The client library's own way to Sentinels takes the answer of the first that has one. One that was cut off from the others
//! still names the primary that they have replaced, and that one, if it was cut off with it, still believes it. So more than
//! half of them are asked, and the newest of what they say counts: they number each failover.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    RedisResult,
};
use tokio::sync::Mutex;

use crate::address;
use crate::config;

/// A Sentinel that has not answered by then is left out.
const SENTINEL_WITHIN: Duration = Duration::from_secs(1);

/// The way to the primary.
pub enum Primary {
    /// At this address.
    At(Client),
    /// Where Sentinels say.
    Watched(Sentinels),
}

impl Primary {
    /// As it is configured. Nobody is asked yet.
    pub fn new(config: &config::Redis) -> anyhow::Result<Self> {
        let primary = valid("redis.url", &config.url)?;
        if config.sentinels.is_empty() {
            return Ok(Self::At(Client::open(primary)?));
        }
        let asked = config.sentinels.iter().map(|url| Sentinel::new(valid("redis.sentinels", url)?));
        let asked = asked.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self::Watched(Sentinels { asked, name: config.master.clone(), primary }))
    }

    /// Whom to connect to now.
    pub async fn find(&self) -> RedisResult<Client> {
        match self {
            Self::At(client) => Ok(client.clone()),
            Self::Watched(sentinels) => {
                let address = sentinels.find().await?;
                Client::open(sentinels.primary.clone().set_addr(address))
            }
        }
    }

    /// Whether the primary is known to be elsewhere than at this address. While nobody says so, it is not.
    pub async fn is_elsewhere(&self, address: &ConnectionAddr) -> bool {
        match self {
            Self::At(_) => false,
            Self::Watched(sentinels) => sentinels.find().await.is_ok_and(|found| found != *address),
        }
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        match self {
            Self::At(client) => client.get_connection_info().redis_settings().db(),
            Self::Watched(sentinels) => sentinels.primary.redis_settings().db(),
        }
    }
}

fn valid(field: &str, url: &str) -> anyhow::Result<ConnectionInfo> {
    url.into_connection_info().map_err(|error| anyhow::anyhow!("{field} {} is not valid: {error}", address::shown(url)))
}

/// Those that watch over a primary and its replicas.
pub struct Sentinels {
    asked: Vec<Sentinel>,
    /// What they call the primary.
    name: String,
    /// How one signs in to it; its address is theirs to say.
    primary: ConnectionInfo,
}

/// One of them, and the connection to it.
struct Sentinel {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What one of them says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// The number of the failover that made it so.
    epoch: u64,
    address: ConnectionAddr,
}

impl Sentinels {
    async fn find(&self) -> RedisResult<ConnectionAddr> {
        let mut answers: FuturesUnordered<_> = self.asked.iter().map(|sentinel| sentinel.ask(&self.name)).collect();
        let (mut told, mut problem) = (Vec::new(), None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => told.push(answer),
                Err(error) => problem = Some(error),
            }
            if told.len() > self.asked.len() / 2 {
                break;
            }
        }
        if told.len() <= self.asked.len() / 2 {
            let few = || RedisError::from((ErrorKind::Io, "too few Sentinels answer: more than half must"));
            return Err(problem.unwrap_or_else(few));
        }
        let none = || RedisError::from((ErrorKind::InvalidClientConfig, "no Sentinel is named"));
        newest(told).map(|told| told.address).ok_or_else(none)
    }
}

fn newest(told: Vec<Told>) -> Option<Told> {
    told.into_iter().max_by_key(|told| told.epoch)
}

impl Sentinel {
    fn new(info: ConnectionInfo) -> anyhow::Result<Self> {
        Ok(Self { client: Client::open(info)?, connection: Mutex::new(None) })
    }

    async fn ask(&self, name: &str) -> RedisResult<Told> {
        let mut connection = self.connection.lock().await;
        let answer = tokio::time::timeout(SENTINEL_WITHIN, async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => self.client.get_multiplexed_async_connection_with_config(&AsyncConnectionConfig::new()).await?,
            };
            let told: HashMap<String, String> =
                redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut open).await?;
            // kept only when it has answered, so that a broken one is not asked twice
            *connection = Some(open);
            read(&told)
        });
        answer.await.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "a Sentinel does not answer"))))
    }
}

fn read(told: &HashMap<String, String>) -> RedisResult<Told> {
    let field = |name: &str| told.get(name).map(String::as_str);
    let number = |name: &str| field(name).and_then(|text| text.parse::<u64>().ok());
    let port = number("port").and_then(|port| u16::try_from(port).ok());
    match (field("ip"), port, number("config-epoch")) {
        (Some(host), Some(port), Some(epoch)) => {
            Ok(Told { epoch, address: ConnectionAddr::Tcp(host.to_owned(), port) })
        }
        _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "this is not what a Sentinel says of a primary"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(epoch: &str, port: &str) -> RedisResult<Told> {
        let fields = [("name", "nepto"), ("ip", "10.0.0.1"), ("port", port), ("config-epoch", epoch)];
        read(&fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn the_newest_of_what_sentinels_say_counts() {
        let (stale, new) = (told("6", "6379").unwrap(), told("7", "6380").unwrap());
        for answers in [[stale.clone(), new.clone()], [new.clone(), stale]] {
            assert_eq!(newest(answers.to_vec()), Some(new.clone()));
        }
        assert_eq!(newest(Vec::new()), None);
        for (epoch, port) in [("x", "6379"), ("1", "65536"), ("1", "")] {
            told(epoch, port).unwrap_err();
        }
    }

    #[test]
    fn an_address_that_is_not_valid_is_named_without_its_password() {
        let config = config::Redis { sentinels: vec!["sentinel://:secret@10.0.0.1".to_owned()], ..Default::default() };
        let error = Primary::new(&config).err().unwrap().to_string();
        assert!(error.contains("redis.sentinels sentinel://10.0.0.1") && !error.contains("secret"), "{error}");
    }
}
