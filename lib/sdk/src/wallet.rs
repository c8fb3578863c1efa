//! Ethereum wallets that sign in and certify devices. Keys are wiped from memory when a wallet is dropped.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer::k256::elliptic_curve::rand_core::OsRng;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use nepto_proto::certificate::SignedMessage;
use nepto_proto::siwe::SiweMessage;
use zeroize::{Zeroize, Zeroizing};

use crate::SdkError;
use crate::env::Env;

/// A wallet whose key is at hand.
pub struct Wallet {
    signer: PrivateKeySigner,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// A new one.
    pub fn random(env: &Env) -> Result<Self, SdkError> {
        Self::from_key_bytes(Zeroizing::new(env.bytes()))
    }

    /// From a private key: 64 hex digits, with or without `0x`.
    pub fn from_private_key(text: &str) -> Result<Self, SdkError> {
        let digits = text.trim();
        let mut bytes = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), bytes.as_mut())
            .map_err(|_| SdkError::Wallet("a private key is 64 hex digits".into()))?;
        Self::from_key_bytes(bytes)
    }

    fn from_key_bytes(bytes: Zeroizing<[u8; 32]>) -> Result<Self, SdkError> {
        let mut key = B256::from(*bytes);
        let signer = PrivateKeySigner::from_bytes(&key).map_err(|_| SdkError::Wallet("not a private key".into()));
        key.0.zeroize();
        Ok(Self { signer: signer? })
    }

    /// From a BIP-39 phrase, at `m/44'/60'/0'/0/{index}`.
    pub fn from_mnemonic(phrase: &str, index: u32) -> Result<Self, SdkError> {
        MnemonicBuilder::try_from_phrase_nth(phrase.trim(), index)
            .map(|signer| Self { signer })
            .map_err(|_| SdkError::Wallet("the phrase is not a valid list of 12 to 24 English words".into()))
    }

    /// From an encrypted keystore file (version 3, as geth and Foundry write it).
    pub fn from_keystore(path: &Path, password: &str) -> Result<Self, SdkError> {
        PrivateKeySigner::decrypt_keystore(path, password)
            .map(|signer| Self { signer })
            .map_err(|error| SdkError::Wallet(format!("{}: {error}", path.display())))
    }

    /// Writes an encrypted keystore file into a folder, under this name or one that is drawn. Returns its path.
    pub fn save_keystore(&self, folder: &Path, password: &str, name: Option<&str>) -> Result<PathBuf, SdkError> {
        let mut key = self.signer.to_bytes();
        let written = PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.0, password, name);
        key.0.zeroize();
        let (_, drawn) = written.map_err(|error| SdkError::Wallet(format!("{}: {error}", folder.display())))?;
        Ok(folder.join(name.map_or(drawn, str::to_owned)))
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Signs a text as wallets do for people (EIP-191, `personal_sign`).
    pub fn sign_text(&self, text: &str) -> Result<[u8; 65], SdkError> {
        let signature = self.signer.sign_message_sync(text.as_bytes());
        signature.map(|signature| signature.as_bytes()).map_err(|error| SdkError::Wallet(error.to_string()))
    }

    /// Signs an EIP-4361 message.
    pub fn sign(&self, message: &SiweMessage) -> Result<SignedMessage, SdkError> {
        let message = message.to_string();
        let signature = format!("0x{}", hex::encode(self.sign_text(&message)?));
        Ok(SignedMessage { message, signature })
    }
}
