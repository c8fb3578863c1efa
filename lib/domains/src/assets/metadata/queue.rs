//! Tokens whose description is being fetched: each once, and a bounded number of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::contract::TokenKey;

/// Tokens that wait or are being fetched.
const WAITING_MAX: usize = 2_000;

/// The tokens that wait or are being fetched, each once. Clones share them.
#[derive(Clone, Default)]
pub struct Queue(Arc<Mutex<HashSet<TokenKey>>>);

/// A place among them, for as long as it lives.
pub struct Turn {
    queue: Queue,
    pub key: TokenKey,
}

impl Queue {
    /// A place for a token. Without one it is there already, or too many are: whoever asks again gets another chance.
    pub fn enter(&self, key: TokenKey) -> Option<Turn> {
        let mut waiting = self.lock();
        if waiting.contains(&key) {
            return None;
        }
        if waiting.len() >= WAITING_MAX {
            metrics::counter!("nepto_token_queue_full_total").increment(1);
            return None;
        }
        waiting.insert(key);
        Some(Turn { queue: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<TokenKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U256};

    #[test]
    fn each_waits_once_and_not_too_many_do() {
        let queue = Queue::default();
        let key = |number: usize| TokenKey { chain: 1, contract: Address::ZERO, token: U256::from(number) };
        let mut turns: Vec<Turn> = (0..WAITING_MAX).map(|number| queue.enter(key(number)).unwrap()).collect();
        assert!(queue.enter(key(0)).is_none() && queue.enter(key(WAITING_MAX)).is_none());
        turns.remove(0);
        let again = queue.enter(key(0)).unwrap();
        drop((again, turns));
        assert!(queue.lock().is_empty());
    }
}
