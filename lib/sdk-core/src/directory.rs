//! Device lists and bundles: checked against wallets, pinned, compared. No device gets a byte that no wallet vouched for.

mod changes;

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::Address;
use libsignal_protocol::IdentityKey;
use nepto_proto::api::auth::Wallets;
use nepto_proto::api::keys::{self as api, DeviceDirectory, PrekeyBundles, PublicDevice};
use nepto_proto::certificate::{CertificateError, verify_device, wallets_of};
use nepto_proto::wire::Mismatch;
use nepto_proto::{AccountId, DeviceId};

use changes::{Changes, differences, gone};

use crate::SdkError;
use crate::contract_signatures::Answers;
use crate::core::Core;
use crate::event::Event;
use crate::model::{ConversationState, KnownDevice, Notice};
use crate::safety::SafetyNumber;
use crate::signal;
use crate::store::Txn;
use crate::store::backend::Durability;
use crate::store::peers::{Peer, RemovedDevice};

/// Removed devices that are remembered of one account,
const REMOVED_MAX: usize = 20;
/// which are listened to for so long after the server first said so: as long as it may keep messages.
const REMOVED_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Keys of removed devices that are remembered of one account, the newest: more than it can have device numbers. Older ones
/// would be new devices again.
pub(crate) const GONE_MAX: usize = 256;

/// A directory whose every claim was checked.
struct Checked {
    root: Address,
    wallets: BTreeSet<Address>,
    devices: Vec<KnownDevice>,
    /// Certified, and yet not to be used before the user says so: with the keys of devices that were removed.
    returned: Vec<KnownDevice>,
    removed: Vec<RemovedDevice>,
    refused: Vec<(DeviceId, CertificateError)>,
}

fn check(directory: &DeviceDirectory, domain: &str, answers: &Answers, now_ms: u64) -> Result<Checked, SdkError> {
    let bad = |reason| SdkError::BadKeys { account: directory.account, reason };
    let (root, wallets) = check_wallets(directory.account, &directory.wallets, domain, answers)?;
    let numbers: BTreeSet<DeviceId> = directory.devices.iter().map(|device| device.device).collect();
    if numbers.len() != directory.devices.len() {
        return Err(bad("the server listed a device twice"));
    }
    let known = |device: &PublicDevice, wallet: Address| KnownDevice {
        device: device.device,
        registration_id: device.registration_id.get(),
        identity_key: device.identity_key.clone(),
        wallet: wallet.to_string(),
        first_seen_ms: now_ms,
    };
    let (mut devices, mut refused) = (Vec::new(), Vec::new());
    for device in &directory.devices {
        match check_device(device, &wallets, domain, answers) {
            Ok(wallet) => devices.push(known(device, wallet)),
            Err(reason) => refused.push((device.device, reason)),
        }
    }
    // one that nobody certified, or whose number is another's now, is as unknown as ever
    let mut removed: Vec<RemovedDevice> = Vec::new();
    for api::RemovedDevice { device, removed_at } in directory.removed.iter().take(REMOVED_MAX) {
        let taken =
            numbers.contains(&device.device) || removed.iter().any(|other| other.device.device == device.device);
        if let (Ok(wallet), false) = (check_device(device, &wallets, domain, answers), taken) {
            let removed_at_ms = (removed_at.unix_timestamp_nanos() / 1_000_000).try_into().unwrap_or(0);
            removed.push(RemovedDevice { device: known(device, wallet), removed_at_ms, learned_at_ms: now_ms });
        }
    }
    Ok(Checked { root, wallets, devices, returned: Vec::new(), removed, refused })
}

fn check_wallets(
    account: AccountId,
    wallets: &Wallets,
    domain: &str,
    answers: &Answers,
) -> Result<(Address, BTreeSet<Address>), SdkError> {
    let root = Address::parse_checksummed(&wallets.root, None)
        .map_err(|_| SdkError::BadKeys { account, reason: "the root wallet is not an address" })?;
    Ok((root, wallets_of(account, root, &wallets.links, domain, answers)))
}

fn check_device(
    device: &PublicDevice,
    wallets: &BTreeSet<Address>,
    domain: &str,
    answers: &Answers,
) -> Result<Address, CertificateError> {
    let key = &device.identity_key.0;
    if IdentityKey::decode(key).is_err() {
        return Err(CertificateError::Resource);
    }
    verify_device(&device.certificate, wallets, device.registration_id, key, domain, answers)
}

