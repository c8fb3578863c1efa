//! The shipped NATS configuration gives what the design stands on: durable acks, atomic batches, direct gets.

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, Republish};
use nepto_testkit::{Nats, Pending, eventually, seconds};
use serde_json::Value;
use tokio::time::timeout;

async fn mailboxes(nats: &Nats) -> async_nats::jetstream::Context {
    let jetstream = nats.jetstream().await.unwrap();
    let config = Config {
        name: "DM_0".into(),
        subjects: vec!["dm.0.>".into()],
        allow_direct: true,
        allow_atomic_publish: true,
        max_messages_per_subject: 3,
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        discard_new_per_subject: true,
        republish: Some(Republish {
            source: "dm.0.*".into(),
            destination: "live.{{wildcard(1)}}".into(),
            headers_only: false,
        }),
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    jetstream
}

/// Publishes an atomic batch; the answer to its last message.
async fn batch(client: &async_nats::Client, id: &str, messages: &[(&str, &str)]) -> Value {
    let mut answer = Value::Null;
    for (number, (subject, message_id)) in messages.iter().enumerate() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", id);
        headers.insert("Nats-Batch-Sequence", (number + 1).to_string());
        headers.insert(NATS_MESSAGE_ID, *message_id);
        if number + 1 == messages.len() {
            headers.insert("Nats-Batch-Commit", "1");
            let reply = client.request_with_headers((*subject).to_owned(), headers, "x".into()).await.unwrap();
            answer = serde_json::from_slice(&reply.payload).unwrap();
        } else {
            client.publish_with_headers((*subject).to_owned(), headers, "x".into()).await.unwrap();
        }
    }
    answer
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_kill() {
    let nats = Nats::start().await.unwrap();
    let jetstream = mailboxes(&nats).await;
    jetstream.publish("dm.0.alice", "kept".into()).await.unwrap().await.unwrap();
    let address = nats.address();
    nats.kill9().unwrap();
    nats.restart().await.unwrap();
    assert_eq!(nats.address(), address);
    assert_eq!(nats.messages("DM_0").await.unwrap(), 1);
    // the old connection finds its way back
    eventually(seconds(10), async || Ok(jetstream.publish("dm.0.alice", "again".into()).await?.await.is_ok()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    let nats = Nats::start().await.unwrap();
    let jetstream = mailboxes(&nats).await;
    let client = nats.client().await.unwrap();
    let mut live = client.subscribe("live.*").await.unwrap();
    client.flush().await.unwrap();

    let stored = batch(&client, "first", &[("dm.0.alice", "1"), ("dm.0.bob", "2")]).await;
    assert_eq!((stored["batch"].as_str(), stored["count"].as_u64()), (Some("first"), Some(2)), "{stored}");
    for _ in 0..2 {
        timeout(seconds(5), futures_util::StreamExt::next(&mut live)).await.unwrap().unwrap();
    }
    // a duplicate rejects its whole batch
    let rejected = batch(&client, "second", &[("dm.0.carol", "3"), ("dm.0.bob", "2")]).await;
    assert_eq!(rejected["error"]["err_code"], 10201, "{rejected}");
    // so does a full mailbox
    for _ in 0..2 {
        jetstream.publish("dm.0.alice", "x".into()).await.unwrap().await.unwrap();
    }
    let rejected = batch(&client, "third", &[("dm.0.carol", "4"), ("dm.0.alice", "5")]).await;
    assert_eq!(rejected["error"]["err_code"], 10077, "{rejected}");
    assert_eq!(nats.messages("DM_0").await.unwrap(), 4);
    assert_eq!(nats.messages_of("DM_0", "dm.0.alice").await.unwrap(), 3);
    assert_eq!(nats.messages_of("DM_0", "dm.0.carol").await.unwrap(), 0);
}

#[tokio::test]
async fn messages_are_read_directly_one_by_one_and_many_at_once() {
    let nats = Nats::start().await.unwrap();
    let jetstream = mailboxes(&nats).await;
    for text in ["one", "two", "three"] {
        jetstream.publish("dm.0.alice", text.into()).await.unwrap().await.unwrap();
    }
    let stream = jetstream.get_stream("DM_0").await.unwrap();
    let first = stream.direct_get_next_for_subject("dm.0.alice", None).await.unwrap();
    assert_eq!(first.payload, "one");

    let client = nats.client().await.unwrap();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let ask = r#"{"seq":1,"next_by_subj":"dm.0.alice","batch":10}"#;
    client.publish_with_reply("$JS.API.DIRECT.GET.DM_0", inbox, ask.into()).await.unwrap();
    let mut texts = Vec::new();
    loop {
        let answer = timeout(seconds(5), futures_util::StreamExt::next(&mut answers)).await.unwrap().unwrap();
        if answer.payload.is_empty() {
            break;
        }
        texts.push(String::from_utf8(answer.payload.to_vec()).unwrap());
    }
    assert_eq!(texts, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_test_sees_what_a_consumer_has_before_it() {
    let nats = Nats::start().await.unwrap();
    let jetstream = mailboxes(&nats).await;
    let config = pull::Config { durable_name: Some("router".into()), ..pull::Config::default() };
    let consumer = jetstream.create_consumer_on_stream(config, "DM_0").await.unwrap();
    for subject in ["dm.0.alice", "dm.0.bob"] {
        jetstream.publish(subject, "x".into()).await.unwrap().await.unwrap();
    }
    assert_eq!(nats.pending("DM_0", "router").await.unwrap(), Pending { undelivered: 2, unacknowledged: 0 });
    let mut fetched = consumer.fetch().max_messages(1).messages().await.unwrap();
    let message = futures_util::StreamExt::next(&mut fetched).await.unwrap().unwrap();
    assert_eq!(nats.pending("DM_0", "router").await.unwrap(), Pending { undelivered: 1, unacknowledged: 1 });
    message.double_ack().await.unwrap();
    assert_eq!(nats.pending("DM_0", "router").await.unwrap(), Pending { undelivered: 1, unacknowledged: 0 });
    assert!(nats.pending("DM_0", "nobody").await.is_err());
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused() {
    let nats = Nats::start().await.unwrap();
    let client = nats.client().await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(client.server_info().max_payload, 512 * 1024);
    assert!(client.publish("dm.0.alice", vec![0; 512 * 1024 + 1].into()).await.is_err());
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let nats = Nats::start().await.unwrap();
    let jetstream = mailboxes(&nats).await;
    nats.pause().unwrap();
    let ack = jetstream.publish("dm.0.alice", "late".into()).await.unwrap();
    let ack = tokio::spawn(ack.into_future());
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!ack.is_finished());
    nats.resume().unwrap();
    timeout(seconds(5), ack).await.unwrap().unwrap().unwrap();
}
