//! Prekeys: numbers, stock, rotation, replay.

use nepto_proto::api::keys::{KeyCount, NextIds, repeated_use_digest};

use super::crash::Disk;
use super::world::{DOMAIN, World};
use crate::SdkError;
use crate::event::Event;
use crate::store::{Range, Table};

const DAY_S: u64 = 24 * 3600;

#[test]
fn the_stock_is_filled_up_with_growing_numbers() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    let first = a.core.one_time_keys(KeyCount { ec: 90, kyber: 100 }).unwrap().unwrap();
    assert_eq!((first.ec.len(), first.kyber.len()), (10, 0));
    let second = a.core.one_time_keys(KeyCount { ec: 95, kyber: 98 }).unwrap().unwrap();
    assert_eq!((second.ec.len(), second.kyber.len()), (5, 2));
    let ids: Vec<u32> = first.ec.iter().chain(&second.ec).map(|key| key.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]) && ids[0] > 0, "{ids:?}");
    assert!(first.ec.iter().all(|key| key.public_key.0.len() == 33));
    assert!(second.kyber.iter().all(|key| key.public_key.0.len() == 1569 && key.signature.0.len() == 64));
    assert_eq!(a.core.one_time_keys(KeyCount { ec: 100, kyber: 100 }).unwrap(), None);
}

#[test]
fn one_time_keys_are_gone_when_used_and_the_last_resort_is_not() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    let stock =
        |a: &super::world::Device, table| a.core.store.begin().scan(table, Range::all(&[], 1000)).unwrap().len();
    let (ec, kyber) = (stock(&a, Table::EcPrekey), stock(&a, Table::KyberPrekey));
    assert_eq!((ec, kyber), (3, 4));
    for n in 0..5 {
        let stranger = world.person();
        let mut s = world.device(&stranger);
        s.say(alice.account, &format!("{n}"));
        world.send_all(&mut s);
        world.receive_all(&mut a);
    }
    assert_eq!(a.events.iter().filter(|e| matches!(e, Event::Request(_))).count(), 5);
    assert_eq!((stock(&a, Table::EcPrekey), stock(&a, Table::KyberPrekey)), (0, 1));
}

#[test]
fn one_time_keys_outlive_any_age_while_the_server_may_offer_them() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    for _ in 0..60 {
        world.pass_s(8 * DAY_S);
        a.core.rotate_keys().unwrap().unwrap();
    }
    // the server has the newest repeated-use keys, and one-time keys that are older than a year
    let repair = a.core.key_repair(NextIds::default()).unwrap();
    let server = world.accounts.get_mut(&alice.account).unwrap().devices.get_mut(&a.number()).unwrap();
    (server.signed, server.last_resort) = (repair.signed_prekey.unwrap(), repair.last_resort.unwrap());
    assert_eq!((server.ec.len(), server.kyber.len()), (3, 3));
    b.say(alice.account, "at last");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.texts(bob.account), ["at last"]);
}

