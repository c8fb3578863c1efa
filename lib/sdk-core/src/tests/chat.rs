//! What people do.

use super::world::{Device, World, friends};
use crate::SdkError;
use crate::event::Event;
use crate::model::{
    Attachment, AttachmentKey, Body, Change, ConversationState, Failure, MessageId, Notice, Settings, Status,
};
use crate::store::backend::Durability;
use crate::store::profile::Counter;
use nepto_proto::MediaId;
use nepto_proto::content::{ATTACHMENTS_MAX, Content, Text, content::Kind};
use nepto_proto::limits::TEXT_BYTES_MAX;
use uuid::Uuid;

#[test]
fn two_people_write_and_receipts_come_back() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let sent = a.say(bob, "how are you?");
    assert_eq!(a.last(bob).status, Status::Pending);
    world.send_all(&mut a);
    assert_eq!(a.last(bob).status, Status::Stored);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.last(bob).status, Status::Delivered);
    assert_eq!(b.last(alice).status, Status::Unread);
    let order = b.last(alice).order;
    assert_eq!(b.core.mark_read(alice, order).unwrap(), 2);
    assert_eq!(b.core.mark_read(alice, order).unwrap(), 0, "read twice");
    world.settle(&mut [&mut a, &mut b]);
    let name = MessageId { author: alice, id: sent.id.id };
    assert_eq!(a.core.store.begin().message(name).unwrap().unwrap().status, Status::Read);
    assert_eq!(b.core.store.begin().conversation(alice).unwrap().unwrap().unread, 0);
}

#[test]
fn read_receipts_can_be_switched_off() {
    let (mut world, mut a, mut b) = friends();
    let txn = b.core.store.begin();
    txn.set_settings(&Settings { read_receipts: false, ..Settings::default() }).unwrap();
    txn.commit(Durability::Now).unwrap();
    a.say(b.account(), "secretly read");
    world.settle(&mut [&mut a, &mut b]);
    let order = b.last(a.account()).order;
    b.core.mark_read(a.account(), order).unwrap();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.last(b.account()).status, Status::Delivered);
}

#[test]
fn a_stranger_is_a_request_and_learns_nothing_until_accepted() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    a.say(bob.account, "psst");
    world.settle(&mut [&mut a, &mut b]);
    assert!(matches!(&b.events[..], [Event::Request(m)] if m.body == Body::Text("psst".into())), "{:?}", b.events);
    assert_eq!(a.last(bob.account).status, Status::Stored, "no delivery receipt for a stranger");
    b.core.mark_read(alice.account, u64::MAX).unwrap();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.last(bob.account).status, Status::Stored, "no read receipt for a stranger");
    assert!(matches!(b.core.send_text(alice.account, "x", None, None), Err(SdkError::NotAccepted)));

    b.accept(&mut world, alice.account);
    a.say(bob.account, "now?");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.last(bob.account).status, Status::Delivered);
    assert!(matches!(b.events.last(), Some(Event::Message(_))));
}

#[test]
fn a_server_that_was_restored_is_told_again_whom_we_block() {
    let (_, mut a, b) = friends();
    a.core.decide(b.account(), ConversationState::Blocked).unwrap();
    a.core.welcomed(1).unwrap();
    assert_eq!(a.core.blocks_to_say().unwrap(), []);
    // as often as it takes, however often the process ends in between
    for _ in 0..2 {
        a.core.welcomed(2).unwrap();
        assert_eq!(a.core.blocks_to_say().unwrap(), [b.account()]);
    }
    a.core.said_blocks().unwrap();
    a.core.welcomed(2).unwrap();
    assert_eq!(a.core.blocks_to_say().unwrap(), []);
}

#[test]
fn a_blocked_account_leaves_no_trace() {
    let (mut world, mut a, mut b) = friends();
    let alice = a.account();
    b.core.decide(alice, ConversationState::Blocked).unwrap();
    b.events.clear();
    a.say(b.account(), "let me in");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice), ["hello", "hi"]);
    assert_eq!(b.events, []);
    assert!(matches!(b.core.send_text(alice, "x", None, None), Err(SdkError::YouBlocked)));
    b.core.decide(alice, ConversationState::Accepted).unwrap();
    a.say(b.account(), "again");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice), ["hello", "hi", "again"], "the session went on");
}

