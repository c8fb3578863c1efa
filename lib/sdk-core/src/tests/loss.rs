//! Loss, reordering, duplication, damage.

use proptest::prelude::*;

use super::world::{World, friends};
use crate::event::Event;
use crate::model::{Body, Notice};

#[test]
fn both_write_first_at_the_same_moment() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    a.say(bob.account, "me first");
    b.say(alice.account, "no, me");
    world.send_all(&mut a);
    world.send_all(&mut b);
    world.settle(&mut [&mut a, &mut b]);
    for round in 0..5 {
        a.say(bob.account, &format!("a{round}"));
        b.say(alice.account, &format!("b{round}"));
        world.settle(&mut [&mut a, &mut b]);
    }
    assert_eq!(b.texts(alice.account).len(), 12);
    assert_eq!(a.texts(bob.account).len(), 12);
    assert!(!a.events.iter().chain(&b.events).any(|e| matches!(e, Event::Undecryptable { .. })));
}

#[test]
fn a_message_that_can_not_be_read_does_not_block_the_mailbox_and_the_session_recovers() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    for text in ["one", "two", "three"] {
        a.say(bob, text);
    }
    world.send_all(&mut a);
    let mailbox = world.mailboxes.get_mut(&(bob, b.number())).unwrap();
    let envelope = mailbox[1].envelope.as_mut().unwrap();
    let mut bytes = envelope.ciphertext.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1; // the MAC
    envelope.ciphertext = bytes.into();
    world.receive_all(&mut b);
    assert_eq!(b.texts(alice), ["hello", "hi", "one", "three"]);
    let told = |e: &&Event| matches!(e, Event::Undecryptable { account, .. } if *account == alice);
    assert_eq!(b.events.iter().filter(told).count(), 1);
    let notices = b.core.store.begin().history(alice, None, 10).unwrap();
    assert!(notices.iter().any(|m| matches!(m.body, Body::Notice(Notice::Undecryptable { .. }))));
    world.settle(&mut [&mut a, &mut b]);
    assert!(a.events.iter().any(|e| matches!(e, Event::SessionReset { account, .. } if *account == bob)));
    a.say(bob, "four");
    world.settle(&mut [&mut a, &mut b]);
    b.say(alice, "five");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice), ["hello", "hi", "one", "three", "two", "four", "five"], "it was sent again");
    assert_eq!(a.texts(bob)[5..], ["four", "five"]);
}

#[test]
fn a_device_that_lost_its_sessions_recovers_and_does_not_loop() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let txn = b.core.store.begin();
    txn.delete_session(&crate::signal::address(alice, a.number()).unwrap()).unwrap();
    txn.commit(crate::store::backend::Durability::Now).unwrap();
    for round in 0..10 {
        a.say(bob, &format!("lost {round}"));
    }
    world.send_all(&mut a);
    world.receive_all(&mut b);
    assert!(b.core.queue_resets().unwrap());
    assert_eq!(b.core.store.begin().queue_heads(&|_| false, 10).unwrap().len(), 1, "one reset for ten");
    world.settle(&mut [&mut a, &mut b]);
    a.say(bob, "found");
    world.settle(&mut [&mut a, &mut b]);
    let lost: Vec<String> = (0..10).map(|round| format!("lost {round}")).collect();
    let all = [&["hello".to_owned(), "hi".to_owned()][..], &lost, &["found".to_owned()]].concat();
    assert_eq!(b.texts(alice), all, "what was lost was sent again, in its order");
    assert_eq!(b.events.iter().filter(|e| matches!(e, Event::Undecryptable { .. })).count(), 10);
}

#[test]
fn a_damaged_first_message_of_a_stranger_is_not_answered() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    a.say(bob.account, "hello");
    world.send_all(&mut a);
    let mailbox = world.mailboxes.get_mut(&(bob.account, b.number())).unwrap();
    let envelope = mailbox[0].envelope.as_mut().unwrap();
    let mut bytes = envelope.ciphertext.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    envelope.ciphertext = bytes.into();
    world.receive_all(&mut b);
    assert!(matches!(b.events[..], [Event::Undecryptable { .. }]), "{:?}", b.events);
    assert!(!b.core.queue_resets().unwrap());
    assert_eq!(world.send_all(&mut b), 0);
    a.say(bob.account, "again");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(alice.account), ["again"], "the prekeys were not used up by the damaged one");
}

#[test]
fn envelopes_that_are_no_envelopes_are_passed_over() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.say(bob, "good");
    world.send_all(&mut a);
    let mailbox = world.mailboxes.get_mut(&(bob, b.number())).unwrap();
    let good = mailbox.pop_front().unwrap();
    let bad = |change: &dyn Fn(&mut nepto_proto::wire::Envelope), seq| {
        let mut deliver = good.clone();
        deliver.seq = seq;
        change(deliver.envelope.as_mut().unwrap());
        deliver
    };
    let base = good.seq;
    let mut late = good.clone();
    late.seq = base + 10;
    let all = [
        bad(&|e| e.from.clear(), base),
        bad(&|e| e.from_device = 0, base + 1),
        bad(&|e| e.client_msg_id.clear(), base + 2),
        bad(&|e| e.r#type = 9, base + 3),
        bad(&|e| e.ciphertext = vec![].into(), base + 4),
        bad(&|e| e.ciphertext = vec![0x44; 300].into(), base + 5),
        late,
    ];
    for deliver in &all {
        world.deliver(&mut b, deliver);
    }
    assert_eq!(b.texts(alice), ["hello", "hi", "good"]);
    assert_eq!(b.core.store.begin().cursor().unwrap().unwrap().seq, base + 10);
}

