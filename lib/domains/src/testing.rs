//! Databases in memory, for the tests of stores; and a process that is connected to a NATS and a Redis, for the few that need
//! them and not the whole.

use nepto_kit::Ctx;
use nepto_kit::clock::Random;
use nepto_kit::config::{self, Config, Database};
use nepto_kit::db::{Databases, Db};
use nepto_kit::domain::Domain;
use nepto_kit::redis::Redis;
use nepto_proto::AccountId;
use nepto_testkit::{Nats, Redis as RedisServer};
use uuid::Uuid;

/// The same as the server has: tests over databases in memory do little but allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RFC 8410, 10.1: no token is looked at here.
const TOKEN_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

/// A domain's database with its schema, empty.
pub async fn database(domain: Domain) -> Db {
    nepto_testkit::quiet();
    let config = Database { url: "mem://".into(), ..Database::default() };
    let databases = Databases::new(&config, Random::default());
    let db = databases.of(domain.name).await.unwrap();
    db.migrate(domain.schema).await.unwrap();
    // a second time changes nothing
    db.migrate(domain.schema).await.unwrap();
    db
}

/// A process with defaults, but for these changes.
pub async fn connected(nats: &Nats, redis: &RedisServer, change: impl FnOnce(&mut Config)) -> Ctx {
    nepto_testkit::quiet();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.nats.url = format!("nats://{}", nats.address());
    config.redis.url = redis.url();
    config.tokens.verifying_key_file = folder.path().join("tokens.pub.pem");
    std::fs::write(&config.tokens.verifying_key_file, TOKEN_KEY).unwrap();
    change(&mut config);
    Ctx::connect(config, false).await.unwrap()
}

/// A connection to nowhere.
pub fn no_redis() -> Redis {
    Redis::lazy(&config::Redis { url: "redis://127.0.0.1:1".into(), ..config::Redis::default() }).unwrap()
}

/// The n-th account.
pub fn account(number: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(number))
}
