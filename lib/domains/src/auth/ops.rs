//! Use-cases: sign in, refresh, sign out, link and unlink wallets.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use nepto_chain::signature::{Claim, Moment, SignatureError, SignatureVerifier, Signer};
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::outbox::{Outbox, Row};
use nepto_kit::token::{Claims, SessionState};
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::auth::{Nonce, Refresh, RevokeByWallet, Session, SignIn, Tokens, Wallets};
use nepto_proto::certificate::{CertificateError, Resource, SignedMessage, WalletLink};
use nepto_proto::event::{Control, Event, SessionsRevoked, WalletLinked, WalletUnlinked};
use nepto_proto::limits::WALLETS_PER_ACCOUNT_MAX;
use nepto_proto::siwe::{Expected, SiweMessage};
use nepto_proto::subject::Live;
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};

use super::model::{Presented, RefreshToken, judge, without};
use super::signing::Keys;
use super::store::{Beginning, SessionRow, Store, key_of};
use super::{FindAccount, FoundAccount};
use crate::keys::{OwnDevices, RegisterDevice, RemoveDevice, check_setup};

/// Characters of a nonce: 5 bits each.
const NONCE_LENGTH: usize = 24;

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Auth {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    keys: Arc<Keys>,
    pub(super) outbox: Outbox,
    pub(super) verifier: Arc<dyn SignatureVerifier>,
}

