//! The wallets of accounts: only their changes are events for other domains.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use nepto_proto::AccountId;
use tokio::sync::watch;

use crate::assets::ops::Assets;

/// How often the wallets are read again.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// Wallets, with the accounts that they belong to; none until they were read.
#[derive(Default)]
pub struct Watched(watch::Sender<Option<Arc<HashMap<Address, AccountId>>>>);

impl Watched {
    /// As they were a moment ago.
    pub fn wallets(&self) -> Arc<HashMap<Address, AccountId>> {
        self.0.borrow().clone().unwrap_or_default()
    }

    /// Waits until they were read.
    pub async fn known(&self) {
        // the sender is ours and stays
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Reads them again and again.
    pub async fn keep_up(&self, assets: &Assets) {
        let mut revision = None;
        loop {
            match assets.store.linked_since(revision).await {
                Ok(Some((newest, wallets))) => {
                    revision = Some(newest);
                    self.0.send_replace(Some(Arc::new(wallets)));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the wallets of accounts can't be read"),
            }
            tokio::time::sleep(REFRESH_EVERY).await;
        }
    }
}
