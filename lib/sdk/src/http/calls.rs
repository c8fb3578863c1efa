//! Methods for the endpoints that a client needs all the time. Every other one is asked with [`Http::call`], those of
//! [`assets`](nepto_proto::api::endpoints::assets) among them.

use nepto_proto::api::ServerInfo;
use nepto_proto::api::accounts::{Account, Consent, Contact, Contacts, SetConsent, UpdateProfile};
use nepto_proto::api::auth::{Nonce, RevokeByWallet, Sessions, SignIn, SignOut, Tokens, Wallets};
use nepto_proto::api::endpoint::{Endpoint, NoParameters};
use nepto_proto::api::endpoints::accounts::{
    AccountPath, ContactsPage, DecideContact, GetOwnAccount, ListContacts, LookUpAccount, ReferencePath,
    UpdateOwnAccount,
};
use nepto_proto::api::endpoints::keys::{
    CountKeys, DevicePath, GetDirectory, ListOwnDevices, RemoveDevice, SomeDevices, TakeBundles,
};
use nepto_proto::api::endpoints::meta::GetInfo;
use nepto_proto::api::endpoints::{auth, keys};
use nepto_proto::api::keys::{
    CheckKeys, DeviceDirectory, KeyCount, KeyStock, KeysMatch, OwnDevices, PrekeyBundles, UploadKeys,
};
use nepto_proto::certificate::WalletLink;
use nepto_proto::{AccountId, DeviceId};

use super::Http;
use crate::SdkError;

const NONE: &NoParameters = &NoParameters {};

impl Http {
    /// What a client needs to know before it signs in.
    pub async fn info(&self) -> Result<ServerInfo, SdkError> {
        self.plain::<GetInfo>(&()).await
    }

    /// A nonce for one sign-in message.
    pub async fn nonce(&self) -> Result<Nonce, SdkError> {
        self.plain::<auth::MakeNonce>(&()).await
    }

    /// Signs in. The tokens are not taken yet: see [`Http::adopt`].
    pub async fn sign_in(&self, body: &SignIn) -> Result<Tokens, SdkError> {
        self.plain::<auth::SignIn>(body).await
    }

    /// Ends this session, or all.
    pub async fn sign_out(&self, body: &SignOut) -> Result<(), SdkError> {
        self.plain::<auth::SignOut>(body).await
    }

    /// The account's sessions.
    pub async fn sessions(&self) -> Result<Sessions, SdkError> {
        self.plain::<auth::ListSessions>(&()).await
    }

    /// The account's wallets.
    pub async fn wallets(&self) -> Result<Wallets, SdkError> {
        self.plain::<auth::ListWallets>(&()).await
    }

    /// Links a wallet.
    pub async fn link_wallet(&self, body: &WalletLink) -> Result<Wallets, SdkError> {
        self.plain::<auth::LinkWallet>(body).await
    }

    /// Unlinks a wallet, by its EIP-55 address.
    pub async fn unlink_wallet(&self, address: &str) -> Result<Wallets, SdkError> {
        let path = auth::AddressPath { address: address.to_owned() };
        self.call::<auth::UnlinkWallet>(&path, NONE, &()).await
    }

    /// Removes a device by a wallet's signature, without a token.
    pub async fn revoke_by_wallet(&self, body: &RevokeByWallet) -> Result<(), SdkError> {
        self.plain::<auth::RevokeDevice>(body).await
    }

    /// The own account.
    pub async fn me(&self) -> Result<Account, SdkError> {
        self.plain::<GetOwnAccount>(&()).await
    }

    /// Changes the own profile.
    pub async fn update_profile(&self, body: &UpdateProfile) -> Result<Account, SdkError> {
        self.plain::<UpdateOwnAccount>(body).await
    }

    /// An account, by id, address or handle of the characters that these have.
    pub async fn account(&self, reference: &str) -> Result<Account, SdkError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if reference.is_empty() || !reference.chars().all(plain) {
            let detail = format!("{reference:?} is neither an address, a handle nor an account id");
            return Err(SdkError::server(nepto_proto::ErrorCode::AccountUnknown, detail));
        }
        self.call::<LookUpAccount>(&ReferencePath { account: reference.to_owned() }, NONE, &()).await
    }

    /// A page of contacts.
    pub async fn contacts(&self, after: Option<AccountId>, limit: u32) -> Result<Contacts, SdkError> {
        let page = ContactsPage { after, limit: usize::try_from(limit).ok() };
        self.call::<ListContacts>(NONE, &page, &()).await
    }

    /// Decides about a contact.
    pub async fn set_consent(&self, account: AccountId, consent: Consent) -> Result<Contact, SdkError> {
        self.call::<DecideContact>(&AccountPath { account }, NONE, &SetConsent { consent }).await
    }

    /// The devices of an account. Unchecked.
    pub async fn directory(&self, account: AccountId) -> Result<DeviceDirectory, SdkError> {
        self.call::<GetDirectory>(&AccountPath { account }, NONE, &()).await
    }

    /// Bundles for these devices of an account, or for all. Unchecked. Not tried again by itself: each try uses up keys.
    pub async fn bundles(&self, account: AccountId, devices: &[DeviceId]) -> Result<PrekeyBundles, SdkError> {
        let list: Vec<String> = devices.iter().map(DeviceId::to_string).collect();
        let some = SomeDevices { devices: (!list.is_empty()).then(|| list.join(",")) };
        self.call::<TakeBundles>(&AccountPath { account }, &some, &()).await
    }

    /// The own devices.
    pub async fn own_devices(&self) -> Result<OwnDevices, SdkError> {
        self.plain::<ListOwnDevices>(&()).await
    }

    /// Removes an own device.
    pub async fn delete_device(&self, device: DeviceId) -> Result<(), SdkError> {
        self.call::<RemoveDevice>(&DevicePath { device }, NONE, &()).await
    }

    /// Uploads keys of this device.
    pub async fn upload_keys(&self, body: &UploadKeys) -> Result<KeyCount, SdkError> {
        self.plain::<keys::UploadKeys>(body).await
    }

    /// One-time prekeys that the server still has, and the ids that it takes next.
    pub async fn key_count(&self) -> Result<KeyStock, SdkError> {
        self.plain::<CountKeys>(&()).await
    }

    /// Whether the server has the same repeated-use keys.
    pub async fn check_keys(&self, body: &CheckKeys) -> Result<KeysMatch, SdkError> {
        self.plain::<keys::CheckKeys>(body).await
    }

    /// Asks an endpoint that has no parameters.
    async fn plain<E>(&self, body: &E::Body) -> Result<E::Reply, SdkError>
    where
        E: Endpoint<Path = NoParameters, Query = NoParameters>,
    {
        self.call::<E>(NONE, NONE, body).await
    }
}
