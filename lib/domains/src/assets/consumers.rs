//! What this domain does about events of others.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::{WalletLinked, WalletUnlinked};

use super::ops::Assets;

pub fn consumers(assets: &Assets) -> Vec<Consumer> {
    let (linked, unlinked) = (assets.clone(), assets.clone());
    vec![
        Consumer::of_event("assets-wallet-linked", move |event: WalletLinked| {
            let assets = linked.clone();
            async move { assets.wallet_linked(event.account, &event.wallet).await }
        }),
        Consumer::of_event("assets-wallet-unlinked", move |event: WalletUnlinked| {
            let assets = unlinked.clone();
            async move { assets.wallet_unlinked(event.account, &event.wallet).await }
        }),
    ]
}
