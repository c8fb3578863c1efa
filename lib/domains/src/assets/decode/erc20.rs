//! ERC-20: `Transfer(from, to, value)`, with `from` and `to` indexed, or nothing, or everything.

use nepto_chain::topics;

use super::{Event, Undecodable, address};
use crate::assets::model::{Amount, AssetClass, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    if event.first() != *topics::TRANSFER {
        return event.unknown("ERC-20");
    }
    let [from, to, value] = event.transfer()?;
    Ok(vec![Effect::Moved {
        contract: event.contract,
        class: AssetClass::Whole,
        from: address(from, "`from`")?,
        to: address(to, "`to`")?,
        amount: Amount(value),
    }])
}
