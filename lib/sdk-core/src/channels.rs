//! What happens in channels, as a client hears it: read from the frames, in the words of the API.

use nepto_proto::api::channels::{ChannelMessage, MessageMentions, ReadState};
use nepto_proto::wire::{self, channel_event};
use nepto_proto::{AccountId, ChannelId, ClientMsgId, CommunityId, ErrorCode, MessageId, RoleId};
use serde::Serialize;
use time::OffsetDateTime;

/// Something that happened in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelEvent {
    /// Where.
    pub channel: ChannelId,
    /// Its place in the stream, which sorts among the ids of messages; that of a posted message is its id.
    pub at: MessageId,
    /// When it was stored, milliseconds since 1970, by the server's clock.
    pub at_ms: u64,
    /// Whose doing it was.
    pub by: AccountId,
    /// What it was.
    pub what: Happened,
}

/// What happened in a channel. What is about a message that the client does not have changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happened {
    /// A message was posted.
    Posted(Box<ChannelMessage>),
    /// The text of a message was replaced.
    Edited {
        /// Which message.
        message: MessageId,
        /// Markdown.
        text: String,
    },
    /// Messages were deleted.
    Deleted {
        /// Which messages.
        messages: Vec<MessageId>,
    },
    /// Somebody reacted to a message, or took a reaction back.
    Reaction {
        /// Which message.
        message: MessageId,
        /// An emoji.
        reaction: String,
        /// It was taken back.
        removed: bool,
    },
    /// A message was pinned, or is not any more.
    Pin {
        /// Which message.
        message: MessageId,
        /// It is not pinned any more.
        unpinned: bool,
    },
}

/// Why nothing more comes of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelEnd {
    /// The account may not see it any more, or there is none.
    AccessLost,
    /// The server refuses to let it be followed.
    Refused(ErrorCode),
}

/// The place of an event in the stream. `None`: the frame has no event.
pub fn place_of(stored: &wire::StoredChannelEvent) -> Option<MessageId> {
    stored.event.as_ref().map(|event| MessageId::at(event.epoch, stored.seq))
}

/// Reads an event. `None`: it is of a kind that this version does not know, or names nothing that could be one.
pub fn read_event(channel: ChannelId, stored: &wire::StoredChannelEvent) -> Option<ChannelEvent> {
    let (at, event) = (place_of(stored)?, stored.event.as_ref()?);
    let by = AccountId::from_bytes(&event.by).ok()?;
    let message = |id: &[u8]| MessageId::from_bytes(id).ok();
    let what = match event.kind.as_ref()? {
        channel_event::Kind::Posted(posted) => {
            Happened::Posted(Box::new(message_of(at, by, stored.stored_at_ms, posted)?))
        }
        channel_event::Kind::Edited(edited) => {
            Happened::Edited { message: message(&edited.message)?, text: edited.text.clone() }
        }
        channel_event::Kind::Deleted(deleted) => {
            Happened::Deleted { messages: deleted.messages.iter().filter_map(|id| message(id)).collect() }
        }
        channel_event::Kind::Reaction(changed) => Happened::Reaction {
            message: message(&changed.message)?,
            reaction: changed.reaction.clone(),
            removed: changed.removed,
        },
        channel_event::Kind::Pin(changed) => {
            Happened::Pin { message: message(&changed.message)?, unpinned: changed.unpinned }
        }
    };
    Some(ChannelEvent { channel, at, at_ms: stored.stored_at_ms, by, what })
}

/// A message as it is at first, in the form that the history has.
fn message_of(at: MessageId, author: AccountId, at_ms: u64, posted: &wire::MessagePosted) -> Option<ChannelMessage> {
    let mentions = posted.mentions.as_ref().map(|mentions| MessageMentions {
        users: mentions.users.iter().filter_map(|id| AccountId::from_bytes(id).ok()).collect(),
        roles: mentions.roles.iter().filter_map(|id| RoleId::from_bytes(id).ok()).collect(),
        everyone: mentions.everyone,
    });
    Some(ChannelMessage {
        message: at,
        author,
        client_msg_id: ClientMsgId::from_bytes(&posted.client_msg_id).ok()?,
        text: posted.text.clone(),
        posted_at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000).ok()?,
        edited_at: None,
        reply_to: MessageId::from_bytes(&posted.reply_to).ok(),
        mentions: mentions.unwrap_or_default(),
        reactions: Vec::new(),
        pinned: false,
    })
}