#[test]
fn what_was_delivered_before_is_not_looked_at_again() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.say(bob, "new");
    world.send_all(&mut a);
    let deliver = world.mailboxes.get_mut(&(bob, b.number())).unwrap().pop_front().unwrap();
    world.deliver(&mut b, &deliver);
    let cursor = b.core.store.begin().cursor().unwrap().unwrap();
    assert_eq!(cursor.seq, deliver.seq);
    b.events.clear();
    let mut damaged = deliver.clone();
    damaged.envelope.as_mut().unwrap().ciphertext = vec![0x44; 200].into();
    for seq in [deliver.seq, deliver.seq - 1, 1] {
        damaged.seq = seq;
        world.deliver(&mut b, &damaged);
    }
    assert_eq!(b.events, []);
    assert_eq!(b.core.store.begin().cursor().unwrap().unwrap(), cursor);
    // a mailbox that was recreated begins with small numbers again
    b.core.welcomed(2).unwrap();
    a.say(bob, "after");
    world.send_all(&mut a);
    let mut deliver = world.mailboxes.get_mut(&(bob, b.number())).unwrap().pop_front().unwrap();
    deliver.seq = 1;
    world.deliver(&mut b, &deliver);
    assert_eq!(b.texts(alice)[2..], ["new", "after"]);
}

#[test]
fn a_message_that_was_encrypted_and_stored_twice_is_shown_once() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.say(bob, "once");
    let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let cursor = b.core.store.begin().cursor().unwrap().unwrap();
    for seq in cursor.seq + 1..cursor.seq + 3 {
        let crate::outbox::Prepared::Frame(frame) = a.core.prepare(&item).unwrap() else { panic!("not ready") };
        let ciphertext = &frame.send.to_devices[0];
        let envelope = nepto_proto::wire::Envelope {
            from: alice.to_vec(),
            from_device: a.number().into(),
            client_msg_id: frame.send.client_msg_id.clone(),
            r#type: ciphertext.r#type,
            ciphertext: ciphertext.ciphertext.clone(),
            request: false,
        };
        world.deliver(&mut b, &nepto_proto::wire::Deliver { seq, stored_at_ms: 1, envelope: Some(envelope) });
    }
    assert_eq!(b.texts(alice), ["hello", "hi", "once"]);
    assert_eq!(b.core.store.begin().conversation(alice).unwrap().unwrap().unread, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is lost, doubled or out of order: what arrived is shown once, and nothing breaks for good.
    #[test]
    fn what_arrives_is_shown_once(outcomes in proptest::collection::vec((0u8..10, any::<bool>()), 5..40), seed in any::<u64>()) {
        use rand::SeedableRng;
        use rand::seq::SliceRandom;
        let (mut world, mut a, mut b) = friends();
        let (alice, bob) = (a.account(), b.account());
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut expected: Vec<String> = vec![];
        for (round, chunk) in outcomes.chunks(7).enumerate() {
            for (n, _) in chunk.iter().enumerate() {
                a.say(bob, &format!("{round}.{n}"));
            }
            world.send_all(&mut a);
            let mailbox = world.mailboxes.get_mut(&(bob, b.number())).unwrap();
            let sent: Vec<_> = mailbox.drain(..).collect();
            let texts: Vec<_> = sent.iter().filter(|d| d.envelope.as_ref().unwrap().r#type != 0).cloned().collect();
            let mut arriving = vec![];
            for (n, ((outcome, _), deliver)) in chunk.iter().zip(&texts).enumerate() {
                match outcome {
                    0 | 1 => {} // lost
                    2 | 3 => arriving.extend([deliver.clone(), deliver.clone()]),
                    _ => arriving.push(deliver.clone()),
                }
                if *outcome > 1 {
                    expected.push(format!("{round}.{n}"));
                }
            }
            if chunk[0].1 {
                arriving.shuffle(&mut rng);
            }
            let base = b.core.store.begin().cursor().unwrap().unwrap().seq;
            for (n, mut deliver) in arriving.into_iter().enumerate() {
                deliver.seq = base + 1 + n as u64;
                world.deliver(&mut b, &deliver);
            }
            // the other direction keeps the ratchet turning; receipts ride along
            b.say(alice, "turn");
            b.core.queue_receipts().unwrap();
            world.send_all(&mut b);
            let base = a.core.store.begin().cursor().unwrap().unwrap().seq;
            let mailbox = world.mailboxes.get_mut(&(alice, a.number())).unwrap();
            let back: Vec<_> = mailbox.drain(..).collect();
            for (n, mut deliver) in back.into_iter().enumerate() {
                deliver.seq = base + 1 + n as u64;
                world.deliver(&mut a, &deliver);
            }
        }
        let mut seen: Vec<String> = b.texts(alice).into_iter().filter(|t| t.contains('.')).collect();
        seen.sort();
        expected.sort();
        prop_assert_eq!(seen, expected);
        prop_assert!(!b.events.iter().any(|e| matches!(e, Event::Undecryptable { .. })), "{:?}", b.events);
    }
}
