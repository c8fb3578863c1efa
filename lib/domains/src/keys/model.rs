//! Which keys and names are well-formed. Pure rules.

use std::collections::BTreeSet;

use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::keys::{DeviceSetup, KeyStock, SignedPrekey, UploadKeys};
use nepto_proto::limits::{NAME_CHARS_MAX, ONE_TIME_PREKEYS_MAX};
use nepto_proto::names::check_name;
use nepto_proto::xeddsa::{PublicKey, XeddsaError};

/// A serialized Kyber-1024 public key: its type byte and 1,568 bytes.
const KYBER_KEY_TYPE: u8 = 0x08;
const KYBER_KEY_BYTES: usize = 1_569;
/// Prekey ids of libsignal's clients have 24 bits.
const PREKEY_ID_MAX: u32 = 0x00ff_ffff;

/// What a new device brings along.
pub fn check_setup(setup: &DeviceSetup, identity_key: &[u8]) -> Result<(), Failure> {
    if let Err(problem) = check_name(&setup.name, NAME_CHARS_MAX) {
        let detail = format!("a device's name has 1 to {NAME_CHARS_MAX} characters on one line: {problem}");
        return Err(Failure::new(ErrorCode::NameInvalid, detail));
    }
    let identity = read_ec(identity_key, "the identity key")?;
    check_signed_ec(&setup.signed_prekey, &identity)?;
    check_kyber(&setup.last_resort, &identity)
}

/// How many keys a device uploads, their ids, and how long they are: what can be seen without any arithmetic.
pub fn check_ids(keys: &UploadKeys) -> Result<(), Failure> {
    if keys.ec.len() > ONE_TIME_PREKEYS_MAX || keys.kyber.len() > ONE_TIME_PREKEYS_MAX {
        return Err(key_limit());
    }
    keys.signed_prekey.iter().try_for_each(|key| check_id(key.id))?;
    keys.last_resort.iter().chain(&keys.kyber).try_for_each(check_kyber_form)?;
    check_one_time_ids(keys.ec.iter().map(|key| key.id))?;
    check_one_time_ids(keys.kyber.iter().map(|key| key.id))
}

fn check_one_time_ids(ids: impl Iterator<Item = u32>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for id in ids {
        check_id(id)?;
        if !seen.insert(id) {
            return Err(invalid(format!("the id {id} stands twice in this upload")));
        }
    }
    Ok(())
}

/// Whether an upload goes with what the device has: its one-time keys, its signed prekey and its last resort. The transaction
/// that takes it in says the last word.
pub fn check_fits(
    keys: &UploadKeys,
    stock: &KeyStock,
    [signed, last_resort]: [&SignedPrekey; 2],
) -> Result<(), Failure> {
    let is_used = |lowest: Option<u32>, next: u32| lowest.is_some_and(|id| id < next);
    let is_other = |key: &Option<SignedPrekey>, known: &SignedPrekey, next: u32| {
        key.as_ref().is_some_and(|key| key.id < next && (key.id, &key.public_key) != (known.id, &known.public_key))
    };
    if is_used(keys.ec.iter().map(|key| key.id).min(), stock.next.ec)
        || is_used(keys.kyber.iter().map(|key| key.id).min(), stock.next.kyber)
        || is_other(&keys.signed_prekey, signed, stock.next.signed_prekey)
        || is_other(&keys.last_resort, last_resort, stock.next.last_resort)
    {
        return Err(key_used());
    }
    let kept = |left: u32| if keys.replace { 0 } else { left as usize };
    if kept(stock.ec) + keys.ec.len() > ONE_TIME_PREKEYS_MAX
        || kept(stock.kyber) + keys.kyber.len() > ONE_TIME_PREKEYS_MAX
    {
        return Err(key_limit());
    }
    Ok(())
}

/// The keys that a device uploads. A full upload takes some milliseconds: two hundred operations on the curve.
pub fn check_keys(keys: &UploadKeys, identity_key: &[u8]) -> Result<(), Failure> {
    let identity = read_ec(identity_key, "the identity key")?;
    keys.signed_prekey.iter().try_for_each(|key| check_signed_ec(key, &identity))?;
    keys.last_resort.iter().try_for_each(|key| check_kyber(key, &identity))?;
    keys.ec.iter().try_for_each(|key| read_ec(&key.public_key.0, "an EC prekey").map(drop))?;
    keys.kyber.iter().try_for_each(|key| check_kyber(key, &identity))
}

