//! The chains of the configuration, as `nepto-chain` takes them.

use nepto_chain::block::Finality;
use nepto_chain::rpc::Addresses;
use nepto_kit::config::{self, Chain, Tag};

/// When a block of a chain is final.
pub fn finality_of(chain: &Chain) -> Finality {
    match chain.finality {
        config::Finality::Depth(depth) => Finality::Depth(depth),
        config::Finality::Tag(Tag::Finalized) => Finality::Finalized,
        config::Finality::Tag(Tag::Safe) => Finality::Safe,
    }
}

/// Where its nodes are.
pub fn urls_of(chain: &Chain) -> Addresses {
    Addresses { urls: chain.rpc.iter().map(|endpoint| endpoint.0.clone()).collect(), chain_id: Some(chain.id) }
}
