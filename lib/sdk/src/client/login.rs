//! Signing in with a wallet, opening a profile, and what needs only a wallet.

use std::path::PathBuf;

use nepto_proto::api::ServerInfo;
use nepto_proto::api::auth::{RevokeByWallet, Tokens};
use nepto_proto::certificate::Resource;
use nepto_proto::{DeviceId, ErrorCode};
use nepto_sdk_core::sign_in::{self, Asked, check_clock, clock_skew};
use reqwest::Url;
use zeroize::Zeroizing;

use super::Client;
use super::chains::{ChainNodes, on_chain};
use crate::SdkError;
use crate::env::Env;
use crate::http::{Http, is_loopback, server_url};
use crate::store::{Store, StoreError, file};
use crate::wallet::Wallet;

/// Where a profile is kept.
pub enum ProfileLocation {
    /// Gone with the process.
    Memory,
    /// In one file, under a passphrase. Made if it isn't there.
    File {
        /// Where it is, or is to be made.
        path: PathBuf,
        /// What opens it.
        passphrase: Zeroizing<String>,
    },
    /// A store that is open already.
    Store(Box<Store>),
}

/// How to sign in.
pub struct LoginOptions {
    /// The server, for example `https://chat.example.org`.
    pub server: String,
    /// Where the device's keys and its history are kept.
    pub location: ProfileLocation,
    /// The device's name in its owner's list.
    pub device_name: String,
    /// A profile that was signed in before keeps the name that it had, also if it becomes a new device.
    pub keeps_name: bool,
    /// An invite code, where a new account needs one.
    pub invite: Option<String>,
    /// The domain that the server signs in for, where it isn't its address: behind a tunnel, in a test.
    pub domain: Option<String>,
    /// Nodes to ask about contract wallets, beside those that the profile knows already.
    pub nodes: ChainNodes,
    /// Connections to share with other clients in this process; without it a pool of its own is made.
    pub http: Option<reqwest::Client>,
    /// Clock and randomness.
    pub env: Env,
}

impl LoginOptions {
    /// With the system's clock, in memory.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            location: ProfileLocation::Memory,
            device_name: "nepto".to_owned(),
            keeps_name: false,
            invite: None,
            domain: None,
            nodes: ChainNodes::new(),
            http: None,
            env: Env::system(),
        }
    }
}

impl ProfileLocation {
    /// Makes it if it isn't there.
    fn open_or_make(self, env: &Env) -> Result<Store, SdkError> {
        match self {
            Self::File { path, passphrase } => Ok(file::in_file(&path, &passphrase, env)?),
            other => other.open(env),
        }
    }

    fn open(self, env: &Env) -> Result<Store, SdkError> {
        Ok(match self {
            Self::Memory => Store::in_memory(env)?,
            Self::File { path, .. } if !path.try_exists().map_err(StoreError::io)? => {
                return Err(SdkError::NotSignedIn);
            }
            Self::File { path, passphrase } => file::of_file(&path, &passphrase, env)?,
            Self::Store(store) => *store,
        })
    }

    /// A file that is not there yet.
    fn missing_file(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, .. } if path.try_exists().is_ok_and(|is_there| !is_there) => Some(path.clone()),
            _ => None,
        }
    }
}

/// Whether the server may have made a device although nobody heard of it: then its keys must not be lost.
fn may_have_arrived(error: &SdkError) -> bool {
    error.is_temporary() || matches!(error, SdkError::Unexpected { .. })
}