#[test]
fn replies_reactions_edits_and_deletes_arrive() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let first = a.say(bob, "tpyo").id;
    let reply = a.core.send_text(bob, "an answer", Some(first), None).unwrap().id;
    a.core.edit(bob, first.id, "typo").unwrap();
    world.settle(&mut [&mut a, &mut b]);
    let at = |device: &Device, id| device.core.store.begin().message(id).unwrap().unwrap();
    assert_eq!(at(&b, first).body, Body::Text("typo".into()));
    assert!(at(&b, first).edited);
    assert_eq!(at(&b, reply).reply_to, Some(first));
    b.core.react(alice, first, "👍", false).unwrap();
    b.core.react(alice, first, "👍", false).unwrap();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(at(&a, first).reactions.len(), 1, "one of each");
    b.core.react(alice, first, "👍", true).unwrap();
    a.core.delete(bob, reply.id).unwrap();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(at(&a, first).reactions, []);
    assert_eq!(at(&b, reply).body, Body::Deleted);
    assert!(matches!(b.core.delete(alice, first.id), Err(SdkError::MessageUnknown)), "not one's own");
    assert!(matches!(a.core.edit(bob, reply.id, "x"), Err(SdkError::MessageUnknown)), "deleted");
}

#[test]
fn own_devices_follow() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let wallet = world.wallet();
    let person = super::world::Person { account: alice, wallet };
    world.link(&super::world::Person { account: alice, wallet: first_wallet(&world) }, &person.wallet);
    let mut a2 = world.device(&person);
    world.settle(&mut [&mut a, &mut b, &mut a2]);
    a.say(bob, "from the first");
    world.settle(&mut [&mut a, &mut b, &mut a2]);
    assert!(a.events.iter().any(|e| matches!(e, Event::DeviceAdded { account, .. } if *account == alice)));
    assert_eq!(a2.texts(bob), ["from the first"]);
    assert!(matches!(a2.last(bob).status, Status::Stored | Status::Delivered));
    a2.say(bob, "from the second");
    world.settle(&mut [&mut a, &mut b, &mut a2]);
    assert_eq!(a.texts(bob)[2..], ["from the first", "from the second"]);
    assert_eq!(b.texts(alice)[2..], ["from the first", "from the second"]);
    b.say(alice, "to both");
    world.settle(&mut [&mut a, &mut b, &mut a2]);
    assert_eq!(a.texts(bob)[2..], a2.texts(bob));
    let order = a.last(bob).order;
    a.core.mark_read(bob, order).unwrap();
    world.settle(&mut [&mut a, &mut b, &mut a2]);
    assert_eq!(a2.core.store.begin().conversation(bob).unwrap().unwrap().unread, 0, "read elsewhere");
    assert!(a2.events.iter().any(|e| matches!(e, Event::ReadElsewhere { .. })));
}

#[test]
fn a_new_device_misses_nothing_that_was_said_after_it_joined() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    a.say(bob.account, "long before");
    world.settle(&mut [&mut a, &mut b]);
    world.pass_s(7200);
    let mut a2 = world.device(&alice);
    // the first device does not know of the second one yet
    let sent = a.say(bob.account, "in between");
    world.send_all(&mut a);
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    assert_eq!(a2.texts(bob.account), ["in between"]);
    assert_eq!(a2.last(bob.account).id, sent.id);
    a.say(bob.account, "after");
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    assert_eq!(a2.texts(bob.account), ["in between", "after"]);
    assert_eq!(b.texts(alice.account), ["long before", "in between", "after"]);
}

/// The wallet that the world drew first.
fn first_wallet(_: &World) -> super::wallet::Wallet {
    World::new().wallet()
}

#[test]
fn notes_to_oneself() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    a.say(alice.account, "alone");
    world.settle(&mut [&mut a]);
    assert_eq!(a.last(alice.account).status, Status::Stored, "nobody to tell, and done");
    let mut a2 = world.device(&alice);
    a.core.outdated.insert(alice.account);
    a.say(alice.account, "for both");
    world.settle(&mut [&mut a, &mut a2]);
    assert_eq!(a2.texts(alice.account), ["for both"]);
    assert_eq!(a2.core.store.begin().conversation(alice.account).unwrap().unwrap().unread, 0);
}

