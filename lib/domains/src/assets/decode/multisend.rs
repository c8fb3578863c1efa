//! Nepto's MultiSender: one `MessageSent` for each batch, and what became of each recipient's part.

use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use nepto_chain::topics;
use nepto_proto::api::assets::PartOutcome;

use super::{Event, Undecodable, address, undecodable};
use crate::assets::model::{Amount, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let contract = event.contract;
    if event.first() == *topics::MESSAGE_SENT {
        let what = "MessageSent";
        if event.topics.len() != 4 {
            return undecodable(format!("{what}: three arguments are indexed, here {}", event.topics.len() - 1));
        }
        let (content_hash, message) =
            <(B256, String)>::abi_decode_params(event.data).map_err(|error| Undecodable(format!("{what}: {error}")))?;
        return Ok(vec![Effect::Sent {
            contract,
            batch: event.topic(1, what)?,
            sender: address(event.topic(2, what)?, "`sender`")?,
            token: address(event.topic(3, what)?, "`token`")?,
            content_hash,
            message,
        }]);
    }
    let [batch, recipient, amount] = event.words("a part of a message", 3)?;
    let outcome = match event.first() {
        first if first == *topics::PAID => PartOutcome::Paid,
        first if first == *topics::SKIPPED => PartOutcome::Skipped,
        _ => PartOutcome::Credited,
    };
    let recipient = address(recipient, "`recipient`")?;
    Ok(vec![Effect::Part { contract, batch, recipient, amount: Amount(amount), outcome }])
}
