//! The queue workers: the five pipelines, and what this domain does about events of others.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::{WalletLinked, WalletUnlinked};

use super::ops::Assets;
use super::pipeline;
use nepto_proto::svc::collector::Pipeline;

pub const QUEUES: &[&str] = &[
    Pipeline::Erc20.as_str(),
    Pipeline::Erc721.as_str(),
    Pipeline::Erc1155.as_str(),
    Pipeline::Staking.as_str(),
    Pipeline::Multisend.as_str(),
    "assets-wallet-linked",
    "assets-wallet-unlinked",
];

pub fn consumers(assets: &Assets) -> Vec<Consumer> {
    let (linked, unlinked) = (assets.clone(), assets.clone());
    let mut consumers = pipeline::consumers(assets);
    consumers.extend([
        Consumer::of_event("assets-wallet-linked", move |event: WalletLinked| {
            let assets = linked.clone();
            async move { assets.wallet_linked(event.account, &event.wallet).await }
        }),
        Consumer::of_event("assets-wallet-unlinked", move |event: WalletUnlinked| {
            let assets = unlinked.clone();
            async move { assets.wallet_unlinked(event.account, &event.wallet).await }
        }),
    ]);
    consumers
}
