//! The keys behind tokens: made once by `provision`, read where the domain runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nepto_files::Readers;
use nepto_kit::Config;
use nepto_kit::token::Signer;
use sha2::{Digest, Sha256};

use super::config::Tokens;

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

/// Where the private key is that signs access tokens.
pub fn signing_key_file(config: &Config) -> PathBuf {
    config.section::<Tokens>().signing_key_file.clone()
}

/// Makes the key pair that signs access tokens, unless it is there: PKCS#8 and SubjectPublicKeyInfo, PEM. Returns where the
/// private one was made. The private file is readable by its owner only. A public file that is missing or another one's is
/// rewritten.
pub fn make_token_keys(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let tokens = config.section::<Tokens>();
    let is_made = make_keys(&tokens, &config.tokens.verifying_key_file)?;
    Ok(is_made.then(|| tokens.signing_key_file.clone()))
}

fn make_keys(config: &Tokens, verifying_key_file: &Path) -> anyhow::Result<bool> {
    let is_there = config.signing_key_file.try_exists().with_context(|| shown(&config.signing_key_file))?;
    let pkcs8 = match is_there {
        true => read_pem(&config.signing_key_file, PRIVATE)?,
        false => Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())?.as_ref().to_vec(),
    };
    let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| broken(&config.signing_key_file))?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    if !read_pem(verifying_key_file, PUBLIC).is_ok_and(|known| known == public.as_ref()) {
        write_pem(verifying_key_file, PUBLIC, public.as_ref(), Readers::Everybody)?;
    }
    if !is_there {
        write_pem(&config.signing_key_file, PRIVATE, &pkcs8, Readers::Owner)?;
    }
    Ok(!is_there)
}

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

fn write_pem(path: &Path, label: &str, der: &[u8], readers: Readers) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| shown(folder))?;
    }
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
    Ok(nepto_files::write(path, text, readers)?)
}

fn read_pem(path: &Path, label: &str) -> anyhow::Result<Vec<u8>> {
    let text = std::fs::read_to_string(path).with_context(|| shown(path))?;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let body: Option<String> = body.map(|(body, _)| body.split_whitespace().collect());
    let der = body.and_then(|body| STANDARD.decode(body).ok());
    der.ok_or_else(|| broken(path))
}

fn broken(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is empty or holds no key: put a copy of it back, or remove it and provision again; then everybody signs in again",
        path.display()
    )
}

fn shown(path: &Path) -> String {
    format!("{} can't be used", path.display())
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
        let config = Tokens { signing_key_file: folder.path().join("a/key.pem"), ..Tokens::default() };
        let public = folder.path().join("a/key.pub.pem");
        let make_token_keys = |config: &Tokens| make_keys(config, &public);
        assert!(make_token_keys(&config).unwrap());
        assert!(!make_token_keys(&config).unwrap(), "an existing key is kept");
        // the public half can be had from the private one
        std::fs::write(&public, "").unwrap();
        assert!(Verifier::load(&public).is_err());
        assert!(!make_token_keys(&config).unwrap());
        let keys = Keys::load(&config).unwrap();
        let verifier = Verifier::load(&public).unwrap();
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
        // what a power cut leaves is named, and not recreated by itself: that would sign everybody out
        for broken in ["", "-----BEGIN PRIVATE KEY-----\nMFMC"] {
            std::fs::write(&config.signing_key_file, broken).unwrap();
            for error in [make_token_keys(&config).unwrap_err(), Keys::load(&config).err().unwrap()] {
                assert!(error.to_string().contains("key.pem is empty or holds no key"), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&config.signing_key_file).unwrap(), broken);
        }
    }
}
