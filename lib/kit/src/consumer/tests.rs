//! Over real servers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use nepto_proto::api::operator::DeadLetterFilter;
use nepto_proto::event::DeviceRemoved;
use nepto_proto::subject::{DEAD_LETTERS_STREAM, EVENTS_STREAM};
use nepto_proto::{AccountId, ErrorCode};
use nepto_testkit::{eventually, seconds};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Consumer, Events};
use crate::testing::Ground;
use crate::{Ctx, Failure};

/// One of those that `nats/streams.toml` declares.
const NAME: &str = "auth-device-removed";

fn event(account: u128, device: u32) -> DeviceRemoved {
    DeviceRemoved { account: AccountId::new(Uuid::from_u128(account)), device: device.try_into().unwrap() }
}

/// What was done, in its order: accounts and devices.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<(u128, u8)>>>);

impl Done {
    fn note(&self, event: &DeviceRemoved) {
        self.0.lock().unwrap().push((event.account.uuid().as_u128(), event.device.get()));
    }

    fn of(&self, account: u128) -> Vec<u8> {
        self.0.lock().unwrap().iter().filter(|done| done.0 == account).map(|done| done.1).collect()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn start(ctx: &Ctx, events: Events) {
    tokio::spawn(Consumer::from(events).serve(ctx.clone()));
}

async fn dead_letters(ctx: &Ctx) -> u64 {
    ctx.jetstream.get_stream(DEAD_LETTERS_STREAM).await.unwrap().cached_info().state.messages
}

#[tokio::test]
async fn what_hangs_is_given_up_and_dead_lettered_while_others_go_on() {
    let ground = Ground::new().await;
    let (done, tries) = (Done::default(), Done::default());
    let (noted, tried) = (done.clone(), tries.clone());
    let events = Consumer::events(NAME).concurrency(4).timeout(Duration::from_millis(400)).deliveries_max(2);
    start(
        &ground.ctx,
        events.on(move |event: DeviceRemoved| {
            let (done, tries) = (noted.clone(), tried.clone());
            async move {
                match event.account.uuid().as_u128() {
                    1 => {
                        tries.note(&event);
                        std::future::pending::<()>().await;
                    }
                    2 => {
                        tries.note(&event);
                        panic!("a handler with a mistake");
                    }
                    _ => done.note(&event),
                }
                Ok(())
            }
        }),
    );
    ground.publish(&event(1, 1)).await;
    ground.publish(&event(2, 1)).await;
    for number in 0..200 {
        ground.publish(&event(100 + number, 1)).await;
    }
    eventually(seconds(10), async || Ok(done.count() == 200)).await.expect("the others go on");
    eventually(seconds(10), async || Ok(dead_letters(&ground.ctx).await == 2)).await.expect("it is dead-lettered");
    assert_eq!((tries.of(1).len(), tries.of(2).len()), (2, 2));
    let mut reader =
        crate::dead_letters::Reader::after(&ground.ctx, &DeadLetterFilter::default(), 0, true).await.unwrap();
    let mut reasons: Vec<String> = reader.next().await.unwrap().iter().map(|letter| letter.show().reason).collect();
    reasons.sort();
    assert!(reasons[0].contains("panicked") && reasons[1].contains("longer than 400ms"), "{reasons:?}");
}

#[tokio::test]
async fn a_slow_message_holds_back_no_fetch() {
    let ground = Ground::new().await;
    let done = Done::default();
    let noted = done.clone();
    start(
        &ground.ctx,
        Consumer::events(NAME).concurrency(4).on(move |event: DeviceRemoved| {
            let done = noted.clone();
            async move {
                if event.account.uuid().as_u128() == 1 {
                    sleep(Duration::from_secs(20)).await;
                }
                done.note(&event);
                Ok(())
            }
        }),
    );
    ground.publish(&event(1, 1)).await;
    for number in 0..300 {
        ground.publish(&event(100 + number, 1)).await;
    }
    eventually(seconds(10), async || Ok(done.count() == 300)).await.expect("all but the slow one");
    assert!(done.of(1).is_empty(), "and it is still under way");
}

#[tokio::test]
async fn events_of_one_key_keep_their_order_also_while_one_is_tried_again() {
    let ground = Ground::new().await;
    let done = Done::default();
    let fails: Arc<Mutex<HashMap<u8, u32>>> = Arc::default();
    let noted = done.clone();
    let events = Consumer::events(NAME).on(move |event: DeviceRemoved| {
        let (done, fails) = (noted.clone(), fails.clone());
        async move {
            // the third of the first account fails twice, and something is away once
            if (event.account.uuid().as_u128(), event.device.get()) == (1, 3) {
                let count = *fails.lock().unwrap().entry(3).and_modify(|count| *count += 1).or_insert(1);
                match count {
                    1 | 2 => return Err(Failure::internal(anyhow::anyhow!("not yet"))),
                    3 => return Err(Failure::new(ErrorCode::Unavailable, "away")),
                    _ => {}
                }
            }
            sleep(Duration::from_millis(u64::from(10 - event.device.get()))).await;
            done.note(&event);
            Ok(())
        }
    });
    for device in 1..=9 {
        for account in 1..=20 {
            ground.publish(&event(account, device)).await;
        }
    }
    start(&ground.ctx, events.ordered_by(|event: &DeviceRemoved| event.account));
    // another process waits for its turn
    let other = ground.process().await;
    let stray = done.clone();
    start(
        &other,
        Consumer::events(NAME)
            .on(move |event: DeviceRemoved| {
                let done = stray.clone();
                async move {
                    done.note(&event);
                    Ok(())
                }
            })
            .ordered_by(|event: &DeviceRemoved| event.account),
    );
    eventually(seconds(20), async || Ok(done.count() == 180)).await.expect("all of them");
    for account in 1..=20 {
        assert_eq!(done.of(account), (1..=9).collect::<Vec<u8>>(), "account {account}");
    }
    assert_eq!(dead_letters(&ground.ctx).await, 0);
}

#[tokio::test]
async fn long_work_is_in_progress_and_comes_to_nobody_else() {
    let ground = Ground::new().await;
    let stream = ground.ctx.jetstream.get_stream(EVENTS_STREAM).await.unwrap();
    let declared: PullConsumer = stream.get_consumer(NAME).await.unwrap();
    let mut config: async_nats::jetstream::consumer::pull::Config = Default::default();
    config.durable_name = Some(NAME.to_owned());
    config.filter_subject = declared.cached_info().config.filter_subject.clone();
    config.ack_wait = Duration::from_secs(1);
    config.max_ack_pending = 256;
    stream.update_consumer(config).await.unwrap();
    let (begun, done) = (Done::default(), Done::default());
    for ctx in [ground.ctx.clone(), ground.process().await] {
        let (begun, done) = (begun.clone(), done.clone());
        start(
            &ctx,
            Consumer::events(NAME).on(move |event: DeviceRemoved| {
                let (begun, done) = (begun.clone(), done.clone());
                async move {
                    begun.note(&event);
                    sleep(Duration::from_secs(3)).await;
                    done.note(&event);
                    Ok(())
                }
            }),
        );
    }
    ground.publish(&event(1, 1)).await;
    eventually(seconds(10), async || Ok(done.count() == 1)).await.unwrap();
    let settled = async || {
        let consumer: PullConsumer = stream.get_consumer(NAME).await.unwrap();
        Ok(consumer.cached_info().num_ack_pending == 0)
    };
    eventually(seconds(5), settled).await.unwrap();
    assert_eq!(begun.count(), 1, "it was begun once");
}

#[tokio::test]
async fn what_a_full_dlq_does_not_take_stays_with_its_consumer() {
    let ground = Ground::new().await;
    let js = &ground.ctx.jetstream;
    for size in [100_000, 1_000, 1] {
        while js.publish("dlq.EVENTS.somebody", vec![7; size].into()).await.unwrap().await.is_ok() {}
    }
    let full = dead_letters(&ground.ctx).await;
    start(
        &ground.ctx,
        Consumer::events(NAME)
            .deliveries_max(1)
            .on(|_: DeviceRemoved| async { Err(Failure::internal(anyhow::anyhow!("it never works"))) }),
    );
    ground.publish(&event(1, 1)).await;
    let stream = js.get_stream(EVENTS_STREAM).await.unwrap();
    let kept = async || {
        let consumer: PullConsumer = stream.get_consumer(NAME).await.unwrap();
        let info = consumer.cached_info();
        Ok(info.num_ack_pending == 1 && info.num_redelivered == 1)
    };
    eventually(seconds(10), kept).await.expect("it comes again");
    assert_eq!(dead_letters(&ground.ctx).await, full, "nothing made room for it");
    js.get_stream(DEAD_LETTERS_STREAM).await.unwrap().purge().await.unwrap();
    eventually(seconds(30), async || Ok(dead_letters(&ground.ctx).await == 1)).await.expect("there is room");
}
