//! What the server of the tests has of a device's keys.

use std::collections::VecDeque;

use nepto_proto::api::keys::{
    DeviceSetup, EcPrekey, KeyCount, KeyStock, NextIds, PublicDevice, SignedPrekey, UploadKeys, one_time_tag,
    repeated_use_digest, sum_of_tags,
};
use nepto_proto::{AccountId, DeviceId};

use super::world::{Device, World};

#[derive(Clone)]
pub struct ServerDevice {
    pub public: PublicDevice,
    /// The ids that it takes next.
    pub next: NextIds,
    pub signed: SignedPrekey,
    pub last_resort: SignedPrekey,
    pub ec: VecDeque<EcPrekey>,
    pub kyber: VecDeque<SignedPrekey>,
}

impl ServerDevice {
    pub fn new(public: PublicDevice, setup: &DeviceSetup) -> Self {
        let (signed, last_resort) = (setup.signed_prekey.clone(), setup.last_resort.clone());
        let next = NextIds { ec: 1, kyber: 1, signed_prekey: signed.id + 1, last_resort: last_resort.id + 1 };
        Self { public, next, signed, last_resort, ec: VecDeque::new(), kyber: VecDeque::new() }
    }

    /// What the server does with uploaded keys, whose ids may only grow.
    pub fn take_in(&mut self, keys: &UploadKeys) {
        let grow = |next: &mut u32, id: u32| {
            assert!(id >= *next, "the id {id} was used before: {next} comes next");
            *next = id + 1;
        };
        if keys.replace {
            self.ec.clear();
            self.kyber.clear();
        }
        keys.ec.iter().for_each(|key| grow(&mut self.next.ec, key.id));
        keys.kyber.iter().for_each(|key| grow(&mut self.next.kyber, key.id));
        self.ec.extend(keys.ec.iter().cloned());
        self.kyber.extend(keys.kyber.iter().cloned());
        assert!(self.ec.len() <= 100 && self.kyber.len() <= 100);
        if let Some(signed) = keys.signed_prekey.clone().filter(|signed| *signed != self.signed) {
            grow(&mut self.next.signed_prekey, signed.id);
            self.signed = signed;
        }
        if let Some(last_resort) = keys.last_resort.clone().filter(|last_resort| *last_resort != self.last_resort) {
            grow(&mut self.next.last_resort, last_resort.id);
            self.last_resort = last_resort;
        }
    }

    pub fn stock(&self) -> KeyStock {
        KeyStock {
            ec: self.ec.len() as u32,
            kyber: self.kyber.len() as u32,
            ec_sum: sum_of_tags(self.ec.iter().map(|key| one_time_tag(key.id, &key.public_key.0))),
            kyber_sum: sum_of_tags(self.kyber.iter().map(|key| one_time_tag(key.id, &key.public_key.0))),
            next: self.next,
        }
    }
}

impl World {
    /// What the server has of a device.
    pub fn server_device(&mut self, account: AccountId, device: DeviceId) -> &mut ServerDevice {
        self.accounts.get_mut(&account).unwrap().devices.get_mut(&device).unwrap()
    }

    /// What the driver does at each connection. Whether the stock was known.
    pub fn maintain(&mut self, device: &mut Device) -> bool {
        let server = self.server_device(device.account(), device.number());
        let stock = server.stock();
        let known = device.core.knows_stock(&stock).unwrap();
        let digest = repeated_use_digest(
            &server.public.identity_key.0,
            (server.signed.id, &server.signed.public_key.0),
            (server.last_resort.id, &server.last_resort.public_key.0),
        );
        if device.core.key_check().unwrap().digest.0 != digest {
            server.take_in(&device.core.key_repair(stock.next).unwrap());
        }
        let upload = match known {
            true => device.core.one_time_keys(KeyCount { ec: stock.ec, kyber: stock.kyber }).unwrap(),
            false => Some(device.core.other_one_time_keys().unwrap()),
        };
        if let Some(upload) = upload {
            server.take_in(&upload);
            device.core.uploaded(&upload).unwrap();
        }
        known
    }
}
