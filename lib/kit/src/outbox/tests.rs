//! Over a real JetStream.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::{FutureExt, StreamExt};
use nepto_proto::AccountId;
use nepto_proto::event::{DeviceRemoved, WalletLinked};
use nepto_proto::subject::EVENTS_STREAM;
use nepto_testkit::{eventually, seconds};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use surrealdb::types::vars;
use uuid::Uuid;

use super::*;
use crate::domain::Parts;
use crate::testing::{Ground, Logged};

fn removed(number: u128) -> DeviceRemoved {
    DeviceRemoved { account: AccountId::new(Uuid::from_u128(number)), device: 1.try_into().unwrap() }
}

/// Rows in their order: a millisecond has one.
fn rows(clock: &Clock, random: &Random, numbers: std::ops::Range<u128>) -> Vec<Row> {
    numbers
        .map(|number| {
            clock.advance(Duration::from_millis(1));
            Row::new(&removed(number), clock, random).unwrap()
        })
        .collect()
}

async fn insert(db: &Db, rows: Vec<Row>) {
    for some in rows.chunks(1_000) {
        db.transaction(vars! {}).emit(some.to_vec()).execute().await.unwrap();
    }
}

async fn is_empty(db: &Db) -> bool {
    db.run::<Vec<RecordId>>("SELECT VALUE id FROM outbox LIMIT 1", vars! {}).await.unwrap().is_empty()
}

