//! What a checked directory says that the one before did not: told to the user, and remembered.

use std::collections::BTreeSet;

use nepto_proto::api::Base64;
use nepto_proto::api::keys::DeviceDirectory;
use nepto_proto::{AccountId, DeviceId};

use super::{Checked, GONE_MAX, REMOVED_KEPT};
use crate::event::Event;
use crate::model::{KnownDevice, Notice};
use crate::store::peers::Peer;

/// What is new about an account.
#[derive(Default)]
pub(super) struct Changes {
    pub events: Vec<Event>,
    pub notices: Vec<Notice>,
    pub void_sessions: Vec<DeviceId>,
    /// Something that a user who compared safety numbers has to decide about.
    pub alarming: bool,
    /// Keys of devices that were removed, the newest last.
    pub gone: Vec<Base64>,
}

/// What is new since the directory before. Devices that must not be used by themselves are moved apart.
pub(super) fn differences(
    before: &Peer,
    now: &mut Checked,
    directory: &DeviceDirectory,
    unlinked: Option<&str>,
    now_ms: u64,
) -> Changes {
    let mut changes = Changes { gone: gone(Some(before), directory), ..Changes::default() };
    changes.wallets(before, now, unlinked);
    changes.returned(before, now);
    // the oldest first: who signed in again was removed before
    changes.removed(before, now, now_ms);
    changes.devices(before, now);
    let remains = |old: &&KnownDevice| {
        let listed = now.devices.iter().chain(now.removed.iter().map(|removed| &removed.device));
        listed.into_iter().any(|known| is_same(known, old))
    };
    changes.void_sessions.extend(before.installations().filter(|old| !remains(old)).map(|old| old.device));
    changes
}

/// The keys of devices that were removed: those that were listed and are no more, and those that the server says so of, also
/// where no wallet certified them. At the first contact there is nothing to come back.
pub(super) fn gone(before: Option<&Peer>, directory: &DeviceDirectory) -> Vec<Base64> {
    let mut gone = before.map(|peer| peer.gone.clone()).unwrap_or_default();
    let mut add = |key: &Base64| {
        if !gone.contains(key) {
            gone.push(key.clone());
        }
    };
    for old in before.into_iter().flat_map(Peer::installations) {
        let listed = |device: &nepto_proto::api::keys::PublicDevice| {
            (device.device, &device.identity_key) == (old.device, &old.identity_key)
        };
        if !directory.devices.iter().any(listed) {
            add(&old.identity_key);
        }
    }
    for removed in directory.removed.iter().take(super::REMOVED_MAX) {
        let key = &removed.device.identity_key;
        if !directory.devices.iter().any(|device| device.identity_key == *key) {
            add(key);
        }
    }
    gone.drain(..gone.len().saturating_sub(GONE_MAX));
    gone
}

fn is_same(one: &KnownDevice, other: &KnownDevice) -> bool {
    (one.device, &one.identity_key) == (other.device, &other.identity_key)
}

impl Changes {
    fn wallets(&mut self, before: &Peer, now: &Checked, unlinked: Option<&str>) {
        let (account, root) = (before.account, now.root.to_string());
        if root != before.root {
            self.alarming = true;
            self.notices.push(Notice::RootChanged { from: before.root.clone(), to: root.clone() });
            self.events.push(Event::RootChanged { account, from: before.root.clone(), to: root });
        }
        if let Some(wallet) = unlinked.filter(|wallet| *wallet != before.root) {
            self.alarming = true;
            self.notices.push(Notice::WalletUnlinked { wallet: wallet.to_owned() });
            self.events.push(Event::WalletUnlinked { account, wallet: wallet.to_owned() });
        }
    }

    /// A key that was removed once does not come back by itself: a lost device may be in somebody else's hands, and its
    /// certificate holds for ever.
    fn returned(&mut self, before: &Peer, now: &mut Checked) {
        let account = before.account;
        let comes_back = |known: &mut KnownDevice| {
            let goes_on = before.device(known.device).is_some_and(|old| is_same(old, known));
            !goes_on && self.gone.contains(&known.identity_key)
        };
        now.returned = now.devices.extract_if(.., comes_back).collect();
        for known in &now.returned {
            self.void_sessions.push(known.device);
            if before.returned.iter().any(|old| is_same(old, known)) {
                continue;
            }
            self.alarming = true;
            self.notices.push(Notice::DeviceReturned { device: known.device });
            self.events.push(Event::DeviceReturned { account, device: known.device, wallet: known.wallet.clone() });
        }
    }

    fn devices(&mut self, before: &Peer, now: &mut Checked) {
        let account = before.account;
        for known in &mut now.devices {
            let device = known.device;
            match before.device(device) {
                Some(old) if old.identity_key == known.identity_key => {
                    known.first_seen_ms = old.first_seen_ms;
                    if old.registration_id != known.registration_id {
                        self.void_sessions.push(device);
                    }
                }
                Some(_) => {
                    self.alarming = true;
                    self.notices.push(Notice::IdentityChanged { device });
                    self.events.push(Event::IdentityChanged { account, device });
                }
                None => {
                    // also under the number of one that was removed: nothing of that is taken up again
                    self.void_sessions.push(device);
                    self.added(account, known);
                    self.alarming = true;
                }
            }
        }
        for old in &before.devices {
            if !now.devices.iter().any(|known| known.device == old.device) {
                self.events.push(Event::DeviceRemoved { account, device: old.device });
            }
        }
    }

    fn removed(&mut self, before: &Peer, now: &mut Checked, now_ms: u64) {
        now.removed.sort_by_key(|removed| removed.removed_at_ms);
        let mut reported = BTreeSet::new();
        now.removed.retain_mut(|removed| {
            if let Some(old) = before.removed.iter().find(|old| is_same(&old.device, &removed.device)) {
                // whatever the server says later
                removed.removed_at_ms = removed.removed_at_ms.min(old.removed_at_ms);
                removed.learned_at_ms = old.learned_at_ms;
                removed.device.first_seen_ms = old.device.first_seen_ms;
            } else if let Some(old) = before.devices.iter().find(|old| is_same(old, &removed.device)) {
                removed.device.first_seen_ms = old.first_seen_ms;
            } else if before.verified {
                // it came and went unseen: nobody has compared its safety number
                return false;
            } else if !before.knows_key(&removed.device.identity_key)
                // one that signed in with its old keys had two numbers
                && reported.insert(removed.device.identity_key.0.clone())
            {
                self.added(before.account, &removed.device);
            }
            if now_ms.saturating_sub(removed.learned_at_ms) > REMOVED_KEPT.as_millis() as u64 {
                // known, so that it is nobody new, and listened to no more
                removed.removed_at_ms = 0;
            }
            true
        });
    }

    /// A device is not told that it is new itself.
    pub fn known_to_itself(&mut self, this: DeviceId) {
        self.notices.retain(|notice| *notice != Notice::DeviceAdded { device: this });
        self.events.retain(|event| !matches!(event, Event::DeviceAdded { device, .. } if *device == this));
    }

    fn added(&mut self, account: AccountId, known: &KnownDevice) {
        let device = known.device;
        self.notices.push(Notice::DeviceAdded { device });
        self.events.push(Event::DeviceAdded { account, device, wallet: known.wallet.clone() });
    }
}
