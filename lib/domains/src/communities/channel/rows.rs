//! Rows of the tables, and what they mean.

use nepto_kit::db::{Body, Id, Text};
use nepto_proto::wire::ChannelMentions;
use nepto_proto::{AccountId, ChannelId, ClientMsgId, MessageId, RoleId};
use surrealdb::types::SurrealValue;

use super::projection::{Edit, Key, Message};
use super::schema::{
    Cursors, Edits, GroupMentions, Heads, Markers, Mentions, Messages, Pins, PostedNames, Reactions, cursor_id,
};

/// How far the tables are with the stream: events up to here are in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Of the stream's sequences, as it was when this was written.
    pub epoch_ms: u64,
    /// The last event.
    pub seq: u64,
}

impl Cursor {
    /// After which sequence the stream of this epoch is to be read. After a restore that is all of it: of what is there, the tables
    /// have what stands [before](Self::has) the cursor.
    pub fn after(self, epoch_ms: u64) -> u64 {
        if self.epoch_ms == epoch_ms { self.seq } else { 0 }
    }

    /// Whether the tables have this event of the stream of this epoch.
    pub fn has(self, epoch_ms: u64, place: MessageId, seq: u64) -> bool {
        if self.epoch_ms == epoch_ms { seq <= self.seq } else { place <= MessageId::at(self.epoch_ms, self.seq) }
    }
}

#[derive(Debug, Clone, SurrealValue)]
pub struct CursorRow {
    pub id: Id<Cursors>,
    pub epoch_ms: i64,
    pub seq: i64,
}

impl From<Cursor> for CursorRow {
    fn from(cursor: Cursor) -> Self {
        Self { id: cursor_id(), epoch_ms: cursor.epoch_ms.cast_signed(), seq: cursor.seq.cast_signed() }
    }
}

impl From<CursorRow> for Cursor {
    fn from(row: CursorRow) -> Self {
        Self { epoch_ms: row.epoch_ms.cast_unsigned(), seq: row.seq.cast_unsigned() }
    }
}

#[derive(Debug, Clone, SurrealValue)]
pub struct MessageRow {
    pub id: Id<Messages>,
    pub channel: Text<ChannelId>,
    pub place: Text<MessageId>,
    pub author: Text<AccountId>,
    pub client_msg_id: Text<ClientMsgId>,
    pub text: String,
    pub posted_at_ms: i64,
    pub edited_at_ms: Option<i64>,
    pub reply_to: Option<Text<MessageId>>,
    pub mentions: Body<ChannelMentions>,
    pub reactions: Vec<String>,
    pub reaction_counts: Vec<i64>,
    pub pinned_at_ms: Option<i64>,
}

impl MessageRow {
    pub fn new((channel, place): Key, message: &Message) -> Self {
        Self {
            id: message_id((channel, place)),
            channel: Text(channel),
            place: Text(place),
            author: Text(message.author),
            client_msg_id: Text(message.client_msg_id),
            text: message.text.clone(),
            posted_at_ms: message.posted_at_ms,
            edited_at_ms: message.edited_at_ms,
            reply_to: message.reply_to.map(Text),
            mentions: Body(message.mentions.clone()),
            reactions: message.reactions.iter().map(|(kind, _)| kind.clone()).collect(),
            reaction_counts: message.reactions.iter().map(|(_, count)| i64::from(*count)).collect(),
            pinned_at_ms: message.pinned_at_ms,
        }
    }

    pub fn read(self) -> (Key, Message) {
        let Id((Text(channel), Text(place))) = self.id;
        let counts = self.reaction_counts.into_iter().map(|count| u32::try_from(count).unwrap_or(0));
        let message = Message {
            author: self.author.0,
            client_msg_id: self.client_msg_id.0,
            text: self.text,
            posted_at_ms: self.posted_at_ms,
            edited_at_ms: self.edited_at_ms,
            reply_to: self.reply_to.map(|Text(id)| id),
            mentions: self.mentions.0,
            reactions: self.reactions.into_iter().zip(counts).collect(),
            pinned_at_ms: self.pinned_at_ms,
        };
        ((channel, place), message)
    }
}

pub fn message_id((channel, place): Key) -> Id<Messages> {
    Id((Text(channel), Text(place)))
}

#[derive(Debug, Clone, SurrealValue)]
pub struct PostedRow {
    pub id: Id<PostedNames>,
    pub place: Text<MessageId>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct EditRow {
    pub id: Id<Edits>,
    pub text: String,
    pub replaced_at_ms: i64,
}

impl From<&Edit> for EditRow {
    fn from(edit: &Edit) -> Self {
        let (channel, message) = edit.of;
        Self {
            id: Id((Text(channel), Text(message), Text(edit.place))),
            text: edit.text.clone(),
            replaced_at_ms: edit.replaced_at_ms,
        }
    }
}

/// Rows that have nothing but their ids.
#[derive(Debug, Clone, SurrealValue)]
pub struct ReactionRow {
    pub id: Id<Reactions>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct PinRow {
    pub id: Id<Pins>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct MentionRow {
    pub id: Id<Mentions>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct HeadRow {
    pub id: Id<Heads>,
    pub place: Text<MessageId>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct MarkerRow {
    pub id: Id<Markers>,
    pub place: Text<MessageId>,
}

#[derive(Debug, Clone, SurrealValue)]
pub struct GroupMentionRow {
    pub id: Id<GroupMentions>,
    pub author: Text<AccountId>,
    pub roles: Vec<Text<RoleId>>,
    pub everyone: bool,
}

/// Whom a message mentions by name, without its author.
pub fn mentioned(author: AccountId, mentions: &ChannelMentions) -> impl Iterator<Item = AccountId> {
    mentions.users.iter().filter_map(|id| AccountId::from_bytes(id).ok()).filter(move |account| *account != author)
}

/// The roles that a message mentions.
pub fn mentioned_roles(mentions: &ChannelMentions) -> impl Iterator<Item = RoleId> {
    mentions.roles.iter().filter_map(|id| RoleId::from_bytes(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_what_the_tables_have_also_after_a_restore() {
        let cursor = Cursor { epoch_ms: 5, seq: 10 };
        assert_eq!((cursor.after(5), cursor.after(6)), (10, 0));
        assert!(cursor.has(5, MessageId::at(5, 10), 10) && !cursor.has(5, MessageId::at(5, 11), 11));
        // the stream was restored: it has events of before, and new ones
        assert!(cursor.has(6, MessageId::at(5, 10), 10), "of before, and committed");
        assert!(!cursor.has(6, MessageId::at(5, 11), 11), "of before, and not committed");
        assert!(!cursor.has(6, MessageId::at(6, 3), 3), "new, whatever its sequence");
        // committed with the epoch of then, what was stored in one before
        assert!(cursor.has(5, MessageId::at(4, 9), 9));
    }
}
