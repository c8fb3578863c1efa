//! The table by itself, and over a real server.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use nepto_testkit::{Nats as Server, eventually, seconds};
use proptest::prelude::*;

use super::listener::{LISTENER_BYTES_MAX, SUBJECTS_MAX, WAITING_BYTES_MAX, WAITING_MAX};
use super::*;

/// A table with a connection that nobody serves.
fn table() -> Subscriptions {
    let shared = Shared { table: Mutex::default(), said: Notify::new() };
    shared.table().connected();
    shared.table().restored();
    Subscriptions(Arc::new(shared))
}

impl Subscriptions {
    /// What is to be said to the server; it has read it.
    fn say(&self) -> String {
        let mut table = self.0.table();
        let outbox = table.take_outbox().unwrap();
        outbox.confirm.into_iter().for_each(|sid| table.confirmed(sid, None));
        String::from_utf8(outbox.bytes.to_vec()).unwrap()
    }

    fn listening(&self, subject: &str) -> Listener {
        let listener = self.listener();
        drop(listener.subscribe(subject, 0));
        listener
    }

    fn arrived(&self, sid: u64, payload: &[u8]) {
        self.0.table().arrived(sid, message(payload));
    }

    fn subjects(&self) -> BTreeMap<String, usize> {
        self.0.table().subjects()
    }
}

impl Listener {
    fn take(&mut self) -> Option<Arrivals> {
        self.next().now_or_never()
    }
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
    let subscriptions = table();
    let mut listener = subscriptions.listening("a");
    for _ in 0..WAITING_MAX + 1 {
        subscriptions.arrived(1, b"x");
    }
    let arrivals = listener.take().unwrap();
    assert_eq!((arrivals.messages.len(), arrivals.missed), (WAITING_MAX, true));
    assert!(listener.take().is_none(), "it is told once");
    // few and large
    let large = vec![0; WAITING_BYTES_MAX / 2];
    for _ in 0..2 {
        subscriptions.arrived(1, &large);
    }
    let arrivals = listener.take().unwrap();
    assert_eq!((arrivals.messages.len(), arrivals.missed), (1, true));
}

#[test]
fn what_this_process_says_itself_needs_no_connection() {
    let subscriptions = table();
    let (mut one, mut other) = (subscriptions.listening("live.a.*"), subscriptions.listening("live.b.*"));
    subscriptions.0.table().lost();
    subscriptions.tell("live.a.*", "live.a.control", "x".into());
    subscriptions.tell("live.c.*", "live.c.control", "x".into());
    let arrivals = one.take().unwrap();
    assert_eq!((arrivals.messages[0].subject(), arrivals.messages[0].payload.as_ref()), ("live.a.control", &b"x"[..]));
    assert!(other.take().is_none());
}

#[test]
fn a_new_connection_subscribes_again_and_an_ended_subscription_does_not() {
    let subscriptions = table();
    let mut listener = subscriptions.listening("a");
    assert_eq!(subscriptions.say(), "SUB a 1\r\n");
    subscriptions.0.table().lost();
    subscriptions.0.table().connected();
    subscriptions.0.table().restored();
    assert!(listener.take().unwrap().missed, "what was published in between");
    drop(listener);
    assert_eq!(subscriptions.say(), "SUB a 1\r\nUNSUB 1\r\n");
    subscriptions.0.table().connected();
    assert_eq!(subscriptions.say(), "");
}

#[test]
fn a_subject_of_thousands_is_subscribed_once_and_left_by_the_last() {
    const LISTENERS: usize = 5_000;
    let subscriptions = table();
    let mut listeners: Vec<Listener> = (0..LISTENERS).map(|_| subscriptions.listening("a")).collect();
    assert_eq!(subscriptions.say(), "SUB a 1\r\n");
    let mut encoded = 0;
    for number in 0..3u8 {
        subscriptions.arrived(1, &[number]);
        let mut frames = Vec::new();
        for listener in &mut listeners {
            let arrivals = listener.take().unwrap();
            assert_eq!((arrivals.messages.len(), arrivals.missed), (1, false));
            frames.push(arrivals.messages[0].frame(|message| {
                encoded += 1;
                Bytes::copy_from_slice(&message.payload)
            }));
        }
        assert!(frames.iter().all(|frame| frame[..] == [number] && frame.as_ptr() == frames[0].as_ptr()));
    }
    assert_eq!(encoded, 3, "each message once for all");
    // one that takes nothing costs nobody else anything
    let (slow, others) = listeners.split_first_mut().unwrap();
    for _ in 0..WAITING_MAX + 1 {
        subscriptions.arrived(1, b"x");
        assert!(others.iter_mut().take(3).all(|other| !other.take().unwrap().missed));
    }
    assert!(slow.take().unwrap().missed);
    let last = listeners.remove(LISTENERS / 2);
    drop(listeners);
    assert_eq!((subscriptions.say().as_str(), subscriptions.subjects()["a"]), ("", 1));
    drop(last);
    assert_eq!((subscriptions.say().as_str(), subscriptions.subjects().len()), ("UNSUB 1\r\n", 0));
}

