//! The account: profile, wallets, devices, contacts, verification.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use nepto_proto::api::accounts::{Account, Contacts, UpdateProfile};
use nepto_proto::api::auth::{Session, SignOut, Wallets};
use nepto_proto::api::keys::OwnDevice;
use nepto_proto::certificate::{Resource, WalletLink};
use nepto_proto::{AccountId, DeviceId};

use super::Client;
use crate::SdkError;
use crate::keys::wallet_message;
use crate::model::KnownDevice;
use crate::safety::SafetyNumber;
use crate::store::peers::Peer;
use crate::store::seal::Cost;
use crate::wallet::Wallet;

impl Client {
    /// The own account.
    pub async fn whoami(&self) -> Result<Account, SdkError> {
        self.inner.http.me().await
    }

    /// Changes the own profile.
    pub async fn set_profile(&self, profile: &UpdateProfile) -> Result<Account, SdkError> {
        self.inner.http.update_profile(profile).await
    }

    /// Finds an account by address, handle or id. An address is pinned: the server can't give another account for it.
    /// The wallet is the one that the account's devices are checked against.
    pub async fn resolve(&self, reference: &str) -> Result<Account, SdkError> {
        let reference = reference.trim().trim_start_matches('@');
        let named = read_address(reference)?;
        let asked = named.map_or_else(|| reference.to_owned(), |address| address.to_string());
        let mut found = self.inner.http.account(&asked).await?;
        let account = found.account;
        let bad = |reason| SdkError::BadKeys { account, reason };
        if reference.parse().is_ok_and(|asked: AccountId| asked != account) {
            return Err(bad("the server answered for another account"));
        }
        self.look_up(account, named).await?;
        let peer = self.inner.core().known(account)?;
        if found.wallet != *peer.claimed.as_ref().unwrap_or(&peer.root) {
            return Err(bad("the server names another wallet for it than its devices are checked against"));
        }
        found.wallet = peer.root;
        self.inner.core().note_handle(account, found.handle.clone())?;
        Ok(found)
    }

    /// Who is meant, without asking the server: an account whose devices were checked before, by id or by one of its
    /// wallets.
    pub fn known(&self, reference: &str) -> Result<Option<AccountId>, SdkError> {
        let reference = reference.trim();
        let (id, wallet) =
            (reference.parse::<AccountId>().ok(), read_address(reference)?.map(|wallet| wallet.to_string()));
        let names = |peer: &Peer| {
            id == Some(peer.account)
                || wallet.as_ref().is_some_and(|wallet| peer.named.as_ref() == Some(wallet) || peer.owns(wallet))
        };
        self.find_peer(names)
    }

    /// The account that had this handle when the server was last asked.
    pub fn known_by_handle(&self, handle: &str) -> Result<Option<AccountId>, SdkError> {
        let handle = handle.trim().trim_start_matches('@').to_lowercase();
        self.find_peer(|peer| peer.handle.as_ref() == Some(&handle))
    }

    fn find_peer(&self, wanted: impl Fn(&Peer) -> bool) -> Result<Option<AccountId>, SdkError> {
        let peers = self.inner.core().store.begin().peers()?;
        Ok(peers.into_iter().find(wanted).map(|peer| peer.account))
    }

    /// The wallet that the devices of an account are checked against; `None` before the first look-up.
    pub fn pinned_wallet(&self, account: AccountId) -> Result<Option<String>, SdkError> {
        Ok(self.inner.core().store.begin().peer(account)?.map(|peer| peer.root))
    }

    /// A page of everybody the account has met.
    pub async fn contacts(&self, after: Option<AccountId>, limit: u32) -> Result<Contacts, SdkError> {
        self.inner.http.contacts(after, limit).await
    }

    /// Own devices that were away for too long: since when each missed messages the last time, milliseconds since 1970.
    pub fn missed(&self) -> Result<BTreeMap<DeviceId, u64>, SdkError> {
        Ok(self.inner.core().store.begin().missed()?)
    }

    /// The own devices.
    pub async fn devices(&self) -> Result<Vec<OwnDevice>, SdkError> {
        Ok(self.inner.http.own_devices().await?.devices)
    }

    /// Removes an own device.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), SdkError> {
        self.inner.http.delete_device(device).await?;
        self.inner.core().outdated.insert(self.account());
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
            wallet.sign(&wallet_message(&info, nonce, wallet, &statement, &resource, &self.inner.env))
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
        self.look_up(account, None).await?;
        Ok(self.inner.core().store.begin().peer(account)?.map(|peer| peer.devices).unwrap_or_default())
    }

    /// One safety number for each device of an account, as the server lists them now.
    pub async fn safety_numbers(&self, account: AccountId) -> Result<Vec<SafetyNumber>, SdkError> {
        self.look_up(account, None).await?;
        self.inner.core().safety_numbers(account)
    }

    async fn look_up(&self, account: AccountId, named: Option<Address>) -> Result<(), SdkError> {
        let told = self.inner.fetch_directory(account, named).await?;
        self.inner.announce(told).await;
        Ok(())
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
        let peer = self.inner.core().store.begin().peer(account)?;
        Ok(match peer {
            Some(peer) if peer.changed || peer.claimed.is_some() => Verification::Changed,
            Some(peer) if peer.verified => Verification::Verified,
            _ => Verification::Unverified,
        })
    }

    /// Accepts that the keys of a verified contact changed, or that another wallet names it; it is unverified then.
    pub fn accept_change(&self, account: AccountId) -> Result<(), SdkError> {
        self.inner.core().accept_change(account)
    }

    /// Puts the profile under another passphrase.
    pub fn change_passphrase(&self, passphrase: &str) -> Result<(), SdkError> {
        Ok(self.inner.core().store.change_passphrase(passphrase, Cost::PERSON)?)
    }
}

/// What is known about a contact's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Safety numbers were not compared.
    Unverified,
    /// They were, and nothing changed.
    Verified,
    /// They were and something changed, or another wallet names the account: nothing is sent until the user decides.
    Changed,
}

/// An address in capitals and small letters carries a checksum (EIP-55): a typing error must not lead to somebody else.
fn read_address(reference: &str) -> Result<Option<Address>, SdkError> {
    let typo = || SdkError::AddressTypo(reference.to_owned());
    let Ok(address) = reference.parse::<Address>() else {
        return if reference.starts_with("0x") { Err(typo()) } else { Ok(None) };
    };
    let digits = reference.trim_start_matches("0x");
    let one_case =
        !digits.contains(|c: char| c.is_ascii_uppercase()) || !digits.contains(|c: char| c.is_ascii_lowercase());
    if one_case || Address::parse_checksummed(reference, None).is_ok() {
        return Ok(Some(address));
    }
    Err(typo())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_in_an_address_is_found() {
        const RIGHT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        for fine in [RIGHT, &RIGHT.to_lowercase(), &format!("0x{}", RIGHT[2..].to_uppercase())] {
            assert_eq!(read_address(fine).unwrap(), Some(RIGHT.parse().unwrap()), "{fine}");
        }
        for other in ["alice", "vitalik.eth", ""] {
            assert_eq!(read_address(other).unwrap(), None, "{other}");
        }
        for typo in [&RIGHT.replace("2266", "2267"), &RIGHT[..41], "0xf39F"] {
            assert!(matches!(read_address(typo), Err(SdkError::AddressTypo(_))), "{typo}");
        }
    }
}
