//! Wallets that are contracts: asked, believed for a while, and asked again.

use alloy_primitives::Address;
use nepto_proto::certificate::CertificateError;

use super::world::{DOMAIN, Device, Person, World, befriended};
use crate::SdkError;
use crate::contract_signatures::Answers;
use crate::event::Event;
use crate::model::Failure;

const CHAIN: u64 = 10;
const WALLET: Address = Address::repeat_byte(0xc0);

/// Somebody with a key, and somebody whose wallet is a contract, who have written to each other.
fn friends() -> (World, Device, Device) {
    let mut world = World::new();
    let contract = world.contract(CHAIN, WALLET);
    let (alice, bob) = (world.person(), world.person_with(contract));
    befriended(world, &alice, &bob)
}

fn send(world: &mut World, a: &mut Device, b: &Device) -> Result<usize, SdkError> {
    let item = a.core.store.begin().queue_heads(&|to| to != b.account(), 1).unwrap().remove(0);
    world.send_one(a, &item)
}

#[test]
fn a_contract_is_believed_for_what_its_chain_says_alone() {
    let (mut world, a, b) = friends();
    let peer = a.core.store.begin().peer(b.account()).unwrap().unwrap();
    assert_eq!(peer.devices[0].wallet, WALLET.to_string());
    // the server's word is not enough
    let alice = world.person();
    let mut c = world.device(&alice);
    let directory = world.directory(b.account());
    let events = c.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    let wanted = CertificateError::Unasked { wallet: WALLET, chain_id: CHAIN }.to_string();
    assert!(matches!(&events[..], [Event::Uncertified { reason, .. }] if *reason == wanted), "{events:?}");
    // a chain that is away says nothing, and nothing is sent
    world.cut_off = true;
    let mut d = world.device(&alice);
    d.say(b.account(), "anybody there?");
    assert!(matches!(send(&mut world, &mut d, &b), Err(SdkError::Chain { chain_id: CHAIN, .. })));
    assert!(d.core.store.begin().peer(b.account()).unwrap().is_none());
}

#[test]
fn a_spy_of_the_server_is_caught_by_the_chain() {
    let (mut world, mut a, b) = friends();
    let evil = world.wallet().of_contract(CHAIN, WALLET);
    let spy = world.device_in(b.account(), &evil, DOMAIN, None);
    a.core.outdated.insert(b.account());
    a.say(b.account(), "for bob alone");
    let error = send(&mut world, &mut a, &b).unwrap_err();
    assert!(matches!(error, SdkError::Uncertified { device, .. } if device == spy.number()), "{error}");
}

#[test]
fn a_wallet_that_changed_hands_is_asked_again_after_a_day() {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    world.owners.insert((CHAIN, WALLET), Address::repeat_byte(1));
    a.say(bob, "the same day");
    assert_eq!(send(&mut world, &mut a, &b).unwrap(), 1);
    world.pass_s(86_400);
    a.say(bob, "the next day");
    assert!(matches!(send(&mut world, &mut a, &b), Err(SdkError::Uncertified { account, .. }) if account == bob));
    let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    a.core.failed(&item, Failure::Uncertified).unwrap();
    // nor is the old owner listened to
    b.say(a.account(), "it is still me");
    assert_eq!(world.send_all(&mut b), 1);
    world.receive_all(&mut a);
    assert_eq!(a.texts(bob), ["hello", "hi", "the same day", "the next day"]);
}

#[test]
fn while_its_chain_is_away_an_earlier_yes_counts() {
    let (mut world, mut a, b) = friends();
    world.cut_off = true;
    world.pass_s(3 * 86_400);
    a.say(b.account(), "still you, as far as anybody knows");
    assert_eq!(send(&mut world, &mut a, &b).unwrap(), 1);
    let served = world.directories_served;
    a.say(b.account(), "and again");
    assert_eq!(send(&mut world, &mut a, &b).unwrap(), 1);
    assert_eq!(world.directories_served, served, "not at once");
    // back again, it says no
    (world.cut_off, world.owners) = (false, Default::default());
    world.pass_s(601);
    a.say(b.account(), "and now?");
    assert!(matches!(send(&mut world, &mut a, &b), Err(SdkError::Uncertified { .. })));
}

