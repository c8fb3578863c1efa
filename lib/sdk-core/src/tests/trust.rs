//! Certificates, pins, changes, device lists.

use alloy_primitives::Address;
use nepto_proto::DeviceId;
use nepto_proto::api::auth::Wallets;

use super::world::{DOMAIN, Device, Person, World, friends};
use crate::SdkError;
use crate::contract_signatures::Answers;
use crate::event::Event;
use crate::model::{Body, Notice};

#[test]
fn a_device_that_the_server_slipped_in_gets_nothing() {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let evil = world.wallet();
    let mut spy = world.device_in(bob, &evil, super::world::DOMAIN, None);
    a.core.outdated.insert(bob);
    a.say(bob, "for bob alone");
    let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let error = world.send_one(&mut a, &item).unwrap_err();
    assert!(matches!(error, SdkError::Uncertified { account, device, .. } if account == bob && device == spy.number()));
    assert!(a.events.iter().any(|e| matches!(e, Event::Uncertified { account, .. } if *account == bob)));
    let history = a.core.store.begin().history(bob, None, 10).unwrap();
    assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::Uncertified { .. }))));
    assert_eq!(world.receive_all(&mut spy) + world.receive_all(&mut b), 0, "nothing left the device");
}

/// Friends, and a second device of the second one, which has a session both ways with the first.
fn friends_and_a_phone() -> (World, Device, Device, Device) {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let mut phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    phone.say(a.account(), "hello from the phone");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    a.say(bob, "hello phone");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    (world, a, b, phone)
}

#[test]
fn what_a_device_sent_before_it_was_removed_is_read_and_nothing_is_sent_to_it() {
    let (mut world, mut a, mut b, mut phone) = friends_and_a_phone();
    let bob = b.account();
    // over the session that they have, and over one that nobody has seen yet
    let mut tablet = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    phone.say(a.account(), "on the way");
    tablet.say(a.account(), "never seen");
    world.send_all(&mut phone);
    world.send_all(&mut tablet);
    world.remove_device(bob, phone.number());
    world.remove_device(bob, tablet.number());
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    a.events.clear();
    world.receive_all(&mut a);
    assert_eq!(a.texts(bob)[4..], ["on the way", "never seen"], "{:?}", a.events);
    a.say(bob, "is the phone gone?");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(a.account()).last().map(String::as_str), Some("is the phone gone?"));
    // later, the server remembers none of them, and neither do we
    world.accounts.get_mut(&bob).unwrap().removed.clear();
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    let txn = a.core.store.begin();
    assert!(txn.peer(bob).unwrap().unwrap().removed.is_empty());
    let session = |device| txn.session(&crate::signal::address(bob, device).unwrap()).unwrap();
    assert!(session(phone.number()).is_none() && session(tablet.number()).is_none() && session(b.number()).is_some());
}

#[test]
fn a_removed_device_whose_attestation_can_not_be_read_is_no_forgery_but_its_loss_is_told() {
    let lost_of = |spoil: &dyn Fn(&mut World, &mut Device)| {
        let (mut world, mut a, b) = friends();
        let bob = b.account();
        let mut phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
        phone.say(a.account(), "from the phone");
        world.send_all(&mut phone);
        world.remove_device(bob, phone.number());
        spoil(&mut world, &mut a);
        world.receive_all(&mut a);
        let lost = |e: &Event| matches!(e, Event::Undecryptable { device, .. } if *device == phone.number());
        assert!(a.events.iter().any(lost), "{:?}", a.events);
        assert!(!a.events.iter().any(|e| matches!(e, Event::Uncertified { .. })), "{:?}", a.events);
        assert!(!a.texts(bob).contains(&"from the phone".to_owned()));
        let history = a.core.store.begin().history(bob, None, 10).unwrap();
        assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::Undecryptable { .. }))));
    };
    fn removed(world: &mut World) -> &mut Vec<nepto_proto::api::keys::RemovedDevice> {
        &mut world.accounts.values_mut().find(|account| !account.removed.is_empty()).unwrap().removed
    }
    // the server has forgotten it; it was removed before it sent this; nobody certified it
    lost_of(&|world, _| removed(world).clear());
    lost_of(&|world, _| removed(world)[0].removed_at -= std::time::Duration::from_secs(120));
    lost_of(&|world, _| removed(world)[0].device.certificate.signature = "0x00".to_owned());
    // the safety numbers of the others were compared, and this one came and went unseen, before that or after
    let verify = |a: &mut Device| {
        let bob = a.core.store.begin().conversations().unwrap()[0].peer;
        let numbers = a.core.safety_numbers(bob).unwrap();
        a.core.mark_verified(bob, &numbers).unwrap();
        bob
    };
    lost_of(&|_, a| {
        verify(a);
    });
    lost_of(&|world, a| {
        let bob = a.core.store.begin().conversations().unwrap()[0].peer;
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
        verify(a);
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    });
    // the server says something else than at first
    lost_of(&|world, a| {
        let bob = a.core.store.begin().conversations().unwrap()[0].peer;
        removed(world)[0].removed_at -= std::time::Duration::from_secs(120);
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
        removed(world)[0].removed_at += std::time::Duration::from_secs(1_000_000);
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    });
    // it has been removed for longer than any message waits
    lost_of(&|world, a| {
        let bob = a.core.store.begin().conversations().unwrap()[0].peer;
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
        world.pass_s(91 * 86_400);
        a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    });
}

