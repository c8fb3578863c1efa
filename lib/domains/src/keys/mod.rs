//! The devices of an account, their certificates and prekeys.
//!
//! What must hold:
//! - a device is known only with a wallet's certificate for its identity key and registration id;
//! - an account has at most ten devices, and a device number means one installation for as long as it is listed;
//! - a one-time prekey is handed out at most once, whatever happens at the same moment;
//! - a prekey is taken in only with a signature of the device's identity key, and its id only if it is larger than every one of
//!   its kind before. What is cheap to see is looked at before the first signature, and checks of signatures leave a core free;
//! - an identity key belongs to one account, for good;
//! - strangers together can use up half of a pool and no more, each of them a few keys a day. The other half is for people
//!   whom the owner accepted and for own devices, each of whom gets some a day. Whoever gets no one-time keys still gets a
//!   bundle.

mod config;
mod consumers;
mod device_list;
mod jobs;
mod model;
mod ops;
mod routes;
mod services;
mod signatures;
mod store;
#[cfg(test)]
mod tests;

use nepto_kit::domain::{Api, Domain};
use nepto_kit::service::Operation;
use nepto_proto::api::Base64;
use nepto_proto::api::keys::{DeviceSetup, OwnDevice};
use nepto_proto::certificate::SignedMessage;
use nepto_proto::{AccountId, DeviceId, RegistrationId};
use serde::{Deserialize, Serialize};

pub use device_list::DeviceList;
pub use model::{check_setup, identity_taken};

/// The domain.
pub fn domain() -> Domain {
    Domain {
        name: "keys",
        schema: store::SCHEMA,
        sections: config::SECTIONS,
        api: Some(|parts| {
            let keys = parts.shared(ops::Keys::new)?;
            Ok(Api { services: services::services(&keys), routes: routes::routes(keys) })
        }),
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.shared(ops::Keys::new)?))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.shared(ops::Keys::new)?))),
        ..Domain::NONE
    }
}

macro_rules! operation {
    ($(#[$doc:meta])* $name:literal $type:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),+ $(,)? } -> $reply:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $type { $($(#[$field_doc])* pub $field: $kind),+ }

        impl Operation for $type {
            type Reply = $reply;
            const DOMAIN: &'static str = "keys";
            const NAME: &'static str = $name;
        }
    };
}

operation!(
    /// Registers a device that a wallet has just certified, or renews the certificate of a known one. The caller has
    /// checked the signature. Fails with `device_limit`, `identity_taken`, `key_invalid`, `name_invalid`.
    "register_device" RegisterDevice {
        /// Whose.
        account: AccountId,
        /// The certifying wallet, EIP-55.
        wallet: String,
        /// The installation.
        registration_id: RegistrationId,
        /// Its Signal identity.
        identity_key: Base64,
        /// Message and signature.
        certificate: SignedMessage,
        /// Name and repeated-use keys.
        setup: DeviceSetup,
    } -> DeviceId
);
operation!(
    /// The one account that an identity key belongs to, if there is one.
    "identity_owner" IdentityOwner {
        /// Serialized.
        identity_key: Base64,
    } -> Option<AccountId>
);
operation!(
    /// The device numbers and registration ids of an account; also puts them into `cache:devices:{account}`.
    "device_list" ListDevices {
        /// Whose.
        account: AccountId,
    } -> DeviceList
);
operation!(
    /// The devices of an account, for its owner.
    "own_devices" OwnDevices {
        /// Whose.
        account: AccountId,
    } -> Vec<OwnDevice>
);
operation!(
    /// The certificates of an account's devices.
    "certificates" Certificates {
        /// Whose.
        account: AccountId,
    } -> Vec<Certified>
);
operation!(
    /// Removes a device and everything kept for it, and ends its sessions. Fails with `device_unknown`.
    "remove_device" RemoveDevice {
        /// Whose.
        account: AccountId,
        /// Which.
        device: DeviceId,
        /// Only if this is still its certificate; else it is `device_unknown`.
        certificate: Option<SignedMessage>,
    } -> ()
);
operation!(
    /// Removes the devices that a wallet certified, as `remove_device` does. Returns how many there were.
    "remove_devices_of" RemoveDevicesOf {
        /// Whose.
        account: AccountId,
        /// EIP-55.
        wallet: String,
    } -> u32
);
/// A device and its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// Its number.
    pub device: DeviceId,
    /// Message and signature.
    pub certificate: SignedMessage,
}

operation!(
    /// Notes that a device was heard of today.
    "device_seen" DeviceSeen {
        /// Whose.
        account: AccountId,
        /// Which.
        device: DeviceId,
    } -> ()
);
