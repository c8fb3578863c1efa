//! What becomes of messages that can't be read, and who is told.

use nepto_proto::AccountId;
use nepto_proto::content::{self, Content, SessionReset, content::Kind};

use super::world::{Device, World, befriended, friends};
use crate::event::Event;
use crate::model::{Body, ConversationState, Failure, Message, Notice, Status};
use crate::store::backend::Durability;
use crate::store::queue::Outgoing;
use crate::store::{Range, Table};

/// The private halves of all one-time keys are gone, as in an older copy of a profile.
fn lose_one_time_keys(device: &mut Device) {
    let txn = device.core.store.begin();
    for table in [Table::EcPrekey, Table::KyberPrekey] {
        for (id, row) in txn.newest_one_time(table, u32::MAX, 1_000).unwrap() {
            assert!(row.one_time);
            txn.delete_prekey(table, id);
        }
    }
    txn.commit(Durability::Now).unwrap();
}

/// Its session with a device is gone.
fn lose_session(device: &mut Device, other: &Device) {
    let txn = device.core.store.begin();
    txn.delete_session(&crate::signal::address(other.account(), other.number()).unwrap()).unwrap();
    txn.commit(Durability::Now).unwrap();
}

fn statuses(device: &Device, peer: AccountId) -> Vec<Status> {
    let mut history = device.core.store.begin().history(peer, None, 100).unwrap();
    history.retain(|message| matches!(message.body, Body::Text(_)));
    history.iter().rev().map(|message| message.status).collect()
}

fn resets(device: &Device) -> Vec<(usize, usize)> {
    let lengths = |event: &Event| match event {
        Event::SessionReset { resent, unread, .. } => Some((resent.len(), unread.len())),
        _ => None,
    };
    device.events.iter().filter_map(lengths).collect()
}

#[test]
fn first_messages_to_keys_that_are_gone_are_sent_again_and_nobody_is_accepted_by_it() {
    let mut world = World::new();
    let (alice, erin) = (world.person(), world.person());
    let (mut a, mut e) = (world.device(&alice), world.device(&erin));
    for n in 1..=5 {
        e.say(alice.account, &format!("message {n}"));
    }
    world.send_all(&mut e);
    lose_one_time_keys(&mut a);
    world.maintain(&mut a);
    world.receive_all(&mut a);
    assert_eq!(a.events.iter().filter(|event| matches!(event, Event::Undecryptable { .. })).count(), 5);
    world.settle(&mut [&mut a, &mut e]);
    assert_eq!(resets(&e), [(5, 0)]);
    let all: Vec<String> = (1..=5).map(|n| format!("message {n}")).collect();
    assert_eq!(a.texts(erin.account), all);
    assert_eq!(a.core.store.begin().conversation(erin.account).unwrap().unwrap().state, ConversationState::Requested);
    assert!(!world.accepted.contains(&(alice.account, erin.account)), "what a device says by itself accepts nobody");
    assert_eq!(statuses(&e, alice.account), [Status::Stored; 5]);
    e.say(alice.account, "message 6");
    world.settle(&mut [&mut a, &mut e]);
    assert_eq!(a.texts(erin.account).last().unwrap(), "message 6");
    let notices = e.core.store.begin().history(alice.account, None, 100).unwrap();
    let told = |m: &Message| matches!(m.body, Body::Notice(Notice::SessionReset { resent: 5, unread: 0, .. }));
    assert!(notices.iter().any(told));
}

#[test]
fn what_was_sent_again_is_not_shown_twice_where_it_was_read() {
    let mut world = World::new();
    let (alice, erin) = (world.person(), world.person());
    let (mut phone, mut laptop, mut e) = (world.device(&alice), world.device(&alice), world.device(&erin));
    world.settle(&mut [&mut phone, &mut laptop]);
    e.say(alice.account, "hello");
    world.send_all(&mut e);
    lose_one_time_keys(&mut laptop);
    world.settle(&mut [&mut phone, &mut laptop, &mut e]);
    assert_eq!(resets(&e), [(1, 0)]);
    assert_eq!(phone.texts(erin.account), ["hello"]);
    assert_eq!(laptop.texts(erin.account), ["hello"]);
    let named = |device: &Device| device.core.store.begin().history(erin.account, None, 1).unwrap()[0].id;
    assert_eq!(named(&phone), named(&laptop), "it has one name everywhere");
}

