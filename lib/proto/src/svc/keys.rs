//! What `keys` answers: the devices of accounts.

use serde::{Deserialize, Serialize};

use super::operations;
use crate::api::Base64;
use crate::api::keys::{DeviceSetup, OwnDevice};
use crate::certificate::SignedMessage;
use crate::wire::{DeviceCiphertext, Mismatch};
use crate::{AccountId, ClientMsgId, DeviceId, RegistrationId};

operations! { "keys"
    /// Registers a device that a wallet has just certified, or renews the certificate of a known one. The caller has
    /// checked the signature. Fails with `device_limit`, `identity_taken`, `key_invalid`, `name_invalid`.
    "register_device" RegisterDevice {
        /// The account that the wallet signed in to.
        account: AccountId,
        /// The certifying wallet, EIP-55.
        wallet: String,
        /// The number of the last event about the wallet: if it leaves, it has a higher one. 0 if nobody knows.
        #[serde(default)]
        wallet_version: u64,
        /// Tells this installation apart from others under the same number.
        registration_id: RegistrationId,
        /// Signal identity key, 33 bytes as libsignal serializes it.
        identity_key: Base64,
        /// The sign-in message (ERC-4361) and the wallet's signature over it.
        certificate: SignedMessage,
        /// Its name, signed prekey and last-resort Kyber prekey.
        setup: DeviceSetup,
    } -> DeviceId;

    /// Whether a device can be registered: asked before anything is made or used up for it. Fails with `identity_taken`,
    /// `key_invalid`, `name_invalid`.
    "can_register" CanRegister {
        /// The account that the wallet belongs to, if it has one already.
        account: Option<AccountId>,
        /// Signal identity key, 33 bytes as libsignal serializes it.
        identity_key: Base64,
        /// Its name, signed prekey and last-resort Kyber prekey.
        setup: DeviceSetup,
    } -> ();

    /// The device numbers and registration ids of an account; also puts them into `cache:devices:{account}`.
    "device_list" ListDevices {
        /// The account; one that does not exist has an empty list of revision 0.
        account: AccountId,
    } -> DeviceList;

    /// The devices of an account, for its owner.
    "own_devices" OwnDevices {
        /// The account that asks about itself.
        account: AccountId,
    } -> Vec<OwnDevice>;

    /// The certificates of an account's devices.
    "certificates" Certificates {
        /// The account whose devices are meant.
        account: AccountId,
    } -> Vec<Certified>;

    /// Removes a device and everything kept for it, and ends its sessions. Fails with `device_unknown`.
    "remove_device" RemoveDevice {
        /// The account that it belongs to.
        account: AccountId,
        /// Its number within the account.
        device: DeviceId,
        /// Only if this is still its certificate; else it is `device_unknown`.
        certificate: Option<SignedMessage>,
    } -> ();

    /// Removes the devices that a wallet certified, as `remove_device` does. Returns how many there were.
    "remove_devices_of" RemoveDevicesOf {
        /// The account that the wallet belongs or belonged to.
        account: AccountId,
        /// The certifying wallet, EIP-55.
        wallet: String,
    } -> u32;

    /// Notes that a device was heard of today.
    "device_seen" DeviceSeen {
        /// The account that it belongs to.
        account: AccountId,
        /// Its number within the account.
        device: DeviceId,
    } -> ();
}

/// A device and its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// Its number within the account.
    pub device: DeviceId,
    /// The sign-in message (ERC-4361) that certifies it, and the wallet's signature.
    pub certificate: SignedMessage,
}

/// Devices by number, with the revision of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceList {
    /// Grows with every change, so that an older copy never replaces a newer one.
    pub revision: u64,
    /// Sorted by number.
    pub devices: Vec<(DeviceId, RegistrationId)>,
}

impl DeviceList {
    /// The Redis key that holds a copy.
    pub fn cache_key(account: AccountId) -> String {
        format!("cache:devices:{account}")
    }

    /// As it is kept in Redis: `<revision>|<device>:<registration id>,…`.
    pub fn encode(&self) -> String {
        let devices: Vec<String> =
            self.devices.iter().map(|(device, registration)| format!("{device}:{}", registration.get())).collect();
        format!("{}|{}", self.revision, devices.join(","))
    }

    /// Reads what [`DeviceList::encode`] wrote; `None` if it is anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let (revision, devices) = text.split_once('|')?;
        let device = |pair: &str| {
            let (device, registration) = pair.split_once(':')?;
            Some((device.parse().ok()?, RegistrationId::try_from(registration.parse::<u32>().ok()?).ok()?))
        };
        let devices = devices.split(',').filter(|pair| !pair.is_empty()).map(device).collect::<Option<_>>()?;
        Some(Self { revision: revision.parse().ok()?, devices })
    }

    /// What a message must be encrypted for when this device of the account sends it: all devices but itself.
    pub fn without(mut self, device: DeviceId) -> Self {
        self.devices.retain(|(other, _)| *other != device);
        self
    }

    /// Compares with what a client encrypted for.
    pub fn mismatch(&self, account: AccountId, id: ClientMsgId, given: &[DeviceCiphertext]) -> Option<Mismatch> {
        let missing = self
            .devices
            .iter()
            .filter(|(device, _)| !given.iter().any(|copy| copy.device == u32::from(*device)))
            .map(|(device, _)| u32::from(*device))
            .collect();
        let mut extra = Vec::new();
        let mut stale = Vec::new();
        for copy in given {
            match self.devices.iter().find(|(device, _)| u32::from(*device) == copy.device) {
                None => extra.push(copy.device),
                Some((_, registration)) if registration.get() != copy.registration_id => stale.push(copy.device),
                Some(_) => {}
            }
        }
        let mismatch = Mismatch { client_msg_id: id.to_vec(), account: account.to_vec(), missing, extra, stale };
        let differs = !mismatch.missing.is_empty() || !mismatch.extra.is_empty() || !mismatch.stale.is_empty();
        differs.then_some(mismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn list() -> DeviceList {
        let device = |number: u32, registration: u32| (number.try_into().unwrap(), registration.try_into().unwrap());
        DeviceList { revision: 7, devices: vec![device(1, 100), device(2, 200)] }
    }

    fn copies(devices: &[(u32, u32)]) -> Vec<DeviceCiphertext> {
        devices
            .iter()
            .map(|(device, registration_id)| DeviceCiphertext {
                device: *device,
                registration_id: *registration_id,
                ..DeviceCiphertext::default()
            })
            .collect()
    }

    #[test]
    fn the_cached_form_is_read_back() {
        assert_eq!(DeviceList::decode(&list().encode()), Some(list()));
        let empty = DeviceList { revision: 1, devices: vec![] };
        assert_eq!(DeviceList::decode(&empty.encode()), Some(empty));
        for bad in ["", "7", "x|", "7|1", "7|0:5", "7|1:0"] {
            assert_eq!(DeviceList::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_difference_is_named() {
        let account = AccountId::new(Uuid::from_u128(1));
        let id = ClientMsgId::new(Uuid::from_u128(2));
        assert_eq!(list().mismatch(account, id, &copies(&[(2, 200), (1, 100)])), None);
        let found = list().mismatch(account, id, &copies(&[(1, 101), (3, 300)])).unwrap();
        assert_eq!((found.missing, found.extra, found.stale), (vec![2], vec![3], vec![1]));
        assert!(list().without(1.try_into().unwrap()).mismatch(account, id, &copies(&[(2, 200)])).is_none());
    }
}
