//! One method for each operation of the API.

use nepto_proto::api::ServerInfo;
use nepto_proto::api::accounts::{Account, Consent, Contact, Contacts, SetConsent, UpdateProfile};
use nepto_proto::api::auth::{Nonce, RevokeByWallet, Sessions, SignIn, SignOut, Tokens, Wallets};
use nepto_proto::api::keys::{
    CheckKeys, DeviceDirectory, KeyCount, KeyStock, KeysMatch, OwnDevices, PrekeyBundles, UploadKeys,
};
use nepto_proto::certificate::WalletLink;
use nepto_proto::{AccountId, DeviceId};
use reqwest::Method;

use super::{Call, Http};
use crate::SdkError;

impl Http {
    /// What a client needs to know before it signs in.
    pub async fn info(&self) -> Result<ServerInfo, SdkError> {
        self.call(Call::get("/v1/info").public()).await
    }

    /// A nonce for one sign-in message.
    pub async fn nonce(&self) -> Result<Nonce, SdkError> {
        let mut call = Call::new(Method::POST, "/v1/auth/nonce").public();
        call.again = true;
        self.call(call).await
    }

    /// Signs in. The tokens are not taken yet: see [`Http::adopt`].
    pub async fn sign_in(&self, body: &SignIn) -> Result<Tokens, SdkError> {
        self.call(Call::new(Method::POST, "/v1/auth/sign-in").public().body(body)?).await
    }

    /// Ends this session, or all.
    pub async fn sign_out(&self, body: &SignOut) -> Result<(), SdkError> {
        self.call(Call::new(Method::POST, "/v1/auth/sign-out").body(body)?).await
    }

    /// The account's sessions.
    pub async fn sessions(&self) -> Result<Sessions, SdkError> {
        self.call(Call::get("/v1/auth/sessions")).await
    }

    /// The account's wallets.
    pub async fn wallets(&self) -> Result<Wallets, SdkError> {
        self.call(Call::get("/v1/auth/wallets")).await
    }

    /// Links a wallet.
    pub async fn link_wallet(&self, body: &WalletLink) -> Result<Wallets, SdkError> {
        self.call(Call::new(Method::POST, "/v1/auth/wallets").body(body)?).await
    }

    /// Unlinks a wallet, by its EIP-55 address.
    pub async fn unlink_wallet(&self, address: &str) -> Result<Wallets, SdkError> {
        self.call(Call::new(Method::DELETE, format!("/v1/auth/wallets/{address}"))).await
    }

    /// Removes a device by a wallet's signature, without a token.
    pub async fn revoke_by_wallet(&self, body: &RevokeByWallet) -> Result<(), SdkError> {
        self.call(Call::new(Method::POST, "/v1/auth/devices/revoke").public().body(body)?).await
    }

    /// The own account.
    pub async fn me(&self) -> Result<Account, SdkError> {
        self.call(Call::get("/v1/accounts/me")).await
    }

    /// Changes the own profile.
    pub async fn update_profile(&self, body: &UpdateProfile) -> Result<Account, SdkError> {
        self.call(Call::new(Method::PATCH, "/v1/accounts/me").body(body)?).await
    }

    /// An account, by id, address or handle of the characters that these have.
    pub async fn account(&self, reference: &str) -> Result<Account, SdkError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if reference.is_empty() || !reference.chars().all(plain) {
            let detail = format!("{reference:?} is neither an address, a handle nor an account id");
            return Err(SdkError::server(nepto_proto::ErrorCode::AccountUnknown, detail));
        }
        self.call(Call::get(format!("/v1/accounts/{reference}"))).await
    }

    /// A page of contacts.
    pub async fn contacts(&self, after: Option<AccountId>, limit: u32) -> Result<Contacts, SdkError> {
        let mut call = Call::get("/v1/contacts").query("limit", limit);
        if let Some(after) = after {
            call = call.query("after", after);
        }
        self.call(call).await
    }

    /// Decides about a contact.
    pub async fn set_consent(&self, account: AccountId, consent: Consent) -> Result<Contact, SdkError> {
        let path = format!("/v1/contacts/{account}");
        self.call(Call::new(Method::PUT, path).body(&SetConsent { consent })?).await
    }

    /// The devices of an account. Unchecked.
    pub async fn directory(&self, account: AccountId) -> Result<DeviceDirectory, SdkError> {
        self.call(Call::get(format!("/v1/accounts/{account}/devices"))).await
    }

    /// Bundles for these devices of an account, or for all. Unchecked. Not tried again by itself: each try uses up keys.
    pub async fn bundles(&self, account: AccountId, devices: &[DeviceId]) -> Result<PrekeyBundles, SdkError> {
        let mut call = Call::get(format!("/v1/accounts/{account}/bundles"));
        call.again = false;
        if !devices.is_empty() {
            let list: Vec<String> = devices.iter().map(DeviceId::to_string).collect();
            call = call.query("devices", list.join(","));
        }
        self.call(call).await
    }

    /// The own devices.
    pub async fn own_devices(&self) -> Result<OwnDevices, SdkError> {
        self.call(Call::get("/v1/devices")).await
    }

    /// Removes an own device.
    pub async fn delete_device(&self, device: DeviceId) -> Result<(), SdkError> {
        self.call(Call::new(Method::DELETE, format!("/v1/devices/{device}"))).await
    }

    /// Uploads keys of this device.
    pub async fn upload_keys(&self, body: &UploadKeys) -> Result<KeyCount, SdkError> {
        self.call(Call::new(Method::PUT, "/v1/keys").body(body)?).await
    }

    /// One-time prekeys that the server still has, and the ids that it takes next.
    pub async fn key_count(&self) -> Result<KeyStock, SdkError> {
        self.call(Call::get("/v1/keys/count")).await
    }

    /// Whether the server has the same repeated-use keys.
    pub async fn check_keys(&self, body: &CheckKeys) -> Result<KeysMatch, SdkError> {
        let mut call = Call::new(Method::POST, "/v1/keys/check").body(body)?;
        call.again = true;
        self.call(call).await
    }
}