#[test]
fn a_text_that_fills_the_frame_tells_the_own_devices_separately() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a: Vec<Device> = (0..8).map(|_| world.device(&alice)).collect();
    let mut b: Vec<Device> = (0..8).map(|_| world.device(&bob)).collect();
    let text = "x".repeat(TEXT_BYTES_MAX);
    world.send_all(&mut a[0]);
    let sent = a[0].say(bob.account, &text);
    assert_eq!(world.send_all(&mut a[0]), 2);
    for device in b.iter_mut().chain(a.iter_mut().skip(1)) {
        world.receive_all(device);
        let peer = if device.account() == alice.account { bob.account } else { alice.account };
        assert_eq!(device.texts(peer), [text.as_str()]);
        assert_eq!(device.last(peer).id, sent.id, "the same message everywhere");
    }
    let refused = a[0].core.send_text(bob.account, &"x".repeat(TEXT_BYTES_MAX + 1), None, None).unwrap_err();
    assert!(matches!(refused, SdkError::TextTooLong(_)) && refused.to_string().contains("at most 16384"), "{refused}");
}

#[test]
fn messages_disappear_after_reading_and_after_sending() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.core.set_timer(bob, 60).unwrap();
    a.say(bob, "burns");
    world.settle(&mut [&mut a, &mut b]);
    assert!(b.events.iter().any(|e| matches!(e, Event::Timer { expire_after_s: 60, .. })));
    world.pass_s(59);
    assert_eq!(a.core.sweep().unwrap().len(), 0);
    world.pass_s(2);
    assert_eq!(a.core.sweep().unwrap().len(), 1, "a minute after it was sent");
    assert_eq!(b.core.sweep().unwrap().len(), 0, "not read yet");
    b.core.mark_read(alice, u64::MAX).unwrap();
    world.pass_s(61);
    assert_eq!(b.core.sweep().unwrap().len(), 1);
    assert_eq!(b.texts(alice), ["hello", "hi"]);
    assert_eq!(b.core.store.begin().conversation(alice).unwrap().unwrap().unread, 0);
    b.say(alice, "burns too");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.last(bob).expire_after_s, 60, "the timer counts for both");
}

#[test]
fn unread_messages_are_found_however_many_there_are() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    for n in 0..450 {
        a.say(bob, &n.to_string());
    }
    world.settle(&mut [&mut a, &mut b]);
    b.say(alice, "mine");
    let page = |b: &Device, after| b.core.store.begin().unread(alice, after, 100).unwrap();
    let (mut seen, mut after) = (vec![], 0);
    while let Some(last) = page(&b, after).last() {
        seen.extend(page(&b, after));
        after = last.order;
    }
    assert_eq!(seen.len(), 451, "with the one from before");
    assert!(seen.windows(2).all(|pair| pair[0].order < pair[1].order));
    b.core.mark_read(alice, seen[99].order).unwrap();
    assert_eq!(page(&b, 0)[..], seen[100..200], "what was not marked stays");
    b.core.mark_read(alice, u64::MAX).unwrap();
    assert_eq!(page(&b, 0), []);
}

#[test]
fn a_timer_may_come_before_the_first_message() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    let mut a2 = world.device(&alice);
    a.core.set_timer(bob.account, 60).unwrap();
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    let conversation = |device: &Device, peer| device.core.store.begin().conversation(peer).unwrap().unwrap();
    let (own, theirs) = (conversation(&a2, bob.account), conversation(&b, alice.account));
    assert_eq!((own.state, own.expire_after_s), (ConversationState::Accepted, 60));
    assert_eq!((theirs.state, theirs.expire_after_s), (ConversationState::Requested, 60));
    a2.say(bob.account, "burns");
    assert_eq!(a2.last(bob.account).expire_after_s, 60);
}

#[test]
fn what_this_version_can_not_show_is_told() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let mut a2 = world.device(&super::world::Person { account: alice, wallet: first_wallet(&world) });
    a.core.outdated.insert(alice);
    a.say(bob, "meet my other device");
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    let text = |body: String| Some(Kind::Text(Text { body, ..Text::default() }));
    for kind in [None, text("x".repeat(TEXT_BYTES_MAX + 1))] {
        let txn = a.core.store.begin();
        let content = Content { sent_at_ms: 1, expire_after_s: 0, kind };
        a.core.enqueue(&txn, bob, a.core.new_id().id, &content, (true, false)).unwrap();
        txn.commit(Durability::Now).unwrap();
        b.events.clear();
        world.settle(&mut [&mut a, &mut a2, &mut b]);
        assert_eq!((b.last(alice).body, b.last(alice).status), (Body::Unsupported, Status::Unread));
        assert!(matches!(&b.events[..], [Event::Message(m)] if m.body == Body::Unsupported), "{:?}", b.events);
        assert_eq!(a2.last(bob).body, Body::Unsupported);
    }
    let known = b.last(alice).id;
    a2.core.edit(bob, known.id, "in words").unwrap();
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    assert_eq!(b.core.store.begin().message(known).unwrap().unwrap().body, Body::Text("in words".into()));
}

