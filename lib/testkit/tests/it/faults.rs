//! Faults that really happen: kills, restarts, flushes, cuts. At the end of each, every message arrived once and the
//! mailboxes are empty.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use nepto_proto::subject::Shards;
use nepto_proto::wire::{client_frame, server_frame};
use nepto_sdk::Event;
use nepto_sdk::model::Body;
use nepto_testkit::{Role, Settings, Stack, eventually, resident_bytes, seconds};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::people::{Person, Raw, devices_of, friends, opaque};
use crate::talking::{mailboxes_empty, quiet};

/// Collects the texts that a person hears until all of `expected` were heard, and a while longer for duplicates.
fn listen(mut person: Person, expected: usize) -> JoinHandle<Result<(Person, HashMap<String, usize>)>> {
    tokio::spawn(async move {
        let mut heard: HashMap<String, usize> = HashMap::new();
        let mut until = Instant::now() + Duration::from_secs(120);
        loop {
            let event = match tokio::time::timeout_at(until, person.events.next()).await {
                Ok(event) => event.context("the events ended")?,
                Err(_) => return Ok((person, heard)),
            };
            if let Event::Message(message) | Event::Request(message) = event
                && let Body::Text(text) = message.body
            {
                *heard.entry(text).or_default() += 1;
                if heard.len() == expected {
                    until = Instant::now() + Duration::from_secs(3);
                }
            }
        }
    })
}

/// Sends numbered texts at a steady pace while `fault` happens in the middle; all must arrive once.
async fn traffic_through(stack: &Stack, alice: Person, bob: Person, fault: impl AsyncFnOnce(&Stack)) {
    const MESSAGES: usize = 120;
    let to = bob.account();
    let listener = listen(bob, MESSAGES);
    let Person { client, mut events, .. } = alice;
    // events must be taken, or nothing more is read
    let drain = tokio::spawn(async move { while events.next().await.is_some() {} });
    let sender = {
        let client = client.clone();
        async move {
            for number in 0..MESSAGES {
                client.send_text(to, &format!("message {number}"), None, None).unwrap();
                sleep(Duration::from_millis(50)).await;
            }
            tokio::time::timeout(Duration::from_secs(90), client.wait_all_sent()).await.unwrap().unwrap();
        }
    };
    let outages = async {
        sleep(Duration::from_millis(1_500)).await;
        fault(stack).await;
    };
    tokio::join!(sender, outages);
    // the listener stays connected until the mailboxes are looked at
    let (_bob, heard) = listener.await.unwrap().unwrap();
    let missing: Vec<usize> =
        (0..MESSAGES).filter(|number| !heard.contains_key(&format!("message {number}"))).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let twice: Vec<_> = heard.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "delivered twice: {twice:?}");
    mailboxes_empty(stack).await;
    client.disconnect();
    drain.await.unwrap();
}

#[tokio::test]
async fn a_gateway_is_killed_under_traffic() {
    let stack = Stack::builder().unlimited().split(2).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        // whoever sits on either gateway moves to the other one
        stack.gateways[0].kill9().unwrap();
        sleep(Duration::from_secs(2)).await;
        stack.gateways[0].restart().await.unwrap();
        stack.gateways[1].kill9().unwrap();
        sleep(Duration::from_secs(2)).await;
        stack.gateways[1].restart().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_told_to_stop_under_traffic() {
    let stack = Stack::builder().unlimited().set("gateway.reconnect_spread_ms", 200).split(2).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        for gateway in &stack.gateways {
            assert!(gateway.term().await.unwrap().success());
            gateway.restart().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_worker_and_the_api_are_killed_under_traffic() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        stack.worker.kill9().unwrap();
        stack.api.kill9().unwrap();
        sleep(Duration::from_secs(1)).await;
        stack.api.restart().await.unwrap();
        stack.worker.restart().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn nats_is_killed_and_restarted_under_traffic() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        stack.nats.kill9().unwrap();
        sleep(Duration::from_secs(2)).await;
        stack.nats.restart().await.unwrap();
    })
    .await;
    mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn redis_is_flushed_and_restarted_under_traffic() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        stack.redis.flush().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        stack.redis.kill9().unwrap();
        sleep(Duration::from_secs(1)).await;
        stack.redis.restart().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_database_is_killed_and_restarted_under_traffic() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        let database = stack.database.as_ref().unwrap();
        database.kill9().unwrap();
        // what Redis knew is gone as well: the gateway must ask, and is told to wait
        stack.redis.flush().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        database.restart().await.unwrap();
    })
    .await;
    eventually(seconds(20), async || stack.api.is_ready().await).await.unwrap();
}

#[tokio::test]
async fn a_second_router_takes_over_and_finds_who_is_away() {
    let stack = Stack::builder().unlimited().set("mailbox.grace_ms", 3_000).split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let second = stack.start(Role::Worker, &Settings::new()).await.unwrap();
    quiet(&stack).await;
    bob.client.disconnect();
    alice.says(&bob, "are you there?").await.unwrap();
    // the first dies between reading the message and looking after it
    sleep(Duration::from_secs(1)).await;
    stack.worker.kill9().unwrap();
    let announced = async || Ok(second.metric("nepto_router_waiting_total").await? >= 1.0);
    eventually(seconds(40), announced).await.unwrap();
}

