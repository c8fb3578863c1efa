//! Two people talk, through the real stack.

use nepto_proto::ErrorCode;
use nepto_proto::subject::Shards;
use nepto_sdk::model::{Body, Status};
use nepto_sdk::{Event, SdkError};
use nepto_testkit::{Stack, eventually, seconds};

use crate::people::{Person, friends};

#[tokio::test]
async fn two_people_talk_both_ways() {
    let stack = Stack::all().await.unwrap();
    let (mut alice, mut bob) = friends(&stack).await.unwrap();
    let id = alice.says(&bob, "gm").await.unwrap();
    bob.hears_text("gm").await.unwrap();
    let delivered =
        |event: &Event| matches!(event, Event::Status { id: of, status: Status::Delivered, .. } if of.id == id);
    alice.until(delivered).await.unwrap();
    bob.client.mark_read(alice.account(), u64::MAX).unwrap();
    alice
        .until(|event| matches!(event, Event::Status { id: of, status: Status::Read, .. } if of.id == id))
        .await
        .unwrap();
    bob.says(&alice, "gm to you").await.unwrap();
    alice.hears_text("gm to you").await.unwrap();
    bob.client.typing(alice.account(), true).await.unwrap();
    alice.until(|event| matches!(event, Event::Typing { active: true, .. })).await.unwrap();
    mailboxes_empty(&stack).await;
}

/// Nothing is on its way any more: no receipt of a receipt, no greeting of a new device.
pub async fn quiet(stack: &Stack) {
    let mut empty = 0;
    while empty < 3 {
        mailboxes_empty(stack).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        empty = if stack.nats.mailboxes(Shards::DEFAULT).await.unwrap() == 0 { empty + 1 } else { 0 };
    }
}

/// Everything was delivered, acknowledged and purged.
pub async fn mailboxes_empty(stack: &Stack) {
    eventually(seconds(15), async || Ok(stack.nats.mailboxes(Shards::DEFAULT).await? == 0)).await.unwrap();
}

#[tokio::test]
async fn who_is_away_gets_everything_later_in_order() {
    let stack = Stack::all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    bob.client.disconnect();
    for number in 0..30 {
        let message = alice.client.send_text(bob.client.account(), &number.to_string(), None, None).unwrap();
        alice.client.wait_sent(message.id.id).await.unwrap();
    }
    bob.events = bob.client.connect().await.unwrap();
    for number in 0..30 {
        bob.hears_text(&number.to_string()).await.unwrap();
    }
    mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn all_devices_of_both_people_get_every_message() {
    let stack = Stack::all().await.unwrap();
    let (mut alice, mut bob) = friends(&stack).await.unwrap();
    let mut phone = bob.second_device(&stack).await.unwrap();
    let mut tablet = alice.second_device(&stack).await.unwrap();
    alice.says(&bob, "to both of you").await.unwrap();
    bob.hears_text("to both of you").await.unwrap();
    phone.hears_text("to both of you").await.unwrap();
    // what one device sends, the other devices of the same person show as their own
    let own = tablet.hears_text("to both of you").await.unwrap();
    assert_eq!(own.id.author, alice.account());
    phone.says(&alice, "from the phone").await.unwrap();
    alice.hears_text("from the phone").await.unwrap();
    tablet.hears_text("from the phone").await.unwrap();
    bob.hears_text("from the phone").await.unwrap();
    mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn strangers_wait_among_the_requests_and_may_not_flood() {
    let stack = Stack::builder().set("limits.request_messages", 3).all().await.unwrap();
    let (alice, mut bob) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    for text in ["one", "two", "three"] {
        alice.says(&bob, text).await.unwrap();
        let event = bob.until(|event| matches!(event, Event::Message(_) | Event::Request(_))).await.unwrap();
        assert!(matches!(event, Event::Request(_)), "{event:?}");
    }
    let refused = format!("{:#}", alice.says(&bob, "four").await.unwrap_err());
    assert!(refused.contains("not accepted you"), "{refused}");
    // what Redis knows of the pair expires, the count does not
    let mut redis = stack.redis.client().await.unwrap();
    let verdict = format!("cache:consent:{}:{}", alice.account(), bob.account());
    redis::cmd("DEL").arg(verdict).exec_async(&mut redis).await.unwrap();
    assert!(alice.says(&bob, "five").await.is_err(), "a request must not flood");
    bob.client.accept(alice.account()).await.unwrap();
    alice.says(&bob, "welcome").await.unwrap();
    bob.until(|event| matches!(event, Event::Message(message) if message.body == Body::Text("welcome".into())))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_block_holds_at_once_and_can_be_lifted() {
    let stack = Stack::all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    bob.client.block(alice.account()).await.unwrap();
    let error = alice.says(&bob, "let me in").await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SdkError::NotSent(_))), "{error:#}");
    bob.client.unblock(alice.account()).await.unwrap();
    alice.says(&bob, "thank you").await.unwrap();
    bob.hears_text("thank you").await.unwrap();
}

