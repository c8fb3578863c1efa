//! Addresses that are good for some minutes: HMAC-SHA256 over the file and the time, by a key that all processes share.

use hmac::{Hmac, Mac};
use nepto_proto::MediaId;
use sha2::Sha256;

/// What is signed begins so: the key signs nothing else that could be taken for it.
const PURPOSE: &[u8] = b"nepto media address 1\0";

/// The key.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn mac(&self, media: MediaId, expires_ms: u64) -> Option<Hmac<Sha256>> {
        // a key of any length is taken
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        mac.update(PURPOSE);
        mac.update(media.uuid().as_bytes());
        mac.update(&expires_ms.to_be_bytes());
        Some(mac)
    }

    /// The signature of an address that is good until then.
    pub fn sign(&self, media: MediaId, expires_ms: u64) -> Vec<u8> {
        self.mac(media, expires_ms).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
    }

    /// Whether an address is good now. Takes as long for every wrong signature.
    pub fn is_good(&self, media: MediaId, expires_ms: u64, signature: &[u8], now_ms: i64) -> bool {
        let signed = self.mac(media, expires_ms).is_some_and(|mac| mac.verify_slice(signature).is_ok());
        signed && u64::try_from(now_ms).is_ok_and(|now_ms| now_ms < expires_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_address_is_good_for_one_file_and_one_time() {
        let [media, other] = [1, 2].map(|number| MediaId::new(Uuid::from_u128(number)));
        let (key, another) = (Key::new([1; 32]), Key::new([2; 32]));
        let signature = key.sign(media, 1_000);
        assert!(key.is_good(media, 1_000, &signature, 999));
        assert!(!key.is_good(media, 1_000, &signature, 1_000), "its time is over");
        assert!(!key.is_good(media, 1_001, &signature, 999), "a longer time");
        assert!(!key.is_good(other, 1_000, &signature, 999));
        assert!(!another.is_good(media, 1_000, &signature, 999));
        for wrong in [&signature[..31], &[], &[0; 32]] {
            assert!(!key.is_good(media, 1_000, wrong, 999));
        }
    }
}
