//! The one error that leaves a domain: a stable code and a sentence for people. What broke inside goes to the log only.

use std::fmt;
use std::time::Duration;

use nepto_proto::ErrorCode;
use nepto_proto::api::Extensions;

use crate::db::DbError;

/// Why a request was not done.
#[derive(Debug)]
pub struct Failure {
    /// What programs branch on; never changes its meaning.
    pub code: ErrorCode,
    /// For people: what went wrong here, and what to do.
    pub detail: String,
    /// When a retry makes sense.
    pub retry_after: Option<Duration>,
    /// What some codes say beside.
    pub extensions: Extensions,
    /// What really happened; never leaves the process.
    source: Option<anyhow::Error>,
}

impl Failure {
    /// A failure of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None, extensions: Extensions::default(), source: None }
    }

    /// Something broke that the caller can't help.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self { source: Some(source.into()), ..Self::new(ErrorCode::Internal, "") }
    }

    /// A service that we need is out of reach.
    pub fn unavailable(what: &str, source: impl Into<anyhow::Error>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            source: Some(source.into()),
            ..Self::new(ErrorCode::Unavailable, format!("{what} is out of reach"))
        }
    }

    /// A limit is used up; `retry_after` says when to come again.
    pub fn rate_limited(retry_after: Duration, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::RateLimited, detail) }
    }

    /// Writes what happened inside to the log; a refusal that the caller caused is only worth a debug line.
    pub fn log(&self) {
        match &self.source {
            Some(source) => tracing::error!(code = %self.code, error = format!("{source:#}"), "failed"),
            None => tracing::debug!(code = %self.code, detail = self.detail, "refused"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}

impl From<DbError> for Failure {
    /// What a statement refuses is the caller's; everything else is ours.
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Refused(code) => Self::new(*code, ""),
            DbError::Stale | DbError::Superseded | DbError::Conflict | DbError::Timeout | DbError::Unreachable(_) => {
                Self::unavailable("the database", error)
            }
            DbError::Exists | DbError::Corrupt { .. } | DbError::Other(_) => Self::internal(error),
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        Self::unavailable("Redis", error)
    }
}

impl From<nepto_proto::siwe::SiweError> for Failure {
    fn from(error: nepto_proto::siwe::SiweError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<nepto_proto::ids::InvalidId> for Failure {
    fn from(error: nepto_proto::ids::InvalidId) -> Self {
        Self::new(ErrorCode::Malformed, error.to_string())
    }
}