#[test]
fn of_one_time_keys_the_newest_are_kept() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    let newest: Vec<_> = (0..6).map(|_| a.core.one_time_keys(KeyCount { ec: 0, kyber: 0 }).unwrap().unwrap()).collect();
    let kept = |a: &super::world::Device, table| {
        let rows = a.core.store.begin().scan(table, Range::all(&[], 2000)).unwrap();
        rows.iter().map(|(id, _)| u32::from_be_bytes(id.as_slice().try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!((kept(&a, Table::EcPrekey).len(), kept(&a, Table::KyberPrekey).len()), (603, 604));
    world.pass_s(8 * DAY_S);
    a.core.rotate_keys().unwrap().unwrap();
    let offered: Vec<u32> = newest[1..].iter().flat_map(|upload| upload.ec.iter().map(|key| key.id)).collect();
    assert_eq!(kept(&a, Table::EcPrekey), offered, "five full stocks");
    // and both last-resort keys: the new one, and the one that was replaced just now
    assert_eq!(kept(&a, Table::KyberPrekey).len(), 502);
}

#[test]
fn uses_of_a_last_resort_key_are_forgotten_with_the_key() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    let server = world.accounts.get_mut(&alice.account).unwrap().devices.get_mut(&a.number()).unwrap();
    server.kyber.clear();
    b.say(alice.account, "hello");
    world.settle(&mut [&mut a, &mut b]);
    let uses =
        |a: &super::world::Device| a.core.store.begin().scan(Table::KyberUsed, Range::all(&[], 100)).unwrap().len();
    assert_eq!(uses(&a), 1);
    world.pass_s(8 * DAY_S);
    a.core.rotate_keys().unwrap().unwrap();
    world.pass_s(29 * DAY_S);
    a.core.rotate_keys().unwrap().unwrap();
    assert_eq!(uses(&a), 1, "the key can still be used, and so replayed");
    world.pass_s(8 * DAY_S);
    a.core.rotate_keys().unwrap().unwrap();
    assert_eq!(uses(&a), 0);
}

#[test]
fn a_message_of_the_last_resort_key_is_not_taken_twice() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    let server = world.accounts.get_mut(&alice.account).unwrap().devices.get_mut(&a.number()).unwrap();
    server.ec.clear();
    server.kyber.clear();
    b.say(alice.account, "once");
    world.send_all(&mut b);
    let deliver = world.mailboxes.get_mut(&(alice.account, a.number())).unwrap().pop_front().unwrap();
    world.deliver(&mut a, &deliver);
    assert_eq!(a.texts(bob.account), ["once"]);
    // the server plays it again, after the session is gone
    let txn = a.core.store.begin();
    txn.delete_session(&crate::signal::address(bob.account, b.number()).unwrap()).unwrap();
    txn.commit(crate::store::backend::Durability::Now).unwrap();
    let mut again = deliver.clone();
    again.seq += 1;
    again.envelope.as_mut().unwrap().client_msg_id = vec![9; 16];
    world.deliver(&mut a, &again);
    assert_eq!(a.texts(bob.account), ["once"]);
    assert!(matches!(a.events.last(), Some(Event::Undecryptable { .. })));
}

#[test]
fn repeated_use_keys_are_rotated_weekly_and_kept_for_messages_on_their_way() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let (mut a, mut b) = (world.device(&alice), world.device(&bob));
    assert_eq!(a.core.rotate_keys().unwrap(), None);
    let check = a.core.key_check().unwrap();
    let device = &world.directory(alice.account).devices[0];
    let server = &world.accounts[&alice.account].devices[&a.number()];
    let digest = repeated_use_digest(
        &device.identity_key.0,
        (server.signed.id, &server.signed.public_key.0),
        (server.last_resort.id, &server.last_resort.public_key.0),
    );
    assert_eq!(check.digest.0, digest, "what the server computes");
    b.say(alice.account, "to the old keys");
    world.send_all(&mut b);
    world.pass_s(7 * DAY_S);
    let upload = a.core.rotate_keys().unwrap().unwrap();
    assert!(upload.signed_prekey.as_ref().unwrap().id > server_signed(&world, &a));
    assert_ne!(a.core.key_check().unwrap(), check);
    let repair = a.core.key_repair(NextIds::default()).unwrap();
    assert_eq!((repair.signed_prekey, repair.last_resort), (upload.signed_prekey, upload.last_resort));
    world.pass_s(20 * DAY_S);
    world.receive_all(&mut a);
    assert_eq!(a.texts(bob.account), ["to the old keys"]);
    // a month after they were replaced the old ones go
    let kept = a.core.store.begin().scan(Table::SignedPrekey, Range::all(&[], 100)).unwrap().len();
    assert_eq!(kept, 2);
    world.pass_s(11 * DAY_S);
    a.core.rotate_keys().unwrap().unwrap();
    let kept = a.core.store.begin().scan(Table::SignedPrekey, Range::all(&[], 100)).unwrap().len();
    assert_eq!(kept, 2, "the one before and the new one");
}

fn server_signed(world: &World, device: &super::world::Device) -> u32 {
    world.accounts[&device.account()].devices[&device.number()].signed.id
}

/// Somebody gets a bundle and never writes.
fn take(world: &mut World, device: &super::world::Device, count: usize) {
    for _ in 0..count {
        world.bundles(device.account(), &[device.number()]);
    }
}

#[test]
fn a_stock_that_is_ones_own_is_known_whatever_was_handed_out_or_used() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    assert!(world.maintain(&mut a), "of the sign-in");
    for round in 0..4 {
        take(&mut world, &a, 20 * round);
        let stranger = world.person();
        let mut s = world.device(&stranger);
        s.say(alice.account, "hello");
        world.settle(&mut [&mut a, &mut s]);
        assert!(world.maintain(&mut a), "round {round}");
        world.pass_s(8 * DAY_S);
        let upload = a.core.rotate_keys().unwrap().unwrap();
        world.server_device(alice.account, a.number()).take_in(&upload);
    }
    // keys that were made and never arrived: the server has never heard of their ids
    a.core.one_time_keys(KeyCount { ec: 95, kyber: 95 }).unwrap().unwrap();
    assert!(world.maintain(&mut a));
    take(&mut world, &a, 100);
    assert!(world.maintain(&mut a), "an empty one");
}

