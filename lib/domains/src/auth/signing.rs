//! The keys behind tokens: made once by `provision`, read where the domain runs.

use std::io::Write;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nepto_kit::config::Tokens;
use nepto_kit::token::Signer;
use sha2::{Digest, Sha256};

/// Signs access tokens and seals refresh tokens.
pub struct Keys {
    pub access: Signer,
    pub refresh: [u8; 32],
}

impl Keys {
    /// Reads the signing key; the key for refresh tokens is derived from it.
    pub fn load(config: &Tokens) -> anyhow::Result<Self> {
        let access = Signer::load(&config.signing_key_file)?;
        let pem = std::fs::read(&config.signing_key_file)?;
        let refresh = Sha256::new().chain_update("nepto refresh tokens v1").chain_update(pem).finalize().into();
        Ok(Self { access, refresh })
    }
}

/// Makes the key pair that signs access tokens, unless it is there: PKCS#8 and SubjectPublicKeyInfo, PEM. Returns whether
/// it was made. The private file is readable by its owner only.
pub fn make_token_keys(config: &Tokens) -> anyhow::Result<bool> {
    if config.signing_key_file.exists() {
        return Ok(false);
    }
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())?;
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    write(&config.verifying_key_file, "PUBLIC KEY", public.as_ref(), 0o644)?;
    write(&config.signing_key_file, "PRIVATE KEY", pkcs8.as_ref(), 0o600)?;
    Ok(true)
}

fn write(path: &Path, label: &str, der: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    write!(file, "-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_kit::token::{Claims, Verifier};
    use nepto_proto::{AccountId, SessionId};
    use time::OffsetDateTime;
    use uuid::Uuid;

    #[test]
    fn made_keys_sign_and_verify() {
        let folder = tempfile::tempdir().unwrap();
        let config = Tokens {
            signing_key_file: folder.path().join("a/key.pem"),
            verifying_key_file: folder.path().join("a/key.pub.pem"),
            ..Tokens::default()
        };
        assert!(make_token_keys(&config).unwrap());
        assert!(!make_token_keys(&config).unwrap(), "an existing key is kept");
        let keys = Keys::load(&config).unwrap();
        let verifier = Verifier::load(&config.verifying_key_file).unwrap();
        let claims = Claims {
            account: AccountId::new(Uuid::from_u128(1)),
            device: 1.try_into().unwrap(),
            session: SessionId::new(Uuid::from_u128(2)),
            iat: 1_000,
            exp: 1_600,
        };
        let token = keys.access.sign(&claims).unwrap();
        let at = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
        assert_eq!(verifier.verify(&token, at(1_599)).unwrap(), claims);
        assert_eq!(verifier.verify(&token, at(1_600)).unwrap_err().code, nepto_proto::ErrorCode::TokenExpired);
        let mut tampered = token.clone();
        tampered.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
        assert_eq!(verifier.verify(&tampered, at(1_001)).unwrap_err().code, nepto_proto::ErrorCode::TokenInvalid);
    }
}
