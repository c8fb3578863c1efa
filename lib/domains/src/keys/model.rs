//! Which keys and names are well-formed. Pure rules.

use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::keys::{DeviceSetup, SignedPrekey, UploadKeys};
use nepto_proto::limits::{NAME_CHARS_MAX, ONE_TIME_PREKEYS_MAX};
use nepto_proto::xeddsa::{PublicKey, XeddsaError};

use crate::text::is_plain;

/// A serialized Kyber-1024 public key: its type byte and 1,568 bytes.
const KYBER_KEY_TYPE: u8 = 0x08;
const KYBER_KEY_BYTES: usize = 1_569;
/// Prekey ids of libsignal's clients have 24 bits.
const PREKEY_ID_MAX: u32 = 0x00ff_ffff;

/// What a new device brings along.
pub fn check_setup(setup: &DeviceSetup, identity_key: &[u8]) -> Result<(), Failure> {
    let name = setup.name.trim();
    if name.chars().count() > NAME_CHARS_MAX || !is_plain(name) {
        let detail = format!("a device's name has 1 to {NAME_CHARS_MAX} characters on one line, all of which show");
        return Err(Failure::new(ErrorCode::NameInvalid, detail));
    }
    let identity = read_ec(identity_key, "the identity key")?;
    check_signed_ec(&setup.signed_prekey, &identity)?;
    check_kyber(&setup.last_resort, &identity)
}

/// What a device uploads. A full one takes some milliseconds: two hundred operations on the curve.
pub fn check_upload(keys: &UploadKeys, identity_key: &[u8]) -> Result<(), Failure> {
    if keys.ec.len() > ONE_TIME_PREKEYS_MAX || keys.kyber.len() > ONE_TIME_PREKEYS_MAX {
        return Err(key_limit());
    }
    let identity = read_ec(identity_key, "the identity key")?;
    keys.signed_prekey.iter().try_for_each(|key| check_signed_ec(key, &identity))?;
    keys.last_resort.iter().try_for_each(|key| check_kyber(key, &identity))?;
    for key in &keys.ec {
        check_id(key.id)?;
        read_ec(&key.public_key.0, "an EC prekey")?;
    }
    keys.kyber.iter().try_for_each(|key| check_kyber(key, &identity))
}

pub fn key_limit() -> Failure {
    Failure::new(ErrorCode::KeyLimit, format!("at most {ONE_TIME_PREKEYS_MAX} one-time prekeys of each kind"))
}

/// The identity key is another account's.
pub fn identity_taken() -> Failure {
    let detail = "the device's key belongs to another account for good; sign in as a new device";
    Failure::new(ErrorCode::IdentityTaken, detail)
}

fn invalid(detail: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::KeyInvalid, detail)
}

fn check_id(id: u32) -> Result<(), Failure> {
    match id {
        1..=PREKEY_ID_MAX => Ok(()),
        _ => Err(invalid(format!("a prekey's id must be 1 to {PREKEY_ID_MAX}"))),
    }
}

fn read_ec(key: &[u8], what: &str) -> Result<PublicKey, Failure> {
    PublicKey::from_serialized(key).map_err(|error| invalid(format!("{what}: {error}")))
}

fn check_signed_ec(key: &SignedPrekey, identity: &PublicKey) -> Result<(), Failure> {
    check_id(key.id)?;
    read_ec(&key.public_key.0, "the signed prekey")?;
    check_signature(key, identity, "the signed prekey")
}

fn check_kyber(key: &SignedPrekey, identity: &PublicKey) -> Result<(), Failure> {
    check_id(key.id)?;
    if key.public_key.0.len() != KYBER_KEY_BYTES || key.public_key.0[0] != KYBER_KEY_TYPE {
        return Err(invalid("a Kyber prekey must be 0x08 and 1568 bytes (Kyber-1024)"));
    }
    check_signature(key, identity, "a Kyber prekey")
}

