//! The account: profile, wallets, devices, contacts, verification.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use nepto_proto::api::accounts::{Account, Contacts, UpdateProfile};
use nepto_proto::api::auth::{Session, SignOut, Wallets};
use nepto_proto::api::keys::OwnDevice;
use nepto_proto::certificate::{Resource, WalletLink};
use nepto_proto::{AccountId, DeviceId};
use nepto_sdk_core::sign_in::wallet_message;

use super::Client;
use crate::SdkError;
use crate::model::KnownDevice;
use crate::store::seal::Cost;
use crate::wallet::Wallet;
use crate::{SafetyNumber, Verification};

impl Client {
    /// The account that is signed in, as the server has it.
    pub async fn whoami(&self) -> Result<Account, SdkError> {
        self.inner.http.me().await
    }

    /// Changes the own profile.
    pub async fn set_profile(&self, profile: &UpdateProfile) -> Result<Account, SdkError> {
        self.inner.http.update_profile(profile).await
    }

    /// The wallet that the devices of an account are checked against; `None` before the first look-up.
    pub fn pinned_wallet(&self, account: AccountId) -> Result<Option<String>, SdkError> {
        self.inner.core().pinned_wallet(account)
    }

    /// A page of everybody the account has met.
    pub async fn contacts(&self, after: Option<AccountId>, limit: u32) -> Result<Contacts, SdkError> {
        self.inner.http.contacts(after, limit).await
    }

    /// Own devices that were away for too long: since when each missed messages the last time, milliseconds since 1970.
    pub fn missed(&self) -> Result<BTreeMap<DeviceId, u64>, SdkError> {
        self.inner.core().missed_since()
    }

    /// The devices of this account, as the server lists them.
    pub async fn devices(&self) -> Result<Vec<OwnDevice>, SdkError> {
        Ok(self.inner.http.own_devices().await?.devices)
    }

    /// Removes an own device.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), SdkError> {
        self.inner.http.delete_device(device).await?;
        self.inner.core().set_outdated(self.account());
        Ok(())
    }

    /// The sessions of the account.
    pub async fn sessions(&self) -> Result<Vec<Session>, SdkError> {
        Ok(self.inner.http.sessions().await?.sessions)
    }

    /// Ends this session, or all of the account. History stays.
    pub async fn sign_out(&self, everywhere: bool) -> Result<(), SdkError> {
        self.inner.http.sign_out(&SignOut { everywhere }).await?;
        self.disconnect();
        self.inner.http.forget().await
    }

    /// The wallets of the account.
    pub async fn wallets(&self) -> Result<Wallets, SdkError> {
        self.inner.http.wallets().await
    }

    /// Links a wallet to the account: both sign, so that everybody can check it.
    pub async fn link_wallet(&self, existing: &Wallet, new: &Wallet) -> Result<Wallets, SdkError> {
        let http = &self.inner.http;
        let mut info = http.info().await?;
        // the domain of the sign-in is the one that certificates name, whatever the server says today
        info.domain.clone_from(&self.inner.core().me.domain);
        let account = self.account();
        let sign = async |wallet: &Wallet, statement: String, resource: Resource| {
            let nonce = http.nonce().await?.nonce;
            wallet.sign(&wallet_message(&info, nonce, wallet.signer(), &statement, &resource, &self.inner.env))
        };
        let statement = format!("Let the wallet {} speak for this account.", new.address());
        let approval = sign(existing, statement, Resource::Link(new.address())).await?;
        let statement = format!("Let this wallet speak for the account of {}.", existing.address());
        let consent = sign(new, statement, Resource::Join { account, approver: existing.address() }).await?;
        http.link_wallet(&WalletLink { approval, consent }).await
    }

    /// Unlinks a wallet. Devices that it certified are not genuine any more.
    pub async fn unlink_wallet(&self, address: Address) -> Result<Wallets, SdkError> {
        self.inner.http.unlink_wallet(&address.to_string()).await
    }

    /// The devices of an account, fetched and checked against its wallets.
    pub async fn peer_devices(&self, account: AccountId) -> Result<Vec<KnownDevice>, SdkError> {
        self.inner.look_up(account, None).await?;
        self.inner.core().devices_of(account)
    }

    /// One safety number for each device of an account, as the server lists them now.
    pub async fn safety_numbers(&self, account: AccountId) -> Result<Vec<SafetyNumber>, SdkError> {
        self.inner.look_up(account, None).await?;
        self.inner.core().safety_numbers(account)
    }

    /// Compares a scanned code with a device of an account.
    pub fn compare_scanned(&self, account: AccountId, device: DeviceId, scanned: &[u8]) -> Result<bool, SdkError> {
        self.inner.core().compare_scanned(account, device, scanned)
    }

    /// Remembers that these safety numbers were compared: from now on a change stops sending. Refused if they are not
    /// those of all devices any more.
    pub fn mark_verified(&self, account: AccountId, compared: &[SafetyNumber]) -> Result<(), SdkError> {
        self.inner.core().mark_verified(account, compared)
    }

    /// Forgets that safety numbers were compared.
    pub fn unverify(&self, account: AccountId) -> Result<(), SdkError> {
        self.inner.core().unverify(account)
    }

    /// Whether the account is marked verified, and whether something changed since.
    pub fn verification(&self, account: AccountId) -> Result<Verification, SdkError> {
        self.inner.core().verification(account)
    }

    /// Accepts that the keys of a verified contact changed, that another wallet names it, or that a removed device is back; it
    /// is unverified then.
    pub fn accept_change(&self, account: AccountId) -> Result<(), SdkError> {
        self.inner.core().accept_change(account)
    }

    /// Puts the profile under another passphrase.
    pub fn change_passphrase(&self, passphrase: &str) -> Result<(), SdkError> {
        Ok(self.inner.core().store.change_passphrase(passphrase, Cost::PERSON)?)
    }
}
