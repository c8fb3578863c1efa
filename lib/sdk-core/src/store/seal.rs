//! Encryption at rest: passphrase → Argon2id → a key that wraps a random data key → a key for values and one for names.
//!
//! Values are XChaCha20-Poly1305 with their place as associated data, so that none can be moved to another place. Parts
//! of keys that would name people are HMAC-SHA256 of them; numbers that give an order stay readable.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::RngCore;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::StoreError;

const NONCE_BYTES: usize = 24;
/// Bytes of a blinded name.
pub const BLIND_BYTES: usize = 16;

/// What guessing a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// For people: 64 MiB, 3 passes (RFC 9106, second recommended option).
    pub const PERSON: Self = Self { memory_kib: 64 * 1024, passes: 3 };
    /// For tests, and for passphrases that are random keys already.
    pub const LOW: Self = Self { memory_kib: 64, passes: 1 };
}

/// What stands at the head of a store: how to get from the passphrase to the data key.
#[derive(Serialize, Deserialize)]
pub struct Header {
    version: u32,
    cost: Cost,
    salt: [u8; 16],
    wrapped: Vec<u8>,
}

const VERSION: u32 = 1;
const HEADER_PLACE: &[u8] = b"nepto store header 1";

/// The keys of an open store.
pub struct Keys {
    data: Zeroizing<[u8; 32]>,
    values: XChaCha20Poly1305,
    names: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Draws a data key and wraps it.
    pub fn create(passphrase: &str, cost: Cost, rng: &mut StdRng) -> Result<(Self, Header), StoreError> {
        let mut data = Zeroizing::new([0; 32]);
        rng.fill_bytes(data.as_mut());
        let keys = Self::derive(data)?;
        let header = keys.wrap(passphrase, cost, rng)?;
        Ok((keys, header))
    }

    /// Unwraps the data key. A wrong passphrase is [`StoreError::Passphrase`].
    pub fn open(passphrase: &str, header: &Header) -> Result<Self, StoreError> {
        if header.version != VERSION {
            return Err(StoreError::Version(header.version));
        }
        let wrapping = wrapping_key(passphrase, header.cost, &header.salt)?;
        let data = unseal_with(&wrapping, HEADER_PLACE, &header.wrapped).ok_or(StoreError::Passphrase)?;
        let data = Zeroizing::new(data.as_slice().try_into().map_err(|_| StoreError::Passphrase)?);
        Self::derive(data)
    }

    /// Wraps the data key under a passphrase, for a new or changed one.
    pub fn wrap(&self, passphrase: &str, cost: Cost, rng: &mut StdRng) -> Result<Header, StoreError> {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let wrapping = wrapping_key(passphrase, cost, &salt)?;
        let wrapped = seal_with(&wrapping, HEADER_PLACE, self.data.as_ref(), rng)?;
        Ok(Header { version: VERSION, cost, salt, wrapped })
    }

    fn derive(data: Zeroizing<[u8; 32]>) -> Result<Self, StoreError> {
        let values = Zeroizing::new(mac(&data, &[b"values"])?);
        let names = Zeroizing::new(mac(&data, &[b"names"])?);
        Ok(Self { values: XChaCha20Poly1305::new(values.as_ref().into()), names, data })
    }

    /// Seals a value for its place.
    pub fn seal(&self, place: &[u8], value: &[u8], rng: &mut StdRng) -> Result<Vec<u8>, StoreError> {
        seal_with(&self.values, place, value, rng)
    }

    /// Opens a value of this place. Anything that was changed or moved is [`StoreError::Tampered`].
    pub fn unseal(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        unseal_with(&self.values, place, sealed).ok_or(StoreError::Tampered)
    }

    /// A name that says nothing. Parts are told apart by their lengths.
    pub fn blind(&self, parts: &[&[u8]]) -> Result<[u8; BLIND_BYTES], StoreError> {
        let whole = mac(&self.names, parts)?;
        let mut name = [0; BLIND_BYTES];
        name.copy_from_slice(&whole[..BLIND_BYTES]);
        Ok(name)
    }
}

fn wrapping_key(passphrase: &str, cost: Cost, salt: &[u8]) -> Result<XChaCha20Poly1305, StoreError> {
    let crypto = |_| StoreError::Crypto;
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(crypto)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(crypto)?;
    Ok(XChaCha20Poly1305::new(key.as_ref().into()))
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Result<[u8; 32], StoreError> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(|_| StoreError::Crypto)?;
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

fn seal_with(cipher: &XChaCha20Poly1305, place: &[u8], value: &[u8], rng: &mut StdRng) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let payload = Payload { msg: value, aad: place };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| StoreError::Crypto)?;
    Ok([&nonce, sealed.as_slice()].concat())
}

fn unseal_with(cipher: &XChaCha20Poly1305, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: place }).ok()
}
