//! The chains of the configuration, as `nepto-chain` takes them.

use nepto_chain::block::Finality;
use nepto_kit::config::{self, Chain, Tag};

/// When a block of a chain is final.
pub fn finality_of(chain: &Chain) -> Finality {
    match chain.finality {
        config::Finality::Depth(depth) => Finality::Depth(depth),
        config::Finality::Tag(Tag::Finalized) => Finality::Finalized,
        config::Finality::Tag(Tag::Safe) => Finality::Safe,
    }
}

/// The addresses of its nodes.
pub fn urls_of(chain: &Chain) -> Vec<String> {
    chain.rpc.iter().map(|endpoint| endpoint.0.clone()).collect()
}
