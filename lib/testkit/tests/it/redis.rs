//! The Redis that the other tests stand on, and one that fails over.

use nepto_testkit::{FaultProxy, Redis, Stack, WatchedRedis, eventually, seconds};
use tokio::time::timeout;

use crate::people::{Person, friends};

#[tokio::test]
async fn it_starts_empty_again_on_the_same_port() {
    let server = Redis::start().await.unwrap();
    let address = server.address();
    for round in 0..2 {
        let mut client = server.client().await.unwrap();
        let before: Option<String> = redis::cmd("GET").arg("key").query_async(&mut client).await.unwrap();
        assert_eq!(before, None, "round {round}");
        redis::cmd("SET").arg("key").arg("value").exec_async(&mut client).await.unwrap();
        server.kill9().unwrap();
        assert!(server.client().await.is_err());
        server.restart().await.unwrap();
        assert_eq!(server.address(), address);
    }
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    let server = Redis::start().await.unwrap();
    let mut client = server.client().await.unwrap();
    server.pause().unwrap();
    let ping = redis::cmd("PING");
    timeout(std::time::Duration::from_millis(200), ping.exec_async(&mut client)).await.unwrap_err();
    server.resume().unwrap();
    timeout(seconds(5), ping.exec_async(&mut server.client().await.unwrap())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_proxy_stands_before_it() {
    let server = Redis::start().await.unwrap();
    let proxy = FaultProxy::start(server.address()).await.unwrap();
    let client = redis::Client::open(format!("redis://{}", proxy.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PING").exec_async(&mut connection).await.unwrap();
    proxy.cut().await.unwrap();
    redis::cmd("PING").exec_async(&mut connection).await.unwrap_err();
    assert!(client.get_multiplexed_async_connection().await.is_err());
    proxy.heal().await.unwrap();
    client.get_multiplexed_async_connection().await.unwrap();
}

#[tokio::test]
async fn people_go_on_when_redis_fails_over() {
    let watched = WatchedRedis::start().await.unwrap();
    let stack = Stack::builder().set("redis.sentinels", watched.sentinels()).split(1).await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    let [primary, replica] = &watched.servers;
    primary.kill9().unwrap();
    eventually(seconds(30), async || {
        alice.says(&bob, "after").await?;
        Ok(true)
    })
    .await
    .unwrap();
    bob.hears_text("after").await.unwrap();
    Person::join(&stack).await.unwrap();
    // what was the primary comes back as a replica, and nobody takes it for more
    primary.restart().await.unwrap();
    eventually(seconds(30), async || {
        let told: String = redis::cmd("INFO").arg("replication").query_async(&mut primary.client().await?).await?;
        Ok(told.contains("role:slave"))
    })
    .await
    .unwrap();
    Person::join(&stack).await.unwrap();
    let mut there = replica.client().await.unwrap();
    let keys: u64 = redis::cmd("DBSIZE").query_async(&mut there).await.unwrap();
    assert!(keys > 1, "they are in the one that was promoted");
}
