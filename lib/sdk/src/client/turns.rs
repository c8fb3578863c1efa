//! One look-up of an account after the other: of two answers that cross, the older one would be taken for news, and a device
//! that it does not know yet for a removed one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nepto_proto::AccountId;
use tokio::sync::OwnedMutexGuard;

/// Accounts that are being looked up.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else looks this account up. Others wait until the turn is dropped.
    pub async fn take(&self, account: AccountId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // no more than are looked up right now
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(account).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use uuid::Uuid;

    #[tokio::test]
    async fn one_account_is_looked_up_once_at_a_time_and_others_do_not_wait() {
        let turns = Turns::default();
        let account = |n| AccountId::new(Uuid::from_u128(n));
        let first = turns.take(account(1)).await;
        assert!(turns.take(account(1)).now_or_never().is_none());
        assert!(turns.take(account(2)).now_or_never().is_some());
        drop(first);
        assert!(turns.take(account(1)).now_or_never().is_some());
        let _third = turns.take(account(3)).await;
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what nobody looks up is forgotten");
    }
}
