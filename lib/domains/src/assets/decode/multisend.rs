//! Nepto's MultiSender: one `MessageSent` for each batch, and what became of each recipient's part.

use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use nepto_chain::topics;
use nepto_proto::api::assets::PartOutcome;

use super::{Event, Undecodable, address, undecodable};
use crate::assets::model::{Amount, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    match event.first() {
        first if first == *topics::MESSAGE_SENT => message(event),
        first if first == *topics::PAID => part(event, PartOutcome::Paid),
        first if first == *topics::SKIPPED => part(event, PartOutcome::Skipped),
        first if first == *topics::CREDITED => part(event, PartOutcome::Credited),
        _ => event.unknown("MultiSender"),
    }
}

fn message(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let what = "MessageSent";
    if event.topics.len() != 4 {
        return undecodable(format!("{what}: three arguments are indexed, here {}", event.topics.len() - 1));
    }
    let (content_hash, message) =
        <(B256, String)>::abi_decode_params(event.data).map_err(|error| Undecodable(format!("{what}: {error}")))?;
    Ok(vec![Effect::Sent {
        contract: event.contract,
        batch: event.topic(1, what)?,
        sender: address(event.topic(2, what)?, "`sender`")?,
        token: address(event.topic(3, what)?, "`token`")?,
        content_hash,
        message,
    }])
}

fn part(event: &Event<'_>, outcome: PartOutcome) -> Result<Vec<Effect>, Undecodable> {
    let [batch, recipient, amount] = event.words("a part of a message", 3)?;
    let recipient = address(recipient, "`recipient`")?;
    Ok(vec![Effect::Part { contract: event.contract, batch, recipient, amount: Amount(amount), outcome }])
}