impl Core {
    /// Takes in a directory from the server. `named` is the address by which the user named the account, `answers` what
    /// chains say about the [attestations](Core::attestations) of it.
    pub fn apply_directory(
        &mut self,
        directory: &DeviceDirectory,
        named: Option<Address>,
        answers: &Answers,
    ) -> Result<Vec<Event>, SdkError> {
        let account = directory.account;
        let now_ms = self.env.now_ms();
        let mut checked = check(directory, &self.me.domain, answers, now_ms)?;
        let txn = self.store.begin();
        let before = txn.peer(account)?;
        let named = named.map(|wallet| wallet.to_string());
        let must_own = if account == self.me.account { Some(&self.me.wallet) } else { named.as_ref() };
        if let Some(wallet) = must_own.filter(|wallet| !belongs(wallet, &checked.wallets)) {
            return Err(SdkError::WrongWallet { account, wallet: wallet.clone() });
        }

        let root = checked.root.to_string();
        if let Some(peer) = before.as_ref().filter(|peer| !peer.owns(&root)) {
            let events = self.claim(&txn, peer, root)?;
            txn.commit(Durability::Now)?;
            self.outdated.remove(&account);
            return Ok(events);
        }

        // a wallet that the user named it by, and that was unlinked: what is left is what that one vouched for
        let unlinked = before.as_ref().and_then(|peer| peer.named.as_deref());
        let unlinked = unlinked.filter(|wallet| !belongs(wallet, &checked.wallets));
        let mut changes = match &before {
            Some(peer) => differences(peer, &mut checked, directory, unlinked, now_ms),
            None => Changes { gone: gone(None, directory), ..Changes::default() },
        };
        if account == self.me.account {
            changes.known_to_itself(self.me.device);
        }
        let named = match &before {
            Some(peer) if unlinked.is_none() => named.or_else(|| peer.named.clone()),
            _ => named,
        };
        for device in &changes.void_sessions {
            txn.delete_session(&signal::address(account, *device)?)?;
        }
        let mut notices = changes.notices;
        let mut events = changes.events;
        for (device, reason) in &checked.refused {
            let reported = |peer: &Peer| peer.refused.iter().any(|(known, _)| known == device);
            if !before.as_ref().is_some_and(reported) {
                notices.push(Notice::Uncertified { device: *device });
            }
            if self.reported.first(account, *device) {
                events.push(Event::Uncertified { account, device: *device, reason: reason.to_string() });
            }
        }
        self.note(&txn, account, notices)?;
        let verified = before.as_ref().is_some_and(|peer| peer.verified);
        txn.set_peer(&Peer {
            account,
            root,
            wallets: checked.wallets.iter().map(Address::to_string).collect(),
            answers: answers.said.clone(),
            chains: answers.chains.clone(),
            claimed: None,
            named,
            handle: before.as_ref().and_then(|peer| peer.handle.clone()),
            devices: checked.devices,
            returned: checked.returned,
            removed: checked.removed,
            gone: changes.gone,
            refused: checked.refused.into_iter().map(|(device, reason)| (device, reason.to_string())).collect(),
            verified,
            changed: before.as_ref().is_some_and(|peer| peer.changed) || (verified && changes.alarming),
        })?;
        txn.commit(Durability::Now)?;
        self.outdated.remove(&account);
        Ok(events)
    }

    /// The server names a root that none of the known wallets vouched for. What is known stays as it is: nothing is
    /// encrypted for devices of that root, and nothing at all is sent until the user decides.
    fn claim(&self, txn: &Txn<'_>, peer: &Peer, root: String) -> Result<Vec<Event>, SdkError> {
        if peer.claimed.as_ref() == Some(&root) {
            return Ok(Vec::new());
        }
        let (account, from) = (peer.account, peer.root.clone());
        self.note(txn, account, vec![Notice::RootChanged { from: from.clone(), to: root.clone() }])?;
        txn.set_peer(&Peer { claimed: Some(root.clone()), ..peer.clone() })?;
        Ok(vec![Event::RootChanged { account, from, to: root }])
    }

    fn note(&self, txn: &Txn<'_>, account: AccountId, notices: Vec<Notice>) -> Result<(), SdkError> {
        if account == self.me.account && !notices.is_empty() {
            // what happens to one's own account stands among the notes to oneself
            txn.set_conversation(&txn.conversation_or(account, ConversationState::Accepted)?)?;
        }
        for notice in notices {
            txn.add_notice(account, notice, self.new_id(), self.env.now_ms())?;
        }
        Ok(())
    }

