//! Ethereum wallets that sign in and certify devices: a key, or a contract that a key speaks for. Keys are wiped from memory
//! when a wallet is dropped.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer::k256::elliptic_curve::rand_core::OsRng;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use nepto_chain::signature::wrap;
use nepto_files::Readers;
use nepto_proto::certificate::SignedMessage;
use nepto_proto::siwe::SiweMessage;
use nepto_sdk_core::sign_in::{Signer, signed, text_to_sign};
use zeroize::{Zeroize, Zeroizing};

use crate::SdkError;
use crate::env::Env;

pub use nepto_chain::signature::Creation;

/// A wallet whose key is at hand.
pub struct Wallet {
    signer: PrivateKeySigner,
    contract: Option<ContractWallet>,
}

/// A wallet that is a contract (ERC-1271).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractWallet {
    /// The address of the contract.
    pub address: Address,
    /// The chain that it is on, by its EIP-155 id.
    pub chain_id: u64,
    /// The call that makes it, if it does not exist yet (ERC-6492).
    pub creation: Option<Creation>,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// A wallet with a new, random key.
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
        Ok(Self { signer: signer?, contract: None })
    }

    /// From a BIP-39 phrase, at `m/44'/60'/0'/0/{index}`.
    pub fn from_mnemonic(phrase: &str, index: u32) -> Result<Self, SdkError> {
        MnemonicBuilder::try_from_phrase_nth(phrase.trim(), index)
            .map(|signer| Self { signer, contract: None })
            .map_err(|_| SdkError::Wallet("the phrase is not a valid list of 12 to 24 English words".into()))
    }

    /// From an encrypted keystore file (version 3, as geth and Foundry write it).
    pub fn from_keystore(path: &Path, password: &str) -> Result<Self, SdkError> {
        let text = std::fs::read(path);
        let text = text.map_err(|error| SdkError::Wallet(format!("{} can't be read: {error}", path.display())))?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_err() {
            let what = if text.is_empty() { "is empty" } else { "is no keystore, or was cut off" };
            return Err(SdkError::Wallet(format!("{} {what}; use a copy of it", path.display())));
        }
        PrivateKeySigner::decrypt_keystore(path, password).map(|signer| Self { signer, contract: None }).map_err(
            |error| {
                let why = match error.to_string().as_str() {
                    // the mark of the contents is another one, which is all that a keystore can say about a password
                    "Mac Mismatch" => "wrong password".to_owned(),
                    why => format!("no keystore of version 3: {why}"),
                };
                SdkError::Wallet(format!("{}: {why}", path.display()))
            },
        )
    }

    /// Writes an encrypted keystore file into a folder, under this name or one that is drawn, readable by its owner alone. A
    /// file that is there is never replaced. Returns its path.
    pub fn save_keystore(&self, folder: &Path, password: &str, name: Option<&str>) -> Result<PathBuf, SdkError> {
        let bad = |error: &dyn std::fmt::Display| SdkError::Wallet(format!("{}: {error}", folder.display()));
        let unfinished = nepto_files::unfinished(&folder.join("keystore")).map_err(|error| bad(&error))?;
        nepto_files::private_folder(&unfinished).map_err(|error| bad(&error))?;
        let mut key = self.signer.to_bytes();
        let written = PrivateKeySigner::encrypt_keystore(&unfinished, &mut OsRng, key.0, password, name);
        key.0.zeroize();
        let published = written.map_err(|error| bad(&error)).and_then(|(_, drawn)| {
            let name = name.map_or(drawn, str::to_owned);
            let path = folder.join(&name);
            nepto_files::publish(&unfinished.join(name), &path, Readers::Owner).map_err(|error| bad(&error))?;
            Ok(path)
        });
        let _ = std::fs::remove_dir_all(&unfinished);
        published
    }

    /// The contract that this key speaks for. It must take the key's signature under the text (EIP-191) as it is: wallets
    /// that want their owners to sign something else are not served by this.
    #[must_use]
    pub fn of_contract(self, contract: ContractWallet) -> Self {
        Self { contract: Some(contract), ..self }
    }

    /// What it is as a contract, if it is one.
    pub const fn contract(&self) -> Option<&ContractWallet> {
        self.contract.as_ref()
    }

    /// The contract's address for a contract wallet, else that of the key.
    pub fn address(&self) -> Address {
        self.contract.as_ref().map_or_else(|| self.signer.address(), |contract| contract.address)
    }

    /// Whose signature it gives.
    pub fn signer(&self) -> Signer {
        let contract_chain = self.contract.as_ref().map(|contract| contract.chain_id);
        Signer { address: self.address(), contract_chain }
    }

    /// Signs a text as wallets do for people (EIP-191, `personal_sign`).
    pub fn sign_text(&self, text: &str) -> Result<Vec<u8>, SdkError> {
        let signature = self.signer.sign_message_sync(text.as_bytes());
        let signature = signature.map_err(|error| SdkError::Wallet(error.to_string()))?.as_bytes();
        let creation = self.contract.as_ref().and_then(|contract| contract.creation.as_ref());
        Ok(creation.map_or_else(|| signature.to_vec(), |creation| wrap(creation, &signature)))
    }

    /// Signs an EIP-4361 message. Parts of it come from a server: nothing is signed that could be read as something else, or
    /// that shows its owner something else than it says.
    pub fn sign(&self, message: &SiweMessage) -> Result<SignedMessage, SdkError> {
        let text = text_to_sign(message)?;
        let signature = self.sign_text(&text)?;
        Ok(signed(text, &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::siwe::verify_eoa;

    // of the BIP-39 test phrase that every development chain knows
    const PHRASE: &str = "test test test test test test test test test test test junk";
    const FIRST: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    const FIRST_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn keys_and_phrases_give_the_known_addresses() {
        assert_eq!(Wallet::from_mnemonic(PHRASE, 0).unwrap().address().to_string(), FIRST);
        assert_ne!(Wallet::from_mnemonic(PHRASE, 1).unwrap().address().to_string(), FIRST);
        assert_eq!(Wallet::from_private_key(FIRST_KEY).unwrap().address().to_string(), FIRST);
        assert_eq!(Wallet::from_private_key(&FIRST_KEY[2..]).unwrap().address().to_string(), FIRST);
        let long = format!("{FIRST_KEY}00");
        for bad in ["", "0x", &FIRST_KEY[..60], &"zz".repeat(32), &"00".repeat(32), &"ff".repeat(32), &long] {
            assert!(Wallet::from_private_key(bad).is_err(), "{bad}");
        }
        assert!(Wallet::from_mnemonic("test test", 0).is_err());
    }

    #[test]
    fn signatures_are_those_that_servers_check() {
        let wallet = Wallet::from_private_key(FIRST_KEY).unwrap();
        let signature = wallet.sign_text("a text").unwrap();
        verify_eoa("a text", &signature, wallet.address()).unwrap();
        assert!(verify_eoa("another text", &signature, wallet.address()).is_err());
    }

    #[test]
    fn nothing_is_signed_that_says_more_than_it_seems_to() {
        let wallet = Wallet::from_private_key(FIRST_KEY).unwrap();
        let message = |domain: &str, uri: &str, nonce: &str| {
            let server_time_ms = 1_800_000_000_000;
            let info = nepto_proto::api::ServerInfo {
                domain: domain.into(),
                uri: uri.into(),
                chains: vec![1],
                sockets: vec![],
                server_time_ms,
                sign_up: Default::default(),
                version: String::new(),
            };
            let (resource, env) = (nepto_proto::certificate::Resource::Link(wallet.address()), Env::system());
            nepto_sdk_core::sign_in::wallet_message(&info, nonce.into(), wallet.signer(), "Link.", &resource, &env)
        };
        let (domain, uri, nonce) = ("chat.example.org", "https://chat.example.org", "abcdefgh1");
        wallet.sign(&message(domain, uri, nonce)).unwrap();
        let resource = "\nResources:\n- urn:nepto:revoke:1";
        for (domain, uri, nonce) in [
            (
                domain,
                format!("{uri}\nVersion: 1\nChain ID: 1\nNonce: abcdefgh1\nIssued At: 2027-01-15T08:00:00Z{resource}"),
                nonce.to_owned(),
            ),
            (domain, uri.to_owned(), format!("abcdefgh1\nIssued At: 2027-01-15T08:00:00Z{resource}")),
            (domain, uri.to_owned(), "short".to_owned()),
            (domain, format!("{uri}\u{202e}gro"), nonce.to_owned()),
            ("evil.org wants you to sign in with your Ethereum account:\n0xf39F", uri.to_owned(), nonce.to_owned()),
            ("chat.example.org\r", uri.to_owned(), nonce.to_owned()),
            ("chat.exämple.org", uri.to_owned(), nonce.to_owned()),
            ("", uri.to_owned(), nonce.to_owned()),
        ] {
            let refused = wallet.sign(&message(domain, &uri, &nonce));
            assert!(matches!(refused, Err(SdkError::Unsignable(_))), "{domain:?} {uri:?} {nonce:?}: {refused:?}");
        }
    }

    #[test]
    fn a_keystore_is_read_back_with_its_password_alone() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = Wallet::from_private_key(FIRST_KEY).unwrap();
        let path = wallet.save_keystore(folder.path(), "secret", Some("main.json")).unwrap();
        assert_eq!(Wallet::from_keystore(&path, "secret").unwrap().address(), wallet.address());
        let wrong = Wallet::from_keystore(&path, "guess").unwrap_err().to_string();
        assert!(wrong.contains("wrong password"), "{wrong}");
        let text = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["version"], 3);
        assert!(!text.contains(&FIRST_KEY[2..]));
        let drawn = wallet.save_keystore(folder.path(), "secret", None).unwrap();
        assert_eq!(Wallet::from_keystore(&drawn, "secret").unwrap().address(), wallet.address());
        // it is somebody's account: nothing takes its place
        let other = Wallet::random(&Env::system()).unwrap();
        assert!(other.save_keystore(folder.path(), "secret", Some("main.json")).is_err());
        assert_eq!(Wallet::from_keystore(&path, "secret").unwrap().address(), wallet.address());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
        for (broken, said) in [("", "is empty"), (&text[..text.len() / 2], "cut off")] {
            std::fs::write(&path, broken).unwrap();
            let error = Wallet::from_keystore(&path, "secret").unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("main.json") && error.contains("copy"), "{error}");
        }
    }

    #[test]
    fn a_wallet_does_not_print_its_key() {
        let text = format!("{:?}", Wallet::from_private_key(FIRST_KEY).unwrap());
        assert!(text.contains(&FIRST.to_lowercase()) && !text.contains(&FIRST_KEY[2..10]), "{text}");
    }
}
