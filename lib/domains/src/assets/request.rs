//! Reading what requests say.

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_proto::ErrorCode;

use crate::collector::Pipeline;

/// Entries of a page, if the caller does not say, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;

/// An Ethereum address.
pub fn address(text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|_| Failure::new(ErrorCode::Malformed, format!("{text:?} is not an Ethereum address")))
}

/// The number of a token or batch, decimal.
pub fn token_id(text: &str) -> Result<U256, Failure> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = U256::from_str_radix(text, 10).ok().filter(|_| is_number);
    number.ok_or_else(|| {
        Failure::new(ErrorCode::Malformed, format!("{text:?} is not a decimal number of at most 256 bits"))
    })
}

/// A standard of tokens.
pub fn standard(text: &str) -> Result<Pipeline, Failure> {
    let known = [Pipeline::Erc20, Pipeline::Erc721, Pipeline::Erc1155];
    known
        .into_iter()
        .find(|pipeline| pipeline.as_str() == text)
        .ok_or_else(|| Failure::new(ErrorCode::Malformed, format!("{text:?} is not `erc20`, `erc721` or `erc1155`")))
}

/// How many entries a page has.
pub fn page_of(limit: Option<usize>) -> Result<usize, Failure> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::new(ErrorCode::Malformed, format!("`limit` is 1 to {PAGE_MAX}")))
}
