//! Signing in, without the network in between: the text that a wallet signs, and what the server's answer settles.
//!
//! 1. [`ask`] draws the installation's keys if there are none, and words the message. The wallet signs it: a key at hand, or
//!    somebody's wallet in a browser.
//! 2. [`Asked::answered`] is the body of the request to the server.
//! 3. [`Asked::was_removed`] says whether one has to sign in again, with new keys after [`reset_installation`].
//! 4. [`record`] keeps what the server said; then [`Core::open`](crate::core::Core::open) works.

use alloy_primitives::Address;
use nepto_proto::api::ServerInfo;
use nepto_proto::api::auth::{SignIn, Tokens};
use nepto_proto::api::keys::DeviceSetup;
use nepto_proto::certificate::{Resource, SignedMessage};
use nepto_proto::limits::CLOCK_SKEW_MAX;
use nepto_proto::siwe::{SiweError, SiweMessage};

use crate::SdkError;
use crate::env::Env;
use crate::keys::{self, SetUp};
use crate::store::Store;
use crate::store::backend::Durability;
use crate::store::profile::{Installation, Registration};

/// Whose signature is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// The address of the wallet.
    pub address: Address,
    /// Its chain, by its EIP-155 id, if the wallet is a contract; `None`: a key signs.
    pub contract_chain: Option<u64>,
}

/// A sign-in that waits for the wallet.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it says.
    pub message: SiweMessage,
    /// The text to sign (EIP-191, `personal_sign`).
    pub text: String,
    /// The device that it certifies.
    pub device: DeviceSetup,
    /// Its keys were drawn for this sign-in.
    is_fresh: bool,
}

impl Asked {
    /// The body of `POST /v1/auth/sign-in`.
    pub fn answered(&self, signature: &[u8], invite: Option<String>) -> SignIn {
        SignIn { signed: signed(self.text.clone(), signature), device: self.device.clone(), invite }
    }

    /// Whether the server made another device of keys that one had before. That one was removed, and whoever has heard of it
    /// would ask about its keys for ever: the other one is to be removed as well. Tokens of another account than before are
    /// refused, and their device is to be removed too.
    pub fn was_removed(&self, store: &Store, tokens: &Tokens) -> Result<bool, SdkError> {
        let Some(before) = store.registration()? else { return Ok(false) };
        if before.account != tokens.account {
            return Err(SdkError::OtherAccount(before.account));
        }
        Ok(!self.is_fresh && before.device != tokens.device)
    }
}

/// A text with the signature of its wallet.
pub fn signed(text: String, signature: &[u8]) -> SignedMessage {
    SignedMessage { message: text, signature: format!("0x{}", hex::encode(signature)) }
}

/// Words the sign-in message, which also certifies this device. A new store becomes a new installation.
pub fn ask(
    store: &Store,
    env: &Env,
    info: &ServerInfo,
    nonce: String,
    signer: Signer,
    device_name: &str,
) -> Result<Asked, SdkError> {
    let SetUp { installation, device, is_fresh } = keys::set_up(store, env, device_name)?;
    let message = sign_in_message(info, nonce, signer, &installation, env)?;
    Ok(Asked { text: text_to_sign(&message)?, message, device, is_fresh })
}

/// Forgets the installation, whose device was removed. The next sign-in draws other keys.
pub fn reset_installation(store: &Store) -> Result<(), SdkError> {
    keys::replace_identity(store)
}

/// Keeps what a sign-in settled. `true`: this is another device than before, or the first one of the store.
pub fn record(
    store: &Store,
    server: &str,
    domain: &str,
    signer: Signer,
    device_name: &str,
    tokens: &Tokens,
) -> Result<bool, SdkError> {
    let txn = store.begin();
    let is_new = txn.registration()?.is_none_or(|before| before.device != tokens.device);
    txn.set_registration(&Registration {
        server: server.to_owned(),
        domain: domain.to_owned(),
        account: tokens.account,
        device: tokens.device,
        wallet: signer.address.to_string(),
        device_name: Some(device_name.to_owned()),
    })?;
    txn.set_tokens(tokens)?;
    if is_new {
        // a profile that was removed meanwhile: nobody has a session with its new number
        txn.delete_all_sessions()?;
    }
    txn.commit(Durability::Now)?;
    Ok(is_new)
}

