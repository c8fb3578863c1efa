//! Devices that were removed and are listed again: asked about, never encrypted for by themselves.

use nepto_proto::api::auth::Wallets;
use nepto_proto::api::keys::DeviceDirectory;
use nepto_proto::{AccountId, DeviceId};
use nepto_sdk_testing::ServerDevice;

use super::wallet::Wallet;
use super::world::{DOMAIN, Device, Person, World, friends};
use crate::SdkError;
use crate::contract_signatures::Answers;
use crate::event::Event;
use crate::model::{Body, Failure, Notice};
use crate::store::peers::Peer;

/// Friends, of whom the second one has a phone too, which was lost and removed. The first one has heard of it.
struct Lost {
    world: World,
    a: Device,
    b: Device,
    phone: Device,
    stolen: ServerDevice,
}

/// The wallet of the second person of [`friends`]: the world draws them in order.
fn bob_wallet() -> Wallet {
    let mut world = World::new();
    let _ = world.wallet();
    world.wallet()
}

fn lost() -> Lost {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let mut phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    a.say(bob, "hello phone");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    let stolen = world.accounts[&bob].devices[&phone.number()].clone();
    world.remove_device(bob, phone.number());
    look_up(&mut world, &mut a, bob);
    Lost { world, a, b, phone, stolen }
}

fn look_up(world: &mut World, device: &mut Device, account: AccountId) -> Vec<Event> {
    let directory: DeviceDirectory = world.directory(account);
    let events = device.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    device.events.extend(events.clone());
    events
}

fn peer(device: &Device, account: AccountId) -> Peer {
    device.core.store.begin().peer(account).unwrap().unwrap()
}

/// Tries to send a text to somebody, of which nothing may leave the device.
fn refused(world: &mut World, a: &mut Device, to: AccountId) -> SdkError {
    a.say(to, "for bob alone");
    let item = a.core.store.begin().queue_heads(&|other| other != to, 1).unwrap().remove(0);
    let error = world.send_one(a, &item).unwrap_err();
    a.core.failed(&item, Failure::DeviceReturned).unwrap();
    error
}

impl Lost {
    /// The server lists the phone again, as this device.
    fn list_again(&mut self, number: DeviceId) {
        let mut stolen = self.stolen.clone();
        stolen.public.device = number;
        let bob = self.world.accounts.get_mut(&self.b.account()).unwrap();
        bob.devices.insert(number, stolen);
        self.world.mailboxes.entry((self.b.account(), number)).or_default();
        self.phone.core.me.device = number;
        self.phone.core.outdated.insert(self.b.account());
    }

    /// It is asked about, once, and gets nothing, until the user says that it may come back.
    fn must_be_asked_about(mut self, number: DeviceId) {
        let bob = self.b.account();
        self.a.events.clear();
        for _ in 0..2 {
            self.a.core.outdated.insert(bob);
            let error = refused(&mut self.world, &mut self.a, bob);
            assert!(matches!(error, SdkError::DeviceReturned { device, .. } if device == number), "{error}");
        }
        assert_eq!(self.world.receive_all(&mut self.phone), 0, "nothing left the device");
        let told = |event: &&Event| matches!(event, Event::DeviceReturned { device, .. } if *device == number);
        assert_eq!(self.a.events.iter().filter(told).count(), 1, "{:?}", self.a.events);
        let history = self.a.core.store.begin().history(bob, None, 10).unwrap();
        assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::DeviceReturned { .. }))));
        // it is not listened to either
        self.phone.say(self.a.account(), "it is me");
        self.world.send_all(&mut self.phone);
        self.world.receive_all(&mut self.a);
        assert!(!self.a.texts(bob).contains(&"it is me".to_owned()));
        let compared = self.a.core.safety_numbers(bob).unwrap();
        let marked = self.a.core.mark_verified(bob, &compared);
        assert!(matches!(marked, Err(SdkError::DeviceReturned { .. })), "{marked:?}");

        self.a.core.accept_change(bob).unwrap();
        for _ in 0..2 {
            self.a.core.outdated.insert(bob);
            self.a.say(bob, "welcome back");
            self.world.settle(&mut [&mut self.a, &mut self.b, &mut self.phone]);
        }
        let heard = self.phone.texts(self.a.account());
        assert_eq!(heard[heard.len() - 2..], ["welcome back", "welcome back"]);
        assert!(peer(&self.a, bob).returned.is_empty());
    }
}

