//! `/readyz` does what the process needs: it is red while nothing can be written, with the reason, and tells strangers only yes
//! or no. A primary that changed behind its name is found again.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream::stream;
use nepto_proto::subject::Shards;
use nepto_proto::wire::{client_frame, server_frame};
use nepto_testkit::{Redis, Role, Server, Settings, Stack, eventually, seconds};
use serde_json::Value;

use crate::people::{Raw, devices_of, friends, opaque};

/// What the operator is told about a check, if it fails.
async fn wrong_with(server: &Server, check: &str) -> Result<Option<String>> {
    let answer: Value = crate::http::get(format!("{}/readyz", server.admin_url())).await?.json().await?;
    let checks = answer["checks"].as_array().context("no checks")?;
    let found = checks.iter().find(|found| found["name"] == check).with_context(|| format!("no check {check}"))?;
    Ok(found["error"].as_str().map(str::to_owned))
}

/// Waits until a check fails with this reason, and the whole is red.
async fn red_with(server: &Server, check: &str, reason: &str) {
    let mut last = None;
    let told = eventually(seconds(15), async || {
        last = wrong_with(server, check).await?;
        Ok(last.as_ref().is_some_and(|error| error.contains(reason)) && !server.is_ready().await?)
    });
    told.await.unwrap_or_else(|error| panic!("{check} should be red with {reason}, was {last:?}: {error:#}"));
}

async fn green(server: &Server) {
    eventually(seconds(20), async || server.is_ready().await).await.unwrap();
}

async fn signs_in(stack: &Stack) -> Result<bool> {
    let nonce = crate::http::client().post(format!("{}/v1/auth/nonce", stack.url())).send().await?;
    Ok(nonce.status().is_success())
}

#[tokio::test]
async fn a_redis_that_answers_and_takes_nothing_is_red() {
    let stack = Stack::split(1).await.unwrap();
    let mut operator = stack.redis.client().await.unwrap();
    let mut tell = async |command: &[&str]| {
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).exec_async(&mut operator).await.unwrap();
    };
    let nowhere: &[&str] = &["REPLICAOF", "127.0.0.1", "1"];
    for (breaks, reason, mends) in [
        (nowhere, "READONLY", &["REPLICAOF", "NO", "ONE"][..]),
        (&["CONFIG", "SET", "maxmemory", "1"], "OOM", &["CONFIG", "SET", "maxmemory", "0"]),
        (&["CONFIG", "SET", "requirepass", "secret"], "NOAUTH", &["CONFIG", "SET", "requirepass", ""]),
    ] {
        tell(breaks).await;
        if reason == "NOAUTH" {
            // who is connected stays let in
            tell(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        }
        for server in [&stack.api, &stack.gateways[0]] {
            red_with(server, "redis", reason).await;
        }
        assert!(!signs_in(&stack).await.unwrap(), "{reason}");
        tell(mends).await;
        for server in [&stack.api, &stack.gateways[0]] {
            green(server).await;
        }
    }
    eventually(seconds(10), async || signs_in(&stack).await).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_changed_behind_its_name_is_found() {
    let stack = Stack::builder().proxy_redis().split(1).await.unwrap();
    let second = Redis::start().await.unwrap();
    assert!(signs_in(&stack).await.unwrap());
    // a failover: the name leads to the second, and the first, to which connections are open, follows it
    stack.redis_proxy.as_ref().unwrap().turn_to(second.address()).await.unwrap();
    let mut first = stack.redis.client().await.unwrap();
    let (host, port) = (second.address().ip().to_string(), second.address().port());
    redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(&mut first).await.unwrap();
    eventually(seconds(10), async || signs_in(&stack).await).await.unwrap();
    for server in [&stack.api, &stack.gateways[0], &stack.worker] {
        green(server).await;
    }
}

#[tokio::test]
async fn a_store_that_is_full_is_red_and_green_when_there_is_room() {
    const STORE_BYTES: u64 = 4 * 1024 * 1024;
    let stack = Stack::builder().store_bytes(STORE_BYTES).split(1).await.unwrap();
    let jetstream = stack.nats.jetstream().await.unwrap();
    let mailbox = Shards::DEFAULT.all().next().unwrap();
    let stored = async |number: u64| {
        let subject = format!("dm.{}.filler.{number}", mailbox.index());
        anyhow::Ok(jetstream.publish(subject, vec![7; 64 * 1024].into()).await?.await?)
    };
    let mut number = 0;
    while stored(number).await.is_ok() {
        number += 1;
        assert!(number <= STORE_BYTES / (64 * 1024), "the store has no bound");
    }
    for server in [&stack.api, &stack.gateways[0], &stack.worker] {
        red_with(server, "nats", "").await;
    }
    jetstream.get_stream(mailbox.stream()).await.unwrap().purge().await.unwrap();
    for server in [&stack.api, &stack.gateways[0], &stack.worker] {
        green(server).await;
    }
}

#[tokio::test]
async fn one_shard_that_stores_nothing_is_red_and_green_again_without_anybody_sending() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let (gateway, jetstream) = (&stack.gateways[0], stack.nats.jetstream().await.unwrap());
    let (stream, check) = {
        let stream = Shards::DEFAULT.of(bob.account()).stream();
        (stream.clone(), format!("stream {stream}"))
    };
    let bounded = async |max_bytes: i64| {
        let config = jetstream.get_stream(&stream).await?.cached_info().config.clone();
        anyhow::Ok(jetstream.update_stream(stream::Config { max_bytes, ..config }).await?)
    };
    bounded(1).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    alice.client.disconnect();
    let mut socket = Raw::open(&stack, &alice.client, None).await.unwrap();
    let send = opaque(1, bob.account(), &devices, &[7; 100]);
    let answer = socket.call(client_frame::Kind::SendDm(send)).await.unwrap();
    let server_frame::Kind::Error(error) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, "unavailable");
    red_with(gateway, &check, "it stores nothing: ").await;
    assert_eq!(wrong_with(gateway, "nats").await.unwrap(), None, "another stream stores");
    let metrics = crate::http::get(format!("{}/metrics", gateway.admin_url())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("nepto_store_failed_total{{stream=\"{stream}\"}}")), "{metrics}");
    bounded(-1).await.unwrap();
    green(gateway).await;
}

