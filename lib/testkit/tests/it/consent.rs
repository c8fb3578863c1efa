//! Who may write to whom, who is a contact, and which devices a message is for: what follows from what was stored, and from
//! nothing else.

use std::collections::HashMap;

use async_nats::HeaderMap;
use nepto_proto::api::accounts::{Consent, UpdateProfile};
use nepto_proto::subject::Shards;
use nepto_proto::wire::{SendDm, client_frame, server_frame};
use nepto_proto::{AccountId, ErrorCode};
use nepto_sdk::socket::Socket;
use nepto_sdk::{Client, Event, SdkError};
use nepto_testkit::{FaultProxy, Role, Settings, Stack, eventually, seconds};

use crate::mailbox::{away, raw};
use crate::people::{PATIENCE, Person, Raw, devices_of, friends, opaque};

/// What became of a message.
async fn outcome(raw: &mut Raw, send: SendDm) -> String {
    match raw.call(client_frame::Kind::SendDm(send)).await.unwrap() {
        server_frame::Kind::Stored(stored) if stored.duplicate => "duplicate".into(),
        server_frame::Kind::Stored(_) => "stored".into(),
        server_frame::Kind::Mismatch(_) => "mismatch".into(),
        server_frame::Kind::Error(error) => error.code,
        other => panic!("{other:?}"),
    }
}

async fn contacts(client: &Client) -> HashMap<AccountId, Consent> {
    let listed = client.http().contacts(None, 50).await.unwrap().contacts;
    listed.into_iter().map(|contact| (contact.account.account, contact.consent)).collect()
}

/// Two people who never met, and their bare sockets.
async fn strangers(stack: &Stack) -> ([Person; 2], [Raw; 2]) {
    let people = [Person::join(stack).await.unwrap(), Person::join(stack).await.unwrap()];
    people.iter().for_each(|person| person.client.disconnect());
    let [one, other] = &people;
    let raw =
        [Raw::open(stack, &one.client, None).await.unwrap(), Raw::open(stack, &other.client, None).await.unwrap()];
    (people, raw)
}

#[tokio::test]
async fn who_was_accepted_first_and_writes_accepts_the_answers() {
    let stack = Stack::all().await.unwrap();
    for taken_back in [false, true] {
        let ([kim, lee], [mut kims, mut lees]) = strangers(&stack).await;
        let to_lee = devices_of(&kim.client, lee.account()).await.unwrap();
        let to_kim = devices_of(&lee.client, kim.account()).await.unwrap();
        if taken_back {
            lee.client.http().set_consent(kim.account(), Consent::Blocked).await.unwrap();
            assert_eq!(outcome(&mut kims, opaque(1, lee.account(), &to_lee, b"x")).await, "blocked");
        }
        lee.client.http().set_consent(kim.account(), Consent::Accepted).await.unwrap();
        assert_eq!(outcome(&mut kims, opaque(2, lee.account(), &to_lee, b"x")).await, "stored");
        assert_eq!(contacts(&kim.client).await, HashMap::from([(lee.account(), Consent::Accepted)]));
        for number in 10..17 {
            assert_eq!(outcome(&mut lees, opaque(number, kim.account(), &to_kim, b"x")).await, "stored");
            let envelope = kims.delivery().await.unwrap().envelope.unwrap();
            assert!(!envelope.request, "answer {number} is a request; taken back: {taken_back}");
        }
    }
}