#[test]
fn sending_first_does_not_lose_what_a_removed_device_had_sent() {
    let (mut world, mut a, b, mut phone) = friends_and_a_phone();
    let bob = b.account();
    phone.say(a.account(), "on the way");
    world.send_all(&mut phone);
    world.remove_device(bob, phone.number());
    // the gateway answers that there is a device less
    a.say(bob, "I come back");
    world.send_all(&mut a);
    world.receive_all(&mut a);
    assert_eq!(a.texts(bob).last().map(String::as_str), Some("on the way"), "{:?}", a.events);
}

#[test]
fn a_device_that_the_server_slipped_in_is_not_listened_to() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let evil = world.wallet();
    let mut spy = world.device_in(bob, &evil, super::world::DOMAIN, None);
    // the spy believes what it likes about its own account
    spy.core.me.wallet = world.accounts[&bob].wallets.root.clone();
    spy.core.send_text(a.account(), "I am Bob", None, None).unwrap();
    world.accounts.get_mut(&bob).unwrap().devices.remove(&b.number());
    let item = spy.core.store.begin().queue_heads(&|to| to == bob, 1).unwrap().remove(0);
    world.send_one(&mut spy, &item).unwrap();
    a.events.clear();
    world.receive_all(&mut a);
    assert_eq!(a.texts(bob), ["hello", "hi"]);
    assert!(matches!(a.events[..], [Event::DeviceRemoved { .. }, Event::Uncertified { .. }]), "{:?}", a.events);
}

#[test]
fn certificates_of_other_domains_wallets_and_keys_are_refused() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a = world.device(&alice);
    let other_domain = world.device_in(bob.account, &bob.wallet, "evil.org", None);
    let good = world.device(&bob);
    let swapped = world.device(&bob);
    // a certificate of another device
    let certificate = world.directory(bob.account).devices[1].certificate.clone();
    let server = world.accounts.get_mut(&bob.account).unwrap();
    server.devices.get_mut(&swapped.number()).unwrap().public.certificate = certificate;
    let directory = world.directory(bob.account);
    let events = a.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    let refused: Vec<DeviceId> = events
        .iter()
        .filter_map(|e| match e {
            Event::Uncertified { device, .. } => Some(*device),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [other_domain.number(), swapped.number()]);
    let peer = a.core.store.begin().peer(bob.account).unwrap().unwrap();
    assert_eq!(peer.devices.iter().map(|d| d.device).collect::<Vec<_>>(), [good.number()]);
    assert_eq!(a.core.apply_directory(&directory, None, &Answers::default()).unwrap(), [], "each is reported once");
}

#[test]
fn a_linked_wallet_certifies_and_an_unlinked_one_does_not() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a = world.device(&alice);
    let second = world.wallet();
    let device = world.device_in(bob.account, &second, super::world::DOMAIN, None);
    let directory = world.directory(bob.account);
    assert!(matches!(
        a.core.apply_directory(&directory, None, &Answers::default()).unwrap()[..],
        [Event::Uncertified { .. }]
    ));
    world.link(&bob, &second);
    let directory = world.directory(bob.account);
    let events = a.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    assert!(matches!(&events[..], [Event::DeviceAdded { device: d, .. }] if *d == device.number()), "{events:?}");
    let peer = a.core.store.begin().peer(bob.account).unwrap().unwrap();
    assert_eq!(peer.devices[0].wallet, second.address().to_string());
}

