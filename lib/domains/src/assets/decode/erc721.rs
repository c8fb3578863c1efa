//! ERC-721: `Transfer(from, to, tokenId)`, and ERC-2309: `ConsecutiveTransfer(fromTokenId, toTokenId, from, to)`, which a
//! contract may say while it is deployed and which then stands for a whole range.

use alloy_primitives::Address;
use nepto_chain::topics;

use super::{Event, Undecodable, address, undecodable};
use crate::assets::model::Effect;

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let contract = event.contract;
    if event.first() != *topics::CONSECUTIVE_TRANSFER {
        let [from, to, token] = event.words("Transfer")?;
        let (from, to) = (address(from, "`from`")?, address(to, "`to`")?);
        return Ok(vec![Effect::Owned { contract, token, from, to }]);
    }
    // the second argument alone is not indexed
    let what = "ConsecutiveTransfer";
    if event.data.len() != 32 {
        return undecodable(format!("{what}: 32 bytes of data, this one has {}", event.data.len()));
    }
    let (first, last) = (event.topic(1, what)?, alloy_primitives::U256::from_be_slice(event.data));
    let (from, to) = (address(event.topic(2, what)?, "`from`")?, address(event.topic(3, what)?, "`to`")?);
    if last < first {
        return undecodable(format!("{what}: the range ends before it begins"));
    }
    if from != Address::ZERO {
        // the standard allows it, and then every token of the range may have had another owner before
        return undecodable(format!("{what}: only ranges that are minted are followed"));
    }
    Ok(vec![Effect::OwnedRange { contract, first, last, to }])
}