/// Reads what an account has read of a channel. `None`: it names none.
pub fn read_state(read: &wire::ChannelRead) -> Option<ReadState> {
    Some(ReadState {
        community: CommunityId::from_bytes(&read.community).ok()?,
        channel: ChannelId::from_bytes(&read.channel).ok()?,
        up_to: MessageId::from_bytes(&read.up_to).ok(),
        unread: read.unread,
        mentions: read.mentions,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn stored(kind: Option<channel_event::Kind>) -> wire::StoredChannelEvent {
        let by = AccountId::new(Uuid::from_u128(1)).to_vec();
        let event = wire::ChannelEvent { epoch: 1_800_000_000_000, by, kind };
        wire::StoredChannelEvent { seq: 7, stored_at_ms: 1_800_000_000_500, event: Some(event) }
    }

    fn read(kind: channel_event::Kind) -> Option<ChannelEvent> {
        read_event(ChannelId::new(Uuid::from_u128(2)), &stored(Some(kind)))
    }

    #[test]
    fn a_posted_message_is_named_by_its_place() {
        let (reply_to, user) = (MessageId::at(1_800_000_000_000, 3), AccountId::new(Uuid::from_u128(9)));
        let mentions = wire::ChannelMentions { users: vec![user.to_vec(), vec![1]], roles: Vec::new(), everyone: true };
        let posted = wire::MessagePosted {
            client_msg_id: Uuid::from_u128(5).as_bytes().to_vec(),
            text: "**hello**".into(),
            reply_to: reply_to.to_vec(),
            mentions: Some(mentions),
        };
        let event = read(channel_event::Kind::Posted(posted.clone())).unwrap();
        let Happened::Posted(message) = event.what else { panic!("{event:?}") };
        assert_eq!((message.message, event.at), (event.at, MessageId::at(1_800_000_000_000, 7)));
        assert_eq!((message.reply_to, message.text.as_str()), (Some(reply_to), "**hello**"));
        assert_eq!((message.mentions.users, message.mentions.everyone), (vec![user], true));
        assert_eq!(message.posted_at.unix_timestamp_nanos(), 1_800_000_000_500_000_000);
        // what has no name can't be told from its retry
        let nameless = wire::MessagePosted { client_msg_id: Vec::new(), ..posted };
        assert_eq!(read(channel_event::Kind::Posted(nameless)), None);
    }

    #[test]
    fn changes_name_the_message_that_they_are_about() {
        let message = MessageId::at(1, 2);
        let edited = wire::MessageEdited { message: message.to_vec(), text: "new".into() };
        let what = read(channel_event::Kind::Edited(edited)).unwrap().what;
        assert_eq!(what, Happened::Edited { message, text: "new".into() });
        let deleted = wire::MessagesDeleted { messages: vec![message.to_vec(), Vec::new()] };
        let what = read(channel_event::Kind::Deleted(deleted)).unwrap().what;
        assert_eq!(what, Happened::Deleted { messages: vec![message] });
        let pin = wire::PinChanged { message: Vec::new(), unpinned: true };
        assert_eq!(read(channel_event::Kind::Pin(pin)), None);
    }

    #[test]
    fn what_is_not_known_has_a_place_all_the_same() {
        let unknown = stored(None);
        assert_eq!(read_event(ChannelId::new(Uuid::from_u128(2)), &unknown), None);
        assert_eq!(place_of(&unknown), Some(MessageId::at(1_800_000_000_000, 7)));
        assert_eq!(place_of(&wire::StoredChannelEvent::default()), None);
    }
}
