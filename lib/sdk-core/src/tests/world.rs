//! People with devices around a server in memory. No network.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::Address;
use nepto_proto::api::ServerInfo;
use nepto_proto::api::auth::Wallets;
use nepto_proto::api::keys::{DeviceDirectory, KeyCount, PublicDevice};
use nepto_proto::certificate::{Resource, WalletLink};
use nepto_proto::siwe::verify_eoa;
use nepto_proto::wire::Deliver;
use nepto_proto::{AccountId, DeviceId};
use nepto_sdk_testing::{FakeServer, ServerAccount, ServerDevice};
use rand::SeedableRng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::wallet::Wallet;
use crate::SdkError;
use crate::contract_signatures::{Answers, Said};
use crate::core::Core;
use crate::env::{Clock, Env};
use crate::event::Event;
use crate::inbox::Received;
use crate::model::{Body, Message};
use crate::outbox::Prepared;
use crate::sign_in::{self, wallet_message};
use crate::store::Store;
use crate::store::backend::Durability;
use crate::store::profile::Registration;

pub const DOMAIN: &str = "chat.example.org";

struct TestClock(Arc<AtomicU64>);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The server, and everything around it that devices meet.
pub struct World {
    server: FakeServer,
    seed: u64,
    /// Who owns a contract wallet, by chain and address.
    pub owners: BTreeMap<(u64, Address), Address>,
    /// Whether no chain can be asked.
    pub cut_off: bool,
    joined_ms: u64,
}

impl Deref for World {
    type Target = FakeServer;
    fn deref(&self) -> &FakeServer {
        &self.server
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut FakeServer {
        &mut self.server
    }
}

/// A device and what it told its program.
pub struct Device {
    pub core: Core,
    pub events: Vec<Event>,
}

pub struct Person {
    pub account: AccountId,
    pub wallet: Wallet,
}

impl World {
    pub fn new() -> Self {
        let (server, owners) = (FakeServer::default(), BTreeMap::new());
        Self { server, seed: 0, owners, cut_off: false, joined_ms: 0 }
    }

    pub fn env(&mut self) -> Env {
        self.seed += 1;
        Env::new(Arc::new(TestClock(self.clock.clone())), StdRng::seed_from_u64(self.seed))
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub fn pass_s(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub fn wallet(&mut self) -> Wallet {
        Wallet::random(&self.env())
    }

    /// A contract on a chain, and the key of who owns it.
    pub fn contract(&mut self, chain_id: u64, address: Address) -> Wallet {
        let owner = self.wallet();
        self.owners.insert((chain_id, address), owner.address());
        owner.of_contract(chain_id, address)
    }

    /// What the chains say about a directory.
    pub fn answers(&self, core: &Core, directory: &DeviceDirectory) -> Result<Answers, SdkError> {
        let (mut answers, attestations) = core.attestations(directory)?;
        for attestation in attestations {
            let owner = self.owners.get(&(attestation.chain_id, attestation.wallet));
            let signed =
                owner.is_some_and(|owner| verify_eoa(&attestation.text, &attestation.signature, *owner).is_ok());
            let said = match (self.cut_off, signed) {
                (true, _) if attestation.held => Said::YesBefore,
                (true, _) => return Err(SdkError::Chain { chain_id: attestation.chain_id, why: "it is away".into() }),
                (false, true) => Said::Yes,
                (false, false) => Said::No,
            };
            answers.add(&attestation, said, self.now_ms());
        }
        Ok(answers)
    }

    pub fn person(&mut self) -> Person {
        let wallet = self.wallet();
        self.person_with(wallet)
    }

    pub fn person_with(&mut self, wallet: Wallet) -> Person {
        let account =
            AccountId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001 + self.accounts.len() as u128));
        let root = wallet.address().to_string();
        let wallets = Wallets { root: root.clone(), wallets: vec![root], links: vec![] };
        self.accounts.insert(account, ServerAccount { wallets, devices: BTreeMap::new(), removed: Vec::new() });
        Person { account, wallet }
    }