impl Client {
    /// Signs in. A new profile becomes a new device; a profile that was signed in before stays the same device, unless that
    /// was removed: then it becomes a new one and keeps its history.
    ///
    /// At the device limit the error carries the account's devices, one of which must be revoked.
    pub async fn login(options: LoginOptions, wallet: &Wallet) -> Result<Self, SdkError> {
        let LoginOptions { server, location, device_name, keeps_name, invite, domain, nodes, http: shared, env } =
            options;
        let url = server_url(&server)?;
        let http = Http::maybe_with(shared.clone(), &server, env.clone(), Box::new(()))?;
        let info = http.info().await?;
        check_domain(&url, &info, domain.as_deref())?;
        check_clock(&info, &env)?;
        let nonce = http.nonce().await?.nonce;
        let made = location.missing_file();
        let store = location.open_or_make(&env)?;
        let before = store.registration()?.and_then(|before| before.device_name);
        let device_name = before.filter(|_| keeps_name).unwrap_or(device_name);
        let asking = Asking { http: &http, info: &info, wallet, env: &env, device_name: &device_name, invite };
        let signed_in = match set_nodes(&store, nodes, wallet) {
            Ok(()) => asking.sign_in(&store, nonce).await,
            Err(error) => Err(error),
        };
        let tokens = match (signed_in, made) {
            (Err(error), Some(made)) if !may_have_arrived(&error) => {
                // a profile of nobody would only be in the way
                drop(store);
                if let Err(error) = std::fs::remove_file(&made) {
                    tracing::warn!(file = %made.display(), %error, "an empty profile was left");
                }
                return Err(error);
            }
            (signed_in, _) => signed_in?,
        };
        let is_new = sign_in::record(&store, url.as_ref(), &info.domain, wallet.signer(), &device_name, &tokens)?;
        let client = Self::over(store, env, shared).await?;
        if is_new {
            let mut core = client.inner.core();
            let me = core.me.account;
            core.set_outdated(me);
            core.greet_own_devices()?;
        }
        // others can write to a device without one-time prekeys, so a failure here only waits for the next connection
        if let Err(error) = client.inner.replenish().await {
            tracing::warn!(%error, "one-time prekeys were not uploaded yet");
        }
        Ok(client)
    }

    /// Opens a profile in which somebody signed in before. Nothing goes over the network.
    pub async fn open(location: ProfileLocation, env: Env) -> Result<Self, SdkError> {
        let store = location.open(&env)?;
        Self::over(store, env, None).await
    }
}

/// What a sign-in needs beside the profile.
struct Asking<'a> {
    http: &'a Http,
    info: &'a ServerInfo,
    wallet: &'a Wallet,
    env: &'a Env,
    device_name: &'a str,
    invite: Option<String>,
}

impl Asking<'_> {
    /// Signs the profile in.
    async fn sign_in(&self, store: &Store, nonce: String) -> Result<Tokens, SdkError> {
        let before = store.registration()?;
        let (asked, tokens) = self.ask(store, nonce).await.map_err(|error| match (error.code(), &before) {
            // its key stays with the account that it signed in to first
            (Some(ErrorCode::IdentityTaken), Some(before)) => SdkError::OtherAccount(before.account),
            _ => error,
        })?;
        match asked.was_removed(store, &tokens) {
            Ok(false) => Ok(tokens),
            Ok(true) => {
                forsake(self.http, tokens).await;
                sign_in::reset_installation(store)?;
                let nonce = self.http.nonce().await?.nonce;
                Ok(self.ask(store, nonce).await?.1)
            }
            Err(error) => {
                forsake(self.http, tokens).await;
                Err(error)
            }
        }
    }

    async fn ask(&self, store: &Store, nonce: String) -> Result<(Asked, Tokens), SdkError> {
        let asked = sign_in::ask(store, self.env, self.info, nonce, self.wallet.signer(), self.device_name)?;
        let signature = self.wallet.sign_text(&asked.text)?;
        let signed_in = self.http.sign_in(&asked.answered(&signature, self.invite.clone())).await;
        let tokens = signed_in.map_err(|error| read_clock(error, self.info, self.env))?;
        Ok((asked, tokens))
    }
}

