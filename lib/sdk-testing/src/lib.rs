//! A server in memory for tests of clients: directories, bundles, mailboxes with the gateway's checks. No network, no
//! database, and no word of the server's own code: what it knows is what `proto` says.

mod stock;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nepto_proto::api::auth::Wallets;
use nepto_proto::api::keys::{DeviceDirectory, PrekeyBundle, PrekeyBundles, RemovedDevice};
use nepto_proto::wire::{Deliver, DeviceCiphertext, Envelope, Mismatch, SendDm};
use nepto_proto::{AccountId, DeviceId};
use time::OffsetDateTime;

pub use stock::ServerDevice;

/// When a new server's clock stands, milliseconds since 1970.
const START_MS: u64 = 1_800_000_000_000;

/// What the server knows of an account.
pub struct ServerAccount {
    /// Who may certify.
    pub wallets: Wallets,
    /// Devices that are listed.
    pub devices: BTreeMap<DeviceId, ServerDevice>,
    /// Devices that were removed.
    pub removed: Vec<RemovedDevice>,
}

/// The server. Its clock stands still until somebody moves it.
pub struct FakeServer {
    /// Milliseconds since 1970.
    pub clock: Arc<AtomicU64>,
    /// Every account, with its devices.
    pub accounts: BTreeMap<AccountId, ServerAccount>,
    /// What waits for each device.
    pub mailboxes: BTreeMap<(AccountId, DeviceId), VecDeque<Deliver>>,
    /// (who, whom): accepted, or wrote to.
    pub accepted: BTreeSet<(AccountId, AccountId)>,
    /// How often a directory was asked for.
    pub directories_served: usize,
    stored: BTreeSet<(AccountId, DeviceId, Vec<u8>)>,
    seq: u64,
}

impl Default for FakeServer {
    fn default() -> Self {
        Self {
            clock: Arc::new(AtomicU64::new(START_MS)),
            accounts: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            accepted: BTreeSet::new(),
            directories_served: 0,
            stored: BTreeSet::new(),
            seq: 0,
        }
    }
}

impl FakeServer {
    fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// What the server has of a device.
    pub fn server_device(&mut self, account: AccountId, device: DeviceId) -> &mut ServerDevice {
        self.accounts.get_mut(&account).unwrap().devices.get_mut(&device).unwrap()
    }

    /// Removes a device, with its mailbox.
    pub fn remove_device(&mut self, account: AccountId, device: DeviceId) {
        let removed_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.now_ms()) * 1_000_000).unwrap();
        let known = self.accounts.get_mut(&account).unwrap();
        let device_keys = known.devices.remove(&device).unwrap();
        known.removed.push(RemovedDevice { device: device_keys.public, removed_at });
        self.mailboxes.remove(&(account, device));
    }

    /// The devices of an account.
    pub fn directory(&mut self, account: AccountId) -> DeviceDirectory {
        self.directories_served += 1;
        let known = &self.accounts[&account];
        let devices = known.devices.values().map(|device| device.public.clone()).collect();
        DeviceDirectory { account, wallets: known.wallets.clone(), devices, removed: known.removed.clone() }
    }

    /// Bundles for these devices of an account, each with a one-time key of each kind if there is one.
    pub fn bundles(&mut self, account: AccountId, wanted: &[DeviceId]) -> PrekeyBundles {
        let known = self.accounts.get_mut(&account).unwrap();
        let bundles = known.devices.values_mut().filter(|device| wanted.contains(&device.public.device));
        let bundles = bundles
            .map(|device| PrekeyBundle {
                device: device.public.clone(),
                signed_prekey: device.signed.clone(),
                ec_prekey: device.ec.pop_front(),
                kyber_prekey: Some(device.kyber.pop_front().unwrap_or_else(|| device.last_resort.clone())),
            })
            .collect();
        PrekeyBundles { account, wallets: known.wallets.clone(), bundles }
    }

    /// What a gateway does with a `SendDm`. Whether it was stored before.
    pub fn submit(&mut self, (me, device): (AccountId, DeviceId), send: &SendDm) -> Result<bool, Mismatch> {
        let to = AccountId::from_bytes(&send.to).unwrap();
        self.compare(to, &send.to_devices, (me, device), send)?;
        if send.recipient_only || to == me {
            assert!(send.own_devices.is_empty());
        } else {
            self.compare(me, &send.own_devices, (me, device), send)?;
        }
        if to != me && !send.automatic {
            self.accepted.insert((me, to));
        }
        assert!(!send.automatic || self.accepted.contains(&(to, me)), "an answer to nobody who would take it");
        if !self.stored.insert((me, device, send.client_msg_id.clone())) {
            return Ok(true);
        }
        let both = [(to, &send.to_devices), (me, &send.own_devices)];
        for (account, ciphertext) in both.iter().flat_map(|(a, list)| list.iter().map(move |c| (*a, c))) {
            self.seq += 1;
            let envelope = Envelope {
                from: me.to_vec(),
                from_device: device.into(),
                client_msg_id: send.client_msg_id.clone(),
                r#type: ciphertext.r#type,
                ciphertext: ciphertext.ciphertext.clone(),
                request: account != me && !self.accepted.contains(&(account, me)),
            };
            let deliver = Deliver { seq: self.seq, stored_at_ms: self.now_ms(), envelope: Some(envelope) };
            let mailbox = (account, DeviceId::try_from(ciphertext.device).unwrap());
            self.mailboxes.get_mut(&mailbox).unwrap().push_back(deliver);
        }
        Ok(false)
    }

    fn compare(
        &self,
        account: AccountId,
        given: &[DeviceCiphertext],
        sender: (AccountId, DeviceId),
        send: &SendDm,
    ) -> Result<(), Mismatch> {
        let wanted: BTreeMap<u32, u32> = self.accounts[&account]
            .devices
            .values()
            .filter(|device| (account, device.public.device) != sender)
            .map(|device| (device.public.device.into(), device.public.registration_id.get()))
            .collect();
        let given: BTreeMap<u32, u32> = given.iter().map(|c| (c.device, c.registration_id)).collect();
        let mismatch = Mismatch {
            client_msg_id: send.client_msg_id.clone(),
            account: account.to_vec(),
            missing: wanted.keys().filter(|d| !given.contains_key(d)).copied().collect(),
            extra: given.keys().filter(|d| !wanted.contains_key(d)).copied().collect(),
            stale: wanted.iter().filter(|(d, r)| given.get(d).is_some_and(|g| g != *r)).map(|(d, _)| *d).collect(),
        };
        let same = mismatch.missing.is_empty() && mismatch.extra.is_empty() && mismatch.stale.is_empty();
        if same { Ok(()) } else { Err(mismatch) }
    }
}
