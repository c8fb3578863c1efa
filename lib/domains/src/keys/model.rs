//! Which keys and names are well-formed. Pure rules.

use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::keys::{DeviceSetup, SignedPrekey};
use nepto_proto::certificate::IDENTITY_KEY_BYTES;
use nepto_proto::limits::NAME_CHARS_MAX;

use crate::text::is_plain;

/// A serialized Curve25519 public key begins with this byte.
const EC_KEY_TYPE: u8 = 0x05;
/// A serialized Kyber-1024 public key: its type byte and 1,568 bytes.
const KYBER_KEY_TYPE: u8 = 0x08;
const KYBER_KEY_BYTES: usize = 1_569;
const SIGNATURE_BYTES: usize = 64;
/// Prekey ids of libsignal's clients have 24 bits.
const PREKEY_ID_MAX: u32 = 0x00ff_ffff;

/// What a new device brings along.
pub fn check_setup(setup: &DeviceSetup, identity_key: &[u8]) -> Result<(), Failure> {
    let name = setup.name.trim();
    if name.chars().count() > NAME_CHARS_MAX || !is_plain(name) {
        let detail = format!("a device's name has 1 to {NAME_CHARS_MAX} characters on one line, all of which show");
        return Err(Failure::new(ErrorCode::NameInvalid, detail));
    }
    check_ec(identity_key, "the identity key")?;
    check_signed_ec(&setup.signed_prekey)?;
    check_kyber(&setup.last_resort)
}

pub fn check_id(id: u32) -> Result<(), Failure> {
    match id {
        1..=PREKEY_ID_MAX => Ok(()),
        _ => Err(Failure::new(ErrorCode::KeyInvalid, format!("a prekey's id must be 1 to {PREKEY_ID_MAX}"))),
    }
}

pub fn check_ec(key: &[u8], what: &str) -> Result<(), Failure> {
    match key {
        [EC_KEY_TYPE, rest @ ..] if key.len() == IDENTITY_KEY_BYTES && rest.iter().any(|byte| *byte != 0) => Ok(()),
        _ => Err(Failure::new(ErrorCode::KeyInvalid, format!("{what} must be 0x05 and 32 bytes"))),
    }
}

pub fn check_signed_ec(key: &SignedPrekey) -> Result<(), Failure> {
    check_id(key.id)?;
    check_ec(&key.public_key.0, "the signed prekey")?;
    check_signature(&key.signature.0)
}

pub fn check_kyber(key: &SignedPrekey) -> Result<(), Failure> {
    check_id(key.id)?;
    if key.public_key.0.len() != KYBER_KEY_BYTES || key.public_key.0[0] != KYBER_KEY_TYPE {
        return Err(Failure::new(ErrorCode::KeyInvalid, "a Kyber prekey must be 0x08 and 1568 bytes (Kyber-1024)"));
    }
    check_signature(&key.signature.0)
}

fn check_signature(signature: &[u8]) -> Result<(), Failure> {
    match signature.len() {
        SIGNATURE_BYTES => Ok(()),
        _ => Err(Failure::new(ErrorCode::KeyInvalid, "a prekey's signature must be 64 bytes")),
    }
}