#[test]
fn an_account_that_was_named_by_address_must_own_it() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.person(), world.person(), world.person());
    let mut a = world.device(&alice);
    let _b = world.device(&bob);
    let directory = world.directory(bob.account);
    let wrong = a.core.apply_directory(&directory, Some(carol.wallet.address()), &Answers::default()).unwrap_err();
    assert!(matches!(wrong, SdkError::WrongWallet { .. }));
    assert!(a.core.store.begin().peer(bob.account).unwrap().is_none(), "nothing was pinned");
    a.core.apply_directory(&directory, Some(bob.wallet.address()), &Answers::default()).unwrap();
    // later the server gives the account to somebody else
    let mut stolen = directory.clone();
    stolen.wallets.root = carol.wallet.address().to_string();
    let events = a.core.apply_directory(&stolen, None, &Answers::default()).unwrap();
    assert!(matches!(events[..], [Event::RootChanged { .. }]), "{events:?}");
    a.say(bob.account, "for bob alone");
    let item = a.core.store.begin().queue_heads(&|to| to != bob.account, 1).unwrap().remove(0);
    assert!(matches!(world.send_one(&mut a, &item), Err(SdkError::RootChanged { .. })));
}

#[test]
fn a_new_device_is_told_and_used_after_a_mismatch() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    let second = world.wallet();
    let root = Person { account: bob, wallet: second };
    // bob's first wallet links the second
    let first = bob_wallet();
    assert_eq!(first.address().to_string(), world.accounts[&bob].wallets.root);
    world.link(&Person { account: bob, wallet: first }, &root.wallet);
    let mut b2 = world.device(&root);
    a.say(bob, "to both of you");
    world.settle(&mut [&mut a, &mut b, &mut b2]);
    assert_eq!(b2.texts(alice), ["to both of you"]);
    assert_eq!(b.texts(alice)[2..], ["to both of you"]);
    assert!(a.events.iter().any(|e| matches!(e, Event::DeviceAdded { account, .. } if *account == bob)));
    let history = a.core.store.begin().history(bob, None, 10).unwrap();
    assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::DeviceAdded { .. }))));

    // and a device that is gone is left out
    world.remove_device(bob, b.number());
    a.say(bob, "to the second");
    world.settle(&mut [&mut a, &mut b2]);
    assert_eq!(b2.texts(alice), ["to both of you", "to the second"]);
    assert!(a.events.iter().any(|e| matches!(e, Event::DeviceRemoved { device, .. } if *device == b.number())));
}

/// The wallet of the second person of [`friends`]: the world draws them in order.
fn bob_wallet() -> super::wallet::Wallet {
    let mut world = World::new();
    let _ = world.wallet();
    world.wallet()
}

#[test]
fn a_reinstalled_device_is_another_identity() {
    let (mut world, mut a, mut b) = friends();
    let (alice, bob) = (a.account(), b.account());
    verify(&mut a, bob);
    world.remove_device(bob, b.number());
    let mut again = world.device_in(bob, &bob_wallet(), super::world::DOMAIN, None);
    assert_eq!(again.number(), b.number());
    a.say(bob, "still you?");
    let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let error = world.send_one(&mut a, &item).unwrap_err();
    assert!(matches!(error, SdkError::KeysChanged(account) if account == bob), "{error}");
    assert!(a.events.iter().any(|e| matches!(e, Event::IdentityChanged { account, .. } if *account == bob)));
    a.core.failed(&item, crate::model::Failure::KeysChanged).unwrap();
    let id = a.core.store.begin().message(item_name(&a, &item)).unwrap().unwrap();
    assert_eq!(id.status, crate::model::Status::Failed(crate::model::Failure::KeysChanged));
    a.core.accept_change(bob).unwrap();
    a.core.send_again(item.id).unwrap();
    world.settle(&mut [&mut a, &mut again]);
    assert_eq!(again.texts(alice), ["still you?"]);
    // the old installation is out
    b.say(alice, "from the grave");
    let item = b.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
    let _ = world.send_one(&mut b, &item);
    a.events.clear();
    world.receive_all(&mut a);
    assert!(!a.texts(bob).contains(&"from the grave".to_owned()));
}

#[test]
fn a_reinstalled_device_that_writes_first_is_looked_up_and_told() {
    let (mut world, mut a, b) = friends();
    let (alice, bob) = (a.account(), b.account());
    world.remove_device(bob, b.number());
    let mut again = world.device_in(bob, &bob_wallet(), super::world::DOMAIN, None);
    again.say(alice, "new phone");
    world.send_all(&mut again);
    a.events.clear();
    world.receive_all(&mut a);
    assert!(matches!(&a.events[..], [Event::IdentityChanged { .. }, Event::Message(_)]), "{:?}", a.events);
    assert_eq!(a.texts(bob).last().map(String::as_str), Some("new phone"));
    let history = a.core.store.begin().history(bob, None, 10).unwrap();
    assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::IdentityChanged { .. }))));
}