#[tokio::test]
async fn a_subject_that_is_refused_is_refused_to_all_who_wait_and_can_be_tried_again() {
    let subscriptions = table();
    let listeners = [subscriptions.listener(), subscriptions.listener()];
    let mut asked: Vec<_> = listeners.iter().map(|listener| Box::pin(listener.subscribe("a", 7))).collect();
    let outbox = subscriptions.0.table().take_outbox().unwrap();
    assert_eq!((&outbox.bytes[..], outbox.confirm), (&b"SUB a 1\r\n"[..], vec![1, 1]));
    subscriptions.0.table().confirmed(1, Some("permissions violation"));
    for answer in &mut asked {
        let refused = answer.now_or_never().unwrap().unwrap_err();
        assert!(format!("{refused:?}").contains("permissions violation"), "{refused:?}");
    }
    assert!(subscriptions.subjects().is_empty());
    let again = listeners[0].subscribe("a", 7);
    assert_eq!(subscriptions.say(), "UNSUB 1\r\nSUB a 2\r\n");
    assert!(again.now_or_never().unwrap().is_ok());
    assert!(listeners[1].subscribe("a", 7).now_or_never().unwrap().is_ok(), "the server knows it already");
    assert!(listeners[1].subscribe("b\r\nPUB c 0\r\n", 7).now_or_never().unwrap().is_err(), "not a subject");
}

#[tokio::test]
async fn a_listener_has_so_many_subjects_and_so_many_bytes() {
    let subscriptions = table();
    let mut listener = subscriptions.listener();
    for number in 0..SUBJECTS_MAX {
        drop(listener.subscribe(&format!("a.{number}"), 0));
    }
    let refused = listener.subscribe("b", 0).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.code, nepto_proto::ErrorCode::TooLarge);
    subscriptions.say();
    let large = vec![0; WAITING_BYTES_MAX - 1_024];
    for sid in 1..=8 {
        subscriptions.arrived(sid, &large);
    }
    let arrivals: Vec<Arrivals> = std::iter::from_fn(|| listener.take()).collect();
    let kept = arrivals.iter().filter(|arrivals| !arrivals.messages.is_empty()).count();
    assert_eq!((kept, arrivals.len()), (LISTENER_BYTES_MAX / WAITING_BYTES_MAX, 8));
    assert!(arrivals.iter().all(|arrivals| arrivals.missed == arrivals.messages.is_empty()));
    // what was taken makes room, and a subject that is left does
    listener.unsubscribe("a.0", 0);
    assert!(listener.subscribe("b", 0).now_or_never().is_none(), "it waits for the server");
    subscriptions.arrived(2, &large);
    assert!(!listener.take().unwrap().missed);
}

/// What may happen to the table.
#[derive(Debug, Clone)]
enum Step {
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Leave(usize),
    Publish(usize),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..LISTENERS, 0..SUBJECTS).prop_map(|(who, subject)| Step::Subscribe(who, subject)),
        2 => (0..LISTENERS, 0..SUBJECTS).prop_map(|(who, subject)| Step::Unsubscribe(who, subject)),
        1 => (0..LISTENERS).prop_map(Step::Leave),
        6 => (0..SUBJECTS).prop_map(Step::Publish),
        3 => (0..LISTENERS).prop_map(Step::Take),
    ]
}

const LISTENERS: usize = 6;
const SUBJECTS: usize = 4;

