//! Devices and their prekeys.

use super::accounts::AccountPath;
use crate::DeviceId;
use crate::api::endpoint::{path_parameters, query_parameters};
use crate::api::keys::{self, DeviceDirectory, KeyCount, KeyStock, KeysMatch, OwnDevices, PrekeyBundles};

path_parameters! {
    /// A device of the own account.
    DevicePath {
        /// Its number.
        device: DeviceId as Device,
    }
}

query_parameters! {
    /// Some devices of an account.
    SomeDevices {
        /// Numbers of devices, separated by commas; all devices without it.
        devices: String as Devices,
    }
}

crate::endpoints! {
    "keys"

    /// Lists the devices of an account with their certificates.
    ///
    /// A client checks every certificate itself. This uses up no one-time keys.
    Get "/v1/accounts/{account}/devices" => GetDirectory {
        path: AccountPath,
        reply: DeviceDirectory,
        codes: [AccountUnknown],
    }

    /// Takes what sessions with devices of an account begin with (PQXDH).
    ///
    /// Each bundle uses up a one-time key of every kind while there are any, and as far as the limits of the caller and of all
    /// strangers together allow; without one it still works. Don't repeat it unasked.
    Get "/v1/accounts/{account}/bundles" => TakeBundles {
        path: AccountPath,
        query: SomeDevices,
        reply: PrekeyBundles,
        repeatable: false,
        codes: [AccountUnknown],
    }

    /// Lists the own devices, as their owner sees them.
    Get "/v1/devices" => ListOwnDevices {
        reply: OwnDevices,
        codes: [],
    }

    /// Removes an own device: its sessions end, and its mailbox and keys are deleted.
    Delete "/v1/devices/{device}" => RemoveDevice {
        path: DevicePath,
        codes: [DeviceUnknown],
    }

    /// Replaces the repeated-use keys of this device, adds one-time keys or replaces them.
    ///
    /// Every key but the one-time EC keys carries a signature by the identity key. Ids only grow: `/v1/keys/count` says which
    /// come next.
    Put "/v1/keys" => UploadKeys {
        body: keys::UploadKeys,
        reply: KeyCount,
        codes: [DeviceUnknown, KeyInvalid, KeyUsed, KeyLimit],
    }

    /// Says how many one-time keys of this device are left, which they are, and which ids come next.
    Get "/v1/keys/count" => CountKeys {
        reply: KeyStock,
        codes: [DeviceUnknown],
    }

    /// Says whether the server has the same repeated-use keys as this device.
    Post "/v1/keys/check" => CheckKeys {
        body: keys::CheckKeys,
        reply: KeysMatch,
        repeatable: true,
        codes: [DeviceUnknown],
    }
}