/// A message for a wallet to sign, about one thing.
pub fn wallet_message(
    info: &ServerInfo,
    nonce: String,
    signer: Signer,
    statement: &str,
    resource: &Resource,
    env: &Env,
) -> SiweMessage {
    SiweMessage {
        scheme: None,
        domain: info.domain.clone(),
        address: signer.address,
        statement: Some(statement.to_owned()),
        uri: info.uri.clone(),
        chain_id: signer.contract_chain.unwrap_or_else(|| info.chains.first().copied().unwrap_or(1)),
        nonce,
        issued_at: env.date_time().into(),
        expiration_time: None,
        not_before: None,
        request_id: None,
        resources: vec![resource.to_string()],
    }
}

fn sign_in_message(
    info: &ServerInfo,
    nonce: String,
    signer: Signer,
    installation: &Installation,
    env: &Env,
) -> Result<SiweMessage, SdkError> {
    let identity = installation.key_pair()?.identity_key().serialize();
    let resource = Resource::Device {
        registration_id: installation
            .registration_id
            .try_into()
            .map_err(|_| SdkError::Internal("the registration id is out of range"))?,
        identity_key: identity
            .as_ref()
            .try_into()
            .map_err(|_| SdkError::Internal("the identity key has no 33 bytes"))?,
    };
    let statement = "Sign in to Nepto. This also lets this device speak for this wallet.";
    Ok(wallet_message(info, nonce, signer, statement, &resource, env))
}

/// The text of an EIP-4361 message. Parts of it come from a server: there is none that could be read as something else, or
/// that shows its owner something else than it says.
pub fn text_to_sign(message: &SiweMessage) -> Result<String, SdkError> {
    let authority = [&message.domain, &message.uri];
    if authority.iter().any(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(SdkError::Unsignable("its domain or URI holds characters that neither may have"));
    }
    let text = message.to_string();
    match text.parse::<SiweMessage>() {
        Ok(read) if read == *message => Ok(text),
        Ok(_) => Err(SdkError::Unsignable("a part of it is more than one line")),
        Err(SiweError::Malformed(why)) => Err(SdkError::Unsignable(why)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses to ask for a signature while the clocks are too far apart.
pub fn check_clock(info: &ServerInfo, env: &Env) -> Result<(), SdkError> {
    let (own, server) = (env.now_ms(), info.server_time_ms);
    if u128::from(own.abs_diff(server)) > CLOCK_SKEW_MAX.as_millis() {
        return Err(clock_skew(info, env));
    }
    Ok(())
}

/// How far this machine's clock is off.
pub fn clock_skew(info: &ServerInfo, env: &Env) -> SdkError {
    let (own, server) = (env.now_ms(), info.server_time_ms);
    SdkError::ClockSkew { off_by_s: own.abs_diff(server) / 1000, ahead: own > server }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_clock_that_is_off_is_named() {
        struct Fixed(u64);
        impl crate::env::Clock for Fixed {
            fn now_ms(&self) -> u64 {
                self.0
            }
        }
        let info = ServerInfo {
            domain: "a".into(),
            uri: "https://a".into(),
            chains: vec![1],
            sockets: vec![],
            server_time_ms: 1_000_000,
            sign_up: Default::default(),
            version: String::new(),
        };
        let at = |ms| Env::new(Arc::new(Fixed(ms)), rand::SeedableRng::seed_from_u64(1));
        assert!(check_clock(&info, &at(1_000_000 + 299_000)).is_ok());
        let error = check_clock(&info, &at(1_000_000 + 400_000)).unwrap_err();
        assert!(error.to_string().contains("400 s ahead of the server's"), "{error}");
        assert!(check_clock(&info, &at(400_000)).unwrap_err().to_string().contains("600 s behind"));
    }
}
