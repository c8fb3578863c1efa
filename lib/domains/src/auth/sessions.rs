//! Sessions: they begin with a sign-in, go on with refreshes that the device signs, and end everywhere before anybody is
//! told so.

use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::token::{Claims, SessionState};
use nepto_proto::api::auth::{Refresh, Session, Tokens, refresh_text};
use nepto_proto::certificate::Resource;
use nepto_proto::event::{Control, SessionsRevoked};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::subject::Live;
use nepto_proto::xeddsa::PublicKey;
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};

use super::model::{Presented, RefreshToken, judge};
use super::ops::Auth;
use super::store::{Beginning, SessionRow, key_of};
use crate::keys::{Certificates, ListDevices};

/// The sockets of a session that ends must have been told in this time. NATS is beside us, or away.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A session that is to begin.
#[derive(Clone, Copy)]
pub(super) struct NewSession<'a> {
    pub account: AccountId,
    pub device: DeviceId,
    /// That signed, EIP-55.
    pub wallet: &'a str,
    /// Of the device, serialized.
    pub identity_key: &'a [u8],
}

impl Auth {
    /// Begins a session of a device that was certified just now; earlier ones of the device end.
    pub(super) async fn begin(&self, new: NewSession<'_>) -> Result<Tokens, Failure> {
        let NewSession { account, device, wallet, identity_key } = new;
        let session = SessionId::new(self.ctx.random.uuid(&self.ctx.clock));
        let mut before = self.store.sessions(account).await?;
        before.retain(|row| row.device == i64::from(device.get()));
        let before = ids(&before);
        self.spread_end(account, &before).await?;
        let event = (!before.is_empty()).then(|| self.event(&SessionsRevoked { account, sessions: before.clone() }));
        let now_ms = self.ctx.clock.now_ms();
        let beginning = Beginning { account, session, device, wallet, identity_key, now_ms };
        let mut ended = ids(&self.store.begin_session(beginning, self.refresh_ttl(), event).await?);
        self.outbox.wake();
        // of who signed in at the same moment
        ended.retain(|session| !before.contains(session));
        self.spread_end(account, &ended).await?;
        self.check_not_removed(&new).await?;
        self.remember_live(session).await;
        self.tokens(account, device, session, 0)
    }

