//! Safety numbers: what two people compare to know that nobody is in between.

use libsignal_protocol::{Fingerprint, FingerprintError, IdentityKey};
use nepto_proto::{AccountId, DeviceId};
use serde::Serialize;

use crate::SdkError;
use crate::core::Core;

/// As Signal's clients compute them.
const VERSION: u32 = 2;
const ITERATIONS: u32 = 5200;

/// The safety number of this device with one device of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SafetyNumber {
    /// The number of the peer's device.
    pub device: DeviceId,
    /// 60 digits; both sides see the same.
    pub digits: String,
    /// The same as bytes for a QR code, in Signal's format.
    pub scannable: Vec<u8>,
}

impl SafetyNumber {
    /// The digits in twelve groups of five.
    pub fn groups(&self) -> Vec<&str> {
        (0..self.digits.len()).step_by(5).filter_map(|at| self.digits.get(at..at + 5)).collect()
    }
}

/// Computes a safety number from both ends.
pub fn safety_number(
    (own, own_key): (AccountId, &IdentityKey),
    (peer, peer_key): (AccountId, &IdentityKey),
    device: DeviceId,
) -> Result<SafetyNumber, SdkError> {
    let fingerprint = fingerprint((own, own_key), (peer, peer_key))?;
    let scannable = fingerprint.scannable.serialize().map_err(unreadable)?;
    Ok(SafetyNumber { device, digits: fingerprint.display.to_string(), scannable })
}

fn fingerprint(
    (own, own_key): (AccountId, &IdentityKey),
    (peer, peer_key): (AccountId, &IdentityKey),
) -> Result<Fingerprint, SdkError> {
    let (own, peer) = (own.uuid(), peer.uuid());
    Fingerprint::new(VERSION, ITERATIONS, own.as_bytes(), own_key, peer.as_bytes(), peer_key).map_err(unreadable)
}

fn unreadable(_: FingerprintError) -> SdkError {
    SdkError::Internal("a safety number could not be computed")
}

impl Core {
    /// One safety number for each device of a peer.
    pub fn safety_numbers(&self, account: AccountId) -> Result<Vec<SafetyNumber>, SdkError> {
        let own = self.identity_key()?;
        let peer = self.known(account)?;
        let others = peer.devices.iter().filter(|known| (account, known.device) != (self.me.account, self.me.device));
        others
            .map(|known| {
                let key = IdentityKey::decode(&known.identity_key.0)?;
                safety_number((self.me.account, &own), (account, &key), known.device)
            })
            .collect()
    }

    /// Compares a scanned code with a device of a peer.
    pub fn compare_scanned(&self, account: AccountId, device: DeviceId, scanned: &[u8]) -> Result<bool, SdkError> {
        let own = self.identity_key()?;
        let peer = self.known(account)?;
        let bad = SdkError::BadKeys { account, reason: "it has no such device" };
        let key = IdentityKey::decode(&peer.device(device).ok_or(bad)?.identity_key.0)?;
        let fingerprint = fingerprint((self.me.account, &own), (account, &key))?;
        Ok(fingerprint.scannable.compare(scanned).unwrap_or(false))
    }

    pub(crate) fn known(&self, account: AccountId) -> Result<crate::store::peers::Peer, SdkError> {
        let peer = self.store.begin().peer(account)?;
        peer.ok_or(SdkError::BadKeys { account, reason: "its devices are not known yet" })
    }
}
