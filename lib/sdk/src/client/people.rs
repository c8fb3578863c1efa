//! Finding people by wallet address, handle or account id: what the server says, against what this profile remembers.

use alloy_primitives::Address;
use nepto_proto::api::accounts::Account;
use nepto_proto::{AccountId, ErrorCode};
use nepto_sdk_core::names::Reference;

use super::Client;
use crate::SdkError;

impl Client {
    /// Finds an account by address, handle or id, and checks its devices. A name that meant another account when it was
    /// used first is refused with [`SdkError::NameMoved`]; one that nobody has any more means whom it meant. The wallet and
    /// the handle are those that this profile knows, whatever the server says.
    pub async fn resolve(&self, reference: &str) -> Result<Account, SdkError> {
        let reference = Reference::read(reference)?;
        let meant = self.inner.core().meant(&reference)?;
        let asked = self.ask(&reference).await;
        let found = match (asked, meant) {
            (Ok(found), Some(meant)) if found.account != meant => return Err(self.moved(&reference, meant, found)?),
            (Err(SdkError::Server { code: ErrorCode::AccountUnknown, .. }), Some(meant)) => {
                self.ask(&Reference::Account(meant)).await?
            }
            (asked, _) => asked?,
        };
        self.take_in(&reference, found, meant.is_some()).await
    }

    /// From now on a handle or a wallet's address means whom the server says, whomever it meant before.
    pub async fn accept_name(&self, reference: &str) -> Result<Account, SdkError> {
        let reference = Reference::read(reference)?;
        let found = self.ask(&reference).await?;
        self.take_in(&reference, found, false).await
    }

    /// Who is meant for certain, without asking the server: an account whose devices were checked before, by id or by one of
    /// its wallets. Of a handle the server must be asked whether it moved.
    pub fn known(&self, reference: &str) -> Result<Option<AccountId>, SdkError> {
        match Reference::read(reference)? {
            Reference::Handle(_) => Ok(None),
            reference => self.inner.core().meant_or_owned(&reference),
        }
    }

    /// Who was meant by this when it was used last: for when the server can't be asked.
    pub fn remembered(&self, reference: &str) -> Result<Option<AccountId>, SdkError> {
        self.inner.core().meant_or_owned(&Reference::read(reference)?)
    }

    /// What the server says of an account, with the wallet and the handle that this profile knows it by. A handle that means
    /// somebody else here is left out.
    pub fn as_known(&self, said: Account) -> Result<Account, SdkError> {
        self.inner.core().as_known(said)
    }

    /// The same without asking the server: of an account whose devices were checked before.
    pub fn known_account(&self, account: AccountId) -> Result<Option<Account>, SdkError> {
        self.inner.core().known_account(account)
    }

    async fn ask(&self, reference: &Reference) -> Result<Account, SdkError> {
        let asked = match reference {
            Reference::Account(account) => account.to_string(),
            Reference::Wallet(address) => address.to_string(),
            Reference::Handle(handle) => handle.clone(),
        };
        let found = self.inner.http.account(&asked).await?;
        match reference {
            Reference::Account(account) if found.account != *account => {
                let reason = "the server answered for another account";
                Err(SdkError::BadKeys { account: found.account, reason })
            }
            _ => Ok(found),
        }
    }

    /// Checks the devices of who was found, and remembers whom the name meant.
    async fn take_in(&self, reference: &Reference, found: Account, is_known: bool) -> Result<Account, SdkError> {
        let account = found.account;
        let named = match reference {
            // one that was unlinked since still means whom it meant
            Reference::Wallet(address) if !is_known => Some(*address),
            _ => None,
        };
        self.inner.look_up(account, named).await?;
        let mut core = self.inner.core();
        if found.wallet != core.claimed_wallet(account)? {
            let reason = "the server names another wallet for it than its devices are checked against";
            return Err(SdkError::BadKeys { account, reason });
        }
        core.remember(reference, account)?;
        core.as_known(found)
    }

    fn moved(&self, reference: &Reference, meant: AccountId, found: Account) -> Result<SdkError, SdkError> {
        let pinned = self.inner.core().pinned_wallet(meant)?;
        Ok(SdkError::NameMoved {
            name: reference.name().unwrap_or_default(),
            account: meant,
            meant: pinned.unwrap_or_else(|| meant.to_string()),
            now: found.account,
            // the server's word, as far as it is an address
            now_wallet: found
                .wallet
                .parse::<Address>()
                .map_or_else(|_| "unknown".to_owned(), |wallet| wallet.to_string()),
        })
    }
}
