//! What this domain does about events.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::WalletUnlinked;

use super::ops::Keys;

pub const QUEUES: &[&str] = &["keys-wallet-unlinked"];

pub fn consumers(keys: &Keys) -> Vec<Consumer> {
    let keys = keys.clone();
    vec![Consumer::of_event("keys-wallet-unlinked", move |event: WalletUnlinked| {
        let keys = keys.clone();
        async move { keys.wallet_unlinked(event).await }
    })]
}
