//! The Redis that the other tests stand on.

use nepto_testkit::{FaultProxy, Redis, seconds};
use tokio::time::timeout;

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
