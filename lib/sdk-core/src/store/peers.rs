//! What is known and pinned about accounts: root wallet, devices, verification.

use std::collections::BTreeMap;

use nepto_proto::api::Base64;
use nepto_proto::{AccountId, DeviceId};
use serde::{Deserialize, Serialize};

use super::{Range, StoreError, Table, Txn, from_json};
use crate::contract_signatures::Answer;
use crate::model::KnownDevice;

/// What a device sent before its sockets were closed may be stored so much later than the device was removed.
const SENT_WITHIN_MS: u64 = 60_000;

/// A device that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedDevice {
    pub device: KnownDevice,
    /// The earliest that the server ever said.
    pub removed_at_ms: u64,
    /// When it said so first, by our own clock.
    pub learned_at_ms: u64,
}

/// An account whose directory was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub account: AccountId,
    /// Pinned at first contact, EIP-55.
    pub root: String,
    /// The root and what it vouched for when the directory was checked last: only one of them can be the next root.
    #[serde(default)]
    pub wallets: Vec<String>,
    /// What chains said of the signatures of contract wallets, when the directory was checked last.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// The chain that each contract wallet was met on first, by EIP-55 address.
    #[serde(default)]
    pub chains: BTreeMap<String, u64>,
    /// Another root that the server names and none of these vouched for; no sending until the user decides.
    #[serde(default)]
    pub claimed: Option<String>,
    /// The address by which the user named the account, as long as it is one of its wallets.
    pub named: Option<String>,
    /// The handle by which the user named the account last.
    #[serde(default)]
    pub handle: Option<String>,
    /// By number; only certified ones.
    pub devices: Vec<KnownDevice>,
    /// Certified ones with keys of removed devices: no sending, and nothing is heard of them, until the user decides.
    #[serde(default)]
    pub returned: Vec<KnownDevice>,
    /// Certified ones that were removed, whose messages may still be on their way.
    #[serde(default)]
    pub removed: Vec<RemovedDevice>,
    /// Identity keys of devices that were removed, ever, the newest last.
    #[serde(default)]
    pub gone: Vec<Base64>,
    /// Devices that the server lists and no wallet certified, with the reason.
    pub refused: Vec<(DeviceId, String)>,
    /// The user compared safety numbers.
    pub verified: bool,
    /// Something changed after that; no sending until the user decides.
    pub changed: bool,
}

impl Peer {
    pub fn device(&self, device: DeviceId) -> Option<&KnownDevice> {
        self.devices.iter().find(|known| known.device == device)
    }

    /// Listed devices, and then those that were removed.
    pub fn installations(&self) -> impl Iterator<Item = &KnownDevice> {
        self.devices.iter().chain(self.removed.iter().map(|removed| &removed.device))
    }

    /// The device that sent a message: one of the account's, or one that was when the message was stored.
    pub fn sender(&self, device: DeviceId, stored_at_ms: u64) -> Option<&KnownDevice> {
        self.device(device).or_else(|| {
            let removed = self.removed.iter().find(|removed| removed.device.device == device)?;
            (stored_at_ms <= removed.removed_at_ms + SENT_WITHIN_MS).then_some(&removed.device)
        })
    }

    /// When the newest of the listed devices was seen first.
    pub fn newest_ms(&self) -> u64 {
        self.devices.iter().map(|known| known.first_seen_ms).max().unwrap_or(0)
    }

    /// The key that a device has, or had when it was removed.
    pub fn identity(&self, device: DeviceId) -> Option<&KnownDevice> {
        self.installations().find(|known| known.device == device)
    }

    /// Whether a device had this key, under whatever number.
    pub fn knows_key(&self, key: &Base64) -> bool {
        self.gone.contains(key) || self.installations().any(|known| known.identity_key == *key)
    }

    /// Whether the server lists a device, certified or not.
    pub fn lists(&self, device: DeviceId) -> bool {
        self.device(device).is_some()
            || self.is_back(device)
            || self.refused.iter().any(|(refused, _)| *refused == device)
    }

    /// Whether a device has the key of one that was removed, and the user has not decided about it.
    pub fn is_back(&self, device: DeviceId) -> bool {
        self.returned.iter().any(|known| known.device == device)
    }

    /// Whether a chain must be asked again about a contract wallet.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.answers.iter().any(|answer| answer.is_due(now_ms))
    }

    /// Whether a wallet was one of the account's own.
    pub fn owns(&self, wallet: &str) -> bool {
        self.root == wallet || self.wallets.iter().any(|known| known == wallet)
    }
}

/// Whom a handle or the address of a wallet meant when the user named somebody by it first. Both can move to other accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meaning {
    pub name: String,
    pub account: AccountId,
    pub since_ms: u64,
}

impl Txn<'_> {
    pub fn meaning(&self, name: &str) -> Result<Option<Meaning>, StoreError> {
        self.get_json(Table::Name, &self.blind(Table::Name, &[name.as_bytes()])?)
    }

    pub fn set_meaning(&self, meaning: &Meaning) -> Result<(), StoreError> {
        self.put_json(Table::Name, &self.blind(Table::Name, &[meaning.name.as_bytes()])?, meaning)
    }

    pub fn peer(&self, account: AccountId) -> Result<Option<Peer>, StoreError> {
        self.get_json(Table::Peer, &self.peer_key(account)?)
    }

    pub fn set_peer(&self, peer: &Peer) -> Result<(), StoreError> {
        self.put_json(Table::Peer, &self.peer_key(peer.account)?, peer)
    }

    /// Everybody whose directory was checked.
    pub fn peers(&self) -> Result<Vec<Peer>, StoreError> {
        self.scan(Table::Peer, Range::all(&[], usize::MAX))?.iter().map(|(_, bytes)| from_json(bytes)).collect()
    }

    fn peer_key(&self, account: AccountId) -> Result<[u8; 16], StoreError> {
        self.blind(Table::Peer, &[account.uuid().as_bytes()])
    }
}
