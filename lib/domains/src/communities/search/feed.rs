//! What the stream of channels holds, as changes of the index.

use nepto_proto::ids::{AccountId, ChannelId, InvalidId, MessageId, RoleId};
use nepto_proto::wire::ChannelEvent;
use nepto_proto::wire::channel_event::Kind;

use super::index::Entry;
use super::writer::{Change, Cursor, Stored};

/// An event as the stream has it: in which channel, its sequence, and when it was stored (milliseconds since 1970).
pub fn stored(channel: ChannelId, seq: u64, stored_at_ms: u64, event: &ChannelEvent) -> Result<Stored, InvalidId> {
    let change = match &event.kind {
        Some(Kind::Posted(posted)) => {
            let mentions = posted.mentions.clone().unwrap_or_default();
            Change::Posted(Entry {
                message: MessageId::at(event.epoch, seq),
                channel,
                author: AccountId::from_bytes(&event.by)?,
                posted_at_ms: stored_at_ms,
                text: posted.text.clone(),
                users: mentions.users.iter().map(|id| AccountId::from_bytes(id)).collect::<Result<_, _>>()?,
                roles: mentions.roles.iter().map(|id| RoleId::from_bytes(id)).collect::<Result<_, _>>()?,
                everyone: mentions.everyone,
            })
        }
        Some(Kind::Edited(edited)) => {
            Change::Edited { message: MessageId::from_bytes(&edited.message)?, text: edited.text.clone() }
        }
        Some(Kind::Deleted(deleted)) => {
            let messages = deleted.messages.iter().map(|id| MessageId::from_bytes(id));
            Change::Deleted(messages.collect::<Result<_, _>>()?)
        }
        // reactions and pins are not searched for
        _ => Change::None,
    };
    Ok(Stored { place: Cursor { epoch: event.epoch, seq }, change })
}