#[test]
fn after_a_restore_of_the_client_the_stock_is_replaced_and_ids_go_on() {
    let mut world = World::new();
    let (alice, disk) = (world.person(), Disk::default());
    let store = disk.store(&mut world);
    let mut a = world.device_in(alice.account, &alice.wallet, DOMAIN, Some(store));
    world.maintain(&mut a);
    let copy = disk.copy();
    take(&mut world, &a, 85);
    world.pass_s(8 * DAY_S);
    let upload = a.core.rotate_keys().unwrap().unwrap();
    world.server_device(alice.account, a.number()).take_in(&upload);
    assert!(world.maintain(&mut a));
    disk.put_back(copy);
    // the server takes no id twice: all that is uploaded is new, the repeated-use keys as well
    assert!(!world.maintain(&mut a));
    assert!(world.maintain(&mut a), "and then it is one's own again");
    for n in 0..3 {
        let stranger = world.person();
        let mut s = world.device(&stranger);
        s.say(alice.account, &format!("{n}"));
        world.send_all(&mut s);
        world.receive_all(&mut a);
        assert_eq!(a.texts(stranger.account), [format!("{n}")]);
    }
}

#[test]
fn after_a_restore_of_the_server_the_stock_is_replaced() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    world.maintain(&mut a);
    let backup = world.server_device(alice.account, a.number()).clone();
    // half of what is in the backup is handed out and never used: all private halves are still here
    take(&mut world, &a, 50);
    assert!(world.maintain(&mut a));
    *world.server_device(alice.account, a.number()) = backup;
    assert!(!world.maintain(&mut a), "it would hand the same keys out again");
    let handed_out_again = world.server_device(alice.account, a.number()).ec.iter().any(|key| key.id <= 100);
    assert!(!handed_out_again);
    assert!(world.maintain(&mut a));
}

#[test]
fn a_server_can_not_use_up_the_ids() {
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    let server = world.server_device(alice.account, a.number());
    let mut stock = server.stock();
    stock.next.ec = 16_000_000;
    assert!(matches!(a.core.knows_stock(&stock), Err(SdkError::BadKeys { .. })));
    assert!(world.maintain(&mut a));
}

#[test]
fn what_libsignal_signs_the_server_can_check_and_the_other_way_round() {
    use libsignal_protocol::{IdentityKeyPair, PrivateKey};
    use nepto_proto::xeddsa::{PublicKey, public_key, sign};
    let mut world = World::new();
    let alice = world.person();
    let mut a = world.device(&alice);
    let identity = a.core.identity_key().unwrap().serialize();
    let server = PublicKey::from_serialized(&identity).unwrap();
    let repair = a.core.key_repair(NextIds::default()).unwrap();
    let keys = a.core.one_time_keys(KeyCount { ec: 90, kyber: 90 }).unwrap().unwrap();
    for key in repair.signed_prekey.iter().chain(&repair.last_resort).chain(&keys.kyber) {
        assert_eq!(server.verify(&key.public_key.0, &key.signature.0), Ok(()));
    }
    for key in &keys.ec {
        assert!(PublicKey::from_serialized(&key.public_key.0).is_ok());
    }
    let env = world.env();
    for n in 0..100u8 {
        // both signs of `x` come up
        let pair = IdentityKeyPair::generate(&mut env.rng());
        let signature = pair.private_key().calculate_signature(&[n; 70], &mut env.rng()).unwrap();
        let server = PublicKey::from_serialized(&pair.identity_key().serialize()).unwrap();
        assert_eq!(server.verify(&[n; 70], &signature), Ok(()));
        assert!(server.verify(&[n; 71], &signature).is_err());
        let private: [u8; 32] = env.bytes();
        let known = PrivateKey::deserialize(&private).unwrap().public_key().unwrap();
        assert_eq!(known.serialize().as_ref(), public_key(&private));
        assert!(known.verify_signature(&[n; 5], &sign(&private, &[n; 5], &env.bytes())));
    }
}