    fn info(&self, domain: &str) -> ServerInfo {
        let uri = format!("https://{domain}");
        ServerInfo {
            domain: domain.into(),
            uri,
            chains: vec![1],
            sockets: vec![],
            server_time_ms: self.now_ms(),
            sign_up: Default::default(),
            version: String::new(),
        }
    }

    /// Links a further wallet to an account.
    pub fn link(&mut self, person: &Person, new: &Wallet) {
        let (env, info) = (self.env(), self.info(DOMAIN));
        let message = |wallet: &Wallet, resource| {
            wallet.sign(&wallet_message(&info, "abcdefgh1".into(), wallet.signer(), "Link.", &resource, &env))
        };
        let approval = message(&person.wallet, Resource::Link(new.address()));
        let consent = message(new, Resource::Join { account: person.account, approver: person.wallet.address() });
        let wallets = &mut self.accounts.get_mut(&person.account).unwrap().wallets;
        wallets.wallets.push(new.address().to_string());
        wallets.links.push(WalletLink { approval, consent });
    }

    pub fn device(&mut self, person: &Person) -> Device {
        self.device_in(person.account, &person.wallet, DOMAIN, None)
    }

    /// A device whose certificate is by any wallet and for any domain, in any store.
    pub fn device_in(&mut self, account: AccountId, wallet: &Wallet, domain: &str, store: Option<Store>) -> Device {
        self.pass_s(1);
        self.joined_ms = self.now_ms();
        let env = self.env();
        let store = store.unwrap_or_else(|| Store::in_memory(&env).unwrap());
        let info = self.info(domain);
        let asked = sign_in::ask(&store, &env, &info, "abcdefgh1".into(), wallet.signer(), "test").unwrap();
        let certificate = wallet.sign(&asked.message);
        let devices = &mut self.accounts.get_mut(&account).unwrap().devices;
        let device = DeviceId::try_from(devices.keys().last().map_or(1, |last| u32::from(*last) + 1)).unwrap();
        let txn = store.begin();
        txn.set_registration(&Registration {
            server: format!("https://{DOMAIN}"),
            domain: DOMAIN.into(),
            account,
            device,
            wallet: wallet.address().to_string(),
            device_name: None,
        })
        .unwrap();
        txn.commit(Durability::Now).unwrap();
        let mut core = Core::open(store, env).unwrap();
        core.welcomed(1).unwrap();
        let stock = KeyCount { ec: 97, kyber: 97 };
        core.greet_own_devices().unwrap();
        let installation = core.store.begin().installation().unwrap().unwrap();
        let one_time = core.one_time_keys(stock).unwrap().unwrap();
        let public = PublicDevice {
            device,
            registration_id: installation.registration_id.try_into().unwrap(),
            identity_key: core.identity_key().unwrap().serialize().into_vec().into(),
            certificate,
        };
        devices.insert(device, ServerDevice::new(public, &asked.device));
        devices.get_mut(&device).unwrap().take_in(&one_time);
        core.uploaded(&one_time).unwrap();
        self.mailboxes.insert((account, device), VecDeque::new());
        Device { core, events: Vec::new() }
    }

    /// Sends all that a device has queued. Returns the number of frames.
    pub fn send_all(&mut self, device: &mut Device) -> usize {
        let mut frames = 0;
        loop {
            let heads = device.core.store.begin().queue_heads(&|_| false, 100).unwrap();
            if heads.is_empty() {
                return frames;
            }
            for item in heads {
                frames += self.send_one(device, &item).unwrap();
            }
        }
    }

    /// Sends one item as the driver does.
    pub fn send_one(&mut self, device: &mut Device, item: &crate::store::queue::Outgoing) -> Result<usize, SdkError> {
        for _ in 0..30 {
            match device.core.prepare(item)? {
                Prepared::NeedDirectory(account) => {
                    let directory = self.directory(account);
                    let answers = self.answers(&device.core, &directory)?;
                    let events = device.core.apply_directory(&directory, None, &answers)?;
                    self.sync_joined(device, &events);
                    device.events.extend(events);
                }
                Prepared::NeedBundles(account, devices) => {
                    device.core.apply_bundles(&self.bundles(account, &devices))?;
                }
                Prepared::Local => {
                    device.events.extend(device.core.sent(item, false)?);
                    return Ok(0);
                }
                Prepared::Frame(frame) => match self.submit((device.account(), device.number()), &frame.send) {
                    Ok(_) => {
                        device.events.extend(device.core.sent(item, frame.sync_later)?);
                        return Ok(1);
                    }
                    Err(mismatch) => {
                        device.core.apply_mismatch(&mismatch)?;
                    }
                },
            }
        }
        Err(SdkError::MismatchLoop(item.to))
    }