    /// The device or its wallet may have been removed while it signed in, after its sessions were ended and before this one
    /// began.
    async fn check_not_removed(&self, new: &NewSession<'_>) -> Result<(), Failure> {
        let NewSession { account, device, wallet, .. } = *new;
        let devices = self.ctx.call(&ListDevices { account }).await?.devices;
        if !devices.iter().any(|(listed, _)| *listed == device) {
            self.device_removed(account, device).await?;
            return Err(Failure::new(
                ErrorCode::DeviceUnknown,
                "this device was removed while it signed in; sign in again",
            ));
        }
        if self.store.account_of_wallet(wallet).await? != Some(account) {
            self.end_devices_of(account, wallet).await?;
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
        let now_ms = self.ctx.clock.now_ms();
        let row = self.store.session(token.account, token.session).await?.ok_or_else(invalid)?;
        if row.device != i64::from(request.device.get()) || row.expires_at_ms <= now_ms {
            return Err(invalid());
        }
        self.check_refresh(&request, &token, &row).await?;
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
                refused("reused");
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
        // the own one last: with it goes the right to try again
        let (own, others) = ended.into_iter().partition(|row| key_of(&row.id).map(|key| key.1) == Some(claims.session));
        self.end(claims.account, others).await?;
        self.end(claims.account, own).await
    }

    pub async fn sessions(&self, account: AccountId) -> Result<Vec<Session>, Failure> {
        Ok(self.store.sessions(account).await?.iter().filter_map(SessionRow::to_api).collect())
    }

    /// Ends the sessions of a device that was removed; how many there were.
    pub async fn device_removed(&self, account: AccountId, device: DeviceId) -> Result<u32, Failure> {
        self.end_where(account, |row| row.device == i64::from(device.get())).await
    }

    /// Ends the sessions that a wallet signed in; how many there were.
    pub(super) async fn end_of_wallet(&self, account: AccountId, wallet: &str) -> Result<u32, Failure> {
        self.end_where(account, |row| row.wallet == wallet).await
    }

    async fn end_where(&self, account: AccountId, which: impl Fn(&SessionRow) -> bool) -> Result<u32, Failure> {
        let ended: Vec<SessionRow> = self.store.sessions(account).await?.into_iter().filter(which).collect();
        let count = ended.len() as u32;
        self.end(account, ended).await?;
        Ok(count)
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
        let text = refresh_text(&self.ctx.config.public.domain, &request.refresh_token);
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
        let certified = self.ctx.call(&Certificates { account }).await?.into_iter().find(|one| one.device == device);
        let message = certified.and_then(|one| one.certificate.message.parse::<SiweMessage>().ok());
        match message.and_then(|message| message.resource()) {
            Some(Resource::Device { identity_key, .. }) => Ok(identity_key.to_vec()),
            _ => Err(Failure::new(ErrorCode::RefreshInvalid, "this device was removed; sign in again")),
        }
    }

    /// Removes expired sessions; a bounded number, so that a job's run is short.
    pub async fn remove_expired(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        Ok(self.store.remove_expired(self.ctx.clock.now_ms(), BATCH).await?)
    }

    /// Tells Redis and the sockets that sessions ended. May be told twice.
    pub async fn spread_end(&self, account: AccountId, sessions: &[(SessionId, DeviceId)]) -> Result<(), Failure> {
        if sessions.is_empty() {
            return Ok(());
        }
        // longer than any access token lives
        let ttl = Duration::from_secs(self.ctx.config.tokens.access_ttl_s + 60);
        // Redis first: a socket that is closed must not come back in. All of both, whatever fails of them
        let mut told = Ok(());
        for (session, _) in sessions {
            told = told.and(self.store.remember_revoked(*session, ttl).await.map_err(Failure::from));
        }
        for (session, device) in sessions {
            let control = serde_json::to_vec(&Control::Revoked { session: *session }).map_err(Failure::internal)?;
            let subject = Live::Control.subject(account, *device);
            let published = self.ctx.nats.publish(subject, control.into()).await;
            told = told.and(published.map_err(|error| Failure::unavailable("NATS", error)));
        }
        told.and(self.flush().await)
    }

    /// Waits until what was published has left: while the connection is down it would only be kept for later.
    async fn flush(&self) -> Result<(), Failure> {
        match tokio::time::timeout(TOLD_WITHIN, self.ctx.nats.flush()).await {
            Ok(flushed) => flushed.map_err(|error| Failure::unavailable("NATS", error)),
            Err(elapsed) => Err(Failure::unavailable("NATS", elapsed)),
        }
    }

    /// Ends sessions: in Redis and on open sockets, then here. Who is told that it worked can rely on all of it; whatever
    /// fails leaves the rows, so that another try does all of it again.
    pub(super) async fn end(&self, account: AccountId, rows: Vec<SessionRow>) -> Result<(), Failure> {
        let sessions = ids(&rows);
        if sessions.is_empty() {
            return Ok(());
        }
        self.spread_end(account, &sessions).await?;
        let gone: Vec<SessionId> = sessions.iter().map(|(session, _)| *session).collect();
        let event = self.event(&SessionsRevoked { account, sessions });
        self.store.end_sessions(account, &gone, event).await?;
        self.outbox.wake();
        Ok(())
    }

    /// Saves the next request a question; if Redis is away, that question is asked.
    pub(super) async fn remember_live(&self, session: SessionId) {
        if let Err(error) = self.store.remember_live(session, SessionState::CACHE_TTL).await {
            tracing::warn!(%error, "a session was not remembered in Redis");
        }
    }

    pub(super) fn refresh_ttl(&self) -> Duration {
        Duration::from_secs(self.ctx.config.tokens.refresh_ttl_s)
    }

    pub(super) fn tokens(
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
}

fn refused(reason: &'static str) {
    metrics::counter!("nepto_refresh_refused_total", "reason" => reason).increment(1);
}

fn ids(rows: &[SessionRow]) -> Vec<(SessionId, DeviceId)> {
    let id = |row: &SessionRow| Some((key_of(&row.id)?.1, DeviceId::try_from(u32::try_from(row.device).ok()?).ok()?));
    rows.iter().filter_map(id).collect()
}