pub fn key_limit() -> Failure {
    Failure::new(ErrorCode::KeyLimit, format!("at most {ONE_TIME_PREKEYS_MAX} one-time prekeys of each kind"))
}

pub fn key_used() -> Failure {
    Failure::new(ErrorCode::KeyUsed, "ids of prekeys only grow; GET /v1/keys/count says which come next")
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
    check_kyber_form(key)?;
    check_signature(key, identity, "a Kyber prekey")
}

fn check_kyber_form(key: &SignedPrekey) -> Result<(), Failure> {
    check_id(key.id)?;
    if key.public_key.0.len() != KYBER_KEY_BYTES || key.public_key.0[0] != KYBER_KEY_TYPE {
        return Err(invalid("a Kyber prekey must be 0x08 and 1568 bytes (Kyber-1024)"));
    }
    Ok(())
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
        check_keys(&upload, &public_key(&IDENTITY)).err().map(|failure| failure.code)
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
        assert!(check_keys(&UploadKeys::default(), &zero).is_err());
    }

    #[test]
    fn what_is_cheap_to_see_is_refused_whoever_signed() {
        use nepto_proto::api::keys::{EcPrekey, NextIds};
        let next = NextIds { ec: 11, kyber: 21, signed_prekey: 4, last_resort: 6 };
        let stock = KeyStock { ec: 90, kyber: 0, ec_sum: 0, kyber_sum: 0, next };
        // nobody has signed any of these
        let forged = |id: u32, text: u8| {
            let public_key = [vec![KYBER_KEY_TYPE], vec![text; 1_568]].concat().into();
            SignedPrekey { id, public_key, signature: vec![].into() }
        };
        let (signed, last_resort) = (forged(3, 3), forged(5, 5));
        let ec = |ids: std::ops::Range<u32>| UploadKeys {
            ec: ids.map(|id| EcPrekey { id, public_key: vec![].into() }).collect(),
            ..UploadKeys::default()
        };
        let kyber = |ids: std::ops::Range<u32>| UploadKeys {
            kyber: ids.map(|id| forged(id, 0)).collect(),
            ..UploadKeys::default()
        };
        let upload = |key: SignedPrekey| UploadKeys { signed_prekey: Some(key), ..UploadKeys::default() };
        let last = |key: SignedPrekey| UploadKeys { last_resort: Some(key), ..UploadKeys::default() };
        let refusal = |keys: UploadKeys| {
            let checked = check_ids(&keys).and_then(|()| check_fits(&keys, &stock, [&signed, &last_resort]));
            checked.err().map(|failure| failure.code)
        };
        for fits in [ec(11..21), kyber(21..121), upload(forged(3, 3)), upload(forged(4, 0)), last(forged(5, 5))] {
            assert_eq!(refusal(fits.clone()), None, "{fits:?}");
        }
        for used in [ec(10..12), kyber(20..21), upload(forged(3, 0)), upload(forged(2, 3)), last(forged(5, 0))] {
            assert_eq!(refusal(used.clone()), Some(ErrorCode::KeyUsed), "{used:?}");
        }
        for many in [ec(11..22), ec(11..112), kyber(21..122)] {
            assert_eq!(refusal(many), Some(ErrorCode::KeyLimit));
        }
        assert_eq!(refusal(UploadKeys { replace: true, ..ec(11..111) }), None, "what was there goes");
        let twice = UploadKeys { ec: [ec(11..12).ec, ec(11..12).ec].concat(), ..UploadKeys::default() };
        let twice_kyber = UploadKeys { kyber: [kyber(21..23).kyber, kyber(22..23).kyber].concat(), ..twice.clone() };
        for bad in [twice, twice_kyber, ec(0..1), kyber(PREKEY_ID_MAX + 1..PREKEY_ID_MAX + 2), upload(forged(0, 0))] {
            assert_eq!(refusal(bad.clone()), Some(ErrorCode::KeyInvalid), "{bad:?}");
        }
    }
}