#[test]
fn what_can_not_be_read_twice_is_left_to_its_author() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.say(bob, "lost");
    world.send_all(&mut a);
    lose_session(&mut b, &a);
    world.receive_all(&mut b);
    b.core.queue_resets().unwrap();
    world.send_all(&mut b);
    world.receive_all(&mut a);
    assert_eq!(resets(&a), [(1, 0)]);
    world.send_all(&mut a);
    world.pass_s(61);
    lose_session(&mut b, &a);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(resets(&a), [(1, 0), (0, 1)], "not a third time by itself");
    assert_eq!(*statuses(&a, bob).last().unwrap(), Status::Failed(Failure::Unread));
    let lost = a.core.store.begin().history(bob, None, 100).unwrap();
    let lost = lost.iter().find(|message| message.body == Body::Text("lost".into())).unwrap();
    assert_eq!(a.core.send_again(lost.id.id).unwrap().status, Status::Pending);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice).last().unwrap(), "lost");
    assert_eq!(*statuses(&a, bob).last().unwrap(), Status::Delivered);
}

#[test]
fn a_device_that_came_later_does_not_get_old_messages_by_asking_for_them() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut world, mut a, mut b) = befriended(world, &alice, &bob);
    let secret = a.say(bob.account, "before the thief came");
    world.settle(&mut [&mut a, &mut b]);
    world.pass_s(3_600);
    // who has Bob's wallet adds a device, and knows the id from the server
    let mut thief = world.device(&bob);
    world.settle(&mut [&mut thief, &mut b, &mut a]);
    let reset = |unread| Kind::SessionReset(SessionReset { unread: vec![unread], device: a.number().into() });
    let content = Content { kind: Some(reset(secret.id.id.to_vec())), ..Content::default() };
    let txn = thief.core.store.begin();
    thief.core.push(&txn, Outgoing::new(alice.account, thief.core.new_id().id, &content)).unwrap();
    txn.commit(Durability::Now).unwrap();
    world.settle(&mut [&mut thief, &mut b, &mut a]);
    assert_eq!(resets(&a), [(0, 1)]);
    assert_eq!(thief.texts(alice.account), Vec::<String>::new());
}

#[test]
fn strangers_learn_little_by_what_can_not_be_read() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    // one stranger with many devices
    let prober = world.person();
    let ask = |world: &mut World, a: &mut Device, prober: &super::world::Person| {
        world.maintain(a);
        let mut p = world.device(prober);
        p.say(alice.account, "?");
        world.send_all(&mut p);
        lose_one_time_keys(a);
        world.receive_all(a);
        let answered = a.core.queue_resets().unwrap();
        if answered {
            world.send_all(a);
        }
        answered
    };
    let answers: Vec<bool> = (0..6).map(|_| ask(&mut world, &mut a, &prober)).collect();
    assert_eq!(answers, [true, true, true, false, false, false]);
    // and many with one each
    let answered = (0..20)
        .filter(|_| {
            let prober = world.person();
            ask(&mut world, &mut a, &prober)
        })
        .count();
    assert_eq!(answered, 7, "ten in an hour");
    world.pass_s(3_601);
    assert!(a.core.queue_resets().unwrap(), "those that wait are told later");
    world.send_all(&mut a);
    world.pass_s(2 * 86_400);
    assert!(!a.core.queue_resets().unwrap(), "or not at all");
    assert_eq!(a.core.store.begin().scan(Table::OwedReset, Range::all(&[], 100)).unwrap().len(), 0);
}

#[test]
fn who_is_blocked_hears_nothing() {
    let mut world = World::new();
    let (alice, erin) = (world.person(), world.person());
    let (mut a, mut e) = (world.device(&alice), world.device(&erin));
    a.core.decide(erin.account, ConversationState::Blocked).unwrap();
    e.say(alice.account, "hello");
    world.send_all(&mut e);
    lose_one_time_keys(&mut a);
    world.receive_all(&mut a);
    assert!(!a.core.queue_resets().unwrap());
}

#[test]
fn what_one_sent_from_another_device_is_told_again() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut phone, mut laptop, mut b) = (world.device(&alice), world.device(&alice), world.device(&bob));
    world.settle(&mut [&mut phone, &mut laptop]);
    phone.say(bob.account, "first");
    world.settle(&mut [&mut phone, &mut laptop, &mut b]);
    lose_session(&mut laptop, &phone);
    phone.say(bob.account, "second");
    world.settle(&mut [&mut phone, &mut laptop, &mut b]);
    assert_eq!(laptop.texts(bob.account), ["first", "second"]);
    assert_eq!(b.texts(alice.account), ["first", "second"], "and once only to Bob");
}

#[test]
fn a_reset_of_an_older_client_names_nothing() {
    let (mut world, mut a, mut b) = friends();
    let old = Content { kind: Some(Kind::SessionReset(SessionReset::default())), ..Content::default() };
    assert_eq!(content::open(&content::seal(&old)).unwrap(), old);
    let txn = b.core.store.begin();
    b.core.push(&txn, Outgoing::new(a.account(), b.core.new_id().id, &old)).unwrap();
    txn.commit(Durability::Now).unwrap();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(resets(&a), [(0, 0)]);
}
