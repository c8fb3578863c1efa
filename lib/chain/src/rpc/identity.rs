//! Which chain an endpoint serves. Its address may lead to another chain, and a node may come back as one of another chain.
//!
//! Whoever knows the id that is wanted asks nothing else before the endpoint said it. It is asked again after it was out of
//! reach, when a chain seems to fork, and when the answer has grown old.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::U64;
use tokio::time::Instant;

use super::RpcError;

/// What it said counts for so long: a node that was away between two questions was never seen to be.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What is wanted, and what is known.
#[derive(Default)]
pub(super) struct Identity {
    wanted: Option<u64>,
    known_at: Mutex<Option<Instant>>,
    /// Held by the one who asks.
    pub asking: tokio::sync::Mutex<()>,
}

impl Identity {
    /// Of an endpoint that shall serve this chain; any, if `None`.
    pub fn new(wanted: Option<u64>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The chain that it must say to serve before anything else is asked of it.
    pub fn open(&self) -> Option<u64> {
        let is_known = self.known_at().is_some_and(|at| at.elapsed() < KNOWN_FOR);
        self.wanted.filter(|_| !is_known)
    }

    /// It said that it serves that chain.
    pub fn confirm(&self) {
        *self.known_at() = Some(Instant::now());
    }

    /// It may be another one now.
    pub fn doubt(&self) {
        *self.known_at() = None;
    }

    fn known_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.known_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Validates an answer to `eth_chainId`.
pub(super) fn validate(answer: &str, wanted: u64) -> Result<(), RpcError> {
    let serves: U64 = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
    let serves = serves.to::<u64>();
    if serves == wanted { Ok(()) } else { Err(RpcError::OtherChain { serves, wanted }) }
}

/// What it means that an endpoint does not say its chain: a node that can't be told from one of another chain is none.
pub(super) fn unsaid(error: RpcError) -> RpcError {
    match error {
        RpcError::OtherChain { .. } | RpcError::Failed(_) | RpcError::Limited(_) => error,
        error => RpcError::Failed(format!("it does not say which chain it serves: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_serves_is_read() {
        assert_eq!(validate("\"0x7a69\"", 31_337), Ok(()));
        assert_eq!(validate("\"0x5\"", 31_337), Err(RpcError::OtherChain { serves: 5, wanted: 31_337 }));
        for nothing in ["null", "{}", "true", "\"0xfffffffffffffffffff\""] {
            assert!(matches!(validate(nothing, 5), Err(RpcError::Failed(_))), "{nothing}");
        }
        let refused = RpcError::Refused { code: -32_601, message: "unknown method".into(), data: None };
        assert!(matches!(unsaid(refused), RpcError::Failed(why) if why.contains("unknown method")));
        assert!(matches!(unsaid(RpcError::Missing), RpcError::Failed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_grows_old_and_may_be_doubted() {
        let any = Identity::new(None);
        assert_eq!(any.open(), None);
        let five = Identity::new(Some(5));
        assert_eq!(five.open(), Some(5));
        five.confirm();
        assert_eq!(five.open(), None);
        five.doubt();
        assert_eq!(five.open(), Some(5));
        five.confirm();
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(five.open(), Some(5));
    }
}
