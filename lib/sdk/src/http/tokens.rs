//! Access tokens: refreshed shortly before they expire, once at a time, and stored before they are used.

use std::sync::Arc;
use std::time::Duration;

use nepto_proto::api::auth::{Refresh, Tokens};
use nepto_proto::api::endpoint::NoParameters;
use nepto_proto::api::endpoints::auth::RefreshTokens;
use nepto_sdk_core::is_signed_out;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Http;
use crate::SdkError;

/// A token is refreshed this long before it expires.
const EARLY: Duration = Duration::from_secs(60);
/// A token is not refreshed for its age before it was held so long: the local clock may be off.
const HOLD_MIN: Duration = Duration::from_secs(30);

/// Where new tokens are kept. Called before the old ones are forgotten.
pub trait TokenSink: Send + Sync {
    /// Stores tokens durably.
    fn save(&self, tokens: &Tokens) -> Result<(), SdkError>;
    /// The session is void.
    fn forget(&self) -> Result<(), SdkError>;
    /// Signs [`refresh_text`](nepto_proto::api::auth::refresh_text) of this token by the device's identity key.
    fn sign_refresh(&self, refresh_token: &str) -> Result<Vec<u8>, SdkError>;
}

/// For who keeps no tokens, and has no device that could refresh them.
impl TokenSink for () {
    fn save(&self, _: &Tokens) -> Result<(), SdkError> {
        Ok(())
    }
    fn forget(&self) -> Result<(), SdkError> {
        Ok(())
    }
    fn sign_refresh(&self, _: &str) -> Result<Vec<u8>, SdkError> {
        Err(SdkError::NotSignedIn)
    }
}

#[derive(Clone)]
pub(super) struct TokenSource {
    sink: Arc<dyn TokenSink>,
    held: Arc<Mutex<Option<Held>>>,
}

struct Held {
    tokens: Tokens,
    since_ms: u64,
}

impl TokenSource {
    pub fn new(sink: Box<dyn TokenSink>) -> Self {
        Self { sink: sink.into(), held: Arc::default() }
    }
}

impl Http {
    /// Whether there is a session at all.
    pub async fn has_tokens(&self) -> bool {
        self.tokens.held.lock().await.is_some()
    }

    /// Takes tokens that were stored before.
    pub async fn resume(&self, tokens: Tokens) {
        *self.tokens.held.lock().await = Some(Held { tokens, since_ms: 0 });
    }

    /// Takes new tokens and stores them.
    pub async fn adopt(&self, tokens: Tokens) -> Result<(), SdkError> {
        let mut held = self.tokens.held.lock().await;
        self.tokens.sink.save(&tokens)?;
        *held = Some(Held { tokens, since_ms: self.env.now_ms() });
        Ok(())
    }

    /// Forgets all tokens, here and in the store.
    pub async fn forget(&self) -> Result<(), SdkError> {
        *self.tokens.held.lock().await = None;
        self.tokens.sink.forget()
    }

    /// A token that is good for a while.
    pub async fn access_token(&self) -> Result<String, SdkError> {
        let held = self.tokens.held.clone().lock_owned().await;
        let current = held.as_ref().ok_or(SdkError::SignedOut)?;
        let now_ms = self.env.now_ms();
        let expires_ms = current.tokens.access_expires_at.unix_timestamp().max(0) as u64 * 1000;
        let expires = expires_ms <= now_ms.saturating_add(EARLY.as_millis() as u64);
        let fresh = now_ms.saturating_sub(current.since_ms) < HOLD_MIN.as_millis() as u64;
        if !expires || fresh {
            return Ok(current.tokens.access_token.clone());
        }
        self.refresh(held).await
    }

    /// A token other than this one, which the server did not take.
    pub async fn refreshed_token(&self, refused: &str) -> Result<String, SdkError> {
        let held = self.tokens.held.clone().lock_owned().await;
        match held.as_ref() {
            None => Err(SdkError::SignedOut),
            Some(current) if current.tokens.access_token != refused => Ok(current.tokens.access_token.clone()),
            Some(_) => self.refresh(held).await,
        }
    }

    /// The lock is held meanwhile: others wait for the one refresh in flight. It goes on when nobody waits any more, for
    /// the server may have taken the old token already.
    async fn refresh(&self, held: OwnedMutexGuard<Option<Held>>) -> Result<String, SdkError> {
        let http = self.clone();
        let refreshed = tokio::spawn(async move { http.exchange(held).await });
        refreshed.await.map_err(|_| SdkError::Internal("a refresh was interrupted"))?
    }

    async fn exchange(&self, mut held: OwnedMutexGuard<Option<Held>>) -> Result<String, SdkError> {
        let current = held.as_ref().ok_or(SdkError::SignedOut)?;
        let refresh_token = current.tokens.refresh_token.clone();
        // again for each try: a signature says nothing about another token
        let signature = Some(self.tokens.sink.sign_refresh(&refresh_token)?.into());
        let body = Refresh { refresh_token, device: current.tokens.device, signature };
        let call = self.write::<RefreshTokens>(&NoParameters {}, &NoParameters {}, &body)?;
        // once: a token that is used a second time ends the session
        let answer = self.once(&call, None).await;
        match answer.and_then(|(status, answer)| self.read::<Tokens>(status, &answer)) {
            Ok(tokens) => {
                self.tokens.sink.save(&tokens)?;
                let access = tokens.access_token.clone();
                *held = Some(Held { tokens, since_ms: self.env.now_ms() });
                Ok(access)
            }
            Err(error) => {
                if error.code().is_some_and(is_signed_out) {
                    *held = None;
                    self.tokens.sink.forget()?;
                }
                Err(error)
            }
        }
    }
}
