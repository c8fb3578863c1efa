//! What a process depends on, and whether it is there. `/readyz` asks all checks; one that fails or hangs turns it red.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

/// A check may take this long.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of a process.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Vec<(String, Check)>>>);

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all checks passed.
    pub ready: bool,
    /// Each check with its error, `null` where it passed.
    pub checks: Vec<CheckResult>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was asked.
    pub name: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

impl Health {
    /// Adds a check.
    pub fn register<F>(&self, name: impl Into<String>, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), check));
    }

    /// Asks all checks at once.
    pub async fn readiness(&self) -> Readiness {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = join_all(checks.into_iter().map(|(name, check)| async move {
            let result = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
            let error = result.unwrap_or_else(|_| Err("no answer in time".to_owned())).err();
            CheckResult { name, error }
        }))
        .await;
        Readiness { ready: checks.iter().all(|check| check.error.is_none()), checks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failing_check_turns_it_red() {
        let health = Health::default();
        health.register("good", || async { Ok(()) });
        assert!(health.readiness().await.ready);
        health.register("bad", || async { Err("gone".to_owned()) });
        let readiness = health.readiness().await;
        assert!(!readiness.ready);
        assert_eq!(readiness.checks[1].error.as_deref(), Some("gone"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_check_turns_it_red() {
        let health = Health::default();
        health.register("hangs", std::future::pending);
        assert!(!health.readiness().await.ready);
    }
}