#[test]
fn on_another_chain_the_same_address_is_somebody_elses() {
    let (mut world, mut a, b) = friends();
    let elsewhere = world.contract(1, WALLET);
    let spy = world.device_in(b.account(), &elsewhere, DOMAIN, None);
    let directory = world.directory(b.account());
    let answers = world.answers(&a.core, &directory).unwrap();
    let events = a.core.apply_directory(&directory, None, &answers).unwrap();
    let wanted = CertificateError::Chain { wallet: WALLET, known: CHAIN, found: 1 }.to_string();
    let refused = |e: &Event| matches!(e, Event::Uncertified { device, reason, .. } if *device == spy.number() && *reason == wanted);
    assert!(events.iter().any(refused), "{events:?}");
    // also after the first is gone
    world.remove_device(b.account(), b.number());
    let directory = world.directory(b.account());
    let answers = world.answers(&a.core, &directory).unwrap();
    a.core.apply_directory(&directory, None, &answers).unwrap();
    assert!(a.core.store.begin().peer(b.account()).unwrap().unwrap().devices.is_empty());
}

#[test]
fn contracts_link_and_are_linked() {
    let mut world = World::new();
    let contract = world.contract(CHAIN, WALLET);
    let (alice, bob) = (world.person(), world.person());
    let mut a = world.device(&alice);
    let _b = world.device(&bob);
    world.link(&bob, &contract);
    let device = world.device_in(bob.account, &contract, DOMAIN, None);
    // and the contract links a key
    let key = world.wallet();
    world.link(&Person { account: bob.account, wallet: contract }, &key);
    let by_key = world.device_in(bob.account, &key, DOMAIN, None);
    let numbers = |a: &Device| -> Vec<_> {
        a.core.store.begin().peer(bob.account).unwrap().unwrap().devices.iter().map(|known| known.device).collect()
    };
    let take = |world: &mut World, a: &mut Device| {
        let directory = world.directory(bob.account);
        let answers = world.answers(&a.core, &directory).unwrap();
        a.core.apply_directory(&directory, None, &answers).unwrap()
    };
    take(&mut world, &mut a);
    assert_eq!(numbers(&a).len(), 3);
    // in other hands it neither belongs nor vouches
    world.owners.clear();
    world.pass_s(86_400);
    take(&mut world, &mut a);
    assert!(!numbers(&a).contains(&device.number()) && !numbers(&a).contains(&by_key.number()));
    assert_eq!(numbers(&a).len(), 1);
}

#[test]
fn a_device_that_was_certified_again_since_is_looked_up() {
    let (mut world, _, b) = friends();
    let bob = b.account();
    let alice = world.person();
    let mut c = world.device(&alice);
    let directory = world.directory(bob);
    let answers = world.answers(&c.core, &directory).unwrap();
    c.core.apply_directory(&directory, None, &answers).unwrap();
    // signed in again, by a new owner
    let next = world.contract(CHAIN, WALLET);
    let renewed = world.device_in(bob, &next, DOMAIN, None);
    let certificate = world.accounts[&bob].devices[&renewed.number()].public.certificate.clone();
    let listed = world.accounts.get_mut(&bob).unwrap().devices.get_mut(&b.number()).unwrap();
    listed.public.certificate = certificate;
    c.core.apply_bundles(&world.bundles(bob, &[b.number()])).unwrap();
    assert!(c.core.outdated.contains(&bob), "no session before its chain was asked");
    let address = crate::signal::address(bob, b.number()).unwrap();
    assert!(c.core.store.begin().session(&address).unwrap().is_none());
}