#[test]
fn a_change_that_was_refused_is_told() {
    let (_, mut a, b) = friends();
    let bob = b.account();
    let (id, other) = (a.say(bob, "tpyo").id, a.say(bob, "oops").id);
    a.core.react(bob, id, "👍", false).unwrap();
    a.core.edit(bob, id.id, "typo").unwrap();
    a.core.delete(bob, other.id).unwrap();
    a.core.set_timer(bob, 60).unwrap();
    let failure = Failure::Server(nepto_proto::ErrorCode::Blocked);
    let mut told = vec![];
    while let Some(item) = a.core.store.begin().queue_heads(&|to| to != bob, 1).unwrap().pop() {
        told.extend(a.core.failed(&item, failure).unwrap());
    }
    let all = [Change::Reaction, Change::Edit, Change::Delete, Change::Timer];
    let events = all.map(|change| Event::NotSent { conversation: bob, change, failure });
    told.retain(|event| !matches!(event, Event::Status { .. }));
    assert_eq!(told, events);
    let history = a.core.store.begin().history(bob, None, 4).unwrap();
    let notices = history.into_iter().rev().map(|message| message.body);
    assert!(notices.eq(all.map(|change| Body::Notice(Notice::NotSent { change, failure }))));
}

#[test]
fn receipts_that_are_refused_are_nobodys_business() {
    let (mut world, mut a, mut b) = friends();
    a.say(b.account(), "read me");
    world.send_all(&mut a);
    world.receive_all(&mut b);
    b.core.queue_receipts().unwrap();
    let item = b.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    assert_eq!(b.core.failed(&item, Failure::BadKeys).unwrap(), []);
}

#[test]
fn what_is_pending_at_a_crash_is_sent_with_the_same_id() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let sent = a.say(bob, "once");
    // the server stored it, and the answer was lost
    let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let crate::outbox::Prepared::Frame(frame) = a.core.prepare(&item).unwrap() else { panic!("not ready") };
    world.submit((alice, a.number()), &frame.send).unwrap();
    // after the crash
    let core = crate::core::Core::open(a.core.store, a.core.env).unwrap();
    let mut a = Device { core, events: vec![] };
    assert_eq!(world.send_all(&mut a), 1);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice), ["hello", "hi", "once"]);
    assert_eq!(b.last(alice).id, sent.id);
    a.say(bob, "and on");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice), ["hello", "hi", "once", "and on"]);
}

#[test]
fn orders_only_grow() {
    let (_, a, _) = friends();
    let txn = a.core.store.begin();
    let (first, second) = (txn.next(Counter::Order).unwrap(), txn.next(Counter::Order).unwrap());
    assert!(second > first && first > a.last(txn.conversations().unwrap()[0].peer).order);
}

#[test]
fn files_go_with_a_text_to_every_device_and_leave_with_it() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let mut a2 = world.device(&super::world::Person { account: alice, wallet: first_wallet(&world) });
    a.core.outdated.insert(alice);
    a.say(bob, "meet my other device");
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    let file = |number: u8| Attachment {
        media: MediaId::new(Uuid::from_u128(u128::from(number))),
        key: AttachmentKey::from_bytes([number; 32]),
        digest: [number; 32],
        bytes: 1_000,
        name: format!("photo {number}.jpg"),
        media_type: "image/jpeg".into(),
    };
    let files = vec![file(1), file(2)];
    let sent = a.core.send_files(bob, "", files.clone(), None, None).unwrap();
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    for heard in [b.last(alice), a2.last(bob)] {
        assert_eq!((heard.body, heard.attachments), (Body::Text(String::new()), files.clone()));
    }
    a.core.edit(bob, sent.id.id, "with words").unwrap();
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    assert_eq!((b.last(alice).body, b.last(alice).attachments), (Body::Text("with words".into()), files));
    a.core.delete(bob, sent.id.id).unwrap();
    world.settle(&mut [&mut a, &mut a2, &mut b]);
    assert_eq!((b.last(alice).body, b.last(alice).attachments), (Body::Deleted, Vec::new()));
    let many = vec![file(1); ATTACHMENTS_MAX + 1];
    assert!(matches!(a.core.send_files(bob, "", many, None, None), Err(crate::SdkError::TooManyFiles)));
    let shown = format!("{:?}", file(7));
    assert!(shown.contains("AttachmentKey") && !shown.contains("key: [7"), "keys are not printed: {shown}");
}