#[tokio::test]
async fn strangers_are_told_yes_or_no_and_the_operator_everything() {
    let stack = Stack::all().await.unwrap();
    let server = &stack.api;
    let strangers: Value = crate::http::get(format!("{}/readyz", server.url())).await.unwrap().json().await.unwrap();
    assert_eq!(strangers, serde_json::json!({ "ready": true }));
    for check in ["redis", "nats", "database auth", "database keys", "stream DM_0"] {
        assert_eq!(wrong_with(server, check).await.unwrap(), None, "{check}");
    }
    stack.redis.kill9().unwrap();
    eventually(seconds(15), async || Ok(!server.is_ready().await?)).await.unwrap();
    let answer = crate::http::get(format!("{}/readyz", server.url())).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap(), serde_json::json!({ "ready": false }));
}

#[tokio::test]
async fn however_many_ask_everything_is_asked_once_a_second() {
    let stack = Stack::all().await.unwrap();
    let written = async || {
        let jetstream = stack.nats.jetstream().await?;
        anyhow::Ok(jetstream.get_stream("PROBE").await?.cached_info().state.last_sequence)
    };
    // what was asked while it started is no news any more
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (before, began) = (written().await.unwrap(), tokio::time::Instant::now());
    let http = crate::http::client();
    let asked = async |url: String| {
        for _ in 0..50 {
            assert!(http.get(&url).send().await.unwrap().status().is_success());
        }
    };
    let (public, operator) = (format!("{}/readyz", stack.url()), format!("{}/readyz", stack.api.admin_url()));
    tokio::join!(asked(public.clone()), asked(public), asked(operator.clone()), asked(operator));
    let seconds = began.elapsed().as_secs();
    let probes = written().await.unwrap() - before;
    assert!(probes >= 1 && probes <= seconds + 2, "{probes} in {seconds} s");
}

#[tokio::test]
async fn every_role_takes_the_open_files_that_the_system_allows() {
    let stack = Stack::split(1).await.unwrap();
    let soft = "ulimit -Sn 512";
    for role in [Role::Gateway, Role::Worker, Role::Cron] {
        let server = stack.start_limited(soft, role, &Settings::new()).await.unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid().unwrap())).unwrap();
        let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let mut numbers = open_files.split_whitespace().skip(3);
        let (soft, hard) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(soft, hard, "{:?}: {open_files}", server.role());
    }
}

#[tokio::test]
async fn a_gateway_with_too_few_open_files_says_what_to_do() {
    let stack = Stack::split(1).await.unwrap();
    let hard = "ulimit -Sn 1500 && ulimit -Hn 1500";
    let refused = stack.start_limited(hard, Role::Gateway, &Settings::new()).await.unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("LimitNOFILE") && said.contains("http.connections_max"), "{said}");
    let small = Settings::new().set("gateway.sockets_max", 400).set("http.connections_max", 500);
    stack.start_limited(hard, Role::Gateway, &small).await.unwrap();
}
