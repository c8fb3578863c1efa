//! Leaving alone what did not work, for longer each time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

/// What did not work rests so long, doubled for each further time.
pub const REST_FIRST: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(3_600);
/// Files that are remembered: a few hundred kilobytes. Each of them took a place among those that are fetched for a while.
const FILES_MAX: usize = 8_192;

/// How one of them does.
#[derive(Debug, Default)]
pub struct Rest {
    failures_in_a_row: u32,
    until: Option<Instant>,
}

impl Rest {
    /// Whether it is not asked now.
    pub fn lasts(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }

    /// It did not work. What was under way already when a rest began makes it no longer.
    pub fn begin(&mut self) {
        if !self.lasts() {
            let rest = REST_FIRST.saturating_mul(1 << self.failures_in_a_row.min(10)).min(REST_MAX);
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.until = Some(Instant::now() + rest);
        }
    }
}

/// Files that did not come although their host was there. Only they rest: on one host lie the files of many, and nobody's slow
/// file keeps those of others away.
#[derive(Debug, Default)]
pub struct Files {
    /// By the hash of the address under a key of this process: addresses are long, and untrusted parties choose them.
    known: Mutex<HashMap<u64, Rest>>,
    key: RandomState,
}

impl Files {
    /// Whether it is not asked for now.
    pub fn rests(&self, url: &Url) -> bool {
        self.lock().get(&self.key.hash_one(url)).is_some_and(Rest::lasts)
    }

    /// Notes whether it came.
    pub fn note(&self, url: &Url, came: bool) {
        let (key, mut known) = (self.key.hash_one(url), self.lock());
        if came {
            known.remove(&key);
            return;
        }
        if known.len() >= FILES_MAX && !known.contains_key(&key) {
            known.retain(|_, rest| rest.lasts());
            if known.len() >= FILES_MAX {
                // they are asked for once more: better than to keep nothing of what is slow now
                known.clear();
            }
        }
        known.entry(key).or_default().begin();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Rest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn url(number: usize) -> Url {
        format!("https://example.org/{number}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_come_rests_longer_each_time_and_no_other_does() {
        let files = Files::default();
        for rest in [REST_FIRST, REST_FIRST * 2, REST_FIRST * 4] {
            files.note(&url(1), false);
            files.note(&url(1), false);
            assert!(files.rests(&url(1)) && !files.rests(&url(2)));
            advance(rest - Duration::from_millis(1)).await;
            assert!(files.rests(&url(1)));
            advance(Duration::from_millis(1)).await;
            assert!(!files.rests(&url(1)));
        }
        for _ in 0..20 {
            files.note(&url(1), false);
            advance(REST_MAX).await;
            assert!(!files.rests(&url(1)), "an hour at the most");
        }
        files.note(&url(1), true);
        files.note(&url(1), false);
        advance(REST_FIRST).await;
        assert!(!files.rests(&url(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_files_are_remembered_than_may_be() {
        let files = Files::default();
        for number in 0..FILES_MAX {
            files.note(&url(number), false);
        }
        assert!(files.rests(&url(0)));
        files.note(&url(FILES_MAX), false);
        assert!(files.rests(&url(FILES_MAX)));
        assert_eq!(files.lock().len(), 1);
        // those whose rest is over go first
        for number in 0..FILES_MAX - 1 {
            files.note(&url(number), false);
        }
        advance(REST_FIRST).await;
        files.note(&url(FILES_MAX + 1), false);
        assert_eq!(files.lock().len(), 1);
    }
}
