//! Messages of channels, their history, and what an account has read of them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{AccountId, ChannelId, ClientMsgId, CommunityId, MessageId, RoleId};

/// A message for everybody in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PostMessage {
    /// Chosen by the client, a UUID: what is sent again with the same one is stored once.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub client_msg_id: ClientMsgId,
    /// Markdown.
    #[cfg_attr(feature = "openapi", schema(example = "Hello, **world**"))]
    pub text: String,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub reply_to: Option<MessageId>,
}

/// It is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostedMessage {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub message: MessageId,
    /// It was stored before, and is not stored twice.
    pub duplicate: bool,
}

/// A message, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelMessage {
    /// Its id; ids sort as messages do.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub message: MessageId,
    /// Who wrote it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub author: AccountId,
    /// What its author called it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub client_msg_id: ClientMsgId,
    /// Markdown.
    pub text: String,
    /// When it was stored (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub posted_at: OffsetDateTime,
    /// When it was edited last.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub edited_at: Option<OffsetDateTime>,
    /// The message that it answers; maybe one that is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub reply_to: Option<MessageId>,
    /// Whom it mentioned when it was posted.
    #[serde(default)]
    pub mentions: MessageMentions,
    /// In the order in which each kind was first used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// Whether it is pinned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// Who is mentioned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageMentions {
    /// Accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub users: Vec<AccountId>,
    /// Roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub roles: Vec<RoleId>,
    /// Everybody who may see the channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everyone: bool,
}

/// One kind of reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reaction {
    /// An emoji.
    #[cfg_attr(feature = "openapi", schema(example = "👍"))]
    pub reaction: String,
    /// Of so many accounts.
    pub count: u32,
    /// The asker's is among them.
    pub own: bool,
}

/// A part of a channel's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelHistory {
    /// Oldest first. Deleted ones are left out.
    pub messages: Vec<ChannelMessage>,
    /// There are older ones: pass the first message as `before`.
    pub older: bool,
    /// There are newer ones: pass the last message as `after`.
    pub newer: bool,
}

/// Replaces the text of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditMessage {
    /// Markdown. It mentions nobody whom the message did not mention before.
    pub text: String,
}

/// What a message said before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageEdits {
    /// Oldest first; the newest ones of very many.
    pub edits: Vec<MessageEdit>,
}

/// A text that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageEdit {
    /// The text of before.
    pub text: String,
    /// When it was replaced (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub replaced_at: OffsetDateTime,
}

/// The pinned messages of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PinnedMessages {
    /// Pinned last, first.
    pub messages: Vec<ChannelMessage>,
}

/// Says how far the account has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// Up to and including this message. One before the marker changes nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub up_to: MessageId,
}

/// What an account has read of a channel, and what not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadState {
    /// The channel's community.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub community: CommunityId,
    /// Which channel.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub channel: ChannelId,
    /// Read up to and including this message; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub up_to: Option<MessageId>,
    /// There are messages behind it.
    pub unread: bool,
    /// Messages behind it that mention the account; 100 for that many or more.
    pub mentions: u32,
}

/// What an account has not read in a community.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unread {
    /// Every channel that the account may see.
    pub channels: Vec<ReadState>,
}
