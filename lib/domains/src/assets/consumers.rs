//! The queue workers: the five pipelines, and what this domain does about events of others.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::{WalletLinked, WalletUnlinked};
use nepto_proto::svc::collector::Pipeline;

use super::ops::Assets;
use super::pipeline;

pub const QUEUES: &[&str] = &[
    Pipeline::Erc20.as_str(),
    Pipeline::Erc721.as_str(),
    Pipeline::Erc1155.as_str(),
    Pipeline::Staking.as_str(),
    Pipeline::Multisend.as_str(),
    "assets-wallets",
];

pub fn consumers(assets: &Assets) -> Vec<Consumer> {
    let (linked, unlinked) = (assets.clone(), assets.clone());
    // one consumer for both: a wallet that comes and goes must not come last
    let wallets = Consumer::events("assets-wallets")
        .on(move |event: WalletLinked| {
            let assets = linked.clone();
            async move { assets.wallet_linked(event).await }
        })
        .ordered_by(|event: &WalletLinked| event.wallet.clone())
        .on(move |event: WalletUnlinked| {
            let assets = unlinked.clone();
            async move { assets.wallet_unlinked(event).await }
        })
        .ordered_by(|event: &WalletUnlinked| event.wallet.clone());
    let mut consumers = pipeline::consumers(assets);
    consumers.push(wallets.into());
    consumers
}
