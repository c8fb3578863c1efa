//! What is stored in a mailbox, how much of it anybody may take, and what becomes of a device that is away for too long.

use std::collections::{HashMap, HashSet};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::{FutureExt, StreamExt};
use nepto_proto::api::accounts::Consent;
use nepto_proto::subject::{Shards, parse_mailbox};
use nepto_proto::wire::{DeviceCiphertext, Envelope, Error, SendDm, Stored, client_frame, server_frame};
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use nepto_sdk::Event;
use nepto_testkit::{Stack, eventually, seconds};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::people::{Person, Raw, devices_of, friends, opaque};
use crate::talking::{mailboxes_empty, quiet};

type Devices = Vec<(DeviceId, u32)>;

/// Sends and waits for the answer.
pub async fn send(raw: &mut Raw, send: SendDm) -> Result<Stored, Error> {
    match raw.call(client_frame::Kind::SendDm(send)).await.unwrap() {
        server_frame::Kind::Stored(stored) => Ok(stored),
        server_frame::Kind::Error(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

pub fn code(sent: Result<Stored, Error>) -> String {
    sent.map_or_else(|error| error.code, |_| "stored".to_owned())
}

/// Somebody who is away, has accepted these, and has a mailbox with nothing in it.
pub async fn away(stack: &Stack, accepted: &[&Person]) -> (Person, Devices) {
    let person = Person::join(stack).await.unwrap();
    for other in accepted {
        person.client.http().set_consent(other.account(), Consent::Accepted).await.unwrap();
    }
    let devices = devices_of(&person.client, person.account()).await.unwrap();
    person.client.close().await;
    (person, devices)
}

/// A second device of somebody, which is away.
pub async fn other_device(stack: &Stack, person: &Person) -> (DeviceId, (DeviceId, u32)) {
    let other = person.second_device(stack).await.unwrap();
    other.client.close().await;
    let devices = devices_of(&person.client, person.account()).await.unwrap();
    let own = devices.into_iter().find(|(device, _)| *device == other.client.device()).unwrap();
    (own.0, own)
}

/// A connection of somebody whose client is quiet.
pub async fn raw(stack: &Stack, person: &Person) -> Raw {
    person.client.close().await;
    Raw::open(stack, &person.client, None).await.unwrap()
}

/// The same after something was restarted.
async fn raw_again(stack: &Stack, person: &Person) -> Raw {
    let mut opened = None;
    eventually(seconds(20), async || {
        opened = Raw::open(stack, &person.client, None).await.ok();
        Ok(opened.is_some())
    })
    .await
    .unwrap();
    opened.unwrap()
}

#[tokio::test]
async fn one_id_for_several_people_is_a_message_for_each() {
    let stack = Stack::builder().set("nats.shards", 1).set("mailbox.duplicate_window_s", 120).all().await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let (tablet, own) = other_device(&stack, &alice).await;
    let shards = Shards::new(1).unwrap();
    let before = stack.nats.mailbox(shards, alice.account(), tablet).await.unwrap();
    let mut sender = raw(&stack, &alice).await;
    for people in 1..=3 {
        let (person, devices) = away(&stack, &[&alice]).await;
        for duplicate in [false, true] {
            let mut message = opaque(7, person.account(), &devices, b"x");
            message.own_devices = vec![copy_for(&own, 7)];
            assert_eq!(send(&mut sender, message).await.unwrap().duplicate, duplicate);
            assert_eq!(stack.nats.mailbox(shards, person.account(), devices[0].0).await.unwrap(), 1);
            // and to the sender's own other device: what was sent, and to whom
            assert_eq!(stack.nats.mailbox(shards, alice.account(), tablet).await.unwrap(), before + people);
        }
    }
}

#[tokio::test]
async fn a_retry_after_a_restart_of_nats_stores_nothing_twice() {
    let stack = Stack::builder().set("mailbox.duplicate_window_s", 120).all().await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let (bob, devices) = away(&stack, &[&alice]).await;
    let (mut sender, mut receiver) = (raw(&stack, &alice).await, raw(&stack, &bob).await);
    let again = || opaque(7, bob.account(), &devices, b"x");
    assert!(!send(&mut sender, again()).await.unwrap().duplicate);
    let deliver = receiver.delivery().await.unwrap();
    receiver.ack(deliver.seq).await.unwrap();
    // a purge would have come by now
    tokio::time::sleep(seconds(3)).await;
    stack.nats.restart().await.unwrap();
    let mut sender = raw_again(&stack, &alice).await;
    assert!(send(&mut sender, again()).await.unwrap().duplicate);
    // the gateway that is told to stop leaves it there as well
    assert!(stack.api.term().await.unwrap().success());
    stack.api.restart().await.unwrap();
    stack.nats.restart().await.unwrap();
    let mut sender = raw_again(&stack, &alice).await;
    assert!(send(&mut sender, again()).await.unwrap().duplicate);
    let mut resumed = Raw::open(&stack, &bob.client, Some((receiver.epoch, deliver.seq))).await.unwrap();
    let more = tokio::time::timeout(seconds(2), resumed.delivery()).await;
    assert!(more.is_err(), "delivered again: {more:?}");
}

#[tokio::test]
async fn strangers_have_a_share_of_a_mailbox_and_friends_the_rest() {
    let settled = Stack::builder().set("mailbox.messages_max", 20).set("mailbox.new_account_for_s", 0);
    let stack = settled.all().await.unwrap();
    let friend = Person::join(&stack).await.unwrap();
    let (bob, old) = away(&stack, &[&friend]).await;
    let shards = Shards::DEFAULT;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let stranger = Person::join(&stack).await.unwrap();
        let mut socket = raw(&stack, &stranger).await;
        for number in 0..4 {
            let sent = send(&mut socket, opaque(number, bob.account(), &old, b"x")).await;
            if let Err(error) = &sent {
                assert!(error.retry_after_ms > 0, "{error:?}");
            }
            answers.push(code(sent));
        }
    }
    let full = ErrorCode::RequestsFull.as_str();
    assert_eq!(answers, ["stored", "stored", "stored", "stored", full, full, full, full]);
    let mut theirs = raw(&stack, &friend).await;
    for number in 0..16 {
        assert_eq!(code(send(&mut theirs, opaque(number, bob.account(), &old, b"x")).await), "stored", "{number}");
    }
    let last = send(&mut theirs, opaque(16, bob.account(), &old, b"x")).await;
    assert_eq!(code(last), ErrorCode::MailboxFull.as_str());
    // a device that comes empties its mailbox; another one of the same person that stays away stops no request
    let phone = bob.second_device(&stack).await.unwrap();
    let devices = devices_of(&friend.client, bob.account()).await.unwrap();
    let stranger = Person::join(&stack).await.unwrap();
    let mut socket = raw(&stack, &stranger).await;
    assert_eq!(code(send(&mut socket, opaque(1, bob.account(), &devices, b"x")).await), "stored");
    assert_eq!(stack.nats.mailbox(shards, bob.account(), old[0].0).await.unwrap(), 20);
    phone.client.close().await;
    let mut late = raw(&stack, &bob).await;
    for number in 1..=20 {
        let deliver = late.delivery().await.unwrap();
        if number == 20 {
            late.ack(deliver.seq).await.unwrap();
        }
    }
    let emptied = async || Ok(stack.nats.mailbox(shards, bob.account(), old[0].0).await? == 0);
    eventually(seconds(15), emptied).await.unwrap();
    assert_eq!(code(send(&mut socket, opaque(2, bob.account(), &devices, b"x")).await), "stored");
}

#[tokio::test]
async fn in_a_crowded_store_strangers_and_new_accounts_wait_and_the_operator_is_told() {
    let stack = Stack::builder()
        .unlimited()
        .set("mailbox.new_account_for_s", 12)
        .set("mailbox.store_bytes_max", 1_000_000)
        .all()
        .await
        .unwrap();
    let (alice, stranger) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    let (bob, devices) = away(&stack, &[&alice]).await;
    let (mut sender, mut other) = (raw(&stack, &alice).await, raw(&stack, &stranger).await);
    let mut number = 0;
    let mut message = |bytes| {
        number += 1;
        opaque(number, bob.account(), &devices, &vec![7; bytes])
    };
    tokio::time::sleep(seconds(12)).await;
    for _ in 0..8 {
        assert_eq!(code(send(&mut sender, message(90_000)).await), "stored");
    }
    let used = async |ratio: f64| Ok(stack.api.metric("nepto_store_used_ratio").await? >= ratio);
    eventually(seconds(15), async || used(0.7).await).await.unwrap();
    let crowded = ErrorCode::StoreCrowded.as_str();
    let error = send(&mut other, message(10)).await.unwrap_err();
    assert!(error.code == crowded && error.retry_after_ms > 0, "{error:?}");
    let newcomer = Person::join(&stack).await.unwrap();
    bob.client.http().set_consent(newcomer.account(), Consent::Accepted).await.unwrap();
    let mut fresh = raw(&stack, &newcomer).await;
    assert_eq!(code(send(&mut fresh, message(10)).await), crowded);
    assert_eq!(code(send(&mut sender, message(90_000)).await), "stored", "who was there before goes on");
    assert!(stack.api.is_ready().await.unwrap());
    assert_eq!(code(send(&mut sender, message(90_000)).await), "stored");
    eventually(seconds(15), async || Ok(!stack.api.is_ready().await?)).await.unwrap();
    assert_eq!(code(send(&mut sender, message(90_000)).await), "stored", "also while the operator is told");
}

/// What a device acknowledged is purged once no retry can come: waits until so small a mailbox has room again.
async fn has_room(stack: &Stack, account: AccountId, device: DeviceId, below: u64) {
    let waiting = async || stack.nats.mailbox(Shards::DEFAULT, account, device).await;
    eventually(seconds(10), async || Ok(waiting().await? < below)).await.unwrap();
}

#[tokio::test]
async fn a_device_that_was_away_for_too_long_is_told_what_it_missed_and_stops_nobody() {
    let stack = Stack::builder().unlimited().set("mailbox.messages_max", 40).all().await.unwrap();
    let (alice, mut phone) = friends(&stack).await.unwrap();
    let mut old = phone.second_device(&stack).await.unwrap();
    quiet(&stack).await;
    let shard = Shards::DEFAULT.of(phone.account());
    let device = old.client.device();
    old.client.close().await;
    let (account, own) = (phone.account(), phone.client.device());
    for number in 0..60 {
        alice.says(&phone, &number.to_string()).await.unwrap();
        phone.hears_text(&number.to_string()).await.unwrap();
        if number % 10 == 9 {
            has_room(&stack, account, own, 20).await;
        }
    }
    let is_it = |event: &Event| matches!(event, Event::Missed { device: missed, .. } if *missed == device);
    // one mark, whatever was missed
    let marks = async || stack.nats.messages_of(&shard.stream(), &shard.missed_of(phone.client.account())).await;
    assert_eq!(marks().await.unwrap(), 1);
    // at its next connection, before anything else; and the others of the same person
    old.events = old.client.connect().await.unwrap();
    let told = old.until(is_it).await.unwrap();
    let Event::Missed { since_ms, .. } = told else { unreachable!() };
    assert_eq!(old.client.missed().unwrap(), [(device, since_ms)].into());
    old.until(|event| matches!(event, Event::CaughtUp)).await.unwrap();
    eventually(seconds(10), async || Ok(marks().await? == 0)).await.unwrap();
    let waiting = async || stack.nats.mailbox(Shards::DEFAULT, phone.account(), device).await;
    assert!(waiting().await.unwrap() < 40, "what it acknowledged made room before the mark went");
    eventually(seconds(10), async || Ok(waiting().await? < 20)).await.unwrap();
    let mut third = phone.second_device(&stack).await.unwrap();
    // it has room again, and hears everything from here on
    for number in 60..70 {
        alice.says(&phone, &number.to_string()).await.unwrap();
        old.hears_text(&number.to_string()).await.unwrap();
        third.hears_text(&number.to_string()).await.unwrap();
    }
    assert_eq!(marks().await.unwrap(), 0);
    phone.client.close().await;
    phone.events = phone.client.connect().await.unwrap();
    phone.until(|event| matches!(event, Event::CaughtUp)).await.unwrap();
    assert_eq!(phone.client.missed().unwrap(), [(device, since_ms)].into(), "it was told while it was online");
}

#[tokio::test]
async fn own_copies_that_find_no_room_are_told_to_the_sender() {
    let stack = Stack::builder().unlimited().set("mailbox.messages_max", 100).all().await.unwrap();
    let (mut alice, mut bob) = friends(&stack).await.unwrap();
    let tablet = alice.second_device(&stack).await.unwrap();
    quiet(&stack).await;
    let device = tablet.client.device();
    tablet.client.close().await;
    let me = alice.account();
    let is_it =
        |event: &Event| matches!(event, Event::Missed { account, device: d, .. } if (*account, *d) == (me, device));
    let mut told = false;
    for number in 0..130 {
        alice.says(&bob, &number.to_string()).await.unwrap();
        bob.hears_text(&number.to_string()).await.unwrap();
        if number % 20 == 19 {
            has_room(&stack, bob.account(), bob.client.device(), 50).await;
        }
        // a client waits for whoever takes none of its events
        while let Some(event) = alice.events.next().now_or_never().flatten() {
            told |= is_it(&event);
        }
    }
    if !told {
        alice.until(is_it).await.unwrap();
    }
    assert!(stack.api.metric("nepto_mailbox_copies_missed_total").await.unwrap() >= 1.0);
}

/// What lies in the mailboxes: how often each message, named by its id, lies in that of each device.
async fn contents(stack: &Stack, shards: Shards) -> HashMap<(AccountId, DeviceId), HashMap<Vec<u8>, usize>> {
    let mut contents: HashMap<_, HashMap<_, usize>> = HashMap::new();
    for shard in shards.all() {
        let stream = stack.nats.jetstream().await.unwrap().get_stream(shard.stream()).await.unwrap();
        let all = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
        let last = stream.cached_info().state.last_sequence;
        if stream.cached_info().state.messages == 0 {
            continue;
        }
        let mut messages = stream.create_consumer(all).await.unwrap().messages().await.unwrap();
        loop {
            let message = messages.next().await.unwrap().unwrap();
            if let Some(device) = parse_mailbox(&message.subject) {
                let envelope = Envelope::decode(message.payload.clone()).unwrap();
                *contents.entry(device).or_default().entry(envelope.client_msg_id).or_default() += 1;
            }
            if message.info().unwrap().stream_sequence >= last {
                break;
            }
        }
    }
    contents
}

/// Whatever is sent, sent again, sent together, to however many devices, with room or without: `Stored` means a copy, and
/// one only, for every device of that recipient, or a mark of that device.
#[tokio::test]
async fn stored_means_a_copy_for_every_device_of_that_recipient() {
    const MESSAGES_MAX: usize = 12;
    const IDS: u128 = 30;
    const ROUNDS: usize = 60;
    let stack = Stack::as_shipped()
        .unlimited()
        .set("nats.shards", 1)
        .set("mailbox.messages_max", MESSAGES_MAX as i64)
        .set("mailbox.requests_percent", 100)
        .all()
        .await
        .unwrap();
    let shards = Shards::new(1).unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let alice = Person::join(&stack).await.unwrap();
    let (tablet, own) = other_device(&stack, &alice).await;
    let mut people: Vec<(Person, Devices)> = Vec::new();
    for _ in 0..3 {
        people.push(away(&stack, &[&alice]).await);
    }
    let mut sender = raw(&stack, &alice).await;
    // message and recipient: its devices, whenever it was stored
    let mut stored: HashMap<(u128, AccountId), HashSet<DeviceId>> = HashMap::new();
    let mut refused = 0;
    for round in 0..ROUNDS {
        if round % 20 == 10 {
            // somebody has one more device than what was sent before knows of
            let (person, devices) = &mut people[round / 20];
            let device = person.second_device(&stack).await.unwrap();
            device.client.close().await;
            *devices = devices_of(&alice.client, person.account()).await.unwrap();
        }
        let mut asked = HashMap::new();
        for _ in 0..random.random_range(1..24) {
            let (person, devices) = people.choose(&mut random).unwrap();
            // the same few ids for everybody, most of them again and again
            let id = random.random_range(0..IDS);
            let mut message = opaque(id, person.account(), devices, &id.to_be_bytes());
            message.own_devices = vec![copy_for(&own, id)];
            let frame = sender.socket.feed(client_frame::Kind::SendDm(message)).await.unwrap();
            asked.insert(frame, (id, person.account(), devices.clone()));
        }
        sender.socket.flush().await.unwrap();
        while !asked.is_empty() {
            let frame = sender.frame().await.unwrap();
            let Some((id, to, devices)) = asked.remove(&frame.reply_to) else { continue };
            match frame.kind.unwrap() {
                server_frame::Kind::Stored(_) => {
                    stored.entry((id, to)).or_default().extend(devices.iter().map(|(device, _)| *device));
                }
                server_frame::Kind::Error(error) => {
                    assert_eq!(error.code, ErrorCode::MailboxFull.as_str());
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let contents = contents(&stack, shards).await;
    let shard = shards.of(alice.account());
    let (mut copies, mut missed) = (0, 0);
    for ((id, to), devices) in &stored {
        for device in devices {
            let id = uuid::Uuid::from_u128(*id).as_bytes().to_vec();
            let mailbox = contents.get(&(*to, *device));
            match mailbox.and_then(|mailbox| mailbox.get(&id)).copied().unwrap_or(0) {
                1 => copies += 1,
                0 => {
                    missed += 1;
                    assert_eq!(mailbox.map_or(0, |mailbox| mailbox.values().sum()), MESSAGES_MAX, "it had room");
                    let mark = stack.nats.messages_of(&shard.stream(), &shard.missed(*to, *device)).await.unwrap();
                    assert_eq!(mark, 1, "nobody is told that device {device} of {to} misses something");
                }
                more => panic!("{more} copies"),
            }
        }
    }
    // the sender's own other device: a copy for each message, or it is full and told
    let own: usize = contents[&(alice.account(), tablet)].values().sum();
    let mark = stack.nats.messages_of(&shard.stream(), &shard.missed(alice.account(), tablet)).await.unwrap();
    assert_eq!((own, mark), (MESSAGES_MAX, 1));
    assert!(copies > 60 && missed > 5 && refused > 5, "{copies} copies, {missed} missed, {refused} refused");
}

pub fn copy_for((device, registration_id): &(DeviceId, u32), id: u128) -> DeviceCiphertext {
    DeviceCiphertext {
        device: (*device).into(),
        registration_id: *registration_id,
        r#type: nepto_proto::wire::CiphertextType::Session.into(),
        ciphertext: id.to_be_bytes().to_vec().into(),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_purged_once_no_retry_can_come() {
    let stack = Stack::builder().set("mailbox.duplicate_window_s", 3).all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    alice.says(&bob, "gm").await.unwrap();
    bob.hears_text("gm").await.unwrap();
    tokio::time::sleep(seconds(1)).await;
    assert!(stack.nats.mailboxes(Shards::DEFAULT).await.unwrap() > 0, "a retry may still come");
    mailboxes_empty(&stack).await;
}