    /// Delivers all that a device's mailbox holds.
    pub fn receive_all(&mut self, device: &mut Device) -> usize {
        let mailbox = (device.core.me.account, device.core.me.device);
        let mut count = 0;
        while let Some(deliver) = self.mailboxes.get_mut(&mailbox).and_then(VecDeque::pop_front) {
            self.deliver(device, &deliver);
            count += 1;
        }
        count
    }

    pub fn deliver(&mut self, device: &mut Device, deliver: &Deliver) {
        let account = match device.core.receive(deliver, false).unwrap() {
            Received::Done(events) => return device.events.extend(events),
            Received::NeedDirectory(account) => account,
        };
        let directory = self.directory(account);
        let answers = self.answers(&device.core, &directory);
        if let Ok(events) = answers.and_then(|answers| device.core.apply_directory(&directory, None, &answers)) {
            self.sync_joined(device, &events);
            device.events.extend(events);
        }
        match device.core.receive(deliver, true).unwrap() {
            Received::Done(events) => device.events.extend(events),
            Received::NeedDirectory(_) => panic!("a directory was asked for twice"),
        }
    }

    /// As the driver does: the last device that joined is the new one.
    fn sync_joined(&self, device: &mut Device, events: &[Event]) {
        let own = |event: &Event| matches!(event, Event::DeviceAdded { account, .. } if *account == device.account());
        if events.iter().any(own) {
            device.core.sync_recent(self.joined_ms).unwrap();
        }
    }

    /// Until nothing moves.
    pub fn settle(&mut self, devices: &mut [&mut Device]) {
        for _ in 0..50 {
            let mut moved = 0;
            for device in devices.iter_mut() {
                moved += self.receive_all(device);
                device.core.queue_receipts().unwrap();
                device.core.queue_resets().unwrap();
                moved += self.send_all(device);
            }
            if moved == 0 {
                return;
            }
        }
        panic!("the devices never come to rest");
    }
}

impl Device {
    pub fn account(&self) -> AccountId {
        self.core.me.account
    }

    pub fn number(&self) -> DeviceId {
        self.core.me.device
    }

    pub fn say(&mut self, to: AccountId, text: &str) -> Message {
        self.core.send_text(to, text, None, None).unwrap()
    }

    /// The texts of a conversation, oldest first.
    pub fn texts(&self, peer: AccountId) -> Vec<String> {
        let mut history = self.core.store.begin().history(peer, None, 10_000).unwrap();
        history.reverse();
        let text = |message: Message| match message.body {
            Body::Text(text) => Some(text),
            _ => None,
        };
        history.into_iter().filter_map(text).collect()
    }

    pub fn last(&self, peer: AccountId) -> Message {
        self.core.store.begin().history(peer, None, 1).unwrap().remove(0)
    }

    pub fn accept(&mut self, world: &mut World, peer: AccountId) {
        world.accepted.insert((self.account(), peer));
        self.core.decide(peer, crate::model::ConversationState::Accepted).unwrap();
    }
}

/// Two people with one device each, who have accepted each other and written once.
pub fn friends() -> (World, Device, Device) {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    befriended(world, &alice, &bob)
}

/// The same for these two.
pub fn befriended(mut world: World, alice: &Person, bob: &Person) -> (World, Device, Device) {
    let (mut a, mut b) = (world.device(alice), world.device(bob));
    a.say(bob.account, "hello");
    world.settle(&mut [&mut a, &mut b]);
    b.accept(&mut world, alice.account);
    b.say(alice.account, "hi");
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(a.texts(bob.account), ["hello", "hi"]);
    assert_eq!(b.texts(alice.account), ["hello", "hi"]);
    (world, a, b)
}
