//! Signatures by identity keys: [XEdDSA] over Curve25519, as Signal's clients make them, checked without libsignal.
//!
//! A Curve25519 public key is only the `u` of a point; the `y` of the twisted Edwards curve follows from it up to the sign
//! of `x`. Signal's clients put that sign into the highest bit of a signature, which is free, where the specification has
//! it always 0; both are taken.
//!
//! What must hold: there is one serialization of a key and one of a signature, so that "the same key" is a comparison of
//! bytes; and a key that passes has no part of small order, so that nobody signs without the private half.
//!
//! [XEdDSA]: https://signal.org/docs/specifications/xeddsa/

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::{Identity, IsIdentity};
use sha2::{Digest, Sha512};

use crate::certificate::IDENTITY_KEY_BYTES;

/// A serialized Curve25519 public key begins with this byte.
pub const EC_KEY_TYPE: u8 = 0x05;
/// `R` and `s`, 32 bytes each.
pub const SIGNATURE_BYTES: usize = 64;

/// The order of the field, 2^255 − 19, little-endian.
const FIELD_ORDER: [u8; 32] = {
    let mut order = [0xff; 32];
    (order[0], order[31]) = (0xed, 0x7f);
    order
};
/// The sign of `x`, in the last byte of a compressed point and of a signature.
const SIGN_BIT: u8 = 0x80;

/// Why a key or a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XeddsaError {
    /// It has another length or type byte.
    #[error("a Curve25519 public key must be 0x05 and 32 bytes")]
    Form,
    /// The same key has another serialization, which is the right one.
    #[error("the public key is not in its canonical form")]
    NotCanonical,
    /// Not the public half of any private key: off the curve, all zero, or with a part of small order.
    #[error("the public key belongs to no private key")]
    NoKey,
    /// The signature is not by this key, or not over this message.
    #[error("the signature is not by this key")]
    Signature,
}

/// A Curve25519 public key that has a private half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    /// The one of the two points with this `u` whose `x` is even.
    point: EdwardsPoint,
}

impl PublicKey {
    /// Reads a key as libsignal serializes it: 0x05 and 32 bytes.
    pub fn from_serialized(key: &[u8]) -> Result<Self, XeddsaError> {
        let key: &[u8; IDENTITY_KEY_BYTES] = key.try_into().map_err(|_| XeddsaError::Form)?;
        let [EC_KEY_TYPE, u @ ..] = key else { return Err(XeddsaError::Form) };
        if !u.iter().rev().lt(FIELD_ORDER.iter().rev()) {
            return Err(XeddsaError::NotCanonical);
        }
        let point = MontgomeryPoint(*u).to_edwards(0).ok_or(XeddsaError::NoKey)?;
        if point.is_identity() || !point.is_torsion_free() {
            return Err(XeddsaError::NoKey);
        }
        Ok(Self { point })
    }

    /// Checks a signature over a message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), XeddsaError> {
        let signature: &[u8; SIGNATURE_BYTES] = signature.try_into().map_err(|_| XeddsaError::Signature)?;
        let (r, mut s) = halves(signature);
        let point = if s[31] & SIGN_BIT == 0 { self.point } else { -self.point };
        s[31] &= !SIGN_BIT;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).ok_or(XeddsaError::Signature)?;
        let h = challenge(&r, &point.compress(), message);
        let found = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-point, &s);
        // compared as bytes: `r` has one form, like everything here
        if found.compress() == r && found != EdwardsPoint::identity() { Ok(()) } else { Err(XeddsaError::Signature) }
    }
}

/// Signs with a private key, for devices that have no libsignal: test doubles and load. The 64 bytes must be random.
pub fn sign(private_key: &[u8; 32], message: &[u8], random: &[u8; 64]) -> [u8; SIGNATURE_BYTES] {
    let clamped = clamp_integer(*private_key);
    let a = Scalar::from_bytes_mod_order(clamped);
    let point = EdwardsPoint::mul_base(&a).compress();
    // hash1 of the specification: 2^256 − 2, little-endian, keeps it apart from every other hash
    let mut prefix = [0xff; 32];
    prefix[0] = 0xfe;
    let r = reduce(Sha512::new().chain_update(prefix).chain_update(clamped).chain_update(message).chain_update(random));
    let commitment = EdwardsPoint::mul_base(&r).compress();
    let s = challenge(&commitment, &point, message) * a + r;
    let mut signature = [0; SIGNATURE_BYTES];
    signature[..32].copy_from_slice(commitment.as_bytes());
    signature[32..].copy_from_slice(s.as_bytes());
    signature[63] |= point.as_bytes()[31] & SIGN_BIT;
    signature
}

/// The public half of a private key, as libsignal serializes it.
pub fn public_key(private_key: &[u8; 32]) -> [u8; IDENTITY_KEY_BYTES] {
    let mut key = [EC_KEY_TYPE; IDENTITY_KEY_BYTES];
    key[1..].copy_from_slice(MontgomeryPoint::mul_base_clamped(*private_key).as_bytes());
    key
}

