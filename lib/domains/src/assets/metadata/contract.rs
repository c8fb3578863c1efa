//! What a contract names for a token.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, sol};
use nepto_chain::rpc::{Limits, Pool, RpcError};
use nepto_proto::api::assets::{ContractKind, MetadataReason};
use serde_json::json;

use super::problem::Problem;
use crate::chains::{Chain, urls_of};

sol! {
    function tokenURI(uint256 id) external view returns (string);
    function uri(uint256 id) external view returns (string);
}

/// What stands around a string in an answer.
const ANSWER_BYTES_MORE: usize = 4_096;

/// A token of an ERC-721 or ERC-1155.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey {
    pub chain: u64,
    pub contract: Address,
    pub token: U256,
}

/// The question for a token's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `tokenURI(uint256)` of ERC-721.
    TokenUri,
    /// `uri(uint256)` of ERC-1155, in whose answer `{id}` stands for the token.
    Uri,
}

/// How a contract of this kind is asked: each in turn, until one has an answer.
pub const fn calls_of(kind: ContractKind) -> &'static [Call] {
    match kind {
        ContractKind::Erc721 => &[Call::TokenUri],
        ContractKind::Erc1155 => &[Call::Uri],
        ContractKind::Token => &[Call::TokenUri, Call::Uri],
        ContractKind::Erc20 | ContractKind::Staking | ContractKind::Multisend => &[],
    }
}

/// The nodes of a chain, for short answers.
pub fn pool_of(chain: &Chain, uri_bytes_max: usize) -> Result<Pool, RpcError> {
    let limits = Limits {
        timeout: Duration::from_millis(chain.timeout_ms),
        // two hexadecimal digits for a byte
        answer_bytes_max: 2 * (uri_bytes_max + ANSWER_BYTES_MORE),
        concurrency_max: chain.concurrency_max,
    };
    Pool::new(urls_of(chain), limits)
}

/// The URI that the contract names for a token now.
pub async fn named(pool: &Pool, key: &TokenKey, calls: &[Call], uri_bytes_max: usize) -> Result<String, Problem> {
    let mut problem = Problem::new(MetadataReason::NoUri, "the contract has no tokens with a description");
    for call in calls {
        match ask(pool, key, *call, uri_bytes_max).await {
            Err(error) if error.reason == MetadataReason::NoUri => problem = error,
            answer => return answer,
        }
    }
    Err(problem)
}

async fn ask(pool: &Pool, key: &TokenKey, call: Call, uri_bytes_max: usize) -> Result<String, Problem> {
    let call_data = match call {
        Call::TokenUri => tokenURICall { id: key.token }.abi_encode(),
        Call::Uri => uriCall { id: key.token }.abi_encode(),
    };
    let params = json!([{ "to": key.contract, "data": Bytes::from(call_data) }, "latest"]);
    let validate = |answer: &str| serde_json::from_str::<Bytes>(answer).map_err(RpcError::unreadable);
    let answer = pool.ask("eth_call", &params, None, validate).await.map_err(|error| match error {
        RpcError::Refused { .. } => {
            Problem::new(MetadataReason::NoUri, "the contract names no file for this token; does the token exist?")
        }
        RpcError::TooMany(_) => Problem::new(MetadataReason::TooLarge, format!("larger than {uri_bytes_max} bytes")),
        // what a node says may hold its address
        _ => Problem::new(MetadataReason::ChainUnavailable, "no node of the chain answered"),
    })?;
    read(call, &answer, uri_bytes_max)
}

/// The string in an answer.
fn read(call: Call, answer: &[u8], uri_bytes_max: usize) -> Result<String, Problem> {
    let nothing = || Problem::new(MetadataReason::NoUri, "the contract names no file for this token");
    let uri = match call {
        Call::TokenUri => tokenURICall::abi_decode_returns(answer),
        Call::Uri => uriCall::abi_decode_returns(answer),
    };
    let uri = uri.map_err(|_| nothing())?;
    if uri.len() > uri_bytes_max {
        return Err(Problem::new(MetadataReason::TooLarge, format!("larger than {uri_bytes_max} bytes")));
    }
    if uri.trim().is_empty() { Err(nothing()) } else { Ok(uri) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(uri: &str) -> Vec<u8> {
        tokenURICall::abi_encode_returns(&uri.to_owned())
    }

    #[test]
    fn a_string_is_read_and_nothing_else() {
        assert_eq!(read(Call::TokenUri, &encoded("https://a/1"), 100), Ok("https://a/1".into()));
        assert_eq!(read(Call::Uri, &encoded("https://a/{id}"), 100), Ok("https://a/{id}".into()));
        // a contract without code or function, an empty string, a number
        for nothing in [&[][..], &encoded(""), &encoded("  "), &U256::from(7).to_be_bytes::<32>()] {
            assert_eq!(read(Call::TokenUri, nothing, 100).unwrap_err().reason, MetadataReason::NoUri);
        }
        assert_eq!(read(Call::Uri, &encoded(&"a".repeat(101)), 100).unwrap_err().reason, MetadataReason::TooLarge);
        // a length that is not there
        let mut lie = encoded("https://a/1");
        lie[32..64].fill(0xff);
        assert_eq!(read(Call::TokenUri, &lie, 100).unwrap_err().reason, MetadataReason::NoUri);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(answer in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Call::Uri, &answer, 100);
        }
    }
}
