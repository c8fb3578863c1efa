//! The table by itself, and over a real server.

use async_nats::HeaderMap;
use futures_util::FutureExt;
use nepto_testkit::{Nats as Server, eventually, seconds};

use super::*;

/// A table with a connection that nobody serves, and a subscription.
fn subscribed() -> (Arc<Shared>, Subscription) {
    let row = Arc::new(Row { subject: "a".to_owned(), arrived: Mutex::default(), waker: AtomicWaker::new() });
    let mut table = Table { last_sid: 1, rows: HashMap::from([(1, row.clone())]), ..Table::default() };
    table.connected();
    let shared = Arc::new(Shared { table: Mutex::new(table), said: Notify::new() });
    (shared.clone(), Subscription { sid: 1, row, shared })
}

fn message(payload: &[u8]) -> Message {
    let mut read = BytesMut::from(&b"MSG a 1 "[..]);
    read.extend_from_slice(format!("{}\r\n", payload.len()).as_bytes());
    read.extend_from_slice(payload);
    read.extend_from_slice(b"\r\n");
    match wire::take(&mut read) {
        Ok(Some(wire::ServerOp::Message(1, message))) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_takes_is_missed_and_told() {
    let (shared, mut subscription) = subscribed();
    for _ in 0..WAITING_MAX + 1 {
        shared.table().arrived(1, message(b"x"));
    }
    let arrivals = subscription.next().now_or_never().unwrap();
    assert_eq!((arrivals.messages.len(), arrivals.missed), (WAITING_MAX, true));
    assert!(subscription.next().now_or_never().is_none(), "it is told once");
    // few and large
    let large = vec![0; WAITING_BYTES_MAX / 2];
    for _ in 0..2 {
        shared.table().arrived(1, message(&large));
    }
    let arrivals = subscription.next().now_or_never().unwrap();
    assert_eq!((arrivals.messages.len(), arrivals.missed), (1, true));
}

#[test]
fn a_new_connection_subscribes_again_and_an_ended_subscription_does_not() {
    let (shared, subscription) = subscribed();
    assert_eq!(shared.table().outbox.take().unwrap().bytes, "SUB a 1\r\n");
    shared.table().lost();
    shared.table().connected();
    shared.table().restored();
    assert!(subscription.row.arrivals().missed, "what was published in between");
    drop(subscription);
    assert_eq!(shared.table().outbox.take().unwrap().bytes, "SUB a 1\r\nUNSUB 1\r\n");
    shared.table().connected();
    assert!(shared.table().outbox.take().unwrap().bytes.is_empty());
}

/// A server, its client, and subscriptions that run.
async fn connected(more: &str) -> (Server, async_nats::Client, Subscriptions, Health) {
    let server = Server::start_with(more).await.unwrap();
    let (config, health) = (Nats { url: server.url(), ..Nats::default() }, Health::default());
    let (subscriptions, link) =
        Subscriptions::connect(&config, "test", &health, CancellationToken::new()).await.unwrap();
    tokio::spawn(link.run());
    eventually(seconds(10), async || Ok(health.readiness().await.ready)).await.unwrap();
    let client = server.client().await.unwrap();
    (server, client, subscriptions, health)
}

#[tokio::test]
async fn what_is_published_arrives_at_its_subscription() {
    let (_server, client, subscriptions, _) = connected("").await;
    let mut first = subscriptions.subscribe("live.a.*".to_owned()).await.unwrap();
    let mut second = subscriptions.subscribe("live.b.*".to_owned()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Sequence", "7");
    client.publish_with_headers("live.a.dm", headers, "hello".into()).await.unwrap();
    client.publish("live.b.typing", "x".into()).await.unwrap();
    let arrivals = first.next().await;
    let [message] = arrivals.messages.as_slice() else { panic!("{arrivals:?}") };
    assert_eq!(
        (message.subject(), message.header("Nats-Sequence"), &message.payload[..]),
        ("live.a.dm", Some("7"), &b"hello"[..])
    );
    assert_eq!(second.next().await.messages[0].subject(), "live.b.typing");
    drop(second);
    client.publish("live.b.typing", "nobody".into()).await.unwrap();
    client.publish("live.a.dm", "last".into()).await.unwrap();
    assert_eq!(first.next().await.messages[0].payload, "last");
}

#[tokio::test]
async fn subscriptions_outlive_their_connection_and_tell_that_they_missed_something() {
    let (server, client, subscriptions, health) = connected("").await;
    let mut subscription = subscriptions.subscribe("live.a".to_owned()).await.unwrap();
    server.kill9().unwrap();
    eventually(seconds(10), async || Ok(!health.readiness().await.ready)).await.unwrap();
    let refused = subscriptions.subscribe("live.b".to_owned()).await.err().unwrap();
    assert_eq!(refused.code, nepto_proto::ErrorCode::Unavailable);
    server.restart().await.unwrap();
    assert!(subscription.next().await.missed);
    assert!(health.readiness().await.ready);
    eventually(seconds(10), async || {
        Ok(client.publish("live.a", "again".into()).await.is_ok() && client.flush().await.is_ok())
    })
    .await
    .unwrap();
    assert_eq!(subscription.next().await.messages[0].payload, "again");
}

#[tokio::test]
async fn a_subscription_that_is_refused_harms_no_other() {
    let (_server, client, subscriptions, health) = connected("max_subscriptions: 2").await;
    let mut kept = Vec::new();
    for subject in ["live.a", "live.b"] {
        kept.push(subscriptions.subscribe(subject.to_owned()).await.unwrap());
    }
    let refused = subscriptions.subscribe("live.c".to_owned()).await.err().unwrap();
    assert!(format!("{refused:?}").to_lowercase().contains("maximum subscriptions"), "{refused:?}");
    assert!(health.readiness().await.ready);
    client.publish("live.b", "still".into()).await.unwrap();
    let arrivals = kept[1].next().await;
    assert!(!arrivals.missed && arrivals.messages[0].payload == "still");
    // a place is free again
    drop(kept.remove(0));
    subscriptions.subscribe("live.c".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let (server, _, subscriptions, health) = connected("").await;
    let mut subscription = subscriptions.subscribe("live.a".to_owned()).await.unwrap();
    server.pause().unwrap();
    eventually(seconds(45), async || Ok(!health.readiness().await.ready)).await.unwrap();
    server.resume().unwrap();
    assert!(subscription.next().await.missed);
}
