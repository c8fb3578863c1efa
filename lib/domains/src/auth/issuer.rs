//! Where tokens are issued: signing in, and refreshes that the device signs. Only the API does, so only the API has the
//! signing key.

use std::sync::Arc;
use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::token::Claims;
use nepto_proto::api::auth::{Refresh, SignIn, Tokens, refresh_text};
use nepto_proto::certificate::Resource;
use nepto_proto::event::SessionsRevoked;
use nepto_proto::siwe::SiweMessage;
use nepto_proto::svc::keys::{CanRegister, Certificates, ListDevices, OwnDevices, RegisterDevice};
use nepto_proto::xeddsa::PublicKey;
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};

use super::invites::Code;
use super::model::{Presented, RefreshToken, classify};
use super::ops::Auth;
use super::sessions::ids;
use super::sign_up::Gate;
use super::store::{Beginning, SessionRow};
use super::token_keys::Keys;

/// The use-cases that end with tokens.
#[derive(Clone)]
pub struct Issuer {
    pub(super) auth: Auth,
    pub(super) gate: Arc<Gate>,
    keys: Arc<Keys>,
}

/// A session that is to begin.
#[derive(Clone, Copy)]
struct NewSession<'a> {
    account: AccountId,
    device: DeviceId,
    /// The wallet that signed in, EIP-55.
    wallet: &'a str,
    /// The Signal identity key of the device, serialized.
    identity_key: &'a [u8],
}

impl Issuer {
    /// Reads the signing key.
    pub fn new(auth: Auth) -> anyhow::Result<Self> {
        let config = &auth.ctx.config;
        let (gate, keys) = (Gate::new(config)?, Keys::load(&auth.tokens)?);
        Ok(Self { gate: Arc::new(gate), keys: Arc::new(keys), auth })
    }