#[test]
fn a_removed_device_does_not_come_back_by_itself() {
    let mut lost = lost();
    let number = lost.phone.number();
    lost.list_again(number);
    lost.must_be_asked_about(number);
}

#[test]
fn nor_under_another_number_nor_after_the_server_has_forgotten_it() {
    let mut lost = lost();
    let bob = lost.b.account();
    lost.world.accounts.get_mut(&bob).unwrap().removed.clear();
    look_up(&mut lost.world, &mut lost.a, bob);
    assert!(peer(&lost.a, bob).removed.is_empty());
    let other = DeviceId::try_from(9).unwrap();
    lost.list_again(other);
    lost.must_be_asked_about(other);
}

#[test]
fn nor_if_it_was_never_seen_before_it_was_removed() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    let stolen = world.accounts[&bob].devices[&phone.number()].clone();
    world.remove_device(bob, phone.number());
    look_up(&mut world, &mut a, bob);
    let mut lost = Lost { world, a, b, phone, stolen };
    let number = lost.phone.number();
    lost.list_again(number);
    lost.must_be_asked_about(number);
}

#[test]
fn nor_in_one_step_with_its_removal() {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let mut phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    a.say(bob, "hello phone");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    let stolen = world.accounts[&bob].devices[&phone.number()].clone();
    world.remove_device(bob, phone.number());
    let mut lost = Lost { world, a, b, phone, stolen };
    let other = DeviceId::try_from(9).unwrap();
    lost.list_again(other);
    lost.must_be_asked_about(other);
}

#[test]
fn nor_that_of_a_wallet_that_was_unlinked_with_its_old_link() {
    let (mut world, mut a, mut b) = friends();
    let bob = b.account();
    let second = world.wallet();
    world.link(&Person { account: bob, wallet: bob_wallet() }, &second);
    let linked = world.accounts[&bob].wallets.clone();
    let mut phone = world.device_in(bob, &second, DOMAIN, None);
    a.say(bob, "hello phone");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    // the wallet is unlinked, and the device that it certified goes with it
    let stolen = world.accounts[&bob].devices[&phone.number()].clone();
    world.remove_device(bob, phone.number());
    let root = linked.root.clone();
    world.accounts.get_mut(&bob).unwrap().wallets = Wallets { wallets: vec![root.clone()], root, links: vec![] };
    look_up(&mut world, &mut a, bob);
    let mut lost = Lost { world, a, b, phone, stolen };
    lost.world.accounts.get_mut(&bob).unwrap().wallets = linked;
    let number = lost.phone.number();
    lost.list_again(number);
    lost.must_be_asked_about(number);
}

#[test]
fn a_verified_contact_is_not_verified_any_more_by_what_was_accepted() {
    let mut lost = lost();
    let bob = lost.b.account();
    let numbers = lost.a.core.safety_numbers(bob).unwrap();
    lost.a.core.mark_verified(bob, &numbers).unwrap();
    let number = lost.phone.number();
    lost.list_again(number);
    let events = look_up(&mut lost.world, &mut lost.a, bob);
    assert!(matches!(events[..], [Event::DeviceReturned { device, .. }] if device == number), "{events:?}");
    let address = crate::signal::address(bob, number).unwrap();
    assert!(lost.a.core.store.begin().session(&address).unwrap().is_none());
    lost.a.core.accept_change(bob).unwrap();
    assert!(!peer(&lost.a, bob).verified);
}

#[test]
fn a_device_with_new_keys_under_an_old_number_is_welcome() {
    let mut lost = lost();
    let bob = lost.b.account();
    let mut again = lost.world.device_in(bob, &bob_wallet(), DOMAIN, None);
    assert_eq!(again.number(), lost.phone.number());
    lost.a.say(bob, "a new phone?");
    lost.world.settle(&mut [&mut lost.a, &mut lost.b, &mut again]);
    assert_eq!(again.texts(lost.a.account()), ["a new phone?"]);
}

