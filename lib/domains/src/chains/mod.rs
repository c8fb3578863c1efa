//! The chains of the configuration, and the same as `nepto-chain` takes them.

mod config;

use std::path::PathBuf;
use std::time::Duration;

use nepto_chain::block::Finality;
use nepto_chain::receipts::Encoding;
use nepto_chain::rpc::{Addresses, Limits, Pool, RpcError};
use nepto_chain::source::Source;
use nepto_kit::Config;

pub(crate) use config::address_without_typo;
pub use config::{Chain, Chains, Contract, Hook, HookProvider, Receipts};
use config::{Finality as Declared, Tag};

/// The files with keys of webhooks, each with the id of its webhook.
pub fn hook_keys(config: &Config) -> Vec<(String, PathBuf)> {
    let chains = config.section::<Chains>();
    let hooks = chains.iter().flat_map(|chain| &chain.hooks);
    hooks.map(|hook| (hook.id.clone(), hook.signing_key_file.clone())).collect()
}

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

/// A chain of the configuration as a source of blocks.
pub fn source_of(chain: &Chain) -> Result<Source, RpcError> {
    let limits = Limits {
        timeout: Duration::from_millis(chain.timeout_ms),
        concurrency_max: chain.concurrency_max,
        ..Limits::default()
    };
    let encoding = match chain.receipts {
        Receipts::Ethereum => Encoding::Ethereum,
        Receipts::Optimism => Encoding::Optimism,
        Receipts::Unknown => Encoding::Unknown,
    };
    Ok(Source::new(Pool::new(urls_of(chain), limits)?, encoding, finality_of(chain)))
}
