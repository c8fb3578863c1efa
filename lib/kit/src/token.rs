//! Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037). The domain `auth` signs, every process verifies.
//!
//! A token alone is not enough: the session behind it must live. Redis says so (`session:{id}`, written by `auth`), and
//! where Redis does not know, `auth` is asked.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use nepto_proto::svc::auth::{CheckSession, SessionState};
use nepto_proto::{AccountId, DeviceId, ErrorCode, SessionId};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{Ctx, Failure};

/// Who a token was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it speaks for.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The device that signed in.
    #[serde(rename = "did")]
    pub device: DeviceId,
    /// The session that must live for the token to count; rows and refreshes are in `auth`.
    #[serde(rename = "sid")]
    pub session: SessionId,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970.
    pub exp: i64,
}

/// Makes access tokens, with the private key.
pub struct Signer(EncodingKey);

/// Checks access tokens, with the public key.
pub struct Verifier(DecodingKey);

impl Signer {
    /// Reads a PKCS#8 PEM file.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let pem = read(file, SIGNING)?;
        Ok(Self(EncodingKey::from_ed_pem(&pem).map_err(|_| broken(file, SIGNING))?))
    }

    /// A JWT with these claims, signed.
    pub fn sign(&self, claims: &Claims) -> Result<String, Failure> {
        encode(&Header::new(Algorithm::EdDSA), claims, &self.0).map_err(Failure::internal)
    }
}

impl Verifier {
    /// Reads the public key from a PEM file.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let pem = read(file, VERIFYING)?;
        Ok(Self(DecodingKey::from_ed_pem(&pem).map_err(|_| broken(file, VERIFYING))?))
    }

    /// Checks signature and times.
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Claims, Failure> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // our clock, not the library's
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &self.0, &validation)
            .map_err(|_| Failure::new(ErrorCode::TokenInvalid, "this access token is not valid"))?
            .claims;
        if claims.exp <= now.unix_timestamp() {
            return Err(Failure::new(ErrorCode::TokenExpired, "exchange the refresh token for a new one"));
        }
        Ok(claims)
    }
}

const SIGNING: &str = "tokens.signing_key_file";
const VERIFYING: &str = "tokens.verifying_key_file";

fn broken(file: &Path, field: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{field} {} is empty or holds no key; `nepto-server provision` mends it, or says how",
        file.display()
    )
}

fn read(file: &Path, field: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        anyhow::anyhow!("{field} {} can't be read: {error}; `nepto-server provision` makes it", file.display())
    })
}

/// Checks a token and the session behind it.
pub async fn authenticate(ctx: &Ctx, token: &str) -> Result<Claims, Failure> {
    let claims = ctx.tokens.verify(token, ctx.clock.now())?;
    match session_state(ctx, &claims).await? {
        SessionState::Live => Ok(claims),
        SessionState::Revoked => {
            Err(Failure::new(ErrorCode::SessionRevoked, "this session was signed out, or its device removed"))
        }
    }
}

/// Whether a session lives, from Redis or else from `auth`.
pub async fn session_state(ctx: &Ctx, claims: &Claims) -> Result<SessionState, Failure> {
    let known: Option<String> = ctx.redis.clone().get(SessionState::key(claims.session)).await.unwrap_or_default();
    match known.as_deref() {
        Some("live") => Ok(SessionState::Live),
        Some("revoked") => Ok(SessionState::Revoked),
        _ => ctx.call(&CheckSession { account: claims.account, session: claims.session }).await,
    }
}