#[tokio::test]
async fn a_page_of_contacts_says_who_each_of_them_is() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let owner = Person::join(&stack).await.unwrap();
    let mut others = Vec::new();
    for number in 0..5 {
        let other = Person::join(&stack).await.unwrap();
        if number > 0 {
            let name = (number % 2 == 0).then(|| format!("Nr. {number}"));
            let profile = UpdateProfile { handle: Some(format!("friend_{number}")), display_name: name };
            other.client.http().update_profile(&profile).await.unwrap();
        }
        owner.client.http().set_consent(other.account(), Consent::Accepted).await.unwrap();
        others.push(owner.client.http().account(&other.account().to_string()).await.unwrap());
    }
    others.sort_by_key(|other| other.account);
    let first = owner.client.http().contacts(None, 3).await.unwrap();
    let rest = owner.client.http().contacts(first.next, 3).await.unwrap();
    assert_eq!((first.contacts.len(), rest.next), (3, None));
    let listed: Vec<_> = first.contacts.into_iter().chain(rest.contacts).map(|contact| contact.account).collect();
    assert_eq!(listed, others);
    assert!(owner.client.http().contacts(Some(others[4].account), 3).await.unwrap().contacts.is_empty());
}

#[tokio::test]
async fn neither_mismatches_nor_retries_use_requests_up() {
    let stack = Stack::all().await.unwrap();
    let ([kim, lee], [mut kims, _lees]) = strangers(&stack).await;
    let devices = devices_of(&kim.client, lee.account()).await.unwrap();
    let wrong = [(devices[0].0, devices[0].1 % 16_000 + 1)];
    for number in 100..107 {
        assert_eq!(outcome(&mut kims, opaque(number, lee.account(), &wrong, b"x")).await, "mismatch");
    }
    assert_eq!(contacts(&kim.client).await, HashMap::new(), "nothing was stored");
    assert_eq!(contacts(&lee.client).await, HashMap::new(), "nothing was stored");
    for number in 0..5 {
        assert_eq!(outcome(&mut kims, opaque(number, lee.account(), &devices, b"x")).await, "stored");
        for _ in 0..3 {
            assert_eq!(outcome(&mut kims, opaque(number, lee.account(), &devices, b"x")).await, "duplicate");
        }
    }
    assert_eq!(outcome(&mut kims, opaque(5, lee.account(), &devices, b"x")).await, "request_limit");
    assert_eq!(outcome(&mut kims, opaque(4, lee.account(), &devices, b"x")).await, "duplicate");
    assert_eq!(contacts(&kim.client).await[&lee.account()], Consent::Accepted);
    assert_eq!(contacts(&lee.client).await[&kim.account()], Consent::Requested);
}

#[tokio::test]
async fn new_contacts_are_counted_whatever_way_they_come() {
    const MAX: usize = 3;
    let stack = Stack::builder().set("limits.new_contacts_per_day", MAX as i64).all().await.unwrap();
    let mut others = Vec::new();
    for _ in 0..=MAX {
        others.push(Person::join(&stack).await.unwrap());
    }
    let limited = |error: SdkError| matches!(error, SdkError::Server { code: ErrorCode::RateLimited, .. });
    for decides_first in [false, true] {
        let me = Person::join(&stack).await.unwrap();
        me.client.disconnect();
        let mut raw = Raw::open(&stack, &me.client, None).await.unwrap();
        let mut stored = 0;
        for (number, other) in others.iter().enumerate() {
            let devices = devices_of(&me.client, other.account()).await.unwrap();
            if decides_first {
                let decided = me.client.http().set_consent(other.account(), Consent::Accepted).await;
                assert_eq!(decided.is_ok(), number < MAX, "{decided:?}");
                assert!(decided.is_ok() || decided.is_err_and(limited));
            }
            // the second message to somebody is to nobody new
            for id in [2 * number as u128, 2 * number as u128 + 1] {
                match outcome(&mut raw, opaque(id, other.account(), &devices, b"x")).await.as_str() {
                    "stored" => stored += 1,
                    refused => assert_eq!((refused, number), ("rate_limited", MAX), "{decides_first}"),
                }
            }
        }
        assert_eq!(stored, 2 * MAX, "deciding first: {decides_first}");
        let blocked = me.client.http().set_consent(others[MAX].account(), Consent::Blocked).await;
        assert!(blocked.is_err_and(limited), "nor is that another way in");
        // who wrote first is nobody new
        others[MAX].says(&me, "hello").await.unwrap();
        me.client.http().set_consent(others[MAX].account(), Consent::Accepted).await.unwrap();
        let devices = devices_of(&me.client, others[MAX].account()).await.unwrap();
        assert_eq!(outcome(&mut raw, opaque(99, others[MAX].account(), &devices, b"x")).await, "stored");
        // whoever wrote to us has used one of their own; they are of no use to the next round
        others.pop();
        others.push(Person::join(&stack).await.unwrap());
    }
}