fn item_name(device: &super::world::Device, item: &crate::store::queue::Outgoing) -> crate::model::MessageId {
    crate::model::MessageId { author: device.account(), id: item.id }
}

#[test]
fn another_root_is_told() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let other = world.wallet();
    let server = world.accounts.get_mut(&bob).unwrap();
    let before = std::mem::replace(&mut server.wallets.root, other.address().to_string());
    let directory = world.directory(bob);
    let events = a.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    let to = other.address().to_string();
    assert!(events.contains(&Event::RootChanged { account: bob, from: before, to }), "{events:?}");
    assert_eq!(a.core.apply_directory(&directory, None, &Answers::default()).unwrap(), [], "once");
}

#[test]
fn another_root_gets_nothing_until_the_user_decides() {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let peer = |a: &Device| a.core.store.begin().peer(bob).unwrap().unwrap();
    let pinned = peer(&a);
    // the server gives the account to another wallet, with a device that this one certified
    let evil = world.wallet();
    world.accounts.get_mut(&bob).unwrap().wallets.root = evil.address().to_string();
    let removed = world.accounts.get_mut(&bob).unwrap().devices.remove(&b.number()).unwrap();
    let mut spy = world.device_in(bob, &evil, DOMAIN, None);
    for round in 0..2 {
        a.core.outdated.insert(bob);
        a.say(bob, "for bob alone");
        let item = a.core.store.begin().queue_heads(&|_| false, 1).unwrap().remove(0);
        let error = world.send_one(&mut a, &item).unwrap_err();
        assert!(matches!(error, SdkError::RootChanged { account, .. } if account == bob), "{round}: {error}");
        a.core.failed(&item, crate::model::Failure::RootChanged).unwrap();
    }
    assert_eq!(world.receive_all(&mut spy) + world.receive_all(&mut b), 0, "nothing left the device");
    assert_eq!(peer(&a).devices, pinned.devices, "what was pinned stays");
    let changed = |e: &&Event| matches!(e, Event::RootChanged { account, .. } if *account == bob);
    assert_eq!(a.events.iter().filter(changed).count(), 1);
    let history = a.core.store.begin().history(bob, None, 10).unwrap();
    assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::RootChanged { .. }))));
    // the spy is not listened to either
    spy.core.me.wallet = evil.address().to_string();
    spy.say(a.account(), "I am Bob");
    world.send_all(&mut spy);
    world.receive_all(&mut a);
    assert!(!a.texts(bob).contains(&"I am Bob".to_owned()));
    // the numbers of what was pinned say nothing about the other wallet
    let numbers = a.core.safety_numbers(bob).unwrap();
    assert!(matches!(a.core.mark_verified(bob, &numbers), Err(SdkError::RootChanged { .. })));

    // the server comes to its senses
    let server = world.accounts.get_mut(&bob).unwrap();
    let other = (std::mem::replace(&mut server.wallets.root, pinned.root.clone()), server.devices.clone());
    server.devices = [(b.number(), removed)].into();
    a.core.outdated.insert(bob);
    a.say(bob, "you again");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.texts(a.account()).last().map(String::as_str), Some("you again"));

    // or it was right, and the user says so
    let server = world.accounts.get_mut(&bob).unwrap();
    (server.wallets.root, server.devices) = other;
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    a.core.accept_change(bob).unwrap();
    a.say(bob, "so you are Bob");
    world.settle(&mut [&mut a, &mut spy]);
    assert_eq!(spy.texts(a.account()).last().map(String::as_str), Some("so you are Bob"));
    assert_eq!(peer(&a).root, evil.address().to_string());
}

#[test]
fn a_linked_wallet_may_become_the_root_and_an_unlinked_one_may_not() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let (first, second) = (bob_wallet(), world.wallet());
    world.link(&Person { account: bob, wallet: bob_wallet() }, &second);
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    // the first wallet is unlinked
    let mut second_device = world.device_in(bob, &second, DOMAIN, None);
    let server = world.accounts.get_mut(&bob).unwrap();
    server.devices.remove(&b.number());
    let root = second.address().to_string();
    server.wallets = Wallets { root: root.clone(), wallets: vec![root.clone()], links: vec![] };
    let events = a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    assert!(events.iter().any(|e| matches!(e, Event::RootChanged { .. })), "it is told nevertheless");
    a.say(bob, "on the new phone");
    world.settle(&mut [&mut a, &mut second_device]);
    assert_eq!(second_device.texts(a.account()), ["on the new phone"]);
    // and does not come back by itself
    world.accounts.get_mut(&bob).unwrap().wallets.root = first.address().to_string();
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    let peer = a.core.store.begin().peer(bob).unwrap().unwrap();
    assert_eq!((peer.root, peer.claimed), (root, Some(first.address().to_string())));
}