    /// `address`: where it comes from.
    pub async fn sign_in(&self, mut request: SignIn, address: &str) -> Result<Tokens, Failure> {
        // how old an account is, and until when a session or an invite lasts, would be wrong everywhere
        self.auth.ctx.clock_check.refuse_if_wrong().await?;
        let (message, signer) = self.auth.check_message(&mut request.signed).await?;
        let Some(Resource::Device { registration_id, identity_key }) = message.resource() else {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                "exactly one resource urn:nepto:device:<registration_id>:<identity key> is needed, the id without sign and \
                 leading zeros",
            ));
        };
        let wallet = message.address.to_string();
        let known = self.auth.store.numbered_account_of_wallet(&wallet).await?;
        // before anything is used up or made
        let can_register = CanRegister {
            account: known.map(|(account, _)| account),
            identity_key: identity_key.to_vec().into(),
            setup: request.device.clone(),
        };
        self.auth.ctx.call(&can_register).await?;
        let invite = request.invite.as_deref().filter(|code| !code.trim().is_empty());
        let (account, wallet_version) = match known {
            Some(known) => {
                self.auth.use_nonce(&message).await?;
                known
            }
            None => {
                let invite = invite.map(Code::read).transpose()?;
                let account = self.sign_up(message.clone(), address.to_owned(), invite).await?;
                // if it has left again already, whatever number says so is higher
                let known = self.auth.store.numbered_account_of_wallet(&wallet).await?;
                (account, known.filter(|(owner, _)| *owner == account).map_or(0, |(_, version)| version))
            }
        };
        self.auth.note_contract(&message, signer).await?;
        let register = RegisterDevice {
            account,
            wallet: wallet.clone(),
            wallet_version,
            registration_id,
            identity_key: identity_key.to_vec().into(),
            certificate: request.signed,
            setup: request.device,
        };
        let device = match self.auth.ctx.call(&register).await {
            Ok(device) => device,
            Err(mut failure) if failure.code == ErrorCode::DeviceLimit => {
                // the wallet signed: its owner may see the devices and choose one to revoke
                failure.extensions.devices = self.auth.ctx.call(&OwnDevices { account }).await?;
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        self.begin(NewSession { account, device, wallet: &wallet, identity_key: &identity_key }).await
    }

    /// Begins a session of a device that was certified just now; earlier ones of the device end.
    async fn begin(&self, new: NewSession<'_>) -> Result<Tokens, Failure> {
        let NewSession { account, device, wallet, identity_key } = new;
        let session = SessionId::new(self.auth.ctx.random.uuid(&self.auth.ctx.clock));
        let mut before = self.auth.store.sessions(account).await?;
        before.retain(|row| row.device() == device);
        let before = ids(&before);
        self.auth.spread_end(account, &before).await?;
        let event = match before.is_empty() {
            true => None,
            false => Some(self.auth.event(&SessionsRevoked { account, sessions: before.clone() })?),
        };
        let now_ms = self.auth.ctx.clock.now_ms();
        let beginning = Beginning { account, session, device, wallet, identity_key, now_ms };
        let mut ended = ids(&self.auth.store.begin_session(beginning, self.auth.refresh_ttl(), event).await?);
        self.auth.outbox.wake();
        // of who signed in at the same moment
        ended.retain(|session| !before.contains(session));
        self.auth.spread_end(account, &ended).await?;
        self.check_not_removed(&new).await?;
        self.auth.remember_live(session).await;
        self.tokens(account, device, session, 0)
    }

    /// The device or its wallet may have been removed while it signed in, after its sessions were ended and before this one
    /// began.
    async fn check_not_removed(&self, new: &NewSession<'_>) -> Result<(), Failure> {
        let NewSession { account, device, wallet, .. } = *new;
        let devices = self.auth.ctx.call(&ListDevices { account }).await?.devices;
        if !devices.iter().any(|(listed, _)| *listed == device) {
            self.auth.device_removed(account, device).await?;
            return Err(Failure::new(
                ErrorCode::DeviceUnknown,
                "this device was removed while it signed in; sign in again",
            ));
        }
        if self.auth.store.account_of_wallet(wallet).await? != Some(account) {
            self.auth.end_devices_of(account, wallet).await?;
            return Err(Failure::new(
                ErrorCode::WalletUnknown,
                "this wallet was unlinked while it signed in; sign in again",
            ));
        }
        Ok(())
    }

    pub async fn refresh(&self, request: Refresh) -> Result<Tokens, Failure> {
        let invalid = || Failure::new(ErrorCode::RefreshInvalid, "this refresh token is not valid any more");
        let token = RefreshToken::open(&request.refresh_token, &self.keys.refresh).ok_or_else(invalid)?;
        let (store, now_ms) = (&self.auth.store, self.auth.ctx.clock.now_ms());
        let row = store.session(token.account, token.session).await?.ok_or_else(invalid)?;
        if row.device() != request.device || row.expires_at_ms <= now_ms {
            return Err(invalid());
        }
        self.check_refresh(&request, &token, &row).await?;
        let newest = row.generation;
        let since_rotation = Duration::from_millis((now_ms - row.refreshed_at_ms).max(0).unsigned_abs());
        let generation = match classify(token.generation, newest, since_rotation) {
            Presented::Newest => {
                let ttl = self.auth.refresh_ttl();
                if !store.rotate(token.account, token.session, newest, now_ms, ttl).await?
                    && store.session(token.account, token.session).await?.is_none()
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
                refused("reused");
                self.auth.end(token.account, vec![row]).await?;
                return Err(Failure::new(
                    ErrorCode::RefreshReused,
                    "an old refresh token was used, and the session ended",
                ));
            }
        };
        self.auth.remember_live(token.session).await;
        self.tokens(token.account, request.device, token.session, generation)
    }

    /// Checks that the device's identity key signed this refresh: a token alone is worth nothing.
    async fn check_refresh(&self, request: &Refresh, token: &RefreshToken, row: &SessionRow) -> Result<(), Failure> {
        let Some(signature) = &request.signature else {
            refused("unsigned");
            return Err(Failure::new(
                ErrorCode::RefreshUnsigned,
                "this program is older than the server: update it; until then sign in again when a session ends",
            ));
        };
        let key = match &row.identity_key {
            Some(key) => key.to_vec(),
            None => self.certified_key(token.account, request.device).await?,
        };
        let text = refresh_text(&self.auth.ctx.config.public.domain, &request.refresh_token);
        let signed = PublicKey::from_serialized(&key).and_then(|key| key.verify(text.as_bytes(), &signature.0));
        signed.map_err(|error| {
            tracing::warn!(account = %token.account, device = %request.device, %error,
                "a refresh token came without its device's signature");
            refused("signature");
            Failure::new(
                ErrorCode::RefreshSignature,
                "sign the refresh with the device's identity key, or sign in again",
            )
        })
    }

    /// The identity key of a device by its certificate, for sessions that began before they knew it.
    async fn certified_key(&self, account: AccountId, device: DeviceId) -> Result<Vec<u8>, Failure> {
        let certified =
            self.auth.ctx.call(&Certificates { account }).await?.into_iter().find(|one| one.device == device);
        let message = certified.and_then(|one| one.certificate.message.parse::<SiweMessage>().ok());
        match message.and_then(|message| message.resource()) {
            Some(Resource::Device { identity_key, .. }) => Ok(identity_key.to_vec()),
            _ => Err(Failure::new(ErrorCode::RefreshInvalid, "this device was removed; sign in again")),
        }
    }

    fn tokens(
        &self,
        account: AccountId,
        device: DeviceId,
        session: SessionId,
        generation: u32,
    ) -> Result<Tokens, Failure> {
        let now = self.auth.ctx.clock.now();
        let access_expires_at = now + Duration::from_secs(self.auth.tokens.access_ttl_s);
        let (iat, exp) = (now.unix_timestamp(), access_expires_at.unix_timestamp());
        Ok(Tokens {
            account,
            device,
            session,
            access_token: self.keys.access.sign(&Claims { account, device, session, iat, exp })?,
            access_expires_at,
            refresh_token: RefreshToken { account, session, generation }.seal(&self.keys.refresh),
            refresh_expires_at: now + self.auth.refresh_ttl(),
        })
    }
}

fn refused(reason: &'static str) {
    metrics::counter!("nepto_refresh_refused_total", "reason" => reason).increment(1);
}
