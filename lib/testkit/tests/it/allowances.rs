//! What anybody may take of a mailbox and of the store, a day and in all.

use std::time::Duration;

use nepto_proto::ErrorCode;
use nepto_proto::wire::{DeviceCiphertext, SendDm};
use nepto_testkit::{Stack, seconds};

use crate::mailbox::{away, code, copy_for, other_device, raw, send};
use crate::people::{Person, early_in_window, opaque};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn requests_are_small_and_few_bytes_a_day() {
    early_in_window(DAY).await;
    let stack = Stack::builder()
        .set("mailbox.request_bytes_max", 100_000)
        .set("mailbox.request_bytes_per_recipient_per_day", 262_144)
        .set("mailbox.new_account_for_s", 0)
        .all()
        .await
        .unwrap();
    let friend = Person::join(&stack).await.unwrap();
    let (bob, devices) = away(&stack, &[&friend]).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let stranger = Person::join(&stack).await.unwrap();
        let mut socket = raw(&stack, &stranger).await;
        for (number, bytes) in [90_000, 90_000, 90_001].into_iter().enumerate() {
            let sent = send(&mut socket, opaque(number as u128, bob.account(), &devices, &vec![7; bytes])).await;
            answers.push(code(sent));
        }
    }
    let full = ErrorCode::RequestsFull.as_str();
    assert_eq!(answers, ["stored", "stored", full, full, full, full], "all strangers together");
    let mut theirs = raw(&stack, &friend).await;
    assert_eq!(code(send(&mut theirs, opaque(1, bob.account(), &devices, &[7; 96_000])).await), "stored");
    // the size of one
    let stack = Stack::all().await.unwrap();
    let stranger = Person::join(&stack).await.unwrap();
    let (bob, devices) = away(&stack, &[]).await;
    let mut socket = raw(&stack, &stranger).await;
    let error = send(&mut socket, opaque(1, bob.account(), &devices, &[7; 8_193])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RequestLimit.as_str());
    assert!(error.detail.contains("8192"), "{}", error.detail);
    assert_eq!(code(send(&mut socket, opaque(2, bob.account(), &devices, &[7; 8_192])).await), "stored");
}

#[tokio::test]
async fn new_accounts_leave_half_of_what_is_for_strangers_to_older_ones() {
    let stack =
        Stack::builder().set("mailbox.messages_max", 40).set("mailbox.new_account_for_s", 6).all().await.unwrap();
    let (old, (bob, devices)) = (Person::join(&stack).await.unwrap(), away(&stack, &[]).await);
    tokio::time::sleep(seconds(6)).await;
    let new = Person::join(&stack).await.unwrap();
    let mut answers = Vec::new();
    for stranger in [&new, &old] {
        let mut socket = raw(&stack, stranger).await;
        for number in 0..5 {
            answers.push(code(send(&mut socket, opaque(number, bob.account(), &devices, b"x")).await));
        }
    }
    let full = ErrorCode::RequestsFull.as_str();
    assert_eq!(answers[..5], ["stored", "stored", "stored", "stored", full]);
    assert_eq!(answers[5..], ["stored", "stored", "stored", "stored", full], "eight of forty are for strangers");
}

#[tokio::test]
async fn the_same_id_from_another_device_or_later_is_another_request() {
    let stack = Stack::all().await.unwrap();
    let phone = Person::join(&stack).await.unwrap();
    let tablet = phone.second_device(&stack).await.unwrap();
    let (bob, devices) = away(&stack, &[]).await;
    let (mut one, mut two) = (raw(&stack, &phone).await, raw(&stack, &tablet).await);
    let message = |id| SendDm { recipient_only: true, ..opaque(id, bob.account(), &devices, b"x") };
    for id in 1..=2 {
        assert!(!send(&mut one, message(id)).await.unwrap().duplicate);
        assert!(!send(&mut two, message(id)).await.unwrap().duplicate);
    }
    // the store does not know them any more, so it keeps them once more
    tokio::time::sleep(seconds(2)).await;
    assert!(!send(&mut one, message(1)).await.unwrap().duplicate);
    assert_eq!(code(send(&mut one, message(2)).await), ErrorCode::RequestLimit.as_str());
}

#[tokio::test]
async fn what_is_stored_is_paid_for_whatever_was_there_before() {
    early_in_window(DAY).await;
    let stack = Stack::builder()
        .unlimited()
        .set("mailbox.duplicate_window_s", 120)
        .set("mailbox.bytes_per_new_account_per_day", 262_144)
        .all()
        .await
        .unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let (_, own) = other_device(&stack, &alice).await;
    let (bob, devices) = away(&stack, &[&alice]).await;
    let mut sender = raw(&stack, &alice).await;
    let mut answers = Vec::new();
    for id in 1..=3 {
        let message = opaque(id, bob.account(), &devices, b"x");
        assert_eq!(code(send(&mut sender, SendDm { recipient_only: true, ..message.clone() }).await), "stored");
        // once more, now with a large copy for one's own device, which is new
        let copy = DeviceCiphertext { ciphertext: vec![7; 90_000].into(), ..copy_for(&own, id) };
        answers.push(code(send(&mut sender, SendDm { own_devices: vec![copy], ..message }).await));
    }
    assert_eq!(answers, ["stored", "stored", ErrorCode::RateLimited.as_str()]);
}

#[tokio::test]
async fn strangers_do_not_use_up_what_accepted_people_may_send() {
    early_in_window(DAY).await;
    let stack = Stack::builder().unlimited().set("mailbox.bytes_per_recipient_per_day", 262_144).all().await.unwrap();
    let (friend, stranger) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let (bob, devices) = away(&stack, &[&friend]).await;
    let mut theirs = raw(&stack, &stranger).await;
    for number in 0..70 {
        assert_eq!(code(send(&mut theirs, opaque(number, bob.account(), &devices, b"x")).await), "stored");
    }
    let mut socket = raw(&stack, &friend).await;
    for number in 0..64 {
        assert_eq!(code(send(&mut socket, opaque(number, bob.account(), &devices, b"x")).await), "stored", "{number}");
    }
    let past = send(&mut socket, opaque(64, bob.account(), &devices, b"x")).await;
    assert_eq!(code(past), ErrorCode::RateLimited.as_str(), "64 times 4 KiB");
}

#[tokio::test]
async fn what_one_sends_to_another_in_a_day_has_a_bound_that_retries_do_not_touch() {
    early_in_window(DAY).await;
    let stack = Stack::builder().unlimited().set("mailbox.bytes_per_pair_per_day", 262_144).all().await.unwrap();
    let (alice, carol) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let (bob, devices) = away(&stack, &[&alice, &carol]).await;
    let mut sender = raw(&stack, &alice).await;
    let message = |number| opaque(number, bob.account(), &devices, &[7; 60_000]);
    for number in [1, 1, 1, 1, 1, 2, 3, 4] {
        assert_eq!(code(send(&mut sender, message(number)).await), "stored", "{number}");
    }
    let error = send(&mut sender, message(5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimited.as_str());
    assert!(error.retry_after_ms > 0 && error.detail.contains("262144"), "{error:?}");
    // nothing was taken for what was refused, and nobody else pays for it
    assert_eq!(code(send(&mut sender, opaque(6, bob.account(), &devices, &[7; 20_000])).await), "stored");
    let mut other = raw(&stack, &carol).await;
    assert_eq!(code(send(&mut other, message(5)).await), "stored");
}