/// Takes nodes into the profile. A contract wallet needs one of its chain: this device will have to know its own account's
/// other devices.
fn set_nodes(store: &Store, more: ChainNodes, wallet: &Wallet) -> Result<(), SdkError> {
    let mut nodes = store.nodes()?;
    nodes.extend(more);
    let chains = on_chain(&nodes)?;
    if let Some(contract) = wallet.contract().filter(|contract| !chains.knows(contract.chain_id)) {
        return Err(SdkError::OwnNodeNeeded { wallet: contract.address.to_string(), chain_id: contract.chain_id });
    }
    Ok(store.set_nodes(&nodes)?)
}

/// Removes a device that a sign-in made and that nobody will ever use.
async fn forsake(http: &Http, tokens: Tokens) {
    let device = tokens.device;
    let removed = async {
        http.adopt(tokens).await?;
        http.delete_device(device).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%device, %error, "a device that nobody uses was not removed");
    }
}

/// Removes a device by a wallet's signature alone: for who is locked out, or lost the device.
pub async fn revoke_device_by_wallet(
    server: &str,
    domain: Option<&str>,
    wallet: &Wallet,
    device: DeviceId,
    env: &Env,
) -> Result<(), SdkError> {
    let http = Http::new(server, env.clone(), Box::new(()))?;
    let info = http.info().await?;
    check_domain(&server_url(server)?, &info, domain)?;
    check_clock(&info, env)?;
    let nonce = http.nonce().await?.nonce;
    let statement = format!("Remove device {device} from this account.");
    let message = sign_in::wallet_message(&info, nonce, wallet.signer(), &statement, &Resource::Revoke(device), env);
    http.revoke_by_wallet(&RevokeByWallet { signed: wallet.sign(&message)? }).await
}

/// A server may only ask for signatures for itself: one for another domain would sign it in there.
fn check_domain(url: &Url, info: &ServerInfo, expected: Option<&str>) -> Result<(), SdkError> {
    let host = url.host_str().unwrap_or_default();
    let own = match url.port() {
        Some(port) => info.domain == format!("{host}:{port}") || info.domain == host,
        None => info.domain == host,
    };
    // this machine has several names, and nobody else's domain is one of them
    let here = is_loopback(url) && server_url(&info.domain).is_ok_and(|domain| is_loopback(&domain));
    let allowed = match expected {
        Some(expected) => info.domain == expected,
        None => own || here,
    };
    if allowed {
        return Ok(());
    }
    Err(SdkError::DomainMismatch { url: url.to_string(), domain: info.domain.clone() })
}

fn read_clock(error: SdkError, info: &ServerInfo, env: &Env) -> SdkError {
    match error.code() {
        Some(ErrorCode::ClockSkew) => clock_skew(info, env),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(domain: &str) -> ServerInfo {
        let uri = format!("https://{domain}");
        ServerInfo {
            domain: domain.into(),
            uri,
            chains: vec![1],
            sockets: vec![],
            server_time_ms: 1_000_000,
            sign_up: Default::default(),
            version: String::new(),
        }
    }

    fn allowed(url: &str, domain: &str, expected: Option<&str>) -> bool {
        check_domain(&server_url(url).unwrap(), &info(domain), expected).is_ok()
    }

    #[test]
    fn a_server_can_not_ask_for_a_signature_for_another() {
        assert!(allowed("https://chat.example.org", "chat.example.org", None));
        assert!(allowed("chat.example.org:8443", "chat.example.org:8443", None));
        assert!(allowed("http://127.0.0.1:8080", "localhost:9090", None));
        assert!(!allowed("http://127.0.0.1:8080", "chat.example.org", None));
        assert!(!allowed("https://evil.org", "localhost", None));
        assert!(!allowed("https://evil.org", "chat.example.org", None));
        assert!(allowed("https://tunnel.example", "chat.example.org", Some("chat.example.org")));
        assert!(!allowed("http://127.0.0.1:8080", "evil.org", Some("chat.example.org")));
    }
}
