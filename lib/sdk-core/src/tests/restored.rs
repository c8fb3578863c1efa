//! A server that was restored delivers again what was read long ago.

use nepto_proto::wire::Deliver;

use super::world::{Device, World, friends};
use crate::contract_signatures::Answers;
use crate::event::Event;
use crate::model::{Body, Message, Notice, Status};
use crate::store::backend::Durability;
use crate::store::seal::BLIND_BYTES;
use crate::store::taken_in::{ENVELOPES_MAX, EnvelopeName};
use crate::store::{Range, Store, Table};

/// Two people who have written by turns, and all that was delivered to each.
struct Talk {
    world: World,
    people: [Device; 2],
    delivered: [Vec<Deliver>; 2],
}

impl Talk {
    fn new(rounds: usize) -> Self {
        let mut world = World::new();
        let (alice, bob) = (world.person(), world.person());
        let accounts = [alice.account, bob.account];
        world.accepted.extend([(accounts[0], accounts[1]), (accounts[1], accounts[0])]);
        let people = [world.device(&alice), world.device(&bob)];
        let mut talk = Self { world, people, delivered: [Vec::new(), Vec::new()] };
        for round in 0..rounds {
            for (from, to) in [(0, 1), (1, 0)] {
                talk.people[from].say(accounts[to], &format!("{round} of {from}"));
                talk.settle();
                talk.people[to].core.mark_read(accounts[from], u64::MAX).unwrap();
                talk.settle();
            }
        }
        talk
    }

    fn settle(&mut self) {
        let Self { world, people, delivered } = self;
        for _ in 0..50 {
            let mut moved = 0;
            for (device, delivered) in people.iter_mut().zip(delivered.iter_mut()) {
                let mailbox = (device.account(), device.number());
                delivered.extend(world.mailboxes[&mailbox].iter().cloned());
                moved += world.receive_all(device);
                device.core.queue_receipts().unwrap();
                device.core.queue_resets().unwrap();
                moved += world.send_all(device);
            }
            if moved == 0 {
                return;
            }
        }
        panic!("the devices never come to rest");
    }

    fn deliver_again(&mut self, epoch: u64) {
        let Self { world, people, delivered } = self;
        for (device, delivered) in people.iter_mut().zip(delivered.iter()) {
            device.core.welcomed(epoch).unwrap();
            device.events.clear();
            for (seq, deliver) in (1..).zip(delivered) {
                world.deliver(device, &Deliver { seq, ..deliver.clone() });
            }
            let cursor = device.core.store.begin().cursor().unwrap().unwrap();
            assert_eq!((cursor.epoch, cursor.seq), (epoch, delivered.len() as u64));
        }
    }

    fn histories(&self) -> [Vec<Message>; 2] {
        let of =
            |device: &Device, with: &Device| device.core.store.begin().history(with.account(), None, 1_000).unwrap();
        let [alice, bob] = &self.people;
        [of(alice, bob), of(bob, alice)]
    }
}

fn is_told_as_lost(event: &Event) -> bool {
    matches!(event, Event::Undecryptable { .. })
}

#[test]
fn what_was_read_is_not_called_lost_when_it_comes_again() {
    let mut talk = Talk::new(10);
    let before = talk.histories();
    for (history, delivered) in before.iter().zip(&talk.delivered) {
        assert_eq!(history.iter().filter(|message| matches!(message.body, Body::Text(_))).count(), 20);
        assert!(history.iter().all(|message| message.status == Status::Read), "{history:?}");
        assert!(delivered.len() >= 30, "ten texts, and two receipts for each of the other's: {}", delivered.len());
    }
    for epoch in [2, 3] {
        talk.deliver_again(epoch);
        for device in &mut talk.people {
            assert_eq!(device.events, []);
            assert!(!device.core.queue_resets().unwrap());
            assert!(!device.core.queue_receipts().unwrap());
            assert_eq!(talk.world.send_all(device), 0);
        }
        assert_eq!(talk.histories(), before);
    }
    // as after an update from a version that remembers nothing: libsignal alone does not know them all
    for device in &talk.people {
        let txn = device.core.store.begin();
        for (name, _) in txn.scan(Table::TakenIn, Range::all(&[], usize::MAX)).unwrap() {
            txn.delete(Table::TakenIn, &name);
        }
        txn.commit(Durability::Now).unwrap();
    }
    talk.deliver_again(4);
    for device in &talk.people {
        assert!(device.events.iter().any(is_told_as_lost), "{:?}", device.events);
    }
}