impl Auth {
    pub fn new(parts: &Parts, verifier: Arc<dyn SignatureVerifier>) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        Ok(Self {
            store: Store::new(parts.db.clone(), ctx.redis.clone()),
            keys: Arc::new(Keys::load(&ctx.config.tokens)?),
            outbox: parts.outbox.clone(),
            ctx,
            verifier,
        })
    }

    /// Takes one from the allowance of an address that is not signed in.
    pub async fn limit_address(&self, address: &str) -> Result<(), Failure> {
        let max = self.ctx.config.limits.sign_ins_per_address_per_minute;
        let limit = Limit { kind: "sign_in", max, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, address, 1).await
    }

    pub async fn nonce(&self) -> Result<Nonce, Failure> {
        let nonce = self.ctx.random.alphanumeric(NONCE_LENGTH);
        let ttl = Duration::from_secs(self.ctx.config.tokens.nonce_ttl_s);
        self.store.put_nonce(&nonce, ttl).await?;
        Ok(Nonce { nonce, expires_at: self.ctx.clock.now() + ttl })
    }

    /// A device's key stays with the account that it signed in to first. `keys` sees to it when the device is registered; a
    /// wallet that is new here must not get an account before that is refused.
    async fn check_identity(&self, message: &SiweMessage, identity_key: &[u8]) -> Result<(), Failure> {
        let owner = crate::keys::IdentityOwner { identity_key: identity_key.to_vec().into() };
        let Some(owner) = self.ctx.call(&owner).await? else { return Ok(()) };
        match self.store.account_of_wallet(&message.address.to_string()).await? {
            Some(account) if account == owner => Ok(()),
            _ => Err(crate::keys::identity_taken()),
        }
    }

    pub async fn sign_in(&self, request: SignIn) -> Result<Tokens, Failure> {
        let (message, signer) = self.check_message(&request.signed).await?;
        let Some(Resource::Device { registration_id, identity_key }) = message.resource() else {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                "exactly one resource urn:nepto:device:<registration_id>:<identity key> is needed",
            ));
        };
        // before anything is used up or made
        check_setup(&request.device, &identity_key)?;
        self.check_identity(&message, &identity_key).await?;
        self.use_nonce(&message).await?;
        let wallet = message.address.to_string();
        let new = AccountId::new(self.ctx.random.uuid(&self.ctx.clock));
        let event = self.event(&WalletLinked { account: new, wallet: wallet.clone() });
        let account = self.store.account_of_wallet_or_new(&wallet, new, self.ctx.clock.now_ms(), event).await?;
        self.note_contract(&message, signer).await?;
        let register = RegisterDevice {
            account,
            wallet: wallet.clone(),
            registration_id,
            identity_key: identity_key.to_vec().into(),
            certificate: request.signed,
            setup: request.device,
        };
        let device = match self.ctx.call(&register).await {
            Ok(device) => device,
            Err(mut failure) if failure.code == ErrorCode::DeviceLimit => {
                // the wallet signed: its owner may see the devices and choose one to revoke
                failure.devices = self.ctx.call(&OwnDevices { account }).await?;
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        let session = SessionId::new(self.ctx.random.uuid(&self.ctx.clock));
        let mut before = self.store.sessions(account).await?;
        before.retain(|row| row.device == i64::from(device.get()));
        let event = SessionsRevoked { account, sessions: ids(&before) };
        let event = (!before.is_empty()).then(|| self.event(&event));
        let beginning = Beginning { account, session, device, wallet: &wallet, now_ms: self.ctx.clock.now_ms() };
        let before = self.store.begin_session(beginning, self.refresh_ttl(), event).await?;
        self.outbox.wake();
        self.announce_end(account, &before).await;
        self.remember_live(session).await;
        self.tokens(account, device, session, 0)
    }

    pub async fn refresh(&self, request: Refresh) -> Result<Tokens, Failure> {
        let invalid = || Failure::new(ErrorCode::RefreshInvalid, "this refresh token is not valid any more");
        let token = RefreshToken::open(&request.refresh_token, &self.keys.refresh).ok_or_else(invalid)?;
        let now_ms = self.ctx.clock.now_ms();
        let row = self.store.session(token.account, token.session).await?.ok_or_else(invalid)?;
        if row.device != i64::from(request.device.get()) || row.expires_at_ms <= now_ms {
            return Err(invalid());
        }
        let newest = u32::try_from(row.generation).map_err(Failure::internal)?;
        let since_rotation = Duration::from_millis((now_ms - row.refreshed_at_ms).max(0).unsigned_abs());
        let generation = match judge(token.generation, newest, since_rotation) {
            Presented::Newest => {
                if !self.store.rotate(token.account, token.session, newest, now_ms, self.refresh_ttl()).await?
                    && self.store.session(token.account, token.session).await?.is_none()
                {
                    // signed out meanwhile
                    return Err(invalid());
                }
                // moved by us or by a twin of this request: the same next token either way
                newest + 1
            }
            Presented::AnswerLost => newest,
            Presented::Reused => {
                tracing::warn!(account = %token.account, device = %request.device, "a refresh token was used twice");
                self.end(token.account, vec![row]).await?;
                return Err(Failure::new(
                    ErrorCode::RefreshReused,
                    "an old refresh token was used, and the session ended",
                ));
            }
        };
        self.remember_live(token.session).await;
        self.tokens(token.account, request.device, token.session, generation)
    }

    pub async fn sign_out(&self, claims: &Claims, everywhere: bool) -> Result<(), Failure> {
        let ended = match everywhere {
            true => self.store.sessions(claims.account).await?,
            false => self.store.session(claims.account, claims.session).await?.into_iter().collect(),
        };
        self.end(claims.account, ended).await
    }

    pub async fn sessions(&self, account: AccountId) -> Result<Vec<Session>, Failure> {
        Ok(self.store.sessions(account).await?.iter().filter_map(SessionRow::to_api).collect())
    }

    /// Ends the sessions of a device that was removed.
    pub async fn device_removed(&self, account: AccountId, device: DeviceId) -> Result<(), Failure> {
        let mut ended = self.store.sessions(account).await?;
        ended.retain(|row| row.device == i64::from(device.get()));
        self.end(account, ended).await
    }

    pub async fn check_session(&self, account: AccountId, session: SessionId) -> Result<SessionState, Failure> {
        let state = match self.store.session(account, session).await? {
            Some(row) if row.expires_at_ms > self.ctx.clock.now_ms() => SessionState::Live,
            _ => SessionState::Revoked,
        };
        match state {
            SessionState::Live => self.store.remember_live(session, SessionState::CACHE_TTL).await?,
            SessionState::Revoked => self.store.remember_revoked(session, SessionState::CACHE_TTL).await?,
        }
        Ok(state)
    }

    pub async fn find(&self, request: FindAccount) -> Result<Option<FoundAccount>, Failure> {
        let account = match request {
            FindAccount::Id(account) => Some(account),
            FindAccount::Wallet(wallet) => self.store.account_of_wallet(&wallet).await?,
        };
        let Some(account) = account else { return Ok(None) };
        Ok(self.store.wallets(account).await?.map(|wallets| FoundAccount { account, wallets }))
    }

    pub async fn wallets(&self, account: AccountId) -> Result<Wallets, Failure> {
        let wallets = self.store.wallets(account).await?;
        wallets.ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, "this account was removed"))
    }

    pub async fn link(&self, account: AccountId, link: WalletLink) -> Result<Wallets, Failure> {
        let (approval, approver) = self.check_message(&link.approval).await?;
        let (consent, newcomer) = self.check_message(&link.consent).await?;
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
        self.use_nonce(&approval).await?;
        self.use_nonce(&consent).await?;
        self.note_contract(&approval, approver).await?;
        self.note_contract(&consent, newcomer).await?;
        let wallet = consent.address.to_string();
        let event = self.event(&WalletLinked { account, wallet: wallet.clone() });
        self.store.link(account, &wallet, link, WALLETS_PER_ACCOUNT_MAX, event).await?;
        self.outbox.wake();
        self.wallets(account).await
    }

    pub async fn unlink(&self, account: AccountId, wallet: Address) -> Result<Wallets, Failure> {
        let gone = wallet.to_string();
        let seen = self.wallets(account).await?;
        if !seen.wallets.contains(&gone) {
            return Err(Failure::new(ErrorCode::WalletUnknown, format!("{gone} is not linked")));
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
        let event = self.event(&WalletUnlinked { account, wallet: gone.clone() });
        self.store.unlink(account, seen, left, &[gone], vec![event]).await?;
        self.outbox.wake();
        self.wallets(account).await
    }

    pub async fn revoke_by_wallet(&self, request: RevokeByWallet) -> Result<(), Failure> {
        let (message, _) = self.check_message(&request.signed).await?;
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
        self.ctx.call(&RemoveDevice { account, device, certificate: None }).await?;
        // at once; the event of the removal does the same again
        self.device_removed(account, device).await
    }

    /// Removes expired sessions; a bounded number, so that a job's run is short.
    pub async fn remove_expired(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        Ok(self.store.remove_expired(self.ctx.clock.now_ms(), BATCH).await?)
    }

    /// Tells Redis and the sockets that sessions ended. May be told twice.
    pub async fn spread_end(&self, account: AccountId, sessions: &[(SessionId, DeviceId)]) -> Result<(), Failure> {
        // longer than any access token lives
        let ttl = Duration::from_secs(self.ctx.config.tokens.access_ttl_s + 60);
        // the sockets first, all of them: neither Redis nor one that fails must keep the others open
        let mut told = Ok(());
        for (session, device) in sessions {
            let control = serde_json::to_vec(&Control::Revoked { session: *session }).map_err(Failure::internal)?;
            let subject = Live::Control.subject(account, *device);
            let published = self.ctx.nats.publish(subject, control.into()).await;
            told = told.and(published.map_err(|error| Failure::unavailable("NATS", error)));
        }
        for (session, _) in sessions {
            told = told.and(self.store.remember_revoked(*session, ttl).await.map_err(Failure::from));
        }
        told
    }

    async fn end(&self, account: AccountId, rows: Vec<SessionRow>) -> Result<(), Failure> {
        let sessions = ids(&rows);
        if sessions.is_empty() {
            return Ok(());
        }
        let gone: Vec<SessionId> = sessions.iter().map(|(session, _)| *session).collect();
        let event = self.event(&SessionsRevoked { account, sessions });
        self.store.end_sessions(account, &gone, event).await?;
        self.outbox.wake();
        self.announce_end(account, &rows).await;
        Ok(())
    }

    /// At once; the consumer of `sessions_revoked` does the same again if this process dies now.
    async fn announce_end(&self, account: AccountId, rows: &[SessionRow]) {
        if let Err(failure) = self.spread_end(account, &ids(rows)).await {
            failure.log();
        }
    }

    /// Saves the next request a question; if Redis is away, that question is asked.
    async fn remember_live(&self, session: SessionId) {
        if let Err(error) = self.store.remember_live(session, SessionState::CACHE_TTL).await {
            tracing::warn!(%error, "a session was not remembered in Redis");
        }
    }

    pub(super) fn event<E: Event>(&self, event: &E) -> Row {
        Row::new(event, &self.ctx.clock, &self.ctx.random)
    }

    fn refresh_ttl(&self) -> Duration {
        Duration::from_secs(self.ctx.config.tokens.refresh_ttl_s)
    }

    fn tokens(
        &self,
        account: AccountId,
        device: DeviceId,
        session: SessionId,
        generation: u32,
    ) -> Result<Tokens, Failure> {
        let now = self.ctx.clock.now();
        let access_expires_at = now + Duration::from_secs(self.ctx.config.tokens.access_ttl_s);
        let (iat, exp) = (now.unix_timestamp(), access_expires_at.unix_timestamp());
        Ok(Tokens {
            account,
            device,
            session,
            access_token: self.keys.access.sign(&Claims { account, device, session, iat, exp })?,
            access_expires_at,
            refresh_token: RefreshToken { account, session, generation }.seal(&self.keys.refresh),
            refresh_expires_at: now + self.refresh_ttl(),
        })
    }

    /// Reads a message and checks all that needs no nonce: form, fields, signature. Also says who signed: the wallet's key,
    /// or its contract on the chain that the message names. That must be the chain that the contract is known on: on another
    /// one somebody else may own this address.
    async fn check_message(&self, signed: &SignedMessage) -> Result<(SiweMessage, Signer), Failure> {
        let public = &self.ctx.config.public;
        let message: SiweMessage = signed.message.parse()?;
        message.check(&Expected {
            domain: &public.domain,
            uri: &public.uri,
            chains: &public.chains,
            now: self.ctx.clock.now(),
        })?;
        let signature = signed.signature_bytes().map_err(|error| {
            let too_long = error == CertificateError::TooLong;
            let code = if too_long { ErrorCode::TooLarge } else { ErrorCode::SignatureInvalid };
            Failure::new(code, error.to_string())
        })?;
        let (chain_id, wallet) = (message.chain_id, message.address);
        let claim = Claim { chain_id, wallet, text: &signed.message, signature: &signature };
        let signer = self.verifier.verify(claim, Moment::Newest).await.map_err(|error| match error {
            SignatureError::Invalid { .. } => Failure::new(ErrorCode::SignatureInvalid, error.to_string()),
            SignatureError::NoNode { .. } => {
                let ask =
                    format!("; if it is, ask the operator to add chain {chain_id}, or sign in with a key's wallet");
                Failure::new(ErrorCode::ContractWallet, format!("{error}{ask}"))
            }
            SignatureError::Unavailable { .. } => Failure::unavailable(&format!("chain {chain_id}"), error),
        })?;
        if signer != Signer::Key
            && let Some(known) = self.store.contract_wallet(&wallet.to_string()).await?
            && known.chain_id.cast_unsigned() != chain_id
        {
            return Err(Failure::new(
                ErrorCode::WalletChain,
                format!("{wallet} is known on chain {}; sign for that chain", known.chain_id),
            ));
        }
        Ok((message, signer))
    }

    /// Remembers that a contract said yes. Whatever it has signed is asked for again soon: a new owner signs in first thing.
    async fn note_contract(&self, message: &SiweMessage, signer: Signer) -> Result<(), Failure> {
        let Signer::Contract(block) = signer else { return Ok(()) };
        let (chain_id, block) = (message.chain_id.cast_signed(), block.number.cast_signed());
        let now_ms = self.ctx.clock.now_ms();
        Ok(self.store.note_contract_wallet(&message.address.to_string(), chain_id, block, now_ms).await?)
    }

    async fn use_nonce(&self, message: &SiweMessage) -> Result<(), Failure> {
        match self.store.take_nonce(&message.nonce).await? {
            true => Ok(()),
            false => Err(Failure::new(ErrorCode::NonceInvalid, "ask for a new one: POST /v1/auth/nonce")),
        }
    }
}

fn ids(rows: &[SessionRow]) -> Vec<(SessionId, DeviceId)> {
    let id = |row: &SessionRow| Some((key_of(&row.id)?.1, DeviceId::try_from(u32::try_from(row.device).ok()?).ok()?));
    rows.iter().filter_map(id).collect()
}
