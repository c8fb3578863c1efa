//! Atomicity: what a crash or a failing disk can do between any two steps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::world::{DOMAIN, Device, World};
use crate::core::Core;
use crate::event::Event;
use crate::store::backend::{Backend, Batch, Durability, Entry};
use crate::store::seal::Cost;
use crate::store::{Store, StoreError};

/// A disk whose power can be cut: what was committed for `Later` is gone then.
#[derive(Clone, Default)]
pub struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    durable: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    commits: AtomicUsize,
    full: AtomicBool,
}

impl Disk {
    pub fn store(&self, world: &mut World) -> Store {
        Store::open(Box::new(self.clone()), "", Cost::LOW, &world.env()).unwrap()
    }

    /// All that is on it.
    pub fn copy(&self) -> Batch {
        self.0.entries.lock().unwrap().iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
    }

    /// Nothing is on it but what was when the copy was made.
    pub fn put_back(&self, copy: Batch) {
        let entries = copy.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        *self.0.entries.lock().unwrap() = entries;
    }

    fn cut_power(&self) {
        *self.0.entries.lock().unwrap() = self.0.durable.lock().unwrap().clone();
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.entries.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = self.0.entries.lock().unwrap();
        let mut all: Vec<Entry> = entries
            .iter()
            .filter(|(key, _)| (from..to).contains(&key.as_slice()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if descending {
            all.reverse();
        }
        all.truncate(limit);
        Ok(all)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if self.0.full.load(Ordering::Relaxed) {
            return Err(StoreError::Io("the disk is full".into()));
        }
        self.0.commits.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.0.entries.lock().unwrap();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        if durability == Durability::Now {
            *self.0.durable.lock().unwrap() = entries.clone();
        }
        Ok(())
    }
}

fn pair(disk: &Disk) -> (World, Device, Device) {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let a = world.device(&alice);
    let store = disk.store(&mut world);
    let b = world.device_in(bob.account, &bob.wallet, DOMAIN, Some(store));
    world.accepted.extend([(bob.account, alice.account), (alice.account, bob.account)]);
    (world, a, b)
}

#[test]
fn a_message_is_one_commit() {
    let disk = Disk::default();
    let (mut world, mut a, mut b) = pair(&disk);
    a.say(b.account(), "first");
    a.say(b.account(), "second");
    world.send_all(&mut a);
    let mailbox = (b.account(), b.number());
    let deliver = world.mailboxes.get_mut(&mailbox).unwrap().pop_front().unwrap();
    world.deliver(&mut b, &deliver); // with the directory
    let before = disk.0.commits.load(Ordering::Relaxed);
    world.receive_all(&mut b);
    assert_eq!(disk.0.commits.load(Ordering::Relaxed), before + 1);
    assert_eq!(b.texts(a.account()), ["first", "second"]);
}

#[test]
fn a_full_disk_loses_nothing() {
    let disk = Disk::default();
    let (mut world, mut a, mut b) = pair(&disk);
    a.say(b.account(), "first");
    a.say(b.account(), "second");
    world.send_all(&mut a);
    let mailbox = (b.account(), b.number());
    let first = world.mailboxes.get_mut(&mailbox).unwrap().pop_front().unwrap();
    world.deliver(&mut b, &first);
    let second = world.mailboxes.get_mut(&mailbox).unwrap().pop_front().unwrap();
    disk.0.full.store(true, Ordering::Relaxed);
    assert!(b.core.receive(&second, false).is_err());
    assert!(b.core.send_text(a.account(), "unwritten", None, None).is_err());
    assert_eq!(b.texts(a.account()), ["first"]);
    disk.0.full.store(false, Ordering::Relaxed);
    world.deliver(&mut b, &second);
    assert_eq!(b.texts(a.account()), ["first", "second"]);
    assert!(!b.events.iter().any(|e| matches!(e, Event::Undecryptable { .. })));
}

#[test]
fn a_key_that_was_used_is_gone_before_its_ciphertext_leaves() {
    let disk = Disk::default();
    let (mut world, mut a, mut b) = pair(&disk);
    a.say(b.account(), "first");
    world.settle(&mut [&mut a, &mut b]);
    b.say(a.account(), "second");
    let item = b.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let address = crate::signal::address(a.account(), a.number()).unwrap();
    let record = |device: &Device| device.core.store.begin().session(&address).unwrap().unwrap().serialize().unwrap();
    let before = record(&b);
    assert!(matches!(b.core.prepare(&item).unwrap(), crate::outbox::Prepared::Frame(_)));
    let after = record(&b);
    assert_ne!(before, after);
    disk.cut_power();
    assert_eq!(record(&b), after);
}

#[test]
fn a_store_is_opened_again_in_the_middle_of_a_conversation() {
    let disk = Disk::default();
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a = world.device(&alice);
    let store = disk.store(&mut world);
    let mut b = world.device_in(bob.account, &bob.wallet, DOMAIN, Some(store));
    world.accepted.insert((bob.account, alice.account));
    let mut expected = vec![];
    for round in 0..4 {
        a.say(bob.account, &format!("a{round}"));
        world.settle(&mut [&mut a, &mut b]);
        b.say(alice.account, &format!("b{round}"));
        expected.extend([format!("a{round}"), format!("b{round}")]);
        let env = b.core.env.clone();
        drop(b);
        let core = Core::open(disk.store(&mut world), env).unwrap();
        b = Device { core, events: vec![] };
        world.settle(&mut [&mut a, &mut b]);
    }
    assert_eq!(b.texts(alice.account), expected);
    assert_eq!(a.texts(bob.account), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Power may be cut after any step; what was not acknowledged is delivered again. Nothing is lost, nothing shown twice.
    #[test]
    fn power_cuts_lose_nothing(steps in proptest::collection::vec(0u8..8, 1..60)) {
        let disk = Disk::default();
        let (mut world, mut a, mut b) = pair(&disk);
        let (alice, bob, mailbox) = (a.account(), b.account(), (b.account(), b.number()));
        let (mut from_alice, mut from_bob) = (vec![], vec![]);
        let mut delivered = 0;
        for (n, step) in steps.into_iter().chain([5, 2, 2, 2, 2, 2, 2, 2, 2, 4]).enumerate() {
            match step {
                0 => {
                    a.say(bob, &format!("a{n}"));
                    from_alice.push(format!("a{n}"));
                    world.send_all(&mut a);
                }
                1 => {
                    b.say(alice, &format!("b{n}"));
                    from_bob.push(format!("b{n}"));
                }
                2 | 3 => {
                    for _ in 0..8 {
                        let next = world.mailboxes[&mailbox].iter().find(|d| d.seq > delivered).cloned();
                        let Some(next) = next else { break };
                        world.deliver(&mut b, &next);
                        delivered = next.seq;
                    }
                }
                4 => {
                    // flush, then acknowledge: in this order
                    b.core.store.flush().unwrap();
                    world.mailboxes.get_mut(&mailbox).unwrap().retain(|d| d.seq > delivered);
                }
                5 | 6 => {
                    disk.cut_power();
                    let env = b.core.env.clone();
                    let core = Core::open(disk.store(&mut world), env).unwrap();
                    b = Device { core, events: b.events };
                    delivered = b.core.store.begin().cursor().unwrap().unwrap().seq;
                }
                _ => {
                    world.send_all(&mut b);
                    world.receive_all(&mut a);
                }
            }
        }
        world.send_all(&mut b);
        world.receive_all(&mut a);
        let seen: Vec<String> = b.texts(alice).into_iter().filter(|t| t.starts_with('a')).collect();
        prop_assert_eq!(seen, from_alice);
        let seen: Vec<String> = a.texts(bob).into_iter().filter(|t| t.starts_with('b')).collect();
        prop_assert_eq!(seen, from_bob);
        let lost = a.events.iter().chain(&b.events).filter(|e| matches!(e, Event::Undecryptable { .. })).count();
        prop_assert_eq!(lost, 0);
    }
}