#[test]
fn what_can_not_be_read_is_told_and_makes_nothing_else_look_known() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    a.say(bob, "whole");
    world.send_all(&mut a);
    let whole = world.mailboxes.get_mut(&(bob, b.number())).unwrap().pop_front().unwrap();
    let mut damaged = whole.clone();
    let envelope = damaged.envelope.as_mut().unwrap();
    let mut bytes = envelope.ciphertext.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1; // the MAC
    envelope.ciphertext = bytes.into();
    b.core.welcomed(2).unwrap();
    b.events.clear();
    for (seq, deliver) in (1..).zip([&damaged, &damaged, &whole, &whole]) {
        world.deliver(&mut b, &Deliver { seq, ..deliver.clone() });
    }
    let [first, second, third] = &b.events[..] else { panic!("{:?}", b.events) };
    assert!(is_told_as_lost(first) && is_told_as_lost(second) && matches!(third, Event::Message(_)), "{:?}", b.events);
    assert_eq!(b.texts(alice), ["hello", "hi", "whole"]);
    let txn = b.core.store.begin();
    let history = txn.history(alice, None, 10).unwrap();
    let notices = history.iter().filter(|m| matches!(m.body, Body::Notice(Notice::Undecryptable { .. })));
    assert_eq!(notices.count(), 2);
    let owed = txn.owed_resets().unwrap();
    assert_eq!(owed.iter().map(|owed| owed.unread.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_was_read_of_a_device_that_is_gone_since_is_not_called_lost() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut laptop, mut phone, mut b) = (world.device(&alice), world.device(&alice), world.device(&bob));
    world.accepted.extend([(bob.account, alice.account), (alice.account, bob.account)]);
    world.settle(&mut [&mut laptop, &mut phone]);
    phone.say(bob.account, "from the phone");
    world.send_all(&mut phone);
    let read = world.mailboxes.get_mut(&(bob.account, b.number())).unwrap().pop_front().unwrap();
    world.deliver(&mut b, &read);
    assert_eq!(b.texts(alice.account), ["from the phone"]);
    world.remove_device(alice.account, phone.number());
    let directory = world.directory(alice.account);
    b.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    let before = b.last(alice.account);

    // nobody vouches for the device any more, at such a time
    let again = |seq| Deliver { seq, stored_at_ms: u64::MAX, ..read.clone() };
    b.core.welcomed(2).unwrap();
    b.events.clear();
    let served = world.directories_served;
    world.deliver(&mut b, &again(1));
    assert_eq!(b.events, []);
    assert_eq!(world.directories_served, served);
    assert_eq!(b.last(alice.account), before);
    let mut unknown = again(2);
    unknown.envelope.as_mut().unwrap().client_msg_id = vec![9; 16];
    world.deliver(&mut b, &unknown);
    assert!(b.events.iter().any(is_told_as_lost), "{:?}", b.events);
}

#[test]
fn so_many_envelopes_are_remembered_and_the_oldest_go() {
    const AT_ONCE: u64 = 500;
    let store = Store::in_memory(&World::new().env()).unwrap();
    let name = |number: u64| {
        let mut name: EnvelopeName = [0; BLIND_BYTES];
        name[..8].copy_from_slice(&number.to_be_bytes());
        name
    };
    for first in (0..ENVELOPES_MAX + AT_ONCE).step_by(AT_ONCE as usize) {
        let txn = store.begin();
        for number in first..first + AT_ONCE {
            txn.set_taken_in(&name(number)).unwrap();
        }
        txn.commit(Durability::Later).unwrap();
    }
    let txn = store.begin();
    for table in [Table::TakenIn, Table::TakenInOrder] {
        let rows = txn.scan(table, Range::all(&[], usize::MAX)).unwrap();
        assert_eq!(rows.len() as u64, ENVELOPES_MAX, "{table:?}");
    }
    for (number, remembered) in [(0, false), (AT_ONCE - 1, false), (AT_ONCE, true), (ENVELOPES_MAX, true)] {
        assert_eq!(txn.is_taken_in(&name(number)).unwrap(), remembered, "{number}");
    }
}
