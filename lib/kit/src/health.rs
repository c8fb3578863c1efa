//! What a process depends on, and whether it does what it is needed for. `/readyz` asks all checks; one that fails or hangs
//! turns it red. However many ask, the checks are asked once a second.
//!
//! Apart from that, each endless loop says that it comes round, whether it gets anything done or not. One that does not is our own
//! mistake, which only a new process can mend: the service manager's watchdog ends this one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::time::Instant;

/// A check may take this long.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is told to everybody for so long: each costs writes to everything that the process needs.
const TOLD_FOR: Duration = Duration::from_secs(1);

/// A loop must come round within this: longer than all that one round may wait for.
const ROUND_MAX: Duration = Duration::from_secs(300);

/// Their names, and when each began its round.
type Loops = Vec<(String, Weak<Mutex<Instant>>)>;

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of a process.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<(String, Check)>>>,
    /// The newest answer. Who asks while the checks are being asked waits here for what they say.
    newest: Arc<tokio::sync::Mutex<Option<(Instant, Readiness)>>>,
    loops: Arc<Mutex<Loops>>,
}

/// A loop: when it last began a round. A loop that ends drops it.
#[derive(Debug, Clone)]
pub struct Round(Arc<Mutex<Instant>>);

impl Round {
    /// The next round begins.
    pub fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

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
    /// The name of the check, for instance `redis`.
    pub name: String,
    /// What is wrong, for operators; `null` where the check passed.
    pub error: Option<String>,
}

impl Health {
    /// Adds a check, or replaces that of this name.
    pub fn register<F>(&self, name: impl Into<String>, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (name, check): (String, Check) = (name.into(), Arc::new(move || Box::pin(check())));
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        match checks.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = check,
            None => checks.push((name, check)),
        }
    }

    /// Registers a loop, which begins a round now.
    pub fn round(&self, name: impl Into<String>) -> Round {
        let round = Round(Arc::new(Mutex::new(Instant::now())));
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|(_, known)| known.strong_count() > 0);
        loops.push((name.into(), Arc::downgrade(&round.0)));
        round
    }

    /// The loops that have not come round for five minutes.
    pub fn standing_still(&self) -> Vec<String> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let stands =
            |began: &Mutex<Instant>| began.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > ROUND_MAX;
        let still = loops.iter().filter(|(_, began)| began.upgrade().is_some_and(|began| stands(&began)));
        still.map(|(name, _)| name.clone()).collect()
    }

    /// What the checks say, or said within the last second.
    pub async fn readiness(&self) -> Readiness {
        let mut newest = self.newest.clone().lock_owned().await;
        if let Some((at, readiness)) = &*newest
            && at.elapsed() < TOLD_FOR
        {
            return readiness.clone();
        }
        let health = self.clone();
        // a task of its own: who asks and goes away must not make the next one ask everything again
        let asked = tokio::spawn(async move {
            let readiness = health.ask_all().await;
            *newest = Some((Instant::now(), readiness.clone()));
            readiness
        });
        asked.await.unwrap_or_else(|error| Readiness {
            ready: false,
            checks: vec![CheckResult { name: "checks".to_owned(), error: Some(error.to_string()) }],
        })
    }

    /// Asks all checks at once, whatever they said before.
    pub(crate) async fn ask_all(&self) -> Readiness {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = join_all(checks.into_iter().map(asked)).await;
        Readiness { ready: checks.iter().all(|check| check.error.is_none()), checks }
    }
}

async fn asked((name, check): (String, Check)) -> CheckResult {
    let result = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
    let error = result.unwrap_or_else(|_| Err("no answer in time".to_owned())).err();
    CheckResult { name, error }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_failing_check_turns_it_red() {
        let health = Health::default();
        health.register("good", || async { Ok(()) });
        assert!(health.ask_all().await.ready);
        health.register("bad", || async { Err("gone".to_owned()) });
        let readiness = health.ask_all().await;
        assert!(!readiness.ready);
        assert_eq!(readiness.checks[1].error.as_deref(), Some("gone"));
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_are_answered_by_one_question() {
        let (health, asked) = (Health::default(), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        health.register("slow", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(())
            }
        });
        // who goes away before the answer is no reason to ask again
        tokio::time::timeout(Duration::from_millis(1), health.readiness()).await.unwrap_err();
        let answers = join_all((0..1_000).map(|_| health.readiness())).await;
        assert!(answers.iter().all(|answer| answer.ready));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::sleep(TOLD_FOR).await;
        health.readiness().await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_come_round_stands_still() {
        let health = Health::default();
        let (one, other) = (health.round("one"), health.round("other"));
        tokio::time::advance(ROUND_MAX).await;
        assert!(health.standing_still().is_empty());
        one.begin();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(health.standing_still(), ["other"]);
        drop(other);
        assert!(health.standing_still().is_empty(), "it ended");
    }

    #[tokio::test]
    async fn a_check_of_the_same_name_takes_the_place_of_the_other() {
        let health = Health::default();
        health.register("store", || async { Err("gone".to_owned()) });
        health.register("store", || async { Ok(()) });
        let readiness = health.ask_all().await;
        assert!(readiness.ready && readiness.checks.len() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_check_turns_it_red() {
        let health = Health::default();
        health.register("hangs", std::future::pending);
        assert!(!health.ask_all().await.ready);
    }
}