/// Whoever does not have the private half of the identity key can't make one of these.
fn check_signature(key: &SignedPrekey, identity: &PublicKey, what: &str) -> Result<(), Failure> {
    identity.verify(&key.public_key.0, &key.signature.0).map_err(|error| match error {
        XeddsaError::Signature => {
            invalid(format!("the signature of {what} (id {}) is not by the identity key over all its bytes", key.id))
        }
        other => invalid(format!("{what}: {other}")),
    })
}

#[cfg(test)]
mod tests {
    use nepto_proto::xeddsa::{public_key, sign};

    use super::*;

    const IDENTITY: [u8; 32] = [7; 32];

    fn signed(by: &[u8; 32], id: u32, public_key: Vec<u8>) -> SignedPrekey {
        let signature = sign(by, &public_key, &[3; 64]).to_vec().into();
        SignedPrekey { id, public_key: public_key.into(), signature }
    }

    fn kyber(by: &[u8; 32], id: u32) -> SignedPrekey {
        signed(by, id, [vec![KYBER_KEY_TYPE], vec![9; 1_568]].concat())
    }

    fn ec(by: &[u8; 32], id: u32) -> SignedPrekey {
        signed(by, id, public_key(&[id as u8; 32]).to_vec())
    }

    fn refused(upload: UploadKeys) -> Option<ErrorCode> {
        check_upload(&upload, &public_key(&IDENTITY)).err().map(|failure| failure.code)
    }

    #[test]
    fn prekeys_count_only_with_a_signature_of_the_identity_key() {
        let (mine, other) = (&IDENTITY, &[8; 32]);
        let upload = |key: SignedPrekey| UploadKeys { signed_prekey: Some(key), ..UploadKeys::default() };
        let last = |key: SignedPrekey| UploadKeys { last_resort: Some(key), ..UploadKeys::default() };
        let one_time = |key: SignedPrekey| UploadKeys { kyber: vec![kyber(mine, 5), key], ..UploadKeys::default() };
        assert_eq!(refused(upload(ec(mine, 1))), None);
        assert_eq!(refused(last(kyber(mine, 1))), None);
        assert_eq!(refused(one_time(kyber(mine, 6))), None);
        for forged in [upload(ec(other, 1)), last(kyber(other, 1)), one_time(kyber(other, 6))] {
            assert_eq!(refused(forged), Some(ErrorCode::KeyInvalid));
        }
        let moved = SignedPrekey { public_key: ec(mine, 2).public_key, ..ec(mine, 1) };
        assert_eq!(refused(upload(moved)), Some(ErrorCode::KeyInvalid), "the signature of another key");
        let setup =
            |by: &[u8; 32]| DeviceSetup { name: "phone".into(), signed_prekey: ec(mine, 1), last_resort: kyber(by, 2) };
        assert!(check_setup(&setup(mine), &public_key(mine)).is_ok());
        for (setup, identity) in [(setup(other), mine), (setup(mine), other)] {
            let failure = check_setup(&setup, &public_key(identity)).unwrap_err();
            assert_eq!(failure.code, ErrorCode::KeyInvalid);
        }
    }

    #[test]
    fn keys_of_small_order_are_no_keys_wherever_they_stand() {
        use nepto_proto::api::keys::EcPrekey;
        let zero = [vec![5], vec![0; 32]].concat();
        let one_time = EcPrekey { id: 1, public_key: zero.clone().into() };
        assert_eq!(refused(UploadKeys { ec: vec![one_time], ..UploadKeys::default() }), Some(ErrorCode::KeyInvalid));
        let key = signed(&IDENTITY, 1, zero.clone());
        let upload = UploadKeys { signed_prekey: Some(key), ..UploadKeys::default() };
        assert_eq!(refused(upload.clone()), Some(ErrorCode::KeyInvalid), "however it is signed");
        assert!(check_upload(&UploadKeys::default(), &zero).is_err());
    }
}