#[tokio::test]
async fn a_message_without_a_copy_for_every_own_device_is_a_mismatch_of_ones_own() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    crate::talking::quiet(&stack).await;
    alice.client.disconnect();
    let devices = devices_of(&alice.client, bob.account()).await.unwrap();
    let mut raw = Raw::open(&stack, &alice.client, None).await.unwrap();
    assert_eq!(outcome(&mut raw, opaque(1, bob.account(), &devices, b"x")).await, "stored");

    let phone = alice.second_device(&stack).await.unwrap();
    told_of_other_devices(&mut raw).await;
    let own = devices_of(&alice.client, alice.account()).await.unwrap();
    let (me, other) = (alice.client.device(), phone.client.device());
    let copies = |which: &[_]| opaque(0, alice.account(), which, b"x").to_devices;
    let other_only: Vec<_> = own.iter().copied().filter(|(device, _)| *device == other).collect();
    let stale = [(other, other_only[0].1 % 16_000 + 1)];
    let message = |own_devices| SendDm { own_devices, ..opaque(2, bob.account(), &devices, b"x") };
    for (own_devices, missing, extra, stale) in [
        (copies(&[]), vec![other], vec![], vec![]),
        (copies(&own), vec![], vec![me], vec![]),
        (copies(&stale), vec![], vec![], vec![other]),
    ] {
        let kind = client_frame::Kind::SendDm(message(own_devices));
        let server_frame::Kind::Mismatch(found) = raw.call(kind).await.unwrap() else { panic!("stored") };
        let numbers = |devices: Vec<nepto_proto::DeviceId>| devices.into_iter().map(u32::from).collect::<Vec<_>>();
        assert_eq!(found.account, alice.account().to_vec());
        assert_eq!((found.missing, found.extra, found.stale), (numbers(missing), numbers(extra), numbers(stale)));
    }
    assert_eq!(outcome(&mut raw, message(copies(&other_only))).await, "stored");
    // a receipt is for nobody of one's own
    let receipt = SendDm { recipient_only: true, ..opaque(3, bob.account(), &devices, b"x") };
    assert_eq!(outcome(&mut raw, receipt).await, "stored");
    let both = SendDm { recipient_only: true, client_msg_id: vec![4; 16], ..message(copies(&other_only)) };
    assert_eq!(outcome(&mut raw, both).await, "malformed");

    alice.client.revoke_device(other).await.unwrap();
    told_of_other_devices(&mut raw).await;
    assert_eq!(outcome(&mut raw, opaque(5, bob.account(), &devices, b"x")).await, "stored");
}

async fn told_of_other_devices(raw: &mut Raw) {
    while !matches!(raw.frame().await.unwrap().kind, Some(server_frame::Kind::DevicesChanged(_))) {}
}

#[tokio::test]
async fn what_is_sent_right_after_another_device_signed_in_reaches_it() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    for round in 0..3 {
        let mut phone = alice.second_device(&stack).await.unwrap();
        let text = format!("after {round}");
        let id = alice.says(&bob, &text).await.unwrap();
        let heard = |event: &Event| matches!(event, Event::Message(message) if message.id.id == id);
        phone.until(heard).await.unwrap();
        phone.client.disconnect();
    }
}

/// A connection of somebody to this gateway, through NATS and Redis as it reaches them.
async fn raw_at(url: &str, person: &Person) -> Raw {
    person.client.close().await;
    let token = person.client.http().access_token().await.unwrap();
    let (socket, welcome) = Socket::open(url, &token, None, PATIENCE).await.unwrap();
    Raw { socket, epoch: welcome.epoch }
}