/// The accounts of all events, in the order of the stream.
async fn published(ctx: &Ctx, count: usize) -> Vec<u128> {
    let stream = ctx.jetstream.get_stream(EVENTS_STREAM).await.unwrap();
    // nobody acknowledges, and a consumer that waits for that gives out a thousand
    let config = pull::Config { deliver_policy: DeliverPolicy::All, ack_policy: AckPolicy::None, ..Default::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut seen: Vec<u128> = Vec::new();
    loop {
        // no more at once than a subscription has room for
        let asked = (count - seen.len()).min(500);
        let mut messages = consumer.fetch().max_messages(asked).expires(seconds(5)).messages().await.unwrap();
        let before = seen.len();
        while let Some(message) = messages.next().await {
            let event: DeviceRemoved = serde_json::from_slice(&message.unwrap().payload).unwrap();
            seen.push(event.account.uuid().as_u128());
        }
        if seen.len() == before {
            return seen;
        }
    }
}

#[tokio::test]
async fn several_relays_publish_everything_once_and_in_order() {
    const EVENTS: u128 = 3_000;
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    let clock = Clock::manual(time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut rows = rows(&clock, &ground.ctx.random, 0..EVENTS);
    // somebody published this one, and died
    let early = &rows[1_234];
    let part = early.part().unwrap();
    ground.ctx.jetstream.publish_with_headers(part.subject, part.headers, part.body).await.unwrap().await.unwrap();
    // the order in which they are written is not the order in which they happened
    rows[..1_000].reverse();
    insert(&db, rows).await;
    for ctx in [ground.ctx.clone(), ground.process().await, ground.process().await] {
        tokio::spawn(Outbox::new(&ctx, &db).serve());
    }
    eventually(seconds(20), async || Ok(is_empty(&db).await)).await.unwrap();
    let mut seen = published(&ground.ctx, EVENTS as usize + 1).await;
    assert_eq!(seen.remove(0), 1_234, "that was there before");
    assert_eq!(seen, (0..EVENTS).filter(|number| *number != 1_234).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wake_is_enough_for_the_relay_of_the_process_that_wrote() {
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    let outbox = Outbox::new(&ground.ctx, &db);
    tokio::spawn(outbox.clone().serve());
    // it looked once and sleeps
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut took = Vec::new();
    for number in 0..5 {
        let begun = Instant::now();
        insert(&db, vec![Row::new(&removed(number), &ground.ctx.clock, &ground.ctx.random).unwrap()]).await;
        outbox.wake();
        eventually(seconds(5), async || Ok(is_empty(&db).await)).await.unwrap();
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[2] < POLL_MIN / 2, "{took:?}");
}

#[tokio::test]
async fn what_a_dead_process_left_is_found_by_a_relay_that_has_rested() {
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    tokio::spawn(Outbox::new(&ground.ctx, &db).serve());
    // it looked in vain a few times
    tokio::time::sleep(POLL_MIN * 4).await;
    insert(&db, vec![Row::new(&removed(1), &ground.ctx.clock, &ground.ctx.random).unwrap()]).await;
    eventually(POLL_MAX + seconds(2), async || Ok(is_empty(&db).await)).await.unwrap();
    assert_eq!(published(&ground.ctx, 1).await, [1]);
}

#[tokio::test]
async fn whoever_writes_wakes_the_relay_of_its_process() {
    let ground = Ground::new().await;
    let parts = Parts::new(&ground.ctx, ground.database("outbox").await);
    let relay = parts.outbox().unwrap().clone();
    let writer = parts.shared(|parts| Ok(parts.outbox()?.clone())).unwrap();
    assert!(relay.wake.notified().now_or_never().is_none());
    writer.wake();
    assert!(relay.wake.notified().now_or_never().is_some());
}

#[tokio::test]
async fn events_about_one_thing_are_numbered_with_the_change() {
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    let event = |wallet: &str| {
        let linked = WalletLinked { account: AccountId::new(Uuid::nil()), wallet: wallet.to_owned(), version: 0 };
        Row::about(&linked, wallet, &ground.ctx.clock, &ground.ctx.random).unwrap()
    };
    let change = async |events: Vec<Row>| {
        db.transaction(vars! {}).emit(events).execute().await.unwrap();
    };
    change(vec![event("0xA"), event("0xB")]).await;
    futures_util::future::join_all((0..8).map(|_| change(vec![event("0xA")]))).await;
    // as if its last number had been told by a clock that was ahead, or before a restore of an older backup
    let ahead = 9_999_999_999_999_u64;
    db.execute("UPDATE event_version:`0xB` SET number = $ahead", vars! { ahead: ahead as i64 }).await.unwrap();
    change(vec![event("0xB")]).await;
    let rows: Vec<Row> = db.rows("SELECT * FROM outbox", vars! {}).await.unwrap();
    let versions: BTreeSet<(String, u64)> = rows
        .iter()
        .map(|row| {
            let event: WalletLinked = serde_json::from_slice(&row.part().unwrap().body).unwrap();
            (event.wallet, event.version)
        })
        .collect();
    let of =
        |wallet: &str| versions.iter().filter(|(of, _)| of == wallet).map(|(_, number)| *number).collect::<Vec<_>>();
    assert_eq!(of("0xA").len(), 9, "each has another one");
    let [first, second] = of("0xB")[..] else { panic!("{versions:?}") };
    assert!(first > 1_700_000_000_000 && first < ahead, "it is the time: {first}");
    assert_eq!(second, ahead + 1);
}

/// An event that has a value which JSON has no word for.
#[derive(Deserialize)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no word for it"))
    }
}

impl Event for Unspeakable {
    const DOMAIN: &'static str = "outbox";
    const NAME: &'static str = "unspeakable";
}

#[test]
fn an_event_that_cannot_be_written_is_an_error_and_no_empty_body() {
    let (clock, random) = (Clock::default(), Random::default());
    let error = Row::new(&Unspeakable, &clock, &random).unwrap_err().to_string();
    assert!(error.contains("events.outbox.unspeakable") && error.contains("no word for it"), "{error}");
    assert!(Row::about(&Unspeakable, "0xA", &clock, &random).is_err());
}

/// Whether `/readyz` has no fault to find with a check.
async fn is_well(ctx: &Ctx, check: &str) -> bool {
    let checks = ctx.health.ask_all().await.checks;
    checks.iter().find(|found| found.name == check).is_some_and(|found| found.error.is_none())
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stays_and_holds_nothing_back() {
    const EVENTS: u128 = 20;
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    let clock = Clock::manual(time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let rows = rows(&clock, &ground.ctx.random, 0..EVENTS);
    let (column, body) = (rows[3].id.clone(), rows[7].id.clone());
    let logged = Logged::from_now_on();
    insert(&db, rows).await;
    db.execute("UPDATE $id SET version = -1", vars! { id: column.clone() }).await.unwrap();
    db.execute("UPDATE $id SET version = 1, body = ''", vars! { id: body.clone() }).await.unwrap();
    tokio::spawn(Outbox::new(&ground.ctx, &db).serve());
    let left = async || db.rows::<Id<Events>>("SELECT VALUE id FROM outbox", vars! {}).await.unwrap();
    eventually(seconds(20), async || Ok(left().await.len() == 2)).await.unwrap();
    assert_eq!(left().await, [column.clone(), body.clone()]);
    let seen = published(&ground.ctx, EVENTS as usize).await;
    assert_eq!(seen, (0..EVENTS).filter(|number| ![3, 7].contains(number)).collect::<Vec<_>>());
    eventually(seconds(5), async || Ok(!is_well(&ground.ctx, "events of outbox").await)).await.unwrap();

    // it looks again and again, and names each once
    tokio::time::sleep(POLL_MIN * 3).await;
    for id in [&column, &body] {
        assert_eq!(logged.with(&id.0).len(), 1, "{:?}", logged.with(&id.0));
    }

    // what comes later goes out as well, and mended rows do
    insert(&db, vec![Row::new(&removed(99), &ground.ctx.clock, &ground.ctx.random).unwrap()]).await;
    eventually(seconds(5), async || Ok(left().await.len() == 2)).await.unwrap();
    db.execute("DELETE $id", vars! { id: body }).await.unwrap();
    db.execute("UPDATE $id SET version = NONE", vars! { id: column }).await.unwrap();
    eventually(seconds(5), async || Ok(left().await.is_empty())).await.unwrap();
    assert_eq!(published(&ground.ctx, EVENTS as usize).await[EVENTS as usize - 2..], [99, 3]);
    eventually(seconds(5), async || Ok(is_well(&ground.ctx, "events of outbox").await)).await.unwrap();
}

#[tokio::test]
async fn a_relay_that_waits_for_another_is_alive_as_long_as_that_one_gets_on() {
    let ground = Ground::new().await;
    let db = ground.database("outbox").await;
    insert(&db, rows(&Clock::manual(time::OffsetDateTime::UNIX_EPOCH), &ground.ctx.random, 0..9)).await;
    let other = Lease::new(&ground.process().await, "outbox:outbox", seconds(60));
    assert!(other.hold().await);
    let mut ctx = ground.process().await;
    ctx.clock = Clock::manual(time::OffsetDateTime::UNIX_EPOCH);
    tokio::spawn(Outbox::new(&ctx, &db).serve());
    let is_well = async || is_well(&ctx, "outbox outbox").await;
    eventually(seconds(5), async || Ok(is_well().await)).await.unwrap();
    for _ in 0..3 {
        ctx.clock.advance(SILENCE_MAX + seconds(1));
        assert!(!is_well().await);
        db.execute("DELETE (SELECT VALUE id FROM outbox LIMIT 1)", vars! {}).await.unwrap();
        eventually(seconds(5), async || Ok(is_well().await)).await.unwrap();
    }
    // and if it does not, both say so
    ctx.clock.advance(SILENCE_MAX + seconds(1));
    tokio::time::sleep(BUSY * 5).await;
    assert!(!is_well().await);
}
