//! Sessions: whether one lives, and that it ends everywhere before anybody is told so. How one begins and goes on:
//! `issuer.rs`.

use std::time::Duration;

use nepto_kit::token::Claims;
use nepto_kit::{Failure, nats};
use nepto_proto::api::auth::Session;
use nepto_proto::event::{Control, SessionsRevoked};
use nepto_proto::subject::Live;
use nepto_proto::svc::auth::SessionState;
use nepto_proto::{AccountId, DeviceId, SessionId};

use super::ops::Auth;
use super::store::SessionRow;

/// NATS must have heard that a session ends in this time. It is beside us, or away.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

impl Auth {
    pub async fn sign_out(&self, claims: &Claims, everywhere: bool) -> Result<(), Failure> {
        let ended = match everywhere {
            true => self.store.sessions(claims.account).await?,
            false => self.store.session(claims.account, claims.session).await?.into_iter().collect(),
        };
        // the own one last: with it goes the right to try again
        let (own, others): (Vec<_>, _) = ended.into_iter().partition(|row| row.session() == claims.session);
        self.end(claims.account, others).await?;
        let sessions = ids(&own);
        let remembered = self.remember_end(&sessions).await;
        let told = self.tell_sockets(claims.account, &sessions).await;
        remembered?;
        // the token is refused from here on, so there is no other try: sockets that did not hear of it do from the event
        self.end_rows(claims.account, sessions).await?;
        told
    }

    pub async fn sessions(&self, account: AccountId) -> Result<Vec<Session>, Failure> {
        Ok(self.store.sessions(account).await?.iter().map(SessionRow::to_api).collect())
    }

    /// Ends the sessions of a device that was removed; how many there were.
    pub async fn device_removed(&self, account: AccountId, device: DeviceId) -> Result<u32, Failure> {
        self.end_where(account, |row| row.device() == device).await
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

    /// Removes expired sessions; a bounded number, so that a job's run is short.
    pub async fn remove_expired(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        Ok(self.store.remove_expired(self.ctx.clock.now_ms(), BATCH).await?)
    }

    /// Tells Redis and the sockets that sessions ended. May be told twice.
    pub async fn spread_end(&self, account: AccountId, sessions: &[(SessionId, DeviceId)]) -> Result<(), Failure> {
        // Redis first: a socket that is closed must not come back in. All of both, whatever fails of them
        let remembered = self.remember_end(sessions).await;
        remembered.and(self.tell_sockets(account, sessions).await)
    }

    async fn remember_end(&self, sessions: &[(SessionId, DeviceId)]) -> Result<(), Failure> {
        // longer than any access token lives
        let ttl = Duration::from_secs(self.tokens.access_ttl_s + 60);
        let mut remembered = Ok(());
        for (session, _) in sessions {
            remembered = remembered.and(self.store.remember_revoked(*session, ttl).await.map_err(Failure::from));
        }
        remembered
    }

    async fn tell_sockets(&self, account: AccountId, sessions: &[(SessionId, DeviceId)]) -> Result<(), Failure> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut told = Ok(());
        for (session, device) in sessions {
            let control = serde_json::to_vec(&Control::Revoked { session: *session }).map_err(Failure::internal)?;
            let subject = Live::Control.subject(account, *device);
            let published = self.ctx.nats.publish(subject, control.into()).await;
            told = told.and(published.map_err(|error| Failure::unavailable("NATS", error)));
        }
        // what is published while NATS hangs or is away is only kept for later
        let reached = nats::round_trip(&self.ctx.nats, TOLD_WITHIN).await;
        told.and(reached.map_err(|error| Failure::unavailable("NATS", error)))
    }

    /// Ends sessions: in Redis and on open sockets, then here. Who is told that it worked can rely on all of it; whatever
    /// fails leaves the rows, so that another try does all of it again.
    pub(super) async fn end(&self, account: AccountId, rows: Vec<SessionRow>) -> Result<(), Failure> {
        let sessions = ids(&rows);
        self.spread_end(account, &sessions).await?;
        self.end_rows(account, sessions).await
    }

    async fn end_rows(&self, account: AccountId, sessions: Vec<(SessionId, DeviceId)>) -> Result<(), Failure> {
        if sessions.is_empty() {
            return Ok(());
        }
        let gone: Vec<SessionId> = sessions.iter().map(|(session, _)| *session).collect();
        let event = self.event(&SessionsRevoked { account, sessions })?;
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
        Duration::from_secs(self.tokens.refresh_ttl_s)
    }
}

pub(super) fn ids(rows: &[SessionRow]) -> Vec<(SessionId, DeviceId)> {
    rows.iter().map(|row| (row.session(), row.device())).collect()
}