#[tokio::test]
async fn mailboxes_made_again_under_open_sockets_lose_nothing_that_comes_later() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    for text in ["one", "two", "three"] {
        alice.says(&bob, text).await.unwrap();
        bob.hears_text(text).await.unwrap();
    }
    let jetstream = stack.nats.jetstream().await.unwrap();
    for shard in Shards::DEFAULT.all() {
        jetstream.delete_stream(shard.stream()).await.unwrap();
    }
    let gateway = &stack.gateways[0];
    eventually(seconds(15), async || Ok(!gateway.is_ready().await?)).await.unwrap();
    stack.provision().await.unwrap();
    eventually(seconds(15), async || gateway.is_ready().await).await.unwrap();
    // sequences begin at 1 again, far below every cursor
    alice.says(&bob, "after the flood").await.unwrap();
    bob.hears_text("after the flood").await.unwrap();
    quiet(&stack).await;
}

#[tokio::test]
async fn the_clients_network_is_cut_for_thirty_seconds() {
    let stack = Stack::builder().unlimited().proxy_sockets().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    traffic_through(&stack, alice, bob, async |stack| {
        stack.socket_proxies[0].cut().await.unwrap();
        sleep(Duration::from_secs(30)).await;
        stack.socket_proxies[0].heal().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_bounded_memory_and_resumes() {
    let stack =
        Stack::builder().unlimited().set("gateway.write_timeout_ms", 8_000).proxy_sockets().split(1).await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    quiet(&stack).await;
    alice.client.disconnect();
    bob.client.disconnect();
    // the sender goes around the proxy, the reader through it
    let mut reader = Raw::open(&stack, &bob.client, None).await.unwrap();
    stack.socket_proxies[0].stall().await.unwrap();
    let token = alice.client.http().access_token().await.unwrap();
    let url = stack.gateways[0].socket_url();
    let (mut sender, _) = nepto_sdk::socket::Socket::open(&url, &token, None, seconds(10)).await.unwrap();
    const MESSAGES: u128 = 600;
    let body = vec![7; 60_000];
    let gateway = stack.gateways[0].pid().unwrap();
    let before = resident_bytes(gateway).unwrap();
    for number in 0..MESSAGES {
        let send = opaque(number, bob.account(), &devices, &body);
        sender.send(client_frame::Kind::SendDm(send)).await.unwrap();
        loop {
            match sender.recv().await.unwrap() {
                nepto_sdk::socket::Incoming::Frame(frame)
                    if matches!(frame.kind, Some(server_frame::Kind::Stored(_))) =>
                {
                    break;
                }
                nepto_sdk::socket::Incoming::Frame(frame) if frame.reply_to != 0 => panic!("{frame:?}"),
                nepto_sdk::socket::Incoming::Frame(_) | nepto_sdk::socket::Incoming::Alive => {}
            }
        }
    }
    let reason = r#"nepto_gateway_closed_total{reason="slow_reader"}"#;
    assert_eq!(stack.gateways[0].metric(reason).await.unwrap(), 0.0, "the reader must still be open");
    // 36 MB wait for a reader who takes nothing
    let grown = resident_bytes(gateway).unwrap().saturating_sub(before);
    assert!(grown < 12_000_000, "{grown} bytes for one slow reader");
    eventually(seconds(20), async || Ok(stack.gateways[0].metric(reason).await? >= 1.0)).await.unwrap();
    stack.socket_proxies[0].heal().await.unwrap();
    while reader.frame().await.is_ok() {}
    let mut resumed = Raw::open(&stack, &bob.client, None).await.unwrap();
    for number in 0..MESSAGES {
        let deliver = resumed.delivery().await.unwrap();
        let id = deliver.envelope.unwrap().client_msg_id;
        assert_eq!(id, uuid::Uuid::from_u128(number).as_bytes(), "message {number}");
        resumed.ack(deliver.seq).await.unwrap();
    }
    mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn readiness_turns_red_for_whatever_is_gone_and_green_again() {
    let stack = Stack::split(1).await.unwrap();
    let gateway = &stack.gateways[0];
    stack.redis.kill9().unwrap();
    eventually(seconds(15), async || Ok(!gateway.is_ready().await?)).await.unwrap();
    stack.redis.restart().await.unwrap();
    eventually(seconds(15), async || gateway.is_ready().await).await.unwrap();
    stack.nats.kill9().unwrap();
    eventually(seconds(15), async || Ok(!gateway.is_ready().await?)).await.unwrap();
    stack.nats.restart().await.unwrap();
    eventually(seconds(20), async || gateway.is_ready().await).await.unwrap();
    // they hang: connections stay open, and nobody answers
    stack.redis.pause().unwrap();
    eventually(seconds(15), async || Ok(!gateway.is_ready().await?)).await.unwrap();
    stack.redis.resume().unwrap();
    eventually(seconds(15), async || gateway.is_ready().await).await.unwrap();
    stack.nats.pause().unwrap();
    eventually(seconds(15), async || Ok(!gateway.is_ready().await?)).await.unwrap();
    stack.nats.resume().unwrap();
    eventually(seconds(20), async || gateway.is_ready().await).await.unwrap();
    eventually(seconds(20), async || stack.worker.is_ready().await).await.unwrap();
    // a consumer that somebody deleted
    let jetstream = stack.nats.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.delete_consumer("auth-device-removed").await.unwrap();
    eventually(seconds(15), async || Ok(!stack.worker.is_ready().await?)).await.unwrap();
    stack.provision().await.unwrap();
    eventually(seconds(15), async || stack.worker.is_ready().await).await.unwrap();
    stack.database.as_ref().unwrap().kill9().unwrap();
    eventually(seconds(15), async || Ok(!stack.api.is_ready().await?)).await.unwrap();
    assert!(gateway.is_ready().await.unwrap(), "a gateway needs no database");
}
