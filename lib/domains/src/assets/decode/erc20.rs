//! ERC-20: `Transfer(from, to, value)`, with any of the three indexed.

use super::{Event, Undecodable, address};
use crate::assets::model::{Amount, Class, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let [from, to, value] = event.words("Transfer")?;
    Ok(vec![Effect::Moved {
        contract: event.contract,
        class: Class::Whole,
        from: address(from, "`from`")?,
        to: address(to, "`to`")?,
        amount: Amount(value),
    }])
}