    /// Starts sessions from bundles. Each must be of a device that a checked directory named, with the same keys.
    pub fn apply_bundles(&mut self, bundles: &PrekeyBundles) -> Result<(), SdkError> {
        let account = bundles.account;
        let bad = |reason| SdkError::BadKeys { account, reason };
        let txn = self.store.begin();
        let peer = txn.peer(account)?.ok_or(bad("its devices are not known yet"))?;
        let answers = Answers { said: peer.answers.clone(), chains: peer.chains.clone() };
        let (_, wallets) = check_wallets(account, &bundles.wallets, &self.me.domain, &answers)?;
        for bundle in &bundles.bundles {
            let device = bundle.device.device;
            match check_device(&bundle.device, &wallets, &self.me.domain, &answers) {
                Ok(_) => {}
                // a contract wallet certified or linked it since: its chain is asked about the directory
                Err(reason) if answers.may_change(&reason, &bundles.wallets.links) => {
                    self.outdated.insert(account);
                    continue;
                }
                Err(reason) => return Err(SdkError::Uncertified { account, device, reason: reason.to_string() }),
            }
            let same = |known: &&KnownDevice| {
                known.identity_key == bundle.device.identity_key
                    && known.registration_id == bundle.device.registration_id.get()
            };
            if bundles.wallets.root != peer.root || peer.device(device).filter(same).is_none() {
                // another installation than the directory named: look at the directory again first
                self.outdated.insert(account);
                continue;
            }
            let started = signal::start_session(&txn, &signal::address(account, device)?, bundle, &self.env);
            started.map_err(|error| match error {
                SdkError::NoPostQuantum => bad("a bundle has no Kyber-1024 key, without which nothing is encrypted"),
                SdkError::WeakKey => bad("a bundle has a key that offers no secrecy"),
                error => error,
            })?;
        }
        Ok(txn.commit(Durability::Now)?)
    }

    /// The gateway says that the device list is another one. Sessions with installations that are no more go; the directory
    /// is fetched again. What a removed device sent may still be on its way: its session goes with its certificate.
    pub fn apply_mismatch(&mut self, mismatch: &Mismatch) -> Result<AccountId, SdkError> {
        let bad = |_| SdkError::Internal("the gateway named a malformed account or device");
        let account = AccountId::from_bytes(&mismatch.account).map_err(bad)?;
        let txn = self.store.begin();
        for &device in &mismatch.stale {
            let device = DeviceId::try_from(device).map_err(bad)?;
            txn.delete_session(&signal::address(account, device)?)?;
        }
        txn.commit(Durability::Later)?;
        self.outdated.insert(account);
        Ok(account)
    }

    /// The user accepts that the keys of a verified contact changed, that another wallet names it, or that a device that was
    /// removed is back. It is no longer verified; of another wallet's account nothing is known yet.
    pub fn accept_change(&mut self, account: AccountId) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let mut peer = Peer { verified: false, changed: false, ..self.known(account)? };
        if let Some(root) = peer.claimed.take() {
            for known in peer.installations() {
                txn.delete_session(&signal::address(account, known.device)?)?;
            }
            let (wallets, devices, returned, removed, refused) = Default::default();
            peer = Peer { root, wallets, named: None, devices, returned, removed, refused, ..peer };
            self.outdated.insert(account);
        }
        let back = std::mem::take(&mut peer.returned);
        peer.gone.retain(|key| back.iter().all(|known| known.identity_key != *key));
        peer.devices.extend(back);
        peer.devices.sort_by_key(|known| known.device);
        txn.set_peer(&peer)?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// The user compared these safety numbers. They must be those of all devices, as they are known now.
    pub fn mark_verified(&mut self, account: AccountId, compared: &[SafetyNumber]) -> Result<(), SdkError> {
        let peer = self.known(account)?;
        if let Some(claimed) = peer.claimed {
            return Err(SdkError::RootChanged { account, pinned: peer.root, claimed });
        }
        if let Some(back) = peer.returned.first() {
            return Err(SdkError::DeviceReturned { account, device: back.device });
        }
        let mut known = self.safety_numbers(account)?;
        let mut compared: Vec<_> = compared.iter().map(|number| (number.device, number.digits.as_str())).collect();
        compared.sort_unstable();
        known.sort_unstable_by_key(|number| number.device);
        if known.is_empty() || !known.iter().map(|number| (number.device, number.digits.as_str())).eq(compared) {
            return Err(SdkError::NotCompared(account));
        }
        // the numbers of removed devices were not among them
        self.set_verified(Peer { verified: true, removed: Vec::new(), ..peer }, &peer.removed)
    }

    /// The user takes back that safety numbers were compared.
    pub fn unverify(&mut self, account: AccountId) -> Result<(), SdkError> {
        let peer = self.known(account)?;
        self.set_verified(Peer { verified: false, ..peer }, &[])
    }

    fn set_verified(&self, peer: Peer, forgotten: &[RemovedDevice]) -> Result<(), SdkError> {
        let txn = self.store.begin();
        for removed in forgotten {
            txn.delete_session(&signal::address(peer.account, removed.device.device)?)?;
        }
        txn.set_peer(&Peer { changed: false, ..peer })?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// What is known of an account, if its device list is up to date, and what chains say of its wallets.
    pub(crate) fn current_peer(&self, txn: &Txn<'_>, account: AccountId) -> Result<Option<Peer>, SdkError> {
        if self.outdated.contains(&account) {
            return Ok(None);
        }
        Ok(txn.peer(account)?.filter(|peer| !peer.is_due(self.env.now_ms())))
    }
}

fn belongs(wallet: &str, wallets: &BTreeSet<Address>) -> bool {
    wallets.iter().any(|known| known.to_string() == wallet)
}
