//! Use-cases: profiles, looking accounts up, consent.

use std::time::Duration;

use futures_util::future::try_join_all;
use nepto_kit::clock::from_ms;
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::accounts::{Account, Consent, Contact, Contacts, UpdateProfile};
use nepto_proto::{AccountId, ErrorCode};

use super::model::{Standing, Verdict, display_name_fits, normalize_handle};
use super::store::{Decision, Known, Store};
use crate::auth::{FindAccount, FoundAccount};

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Accounts {
    ctx: Ctx,
    store: Store,
}

impl Accounts {
    pub fn new(parts: &Parts) -> Self {
        let ctx = parts.ctx.clone();
        Self { store: Store::new(parts.db.clone(), ctx.redis.clone()), ctx }
    }

    pub async fn account(&self, account: AccountId) -> Result<Account, Failure> {
        let found = self.ctx.call(&FindAccount::Id(account)).await?;
        self.describe(found, || format!("no account {account}")).await
    }

    /// By id, wallet address or handle.
    pub async fn look_up(&self, reference: &str) -> Result<Account, Failure> {
        let found = if let Ok(account) = reference.parse::<AccountId>() {
            self.ctx.call(&FindAccount::Id(account)).await?
        } else if let Ok(wallet) = reference.parse::<alloy_primitives::Address>() {
            self.ctx.call(&FindAccount::Wallet(wallet.to_string())).await?
        } else {
            let handle = normalize_handle(reference).ok_or_else(|| {
                Failure::new(ErrorCode::Malformed, "neither an account id, nor an address, nor a handle")
            })?;
            match self.store.account_of_handle(&handle).await? {
                Some(account) => self.ctx.call(&FindAccount::Id(account)).await?,
                None => None,
            }
        };
        self.describe(found, || format!("nobody here is known as {reference:?}; they must sign in once")).await
    }

    async fn describe(&self, found: Option<FoundAccount>, absent: impl Fn() -> String) -> Result<Account, Failure> {
        let found = found.ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, absent()))?;
        let profile = self.store.profile(found.account).await?;
        Ok(Account {
            account: found.account,
            wallet: found.wallets.root,
            handle: profile.handle,
            display_name: profile.display_name,
        })
    }

    pub async fn update(&self, account: AccountId, change: UpdateProfile) -> Result<Account, Failure> {
        let mut profile = self.store.profile(account).await?;
        match change.handle.as_deref() {
            None => {}
            Some("") => profile.handle = None,
            Some(text) => {
                let handle = normalize_handle(text).ok_or_else(|| {
                    Failure::new(ErrorCode::HandleInvalid, "3 to 32 of a-z, 0-9 and _, starting with a letter")
                })?;
                profile.handle = Some(handle);
            }
        }
        match change.display_name.as_deref().map(str::trim) {
            None => {}
            Some("") => profile.display_name = None,
            Some(name) if display_name_fits(name) => profile.display_name = Some(name.to_owned()),
            Some(_) => return Err(Failure::new(ErrorCode::NameInvalid, "up to 64 characters on one line")),
        }
        self.store.put_profile(account, profile).await?;
        self.account(account).await
    }

    /// How one stands with the other.
    pub async fn standing(&self, from: AccountId, to: AccountId) -> Result<Standing, Failure> {
        let known = self.store.known(from, to).await?;
        self.keep(from, to, known.standing(), &known).await
    }

    /// A message is about to be stored.
    pub async fn begins_to_write(&self, from: AccountId, to: AccountId) -> Result<(), Failure> {
        let known = self.store.known(from, to).await?;
        if known.is_new() {
            self.count_new(from, to).await?;
        }
        Ok(self.store.begin_writing(from, to, &known).await?)
    }

    /// A message was stored.
    pub async fn wrote(&self, from: AccountId, to: AccountId) -> Result<(), Failure> {
        let known = self.store.meet(from, to, self.ctx.clock.now_ms()).await?;
        self.store.end_writing(from, to).await?;
        self.keep_both(from, to, &known).await
    }

    async fn keep_both(&self, one: AccountId, other: AccountId, known: &Known) -> Result<(), Failure> {
        self.keep(one, other, known.standing(), known).await?;
        self.keep(other, one, known.standing_back(), known).await.map(drop)
    }

    /// Puts a standing into Redis, and says what it is at this moment: whoever is writing accepts answers already, which
    /// may come to nothing.
    async fn keep(
        &self,
        from: AccountId,
        to: AccountId,
        standing: Standing,
        known: &Known,
    ) -> Result<Standing, Failure> {
        let standing = match standing.verdict {
            Verdict::Requested if self.store.is_writing(to, from).await? => {
                Standing { verdict: Verdict::Accepted, settled: false }
            }
            _ => standing,
        };
        self.store.cache(from, to, standing, known).await?;
        Ok(standing)
    }

    /// Takes one of the day's new contacts, unless this one has been taken today.
    async fn count_new(&self, owner: AccountId, other: AccountId) -> Result<(), Failure> {
        let limit = Limit {
            kind: "new_contacts",
            max: self.ctx.config.limits.new_contacts_per_day,
            window: Duration::from_secs(86_400),
        };
        limit.take_member(&self.ctx.redis, &self.ctx.clock, &owner.to_string(), &other.to_string()).await
    }

    pub async fn who_accepts(&self, asker: AccountId, accounts: &[AccountId]) -> Result<Vec<AccountId>, Failure> {
        Ok(self.store.who_accepts(asker, accounts).await?)
    }

    pub async fn decide(&self, owner: AccountId, other: AccountId, consent: Consent) -> Result<Contact, Failure> {
        if owner == other {
            return Err(Failure::new(ErrorCode::Malformed, "that is your own account"));
        }
        let account = self.account(other).await?;
        let now_ms = self.ctx.clock.now_ms();
        if self.store.known(owner, other).await?.is_new() {
            // there is nothing to take back, and nobody is listed for it
            if consent == Consent::Requested {
                return Ok(Contact { account, consent, since: from_ms(now_ms) });
            }
            self.count_new(owner, other).await?;
        }
        let known = self.store.decide(owner, other, consent, now_ms).await?;
        self.keep_both(owner, other, &known).await?;
        Ok(Contact { account, consent, since: from_ms(now_ms) })
    }

    pub async fn contacts(
        &self,
        owner: AccountId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Contacts, Failure> {
        let decisions = self.store.contacts(owner, after, limit).await?;
        let next = decisions.last().filter(|_| decisions.len() == limit).map(|decision| decision.other);
        let contact = |Decision { other, consent, since_ms }| async move {
            Ok::<_, Failure>(Contact { account: self.account(other).await?, consent, since: from_ms(since_ms) })
        };
        let contacts = try_join_all(decisions.into_iter().map(contact)).await?;
        Ok(Contacts { contacts, next })
    }
}

#[cfg(test)]
impl Accounts {
    /// What each of two has decided about the other.
    pub async fn contacts_of_two(&self, one: AccountId, other: AccountId) -> [Option<Consent>; 2] {
        self.store.known(one, other).await.unwrap().consents()
    }
}