#[tokio::test]
async fn a_full_mailbox_is_told_to_the_sender() {
    let stack = Stack::builder().set("mailbox.messages_max", 4).all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    quiet(&stack).await;
    bob.client.disconnect();
    let mut refusal = None;
    for number in 0..6 {
        if let Err(error) = alice.says(&bob, &number.to_string()).await {
            refusal = Some(error);
            break;
        }
    }
    let refusal = format!("{:#}", refusal.expect("the mailbox has a bound"));
    assert!(refusal.contains("full"), "{refusal}");
}

#[tokio::test]
async fn messages_expire_and_disappear() {
    let stack =
        Stack::builder().set("mailbox.expire_after_s", 2).set("mailbox.duplicate_window_s", 1).all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    // a timer of one second, on both sides
    let message = alice.client.send_text(bob.account(), "gone soon", None, Some(1)).unwrap();
    alice.client.wait_sent(message.id.id).await.unwrap();
    let heard = bob.hears_text("gone soon").await.unwrap();
    bob.client.mark_read(alice.account(), heard.order).unwrap();
    bob.until(|event| matches!(event, Event::Expired(gone) if gone[0].id == heard.id)).await.unwrap();
    assert_eq!(bob.client.message(heard.id).unwrap(), None);
    // nobody fetches: the server lets go
    bob.client.disconnect();
    alice.says(&bob, "too late").await.unwrap();
    assert!(stack.nats.mailboxes(Shards::DEFAULT).await.unwrap() > 0);
    mailboxes_empty(&stack).await;
}

#[tokio::test]
async fn presence_is_shown_to_accepted_people_only() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let stranger = Person::join(&stack).await.unwrap();
    assert_eq!(alice.client.online(&[bob.account()]).await.unwrap(), [bob.account()]);
    assert_eq!(stranger.client.online(&[bob.account(), alice.account()]).await.unwrap(), []);
    bob.client.disconnect();
    eventually(seconds(10), async || Ok(alice.client.online(&[bob.account()]).await?.is_empty())).await.unwrap();
}

#[tokio::test]
async fn too_many_messages_are_limited_with_a_time_to_wait() {
    let stack = Stack::builder().set("limits.sends_per_pair_per_minute", 5).all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let devices = crate::people::devices_of(&alice.client, bob.account()).await.unwrap();
    alice.client.disconnect();
    let mut raw = crate::people::Raw::open(&stack, &alice.client, None).await.unwrap();
    let mut refused = None;
    for number in 0..12 {
        let send = crate::people::opaque(number, bob.account(), &devices, b"x");
        let reply = raw.call(nepto_proto::wire::client_frame::Kind::SendDm(send)).await.unwrap();
        if let nepto_proto::wire::server_frame::Kind::Error(error) = reply {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("there is a limit");
    assert_eq!(error.code, ErrorCode::RateLimited.as_str());
    assert!((1..=60_000).contains(&error.retry_after_ms), "{}", error.retry_after_ms);
}