#[test]
fn who_signs_in_again_is_one_new_device_to_others_and_none_to_itself() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    look_up(&mut world, &mut a, bob);
    let mut phone = world.device_in(bob, &bob_wallet(), DOMAIN, None);
    look_up(&mut world, &mut phone, bob);
    let [first, second, third] = [phone.number(), DeviceId::try_from(8).unwrap(), DeviceId::try_from(9).unwrap()];
    // removed, signed in with its old keys, removed for that, and signed in with new ones
    let old = world.accounts[&bob].devices[&first].clone();
    world.remove_device(bob, first);
    world.pass_s(1);
    let mut again = old.clone();
    again.public.device = second;
    world.accounts.get_mut(&bob).unwrap().devices.insert(second, again);
    world.remove_device(bob, second);
    let renewed = world.device_in(bob, &bob_wallet(), DOMAIN, None).number();
    let server = world.accounts.get_mut(&bob).unwrap();
    let mut new = server.devices.remove(&renewed).unwrap();
    new.public.device = third;
    server.devices.insert(third, new);
    server.removed.reverse();
    phone.core.me.device = third;

    let added = |events: Vec<Event>| -> Vec<DeviceId> {
        let new = |event| if let Event::DeviceAdded { device, .. } = event { Some(device) } else { None };
        events.into_iter().filter_map(new).collect()
    };
    assert_eq!(added(look_up(&mut world, &mut a, bob)), [first, third], "the oldest first, and each key once");
    assert!(added(look_up(&mut world, &mut phone, bob)).is_empty());
    let notes = phone.core.store.begin().history(bob, None, 10).unwrap();
    assert!(!notes.iter().any(|m| m.body == Body::Notice(Notice::DeviceAdded { device: third })), "{notes:?}");
}

#[test]
fn at_the_first_contact_there_is_nothing_to_come_back() {
    let mut lost = lost();
    let bob = lost.b.account();
    lost.list_again(DeviceId::try_from(9).unwrap());
    let carol = lost.world.person();
    let mut c = lost.world.device(&carol);
    c.say(bob, "hello, whoever you are");
    lost.world.send_all(&mut c);
    assert_eq!(lost.world.receive_all(&mut lost.phone), 1);
}

#[test]
fn ones_own_lost_device_is_told_nothing_when_it_comes_back() {
    let wallet = World::new().wallet();
    let (mut world, mut a, mut b) = friends();
    let me = a.account();
    let mut phone = world.device_in(me, &wallet, DOMAIN, None);
    a.core.outdated.insert(me);
    a.say(b.account(), "from the desk");
    world.settle(&mut [&mut a, &mut b, &mut phone]);
    assert_eq!(phone.texts(b.account()).last().map(String::as_str), Some("from the desk"));
    let stolen = world.accounts[&me].devices[&phone.number()].clone();
    world.remove_device(me, phone.number());
    look_up(&mut world, &mut a, me);
    world.accounts.get_mut(&me).unwrap().devices.insert(phone.number(), stolen);
    world.mailboxes.entry((me, phone.number())).or_default();
    a.core.outdated.insert(me);
    a.events.clear();
    a.say(b.account(), "the phone is lost");
    world.send_all(&mut a);
    assert_eq!(world.receive_all(&mut phone), 0);
    assert_eq!(world.receive_all(&mut b), 1, "others hear of it all the same");
    assert!(a.events.iter().any(|e| matches!(e, Event::DeviceReturned { account, .. } if *account == me)));
}

#[test]
fn so_many_removed_keys_are_remembered() {
    let (mut world, mut a, b) = friends();
    let bob = b.account();
    let mut directory = world.directory(bob);
    let devices = directory.devices.clone();
    for n in 0..2 * super::super::directory::GONE_MAX {
        let mut device = devices[0].clone();
        device.device = DeviceId::try_from(2).unwrap();
        device.identity_key.0[1..9].copy_from_slice(&(n as u64).to_be_bytes());
        let removed_at = time::OffsetDateTime::UNIX_EPOCH;
        directory.removed = vec![nepto_proto::api::keys::RemovedDevice { device, removed_at }];
        a.core.apply_directory(&directory, None, &Answers::default()).unwrap();
    }
    let gone = peer(&a, bob).gone;
    assert_eq!(gone.len(), super::super::directory::GONE_MAX);
    assert_eq!(gone.last().unwrap().0[1..9], (2 * super::super::directory::GONE_MAX as u64 - 1).to_be_bytes());
}
