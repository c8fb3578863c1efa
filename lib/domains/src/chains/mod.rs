//! The chains of the configuration, and the same as `nepto-chain` takes them.

mod config;

use nepto_chain::block::Finality;
use nepto_chain::rpc::Addresses;

pub(crate) use config::address_without_typo;
pub use config::{Chain, Chains, Contract, Hook, HookProvider, Receipts, Standard};
use config::{Finality as Declared, Tag};

/// When a block of a chain is final.
pub fn finality_of(chain: &Chain) -> Finality {
    match chain.finality {
        Declared::Depth(depth) => Finality::Depth(depth),
        Declared::Tag(Tag::Finalized) => Finality::Finalized,
        Declared::Tag(Tag::Safe) => Finality::Safe,
    }
}

/// Where its nodes are.
pub fn urls_of(chain: &Chain) -> Addresses {
    Addresses { urls: chain.rpc.iter().map(|endpoint| endpoint.0.clone()).collect(), chain_id: Some(chain.id) }
}
