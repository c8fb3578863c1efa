//! ERC-1155: `TransferSingle(operator, from, to, id, value)` and `TransferBatch(operator, from, to, ids, values)`.

use alloy_primitives::U256;
use alloy_sol_types::SolValue;
use nepto_chain::topics;

use super::{Event, Undecodable, address, undecodable};
use crate::assets::model::{Amount, AssetClass, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    match event.first() {
        first if first == *topics::TRANSFER_SINGLE => single(event),
        first if first == *topics::TRANSFER_BATCH => batch(event),
        _ => event.unknown("ERC-1155"),
    }
}

fn single(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let [_, from, to, id, value] = event.words("TransferSingle", 4)?;
    let (from, to, contract) = (address(from, "`from`")?, address(to, "`to`")?, event.contract);
    Ok(vec![Effect::Moved { contract, class: AssetClass::Token(id), from, to, amount: Amount(value) }])
}

fn batch(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let contract = event.contract;
    let what = "TransferBatch";
    if event.topics.len() != 4 {
        return undecodable(format!("{what}: three arguments are indexed, here {}", event.topics.len() - 1));
    }
    let (from, to) = (address(event.topic(2, what)?, "`from`")?, address(event.topic(3, what)?, "`to`")?);
    let (ids, values) = <(Vec<U256>, Vec<U256>)>::abi_decode_params(event.data)
        .map_err(|error| Undecodable(format!("{what}: {error}")))?;
    if ids.len() != values.len() {
        return undecodable(format!("{what}: {} ids and {} values", ids.len(), values.len()));
    }
    let moved = |(id, value)| Effect::Moved { contract, class: AssetClass::Token(id), from, to, amount: Amount(value) };
    Ok(ids.into_iter().zip(values).map(moved).collect())
}
