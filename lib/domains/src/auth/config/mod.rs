//! What this domain reads of the configuration.

mod sign_up;

use std::path::PathBuf;

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use serde::Deserialize;

pub use sign_up::{Proof, SignUp};

pub const SECTIONS: &[Declared] = &[Declared::of::<Tokens>(), Declared::of::<SignUp>(), Declared::of::<Limits>()];

/// How access and refresh tokens are made. Where they are checked is known to every process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Ed25519 private key, PKCS#8 PEM: only where this domain's API runs. Made by `provision`.
    pub signing_key_file: PathBuf,
    /// Life of an access token.
    pub access_ttl_s: u64,
    /// Life of a refresh token that is not used.
    pub refresh_ttl_s: u64,
    /// Life of a sign-in nonce.
    pub nonce_ttl_s: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            signing_key_file: ".nepto/keys/tokens.pem".into(),
            access_ttl_s: 600,
            refresh_ttl_s: 60 * 86_400,
            nonce_ttl_s: 300,
        }
    }
}

impl Section for Tokens {
    const NAME: &'static str = "tokens";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        match self.access_ttl_s == 0 || self.refresh_ttl_s <= self.access_ttl_s {
            true => Err(ConfigError::value("tokens.refresh_ttl_s", "must exceed access_ttl_s, which must not be 0")),
            false => Ok(()),
        }
    }
}

/// Rate limits of signing in.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Nonces, sign-ins and other unauthenticated requests of one address.
    pub sign_ins_per_address_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sign_ins_per_address_per_minute: 60 }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
