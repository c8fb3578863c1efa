//! The device list of an account, in the compact form that a gateway compares a send against.

use nepto_proto::wire::{DeviceCiphertext, Mismatch};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, RegistrationId};
use serde::{Deserialize, Serialize};

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

    /// `<revision>|<device>:<registration id>,…`
    pub fn encode(&self) -> String {
        let devices: Vec<String> =
            self.devices.iter().map(|(device, registration)| format!("{device}:{}", registration.get())).collect();
        format!("{}|{}", self.revision, devices.join(","))
    }

    /// Undoes [`DeviceList::encode`].
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
