//! What the server has of a device's keys.

use std::collections::VecDeque;

use nepto_proto::api::keys::{
    DeviceSetup, EcPrekey, KeyStock, NextIds, PublicDevice, SignedPrekey, UploadKeys, one_time_tag, sum_of_tags,
};

/// A device's keys, as the server has them.
#[derive(Clone)]
pub struct ServerDevice {
    /// As others see it.
    pub public: PublicDevice,
    /// The ids that it takes next.
    pub next: NextIds,
    /// EC, repeated use.
    pub signed: SignedPrekey,
    /// Kyber, repeated use.
    pub last_resort: SignedPrekey,
    /// One-time, the oldest first.
    pub ec: VecDeque<EcPrekey>,
    /// One-time, the oldest first.
    pub kyber: VecDeque<SignedPrekey>,
}

impl ServerDevice {
    /// A device that has just signed in.
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

    /// What the device is told of its one-time keys.
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
