//! Messages of channels, their history, and what an account has read of them.

use crate::api::channels::{
    ChannelHistory, ChannelMessage, EditMessage, MarkRead, MessageEdits, PinnedMessages, PostMessage, PostedMessage,
    ReadState, Unread,
};
use crate::api::endpoint::{path_parameters, query_parameters};
use crate::{ChannelId, CommunityId, MessageId};

path_parameters! {
    /// A channel, where messages are.
    MessagesPath {
        /// The channel's id.
        channel: ChannelId as ChannelId,
    }

    /// A message of a channel.
    MessagePath {
        /// The channel's id.
        channel: ChannelId as ChannelId,
        /// The message's id.
        message: MessageId as MessageId,
    }

    /// A kind of reaction to a message.
    ReactionPath {
        /// The channel's id.
        channel: ChannelId as ChannelId,
        /// The message's id.
        message: MessageId as MessageId,
        /// An emoji.
        reaction: String as Emoji,
    }

    /// A community, of which something is unread.
    UnreadPath {
        /// The community's id.
        community: CommunityId as CommunityId,
    }
}

query_parameters! {
    /// Which messages: one of `before`, `after` and `around`, or none for the newest.
    HistoryPage {
        /// Those before this message.
        before: MessageId as MessageId,
        /// Those after this message.
        after: MessageId as MessageId,
        /// This message, and as many before as after it.
        around: MessageId as MessageId,
        /// Messages of the page, 50 without it.
        limit: usize as Limit,
    }
}

crate::endpoints! {
    "channels"

    /// Posts a message.
    ///
    /// It is on disk when this answers. Repeat it with the same `client_msg_id` if no answer came.
    Post "/v1/channels/{channel}/messages" => PostChannelMessage {
        path: MessagesPath,
        body: PostMessage,
        reply: PostedMessage,
        codes: [NotFound, PermissionNeeded, TimedOut, SlowMode, TextInvalid],
    }

    /// Shows messages of a channel, oldest first.
    ///
    /// A message is here as soon as its author was told that it is stored.
    Get "/v1/channels/{channel}/messages" => GetChannelHistory {
        path: MessagesPath,
        query: HistoryPage,
        reply: ChannelHistory,
        codes: [NotFound, PermissionNeeded],
    }

    /// Shows a message.
    Get "/v1/channels/{channel}/messages/{message}" => GetChannelMessage {
        path: MessagePath,
        reply: ChannelMessage,
        codes: [NotFound, PermissionNeeded, MessageUnknown],
    }

    /// Replaces the text of an own message.
    Patch "/v1/channels/{channel}/messages/{message}" => EditChannelMessage {
        path: MessagePath,
        body: EditMessage,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown, TextInvalid],
    }

    /// Deletes a message: an own one, or with `manage_messages` anybody's.
    Delete "/v1/channels/{channel}/messages/{message}" => DeleteChannelMessage {
        path: MessagePath,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown],
    }

    /// Shows what a message said before it was edited, to those with `manage_messages`.
    Get "/v1/channels/{channel}/messages/{message}/edits" => ListMessageEdits {
        path: MessagePath,
        reply: MessageEdits,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown],
    }

    /// Reacts to a message; each account once with each emoji.
    Put "/v1/channels/{channel}/messages/{message}/reactions/{reaction}" => AddReaction {
        path: ReactionPath,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown, ReactionInvalid, ReactionLimit],
    }

    /// Takes the own reaction back.
    Delete "/v1/channels/{channel}/messages/{message}/reactions/{reaction}" => RemoveReaction {
        path: ReactionPath,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown, ReactionInvalid],
    }

    /// Lists the pinned messages of a channel.
    Get "/v1/channels/{channel}/pins" => ListPins {
        path: MessagesPath,
        reply: PinnedMessages,
        codes: [NotFound, PermissionNeeded],
    }

    /// Pins a message, with `pin_messages`.
    Put "/v1/channels/{channel}/pins/{message}" => PinMessage {
        path: MessagePath,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown, PinLimit],
    }

    /// Takes a pin away, with `pin_messages`.
    Delete "/v1/channels/{channel}/pins/{message}" => UnpinMessage {
        path: MessagePath,
        codes: [NotFound, PermissionNeeded, TimedOut, MessageUnknown],
    }

    /// Says how far the account has read; a marker only moves forward.
    Put "/v1/channels/{channel}/read" => MarkChannelRead {
        path: MessagesPath,
        body: MarkRead,
        reply: ReadState,
        codes: [NotFound, MessageUnknown],
    }

    /// Says what is unread in each channel of a community.
    Get "/v1/communities/{community}/unread" => GetUnread {
        path: UnreadPath,
        reply: Unread,
        codes: [NotFound, MembersOnly],
    }
}
