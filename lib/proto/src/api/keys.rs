//! Devices and their prekeys. Keys are serialized as libsignal serializes them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::Base64;
use super::auth::Wallets;
use crate::certificate::SignedMessage;
use crate::{AccountId, DeviceId, RegistrationId};

/// A one-time EC prekey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EcPrekey {
    /// Chosen by the device, not 0, larger than every one before.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 16_777_215))]
    pub id: u32,
    /// The serialized key: its type byte and 32 bytes.
    pub public_key: Base64,
}

/// A prekey with a signature of the device's identity key: EC signed prekey (33 bytes) or Kyber-1024 prekey (1,569 bytes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedPrekey {
    /// Chosen by the device, not 0, larger than every one before.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 16_777_215))]
    pub id: u32,
    /// With its type byte.
    pub public_key: Base64,
    /// 64 bytes, by the identity key.
    pub signature: Base64,
}

/// What a device brings along when it signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceSetup {
    /// For its owner's list of devices.
    pub name: String,
    /// EC, repeated use, rotated by the device.
    pub signed_prekey: SignedPrekey,
    /// Kyber, repeated use, for when the one-time ones are gone.
    pub last_resort: SignedPrekey,
}

/// Replaces or adds keys of the own device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UploadKeys {
    /// Replaces the signed prekey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_prekey: Option<SignedPrekey>,
    /// Replaces the last-resort Kyber prekey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resort: Option<SignedPrekey>,
    /// Adds one-time EC prekeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ec: Vec<EcPrekey>,
    /// Adds one-time Kyber prekeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kyber: Vec<SignedPrekey>,
    /// The one-time keys that the server has go first: the device has no private halves of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// One-time prekeys that the server still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyCount {
    /// How many EC prekeys.
    pub ec: u32,
    /// How many Kyber prekeys.
    pub kyber: u32,
}

/// What the server has of a device's one-time prekeys, so that the device can tell whether they are its own, and which ids
/// it takes next: ids only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyStock {
    /// How many EC prekeys.
    pub ec: u32,
    /// How many Kyber prekeys.
    pub kyber: u32,
    /// The sum of the EC prekeys' tags, modulo 2^48. A tag is the first six bytes of the SHA-256 over id (4 bytes,
    /// big-endian) and key, as a big-endian number.
    pub ec_sum: u64,
    /// The same of the Kyber prekeys.
    pub kyber_sum: u64,
    /// The lowest ids that are taken from now on.
    pub next: NextIds,
}

/// The lowest ids of prekeys that are taken from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextIds {
    /// One-time EC prekeys.
    pub ec: u32,
    /// One-time Kyber prekeys.
    pub kyber: u32,
    /// Signed EC prekeys.
    pub signed_prekey: u32,
    /// Last-resort Kyber prekeys.
    pub last_resort: u32,
}

/// Tags of one-time keys are added up modulo this, 2^48: every number of it is exact in JSON.
pub const TAG_MODULUS: u64 = 1 << 48;

/// A short name for a one-time prekey: the first six bytes, big-endian, of SHA-256 over its id (4 bytes, big-endian) and the
/// serialized public key.
pub fn one_time_tag(id: u32, public_key: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(id.to_be_bytes()).chain_update(public_key).finalize();
    digest.iter().take(6).fold(0, |tag, byte| tag << 8 | u64::from(*byte))
}

/// The sum of some tags.
pub fn sum_of_tags(tags: impl IntoIterator<Item = u64>) -> u64 {
    tags.into_iter().fold(0, |sum, tag| (sum + tag) % TAG_MODULUS)
}

/// Asks whether the server has the same repeated-use keys as the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckKeys {
    /// SHA-256 over identity key, id of the signed prekey (big-endian, 4 bytes), signed prekey, id of the last resort, last resort.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = String, format = "base64url", pattern = "^[0-9A-Za-z_-]{42}[AEIMQUYcgkosw048]$")
    )]
    pub digest: Base64,
}

/// Whether server and device have the same repeated-use keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeysMatch {
    /// If not: upload both repeated-use keys again.
    pub matches: bool,
}

/// SHA-256 over identity key, signed prekey id (big-endian, 4 bytes), signed prekey, last-resort id, last-resort key.
pub fn repeated_use_digest(identity_key: &[u8], signed_prekey: (u32, &[u8]), last_resort: (u32, &[u8])) -> [u8; 32] {
    Sha256::new()
        .chain_update(identity_key)
        .chain_update(signed_prekey.0.to_be_bytes())
        .chain_update(signed_prekey.1)
        .chain_update(last_resort.0.to_be_bytes())
        .chain_update(last_resort.1)
        .finalize()
        .into()
}

/// A device, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublicDevice {
    /// Its number within the account.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 127))]
    pub device: DeviceId,
    /// Chosen at random by the installation: another one is another installation under the same number.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 16_380))]
    pub registration_id: RegistrationId,
    /// Its Signal identity, 33 bytes.
    pub identity_key: Base64,
    /// The wallet's attestation that it is genuine. Check it.
    pub certificate: SignedMessage,
}

/// The devices of an account and the wallets that certified them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceDirectory {
    /// The account that the devices belong to.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// Who may certify.
    pub wallets: Wallets,
    /// The devices, in the order of their numbers.
    pub devices: Vec<PublicDevice>,
    /// Devices that were removed while their messages may still be on the way, newest first. Listen to what they sent
    /// before that, and encrypt nothing for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedDevice>,
}

/// A device that was removed, with its last certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RemovedDevice {
    /// As it was.
    #[serde(flatten)]
    pub device: PublicDevice,
    /// Since when nothing of it is taken any more.
    #[serde(with = "time::serde::rfc3339")]
    pub removed_at: OffsetDateTime,
}

/// What it takes to start a session with a device (PQXDH).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PrekeyBundle {
    /// The device, to be checked before its keys are used.
    pub device: PublicDevice,
    /// EC, repeated use.
    pub signed_prekey: SignedPrekey,
    /// EC, handed out once; absent when they ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec_prekey: Option<EcPrekey>,
    /// Kyber: a one-time key, or the last-resort one when they ran out. Always there: a client refuses a bundle without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kyber_prekey: Option<SignedPrekey>,
}

/// Bundles for devices of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PrekeyBundles {
    /// The account that the devices belong to.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// Who may certify.
    pub wallets: Wallets,
    /// By device number.
    pub bundles: Vec<PrekeyBundle>,
}

/// A device, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnDevice {
    /// Its number within the account, 1 to 127.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 127))]
    pub device: DeviceId,
    /// The name that the device gave itself.
    pub name: String,
    /// The wallet that certified it, EIP-55.
    pub wallet: String,
    /// When it signed in first (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last heard of, to the day.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen_at: OffsetDateTime,
}

/// The devices of an account, as their owner sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnDevices {
    /// The devices, in the order of their numbers.
    pub devices: Vec<OwnDevice>,
}
