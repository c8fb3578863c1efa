//! The wallets of an account: looking them up, linking and unlinking them, and what a wallet can do alone.

use alloy_primitives::Address;
use nepto_kit::Failure;
use nepto_kit::db::DbError;
use nepto_proto::api::auth::{RevokeByWallet, Wallets};
use nepto_proto::certificate::{Resource, WalletLink};
use nepto_proto::event::{WalletLinked, WalletUnlinked};
use nepto_proto::limits::WALLETS_PER_ACCOUNT_MAX;
use nepto_proto::svc::auth::{FindAccount, FoundAccount, RootWallet, RootWallets};
use nepto_proto::svc::keys::{RemoveDevice, RemoveDevicesOf};
use nepto_proto::{AccountId, ErrorCode};

use super::model::{with_link, without};
use super::ops::Auth;

/// Of linking a wallet while others of the account are linked: at most so many can be.
const LINK_TRIES_MAX: usize = WALLETS_PER_ACCOUNT_MAX;

impl Auth {
    pub async fn find(&self, request: FindAccount) -> Result<Option<FoundAccount>, Failure> {
        let account = match request {
            FindAccount::Id(account) => Some(account),
            FindAccount::Wallet(wallet) => self.store.account_of_wallet(&wallet).await?,
        };
        let Some(account) = account else { return Ok(None) };
        Ok(self.store.wallets(account).await?.map(|wallets| FoundAccount { account, wallets }))
    }

    pub async fn root_wallets(&self, accounts: &[AccountId]) -> Result<Vec<RootWallet>, Failure> {
        if accounts.len() > RootWallets::ACCOUNTS_MAX {
            let detail = format!("at most {} accounts at once", RootWallets::ACCOUNTS_MAX);
            return Err(Failure::new(ErrorCode::Malformed, detail));
        }
        Ok(self.store.root_wallets(accounts).await?)
    }

    pub async fn wallets(&self, account: AccountId) -> Result<Wallets, Failure> {
        let wallets = self.store.wallets(account).await?;
        wallets.ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, "this account was removed"))
    }

    pub async fn link(&self, account: AccountId, mut link: WalletLink) -> Result<Wallets, Failure> {
        // what was signed long ago, or for later, would count
        self.ctx.clock_check.refuse_if_wrong().await?;
        let (approval, approver) = self.check_message(&mut link.approval).await?;
        let (consent, newcomer) = self.check_message(&mut link.consent).await?;
        let wallets = self.wallets(account).await?;
        if !wallets.wallets.contains(&approval.address.to_string()) {
            return Err(Failure::new(
                ErrorCode::WalletUnknown,
                format!("the approval is by {}, which is not a wallet of this account", approval.address),
            ));
        }
        if approval.resource() != Some(Resource::Link(consent.address)) {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                format!("the approval must carry the resource urn:nepto:link:{}", consent.address),
            ));
        }
        if consent.resource() != Some(Resource::Join { account, approver: approval.address }) {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                format!("the new wallet must sign the resource urn:nepto:join:{account}:{}", approval.address),
            ));
        }
        if approval.address == consent.address {
            return Err(Failure::new(
                ErrorCode::WalletLinked,
                "a wallet needs no attestation of its own: it belongs already",
            ));
        }
        self.use_nonce(&approval).await?;
        self.use_nonce(&consent).await?;
        self.note_contract(&approval, approver).await?;
        self.note_contract(&consent, newcomer).await?;
        let wallet = consent.address.to_string();
        let mut tries = 1;
        loop {
            let seen = self.wallets(account).await?;
            let links = with_link(account, &seen, &link, &self.ctx.config.public.domain);
            let event = self.event_about(&wallet, &WalletLinked { account, wallet: wallet.clone(), version: 0 })?;
            match self.store.link(account, &wallet, (seen.links, links), WALLETS_PER_ACCOUNT_MAX, event).await {
                // somebody else linked at the same moment; the nonces are used, so the caller can't just try again
                Err(DbError::Refused(ErrorCode::Unavailable)) if tries < LINK_TRIES_MAX => tries += 1,
                linked => {
                    linked?;
                    self.outbox.wake();
                    return self.wallets(account).await;
                }
            }
        }
    }

    pub async fn unlink(&self, account: AccountId, wallet: Address) -> Result<Wallets, Failure> {
        let gone = wallet.to_string();
        let seen = self.wallets(account).await?;
        if !seen.wallets.contains(&gone) {
            // an earlier try may have got no further
            return match self.end_devices_of(account, &gone).await? {
                0 => Err(Failure::new(ErrorCode::WalletUnknown, format!("{gone} is not linked"))),
                _ => Ok(seen),
            };
        }
        if seen.wallets.len() == 1 {
            return Err(Failure::new(ErrorCode::WalletLast, "link another wallet first"));
        }
        let left = without(account, &seen, &gone, &self.ctx.config.public.domain).ok_or_else(|| {
            Failure::new(
                ErrorCode::WalletNeeded,
                "let one remaining wallet approve all others (POST /v1/auth/wallets), then unlink this one",
            )
        })?;
        let event = self.event_about(&gone, &WalletUnlinked { account, wallet: gone.clone(), version: 0 })?;
        self.store.unlink(account, seen, left, std::slice::from_ref(&gone), vec![event]).await?;
        self.outbox.wake();
        self.end_devices_of(account, &gone).await?;
        self.wallets(account).await
    }

    pub async fn revoke_by_wallet(&self, mut request: RevokeByWallet) -> Result<(), Failure> {
        let (message, _) = self.check_message(&mut request.signed).await?;
        let Some(Resource::Revoke(device)) = message.resource() else {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                "exactly one resource urn:nepto:revoke:<device> is needed",
            ));
        };
        self.use_nonce(&message).await?;
        let account = self.store.account_of_wallet(&message.address.to_string()).await?;
        let account = account
            .ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, format!("{} has no account", message.address)))?;
        self.ctx.call(&RemoveDevice { account, device, certificate: None }).await
    }

    /// Ends what a wallet that left its account let in: its sessions, and the devices that it certified. The event says the
    /// same, and may be late. Returns how many there were.
    pub(super) async fn end_devices_of(&self, account: AccountId, wallet: &str) -> Result<u32, Failure> {
        let sessions = self.end_of_wallet(account, wallet).await?;
        let devices = self.ctx.call(&RemoveDevicesOf { account, wallet: wallet.to_owned() }).await?;
        Ok(sessions + devices)
    }
}