proptest! {
    #[test]
    fn whoever_comes_and_goes_each_hears_what_it_listens_to(steps in proptest::collection::vec(step(), 0..200)) {
        let subscriptions = table();
        let mut listeners: Vec<Listener> = (0..LISTENERS).map(|_| subscriptions.listener()).collect();
        // who listens to what, and what each should find
        let mut expected: Vec<BTreeMap<usize, Vec<u8>>> = vec![BTreeMap::new(); LISTENERS];
        // what the server has: numbers of subscriptions by subject
        let mut server: BTreeMap<String, u64> = BTreeMap::new();
        let mut next = 0u8;
        for step in steps {
            match step {
                Step::Subscribe(who, subject) => {
                    drop(listeners[who].subscribe(&format!("s.{subject}"), subject as u32));
                    expected[who].entry(subject).or_default();
                }
                Step::Unsubscribe(who, subject) => {
                    listeners[who].unsubscribe(&format!("s.{subject}"), subject as u32);
                    expected[who].remove(&subject);
                }
                Step::Leave(who) => {
                    listeners[who] = subscriptions.listener();
                    expected[who].clear();
                }
                Step::Publish(subject) => {
                    next = next.wrapping_add(1);
                    if let Some(sid) = server.get(&format!("s.{subject}")) {
                        subscriptions.arrived(*sid, &[next]);
                    }
                    for heard in expected.iter_mut().filter_map(|subjects| subjects.get_mut(&subject)) {
                        heard.push(next);
                    }
                }
                Step::Take(who) => {
                    while let Some(arrivals) = listeners[who].take() {
                        let heard: Vec<u8> = arrivals.messages.iter().map(|message| message.payload[0]).collect();
                        let subject = arrivals.tag as usize;
                        prop_assert_eq!(arrivals.subject.to_string(), format!("s.{subject}"));
                        prop_assert_eq!(Some(&heard), expected[who].get(&subject));
                        prop_assert!(!arrivals.missed && !heard.is_empty());
                        expected[who].insert(subject, Vec::new());
                    }
                    prop_assert!(expected[who].values().all(Vec::is_empty), "{:?}", expected[who]);
                }
            }
            for line in subscriptions.say().lines() {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["SUB", subject, sid] => {
                        let twice = server.insert(subject.to_owned(), sid.parse().unwrap());
                        prop_assert_eq!(twice, None, "{} is subscribed once", subject);
                    }
                    ["UNSUB", sid] => server.retain(|_, known| known.to_string() != sid),
                    _ => prop_assert!(false, "{}", line),
                }
            }
            let mut listening: BTreeMap<String, usize> = BTreeMap::new();
            for subject in expected.iter().flat_map(BTreeMap::keys) {
                *listening.entry(format!("s.{subject}")).or_default() += 1;
            }
            prop_assert_eq!(&subscriptions.subjects(), &listening);
            prop_assert!(server.keys().eq(listening.keys()), "{:?} {:?}", server, listening);
        }
    }
}

/// A server, its client, and subscriptions that run.
async fn connected(more: &str) -> (Server, async_nats::Client, Subscriptions, Health) {
    let server = Server::start_with(more).await.unwrap();
    let (config, health) = (Nats { url: server.url(), ..Nats::default() }, Health::default());
    let (subscriptions, link) =
        Subscriptions::connect(&config, "test", &health, CancellationToken::new()).await.unwrap();
    tokio::spawn(link.run());
    eventually(seconds(10), async || Ok(health.ask_all().await.ready)).await.unwrap();
    let client = server.client().await.unwrap();
    (server, client, subscriptions, health)
}

#[tokio::test]
async fn what_is_published_arrives_at_its_subscription() {
    let (_server, client, subscriptions, _) = connected("").await;
    let (mut first, mut second) = (subscriptions.listener(), subscriptions.listener());
    first.subscribe("live.a.*", 0).await.unwrap();
    second.subscribe("live.b.*", 0).await.unwrap();
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
    let mut listener = subscriptions.listener();
    listener.subscribe("live.a", 0).await.unwrap();
    server.kill9().unwrap();
    eventually(seconds(10), async || Ok(!health.ask_all().await.ready)).await.unwrap();
    let refused = listener.subscribe("live.b", 0).await.unwrap_err();
    assert_eq!(refused.code, nepto_proto::ErrorCode::Unavailable);
    server.restart().await.unwrap();
    assert!(listener.next().await.missed);
    assert!(health.ask_all().await.ready);
    eventually(seconds(10), async || {
        Ok(client.publish("live.a", "again".into()).await.is_ok() && client.flush().await.is_ok())
    })
    .await
    .unwrap();
    assert_eq!(listener.next().await.messages[0].payload, "again");
}

#[tokio::test]
async fn a_subscription_that_is_refused_harms_no_other() {
    let (_server, client, subscriptions, health) = connected("max_subscriptions: 2").await;
    let mut kept = Vec::new();
    for subject in ["live.a", "live.b"] {
        let listener = subscriptions.listener();
        listener.subscribe(subject, 0).await.unwrap();
        kept.push(listener);
    }
    let another = subscriptions.listener();
    let refused = another.subscribe("live.c", 0).await.unwrap_err();
    assert!(format!("{refused:?}").to_lowercase().contains("maximum subscriptions"), "{refused:?}");
    assert!(health.ask_all().await.ready);
    client.publish("live.b", "still".into()).await.unwrap();
    let arrivals = kept[1].next().await;
    assert!(!arrivals.missed && arrivals.messages[0].payload == "still");
    // a place is free again
    drop(kept.remove(0));
    another.subscribe("live.c", 0).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    let (server, _, subscriptions, health) = connected("").await;
    let mut listener = subscriptions.listener();
    listener.subscribe("live.a", 0).await.unwrap();
    server.pause().unwrap();
    eventually(seconds(45), async || Ok(!health.ask_all().await.ready)).await.unwrap();
    server.resume().unwrap();
    assert!(listener.next().await.missed);
}
