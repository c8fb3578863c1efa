use nepto_testkit::{Redis as Server, WatchedRedis, eventually, seconds};
use redis::{AsyncCommands, parse_redis_value};

use super::*;
use crate::testing;

#[test]
fn a_server_that_takes_no_writes_is_known_by_what_it_says() {
    let told = |line: &str| told_of_it(&parse_redis_value(line.as_bytes()).unwrap()).is_some();
    for useless in [
        "-READONLY You can't write against a read only replica.\r\n",
        "-READONLY You can't write against a read only replica. script: 7f92, on @user_script:1.\r\n",
        "-ERR Error running script (call to f_7f92): @user_script:1: @user_script: 1: -READONLY You can't write \
         against a read only replica. \r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-ERR Error running script (call to f_7f92): @user_script:1: @user_script: 1: -NOREPLICAS Not enough good \
         replicas to write. \r\n",
    ] {
        assert!(told(useless), "{useless}");
    }
    for other in
        ["-OOM command not allowed when used memory > 'maxmemory'.\r\n", "-NOSCRIPT No matching\r\n", "+OK\r\n"]
    {
        assert!(!told(other), "{other}");
    }
}

async fn put(redis: &Redis, key: &str) -> RedisResult<()> {
    redis.clone().set_ex(key, 1, 300).await
}

async fn has(redis: &Redis, key: &str) -> RedisResult<bool> {
    redis.clone().exists(key).await
}

/// Whether a server has a key, asked past all that is tested here.
async fn is_there(server: &Server, key: &str) -> bool {
    server.client().await.unwrap().exists(key).await.unwrap()
}

/// A connection to wherever the Sentinels say.
async fn watched(servers: &WatchedRedis) -> Redis {
    let config = config::Redis { sentinels: servers.sentinels(), ..config::Redis::default() };
    Redis::connect(&config).await.unwrap()
}

#[tokio::test]
async fn a_replica_that_was_behind_revives_nothing_when_it_is_promoted() {
    let servers = WatchedRedis::start().await.unwrap();
    let redis = watched(&servers).await;
    put(&redis, "nonce:1").await.unwrap();
    servers.cut_off().await.unwrap();
    // used up, which the replica does not hear
    let () = redis.clone().del("nonce:1").await.unwrap();
    let [primary, replica] = &servers.servers;
    primary.kill9().unwrap();
    replica.resume().unwrap();
    assert!(is_there(replica, "nonce:1").await, "the replica should be behind");
    eventually(seconds(20), async || {
        // of no answer may it be there
        let revived = has(&redis, "nonce:1").await?;
        assert!(!revived, "a used nonce is back");
        Ok(put(&redis, "nonce:2").await.is_ok())
    })
    .await
    .unwrap();
    assert!(has(&redis, "nonce:2").await.unwrap());
    assert!(has(&watched(&servers).await, "nonce:2").await.unwrap(), "who comes later deletes nothing");
}

#[tokio::test]
async fn a_primary_that_hangs_is_left_and_not_believed_when_it_wakes() {
    let servers = WatchedRedis::start().await.unwrap();
    let redis = watched(&servers).await;
    // one of three Sentinels may be away
    servers.kill9_sentinel(0).unwrap();
    let [primary, replica] = &servers.servers;
    put(&redis, "session:1").await.unwrap();
    primary.pause().unwrap();
    let began = Instant::now();
    eventually(seconds(25), async || Ok(put(&redis, "session:2").await.is_ok())).await.unwrap();
    let paused = began.elapsed();
    assert!(paused < seconds(15), "{paused:?} without Redis");
    primary.resume().unwrap();
    // until it has heard that it is none any more, and for some time after that
    for round in 0..60 {
        assert!(has(&redis, "session:2").await.unwrap(), "round {round}: another server answers");
        put(&redis, "session:3").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_there(replica, "session:3").await);
}

#[tokio::test]
async fn nothing_that_a_primary_without_its_replica_says_is_believed() {
    let servers = WatchedRedis::start().await.unwrap();
    let redis = watched(&servers).await;
    let [primary, replica] = &servers.servers;
    for setting in ["min-replicas-to-write", "min-replicas-max-lag"] {
        primary.tell(&["CONFIG", "SET", setting, "1"]).await.unwrap();
    }
    put(&redis, "session:1").await.unwrap();
    servers.cut_off().await.unwrap();
    // it can't be replaced, so it goes on to answer who reads
    eventually(seconds(10), async || {
        let refused = has(&redis, "session:1").await;
        Ok(refused.is_err_and(|error| error.code() == Some("NOREPLICAS")))
    })
    .await
    .unwrap();
    assert!(is_there(primary, "session:1").await);
    replica.resume().unwrap();
    eventually(seconds(20), async || put(&redis, "session:2").await.map(|()| true).map_err(Into::into)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_restarted_with_what_it_had_begins_empty() {
    let server = Server::start().await.unwrap();
    let redis = testing::redis(&server).await;
    put(&redis, "nonce:1").await.unwrap();
    server.tell(&["SAVE"]).await.unwrap();
    let () = redis.clone().del("nonce:1").await.unwrap();
    server.kill9().unwrap();
    server.restart().await.unwrap();
    assert!(is_there(&server, "nonce:1").await, "it should have its file");
    eventually(seconds(10), async || Ok(!has(&redis, "nonce:1").await?)).await.unwrap();
    // nothing is deleted a second time
    put(&redis, "nonce:2").await.unwrap();
    tokio::time::sleep(3 * PULSE).await;
    assert!(has(&redis, "nonce:2").await.unwrap());
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_and_left_alone() {
    let server = Server::start().await.unwrap();
    server.tell(&["EVAL", "for i = 1, 300 do redis.call('SET', 'theirs:' .. i, i) end", "0"]).await.unwrap();
    let at = |number: u8| config::Redis { url: format!("{}/{number}", server.url()), ..config::Redis::default() };
    let error = Redis::connect(&at(0)).await.err().unwrap().to_string();
    assert!(error.contains("300 keys") && error.contains("redis://host:port/1"), "{error}");
    let redis = Redis::connect(&at(1)).await.unwrap();
    put(&redis, "nonce:1").await.unwrap();
    // another reign, as it is known by the id that was noted
    let () = redis.clone().set(REIGN, "of another").await.unwrap();
    eventually(seconds(5), async || Ok(!has(&redis, "nonce:1").await?)).await.unwrap();
    let mut there = server.client().await.unwrap();
    let theirs: u32 = redis::cmd("DBSIZE").query_async(&mut there).await.unwrap();
    assert_eq!(theirs, 300);
}

#[tokio::test]
async fn who_waits_for_a_connection_gets_what_comes_of_it() {
    let server = Server::start().await.unwrap();
    let redis = testing::redis(&server).await;
    server.kill9().unwrap();
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..500).map(|_| put(&redis, "key"))).await;
    assert!(answers.iter().all(Result::is_err));
    let again = futures_util::future::join_all((0..500).map(|_| put(&redis, "key"))).await;
    assert!(again.iter().all(Result::is_err));
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    server.restart().await.unwrap();
    eventually(seconds(5), async || Ok(put(&redis, "key").await.is_ok())).await.unwrap();
}