fn halves(signature: &[u8; SIGNATURE_BYTES]) -> (CompressedEdwardsY, [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature[..32]);
    s.copy_from_slice(&signature[32..]);
    (CompressedEdwardsY(r), s)
}

fn challenge(r: &CompressedEdwardsY, point: &CompressedEdwardsY, message: &[u8]) -> Scalar {
    reduce(Sha512::new().chain_update(r.as_bytes()).chain_update(point.as_bytes()).chain_update(message))
}

fn reduce(hash: Sha512) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use proptest::prelude::*;

    use super::*;

    /// Made by libsignal, from its own tests.
    const KEY: &str = "05ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64";
    const MESSAGE: &str = "05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a";
    const SIGNATURE: &str = "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfb\
                             ede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn serialized(point: &EdwardsPoint) -> Vec<u8> {
        [&[EC_KEY_TYPE][..], point.to_montgomery().as_bytes()].concat()
    }

    #[test]
    fn a_signature_of_libsignal_is_taken_and_none_that_differs_in_a_bit() {
        let (key, message, signature) = (bytes(KEY), bytes(MESSAGE), bytes(SIGNATURE));
        let key = PublicKey::from_serialized(&key).unwrap();
        assert_eq!(key.verify(&message, &signature), Ok(()));
        for bit in 0..8 * SIGNATURE_BYTES {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify(&message, &other), Err(XeddsaError::Signature), "bit {bit}");
        }
        for wrong in [&signature[..63], &[&signature[..], &[0]].concat()[..], &[]] {
            assert_eq!(key.verify(&message, wrong), Err(XeddsaError::Signature));
        }
        assert_eq!(key.verify(&message[1..], &signature), Err(XeddsaError::Signature));
    }

    #[test]
    fn keys_that_nobody_has_the_private_half_of_are_refused() {
        for torsion in EIGHT_TORSION {
            let refused = PublicKey::from_serialized(&serialized(&torsion));
            assert_eq!(refused, Err(XeddsaError::NoKey), "a point of small order");
            if !torsion.is_identity() {
                let mixed = PublicKey::from_serialized(&serialized(&(ED25519_BASEPOINT_POINT + torsion)));
                assert_eq!(mixed, Err(XeddsaError::NoKey), "a point with a part of small order");
            }
        }
        // on the twist: there is no y
        let twist = (2u8..).map(|n| [&[EC_KEY_TYPE, n][..], &[0; 31]].concat());
        let mut twist = twist.filter(|key| MontgomeryPoint(key[1..].try_into().unwrap()).to_edwards(0).is_none());
        assert_eq!(PublicKey::from_serialized(&twist.next().unwrap()), Err(XeddsaError::NoKey));
        for wrong in [&bytes(KEY)[1..], &[&[0x08][..], &bytes(KEY)[1..]].concat(), &[]] {
            assert_eq!(PublicKey::from_serialized(wrong), Err(XeddsaError::Form));
        }
    }

    #[test]
    fn a_key_and_a_signature_have_one_form() {
        let mut key = bytes(KEY);
        key[32] |= SIGN_BIT;
        assert_eq!(PublicKey::from_serialized(&key), Err(XeddsaError::NotCanonical));
        for above in 0..19u8 {
            let mut key = [&[EC_KEY_TYPE][..], &FIELD_ORDER].concat();
            key[1] += above;
            assert_eq!(PublicKey::from_serialized(&key), Err(XeddsaError::NotCanonical));
        }
        // s and s + the order of the group are the same number
        let mut signature = bytes(SIGNATURE);
        let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        let key = PublicKey::from_serialized(&bytes(KEY)).unwrap();
        assert_eq!(key.verify(&bytes(MESSAGE), &signature), Err(XeddsaError::Signature));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified(private in any::<[u8; 32]>(), other in any::<[u8; 32]>(),
                message in proptest::collection::vec(any::<u8>(), 0..200), random in any::<[u8; 64]>()) {
            let signature = sign(&private, &message, &random);
            let key = PublicKey::from_serialized(&public_key(&private)).unwrap();
            prop_assert_eq!(key.verify(&message, &signature), Ok(()));
            if public_key(&other) != public_key(&private) {
                let other = PublicKey::from_serialized(&public_key(&other)).unwrap();
                prop_assert_eq!(other.verify(&message, &signature), Err(XeddsaError::Signature));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(key in proptest::collection::vec(any::<u8>(), 0..40), message in any::<[u8; 5]>(),
                signature in any::<[u8; 64]>()) {
            if let Ok(key) = PublicKey::from_serialized(&key) {
                prop_assert!(key.verify(&message, &signature).is_err());
            }
            let key = PublicKey::from_serialized(&bytes(KEY)).unwrap();
            prop_assert!(key.verify(&message, &signature).is_err());
        }
    }
}
