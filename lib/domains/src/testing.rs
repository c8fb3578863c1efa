//! Databases in memory, for the tests of stores. Redis is not there: what needs it is tested with the whole.

use nepto_kit::clock::Random;
use nepto_kit::config::Database;
use nepto_kit::db::{Databases, Db};
use nepto_kit::domain::Domain;
use nepto_kit::redis::Redis;
use nepto_proto::AccountId;
use uuid::Uuid;

/// A domain's database with its schema, empty.
pub async fn database(domain: Domain) -> Db {
    let config = Database { url: "mem://".into(), ..Database::default() };
    let databases = Databases::connect(&config, Random::default()).await.unwrap();
    let db = databases.of(domain.name).await.unwrap();
    db.migrate(domain.schema).await.unwrap();
    // a second time changes nothing
    db.migrate(domain.schema).await.unwrap();
    db
}

/// A connection to nowhere.
pub fn no_redis() -> Redis {
    Redis::lazy("redis://127.0.0.1:1").unwrap()
}

/// The n-th account.
pub fn account(number: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(number))
}
