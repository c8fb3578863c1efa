//! A device that looks after its keys on the server.

use nepto_proto::api::keys::{KeyCount, repeated_use_digest};

use super::world::{Device, World};

impl World {
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
