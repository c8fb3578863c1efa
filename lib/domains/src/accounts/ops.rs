//! Use-cases: profiles, looking accounts up, consent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nepto_kit::clock::from_ms;
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::accounts::{Account, Consent, Contact, Contacts, UpdateProfile};
use nepto_proto::api::operator::ReleasedHandle;
use nepto_proto::svc::accounts::{Standing, Verdict};
use nepto_proto::svc::auth::{FindAccount, FoundAccount, RootWallet, RootWallets};
use nepto_proto::{AccountId, ErrorCode};

use super::config::Limits;
use super::handles::{CHANGES_MAX, CHANGES_WINDOW, RESTS_FOR, is_reserved, normalize_handle, skeleton};
use super::model::{display_name, waits_since};
use super::store::{Change, Decision, Known, NewHandle, Profile, Store};

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Accounts {
    ctx: Ctx,
    store: Store,
    limits: Arc<Limits>,
}

impl Accounts {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        let limits = ctx.config.section();
        Ok(Self { store: Store::new(parts.db()?.clone(), ctx.redis.clone()), limits, ctx })
    }

    pub async fn account(&self, account: AccountId) -> Result<Account, Failure> {
        let found = self.ctx.call(&FindAccount::Id(account)).await?;
        self.describe(found, || format!("no account {}", account.uuid())).await
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
        if change.handle.is_some() {
            // one that rests would be free, and one that is given up would rest for another time
            self.ctx.clock_check.refuse_if_wrong().await?;
        }
        let handle = match change.handle.as_deref() {
            None => None,
            Some("") => Some(None),
            Some(text) => Some(Some(self.wanted(account, text).await?)),
        };
        let display_name = match change.display_name.as_deref().map(str::trim) {
            None => None,
            Some("") => Some(None),
            Some(name) => Some(Some(display_name(name).map_err(|problem| {
                Failure::new(ErrorCode::NameInvalid, format!("{problem}: up to 64 characters on one line"))
            })?)),
        };
        let changed =
            self.store.change_profile(account, Change { handle, display_name }, self.ctx.clock.now_ms()).await;
        changed.map_err(|error| {
            let failure = Failure::from(error);
            let detail = match failure.code {
                ErrorCode::HandleTaken => {
                    "somebody has this handle, or one that looks like it; choose another one".into()
                }
                ErrorCode::HandleResting => format!(
                    "somebody else gave this handle up, or one that looks like it; it is free {} days after that",
                    RESTS_FOR.as_secs() / 86_400
                ),
                ErrorCode::HandleLimit => format!(
                    "at most {CHANGES_MAX} handles within {} days; keep this one for some time",
                    CHANGES_WINDOW.as_secs() / 86_400
                ),
                _ => return failure,
            };
            Failure::new(failure.code, detail)
        })?;
        self.account(account).await
    }

    /// A handle as its account wants it, if somebody may have it at all. Who has a reserved one from before keeps it.
    async fn wanted(&self, account: AccountId, text: &str) -> Result<NewHandle, Failure> {
        let handle = normalize_handle(text).ok_or_else(|| {
            Failure::new(ErrorCode::HandleInvalid, "3 to 32 of a-z, 0-9 and _, starting with a letter")
        })?;
        if is_reserved(&handle) && self.store.profile(account).await?.handle.as_ref() != Some(&handle) {
            let detail = "nobody speaks for this server, or for everybody, by name; choose another one";
            return Err(Failure::new(ErrorCode::HandleReserved, detail));
        }
        Ok(NewHandle { skeleton: skeleton(&handle), handle })
    }

    /// Frees a handle that rests.
    pub async fn release(&self, text: &str) -> Result<ReleasedHandle, Failure> {
        let handle = normalize_handle(text).ok_or_else(|| Failure::new(ErrorCode::HandleInvalid, "not a handle"))?;
        match self.store.release_handle(&skeleton(&handle)).await? {
            Some(handle) => Ok(ReleasedHandle { handle }),
            None => Err(Failure::new(ErrorCode::NotFound, format!("nothing that looks like {handle} rests"))),
        }
    }

    /// Forgets handles that have rested; a bounded number, so that a job's run is short.
    pub async fn forget_rested(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        Ok(self.store.forget_rested(self.ctx.clock.now_ms(), BATCH).await?)
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
        let now_ms = self.ctx.clock.now_ms();
        // how long somebody has waited is not said by a clock that is wrong
        let before_ms = match self.ctx.clock_check.is_wrong().await {
            true => i64::MIN,
            false => waits_since(now_ms),
        };
        let known = self.store.meet(from, to, now_ms, before_ms).await?;
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
        let limit =
            Limit { kind: "new_contacts", max: self.limits.new_contacts_per_day, window: Duration::from_secs(86_400) };
        // as a number: Redis keeps a set of these in eight bytes each
        let member = i64::from_be_bytes(other.random_half()).to_string();
        limit.take_member(&self.ctx.redis, &self.ctx.clock, &owner.to_string(), &member).await
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
        let accounts: Vec<AccountId> = decisions.iter().map(|decision| decision.other).collect();
        let mut described = self.describe_all(accounts).await?;
        let contact = |Decision { other, consent, since_ms }| {
            let account = described.remove(&other);
            let account = account.ok_or_else(|| Failure::internal(anyhow::anyhow!("{other} has no account")))?;
            Ok(Contact { account, consent, since: from_ms(since_ms) })
        };
        Ok(Contacts { contacts: decisions.into_iter().map(contact).collect::<Result<_, Failure>>()?, next })
    }

    /// Many at once, for the price of one question and one read.
    async fn describe_all(&self, accounts: Vec<AccountId>) -> Result<HashMap<AccountId, Account>, Failure> {
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        let mut profiles = self.store.profiles(&accounts).await?;
        let describe = |RootWallet { account, wallet }| {
            let Profile { handle, display_name } = profiles.remove(&account).unwrap_or_default();
            (account, Account { account, wallet, handle, display_name })
        };
        Ok(self.ctx.call(&RootWallets { accounts }).await?.into_iter().map(describe).collect())
    }
}

#[cfg(test)]
impl Accounts {
    /// What each of two has decided about the other, of several twos.
    pub async fn contacts_of_two(&self, twos: &[[AccountId; 2]]) -> Vec<[Option<Consent>; 2]> {
        self.store.consents_of_two(twos).await.unwrap()
    }

    /// Lets others, two by two, have decided the same about each other.
    pub async fn copy_two(&self, from: [AccountId; 2], to: &[[AccountId; 2]]) {
        self.store.copy_two(from, to).await.unwrap();
    }
}
