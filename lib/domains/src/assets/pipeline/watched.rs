//! The wallets of accounts: only their changes are events for other domains.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use alloy_primitives::Address;
use nepto_proto::AccountId;

use crate::assets::ops::Assets;

/// How often the wallets are read again.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// Wallets, with the accounts that they belong to.
#[derive(Default)]
pub struct Watched(RwLock<Arc<HashMap<Address, AccountId>>>);

impl Watched {
    /// As far as known.
    pub fn wallets(&self) -> Arc<HashMap<Address, AccountId>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them again and again.
    pub async fn keep_up(&self, assets: &Assets) {
        let mut revision = None;
        loop {
            match assets.store.linked_since(revision).await {
                Ok(Some((newest, wallets))) => {
                    revision = Some(newest);
                    *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(wallets);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the wallets of accounts can't be read"),
            }
            tokio::time::sleep(REFRESH_EVERY).await;
        }
    }
}