#[tokio::test]
async fn what_was_answered_unavailable_for_want_of_nats_is_not_stored_when_it_is_back() {
    let stack = Stack::builder().unlimited().split(1).await.unwrap();
    let (alice, carol) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let (bob, devices) = away(&stack, &[&alice, &carol]).await;
    let proxy = FaultProxy::start(stack.nats.address()).await.unwrap();
    let through = Settings::new().set("nats.url", format!("nats://{}", proxy.address()));
    let gateway = stack.start(Role::Gateway, &through).await.unwrap();
    let mut alices = raw_at(&gateway.socket_url(), &alice).await;
    let mut carols = raw_at(&gateway.socket_url(), &carol).await;
    let message = |number| opaque(number, bob.account(), &devices, b"x");
    // after two of them Redis knows all that a third needs
    for number in 1..=2 {
        assert_eq!(outcome(&mut alices, message(number)).await, "stored");
        assert_eq!(outcome(&mut carols, message(number)).await, "stored");
    }
    let waiting = async || stack.nats.mailbox(Shards::DEFAULT, bob.account(), devices[0].0).await.unwrap();
    assert_eq!(waiting().await, 4);
    proxy.cut().await.unwrap();
    eventually(seconds(5), async || Ok(gateway.log().contains("event=disconnected"))).await.unwrap();
    assert_eq!(outcome(&mut alices, message(3)).await, "unavailable");
    let failed = gateway.metric(r#"nepto_dm_sends_total{outcome="failed"}"#).await.unwrap();
    assert_eq!(failed, 1.0, "it passed every check");
    bob.client.http().set_consent(alice.account(), Consent::Blocked).await.unwrap();
    proxy.heal().await.unwrap();
    // over the same connection into the same stream: what had waited would be there before this
    eventually(seconds(20), async || Ok(outcome(&mut carols, message(3)).await == "stored")).await.unwrap();
    assert_eq!(waiting().await, 5);
}

#[tokio::test]
async fn what_was_stored_late_reaches_nobody_who_has_blocked_its_sender_by_now() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, carol) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let (bob, devices) = away(&stack, &[&alice, &carol]).await;
    let (mut alices, mut carols) = (raw(&stack, &alice).await, raw(&stack, &carol).await);
    let shard = Shards::DEFAULT.of(bob.account());
    let (subject, jetstream) = (shard.mailbox(bob.account(), devices[0].0), stack.nats.jetstream().await.unwrap());
    let stream = jetstream.get_stream(shard.stream()).await.unwrap();
    // what a server that hung for ten seconds makes of a message
    let mut late = Vec::new();
    for sender in [&mut alices, &mut carols] {
        assert_eq!(outcome(sender, opaque(1, bob.account(), &devices, b"x")).await, "stored");
        let stored = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        let consent_ms: i64 = stored.headers.get("Nepto-Consent-Ms").unwrap().as_str().parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("Nepto-Consent-Ms", (consent_ms - 10_000).to_string());
        late.push((headers, stored.payload));
    }
    let store_late = async || {
        for (headers, payload) in &late {
            let stored = jetstream.publish_with_headers(subject.clone(), headers.clone(), payload.clone());
            stored.await.unwrap().await.unwrap();
        }
    };
    let from = async |bobs: &mut Raw| bobs.delivery().await.unwrap().envelope.unwrap().from;
    let (alice, carol) = (alice.account(), carol.account());
    store_late().await;
    bob.client.http().set_consent(alice, Consent::Blocked).await.unwrap();
    let mut bobs = raw(&stack, &bob).await;
    for sender in [alice, carol, carol] {
        assert_eq!(from(&mut bobs).await, sender.to_vec());
    }
    store_late().await;
    assert_eq!(from(&mut bobs).await, carol.to_vec(), "also to whoever is connected");
    assert!(stack.api.metric("nepto_dm_withheld_total").await.unwrap() >= 2.0);
    bob.client.http().set_consent(alice, Consent::Accepted).await.unwrap();
    store_late().await;
    assert_eq!(from(&mut bobs).await, alice.to_vec());
}
