//! ERC-721: `Transfer(from, to, tokenId)`, with everything indexed, or nothing; and ERC-2309:
//! `ConsecutiveTransfer(fromTokenId, toTokenId, from, to)`, which stands for a whole range.

use alloy_primitives::U256;
use nepto_chain::topics;

use super::{Event, Undecodable, address, undecodable};
use crate::assets::model::Effect;

/// Tokens of a range that are taken in one transaction. Larger ones come in parts from the collector.
const RANGE_MAX: u64 = 10_000;

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    match event.first() {
        first if first == *topics::TRANSFER => transfer(event),
        first if first == *topics::CONSECUTIVE_TRANSFER => range(event),
        _ => event.unknown("ERC-721"),
    }
}

fn transfer(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    if event.topics.len() == 3 {
        return undecodable("Transfer: the token is not indexed, so it may be the amount of an ERC-20");
    }
    let [from, to, token] = event.transfer()?;
    address(from, "`from`")?;
    Ok(vec![Effect::Owned { contract: event.contract, first: token, last: token, to: address(to, "`to`")? }])
}

fn range(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    // the second argument alone is not indexed
    let what = "ConsecutiveTransfer";
    if event.data.len() != 32 {
        return undecodable(format!("{what}: 32 bytes of data, this one has {}", event.data.len()));
    }
    let (first, last) = (event.topic(1, what)?, U256::from_be_slice(event.data));
    address(event.topic(2, what)?, "`from`")?;
    let to = address(event.topic(3, what)?, "`to`")?;
    if last < first {
        return undecodable(format!("{what}: the range ends before it begins"));
    }
    if last.wrapping_sub(first) >= U256::from(RANGE_MAX) {
        return undecodable(format!("{what}: more tokens at once than are followed one by one"));
    }
    Ok(vec![Effect::Owned { contract: event.contract, first, last, to }])
}