#[test]
fn only_what_was_compared_is_marked() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let compared = a.core.safety_numbers(bob).unwrap();
    // a device joins between the look and the decision
    let _second = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    a.core.apply_directory(&world.directory(bob), None, &Answers::default()).unwrap();
    assert!(matches!(a.core.mark_verified(bob, &compared), Err(SdkError::NotCompared(account)) if account == bob));
    assert!(!a.core.store.begin().peer(bob).unwrap().unwrap().verified);
    let mut compared = a.core.safety_numbers(bob).unwrap();
    assert_eq!(compared.len(), 2);
    compared.reverse();
    let mut wrong = compared.clone();
    wrong[0].digits = wrong[1].digits.clone();
    assert!(matches!(a.core.mark_verified(bob, &wrong), Err(SdkError::NotCompared(_))));
    a.core.mark_verified(bob, &compared).unwrap();
    assert!(a.core.store.begin().peer(bob).unwrap().unwrap().verified);
    a.core.unverify(bob).unwrap();
    assert!(!a.core.store.begin().peer(bob).unwrap().unwrap().verified);
    assert!(matches!(a.core.mark_verified(bob, &[]), Err(SdkError::NotCompared(_))));
}

fn verify(device: &mut Device, peer: nepto_proto::AccountId) {
    let numbers = device.core.safety_numbers(peer).unwrap();
    device.core.mark_verified(peer, &numbers).unwrap();
}

#[test]
fn bundles_are_checked_again() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a = world.device(&alice);
    let b = world.device(&bob);
    let directory = world.directory(bob.account);
    a.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    let good = world.bundles(bob.account, &[b.number()]);

    let mut kyber = good.clone();
    kyber.bundles[0].kyber_prekey.as_mut().unwrap().public_key.0[0] = 0x07; // Kyber-768's type byte
    assert!(a.core.apply_bundles(&kyber).is_err());
    let mut none = good.clone();
    none.bundles[0].kyber_prekey = None;
    let error = a.core.apply_bundles(&none).unwrap_err();
    assert!(error.to_string().contains("no Kyber-1024 key"), "{error}");
    let mut signature = good.clone();
    signature.bundles[0].kyber_prekey.as_mut().unwrap().signature.0[5] ^= 1;
    assert!(a.core.apply_bundles(&signature).is_err());
    let mut signature = good.clone();
    signature.bundles[0].signed_prekey.signature.0[5] ^= 1;
    assert!(a.core.apply_bundles(&signature).is_err());
    let mut zero = good.clone();
    let mut key = vec![0; 33];
    key[0] = 5;
    zero.bundles[0].ec_prekey.as_mut().unwrap().public_key.0 = key;
    assert!(matches!(a.core.apply_bundles(&zero), Err(SdkError::BadKeys { .. })));
    let mut other = good.clone();
    let evil = world.wallet();
    let spy = world.device_in(bob.account, &evil, super::world::DOMAIN, None);
    other.bundles[0].device = world.accounts[&bob.account].devices[&spy.number()].public.clone();
    assert!(matches!(a.core.apply_bundles(&other), Err(SdkError::Uncertified { .. })));
    let address = crate::signal::address(bob.account, b.number()).unwrap();
    assert!(a.core.store.begin().session(&address).unwrap().is_none(), "no half-made session was kept");
    a.core.apply_bundles(&good).unwrap();
    assert!(a.core.store.begin().session(&address).unwrap().is_some());
}

#[test]
fn both_sides_see_the_same_safety_number() {
    let (_, mut a, b) = friends();
    let (ours, theirs) = (a.core.safety_numbers(b.account()).unwrap(), b.core.safety_numbers(a.account()).unwrap());
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].digits, theirs[0].digits);
    assert_eq!(ours[0].groups().len(), 12);
    assert!(ours[0].digits.chars().all(|c| c.is_ascii_digit()) && ours[0].digits.len() == 60);
    assert!(a.core.compare_scanned(b.account(), b.number(), &theirs[0].scannable).unwrap());
    assert!(!a.core.compare_scanned(b.account(), b.number(), &ours[0].scannable).unwrap());
    a.core.mark_verified(b.account(), &ours).unwrap();
    assert!(a.core.store.begin().peer(b.account()).unwrap().unwrap().verified);
}

#[test]
fn an_address_is_not_confused_with_a_checksum() {
    let text = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    assert_eq!(text.parse::<Address>().unwrap().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
}
