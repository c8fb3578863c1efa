//! What this domain does about events.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::WalletUnlinked;

use super::ops::Keys;

pub const QUEUES: &[&str] = &["keys-wallet-unlinked"];

pub fn consumers(keys: &Keys) -> Vec<Consumer> {
    let keys = keys.clone();
    vec![Consumer::of_event("keys-wallet-unlinked", move |event: WalletUnlinked| {
        let keys = keys.clone();
        async move { keys.remove_devices_of(event.account, &event.wallet).await.map(drop) }
    })]
}
