//! Channels: posting, reading, and what is read of them; following one is in `follow.rs`. Everything here is asked of
//! the server each time: the profile keeps nothing of channels.

use std::time::Duration;

use nepto_proto::api::channels::{
    ChannelHistory, ChannelMessage, EditMessage, MarkRead, PostMessage, PostedMessage, ReadState,
};
use nepto_proto::api::endpoint::NoParameters;
use nepto_proto::api::endpoints::channels::{
    AddReaction, DeleteChannelMessage, EditChannelMessage, GetChannelHistory, GetChannelMessage, GetUnread,
    HistoryPage, ListPins, MarkChannelRead, MessagePath, MessagesPath, PinMessage, PostChannelMessage, ReactionPath,
    RemoveReaction, UnpinMessage, UnreadPath,
};
use nepto_proto::wire::{ChannelFollow, ChannelPost, ChannelTyping, client_frame, server_frame};
use nepto_proto::{ChannelId, ClientMsgId, CommunityId, MessageId};
use tokio::time::{Instant, sleep};

use super::{Client, refused};
use crate::SdkError;

const NONE: &NoParameters = &NoParameters {};
/// From a frame to its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A post is tried again for so long: for two minutes the server knows a retry for one.
const POST_WITHIN: Duration = Duration::from_secs(60);
/// Before the second try of a post; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Before any further try.
const RETRY_MAX: Duration = Duration::from_secs(5);

impl Client {
    /// Posts a message, Markdown, in a channel. It is on disk when this returns. What fails for now is tried again for a minute,
    /// under the same name, so that it is stored once; while the program waits for that, take events, or they fill up.
    pub async fn post(
        &self,
        channel: ChannelId,
        text: &str,
        reply_to: Option<MessageId>,
    ) -> Result<PostedMessage, SdkError> {
        let client_msg_id = ClientMsgId::new(self.inner.env.uuid());
        let message = PostMessage { client_msg_id, text: text.to_owned(), reply_to };
        let (began, mut tries) = (Instant::now(), 0u32);
        loop {
            let error = match self.try_to_post(channel, &message).await {
                Ok(posted) => return Ok(posted),
                Err(error) => error,
            };
            let asked = match &error {
                SdkError::Server { retry_after: Some(asked), .. } => *asked,
                _ => Duration::ZERO,
            };
            let backoff = RETRY_FIRST.saturating_mul(2u32.saturating_pow(tries.min(10))).min(RETRY_MAX);
            let pause = asked.saturating_add(backoff / 2 + self.inner.env.jitter(backoff / 2));
            if !error.is_temporary() || began.elapsed().saturating_add(pause) >= POST_WITHIN {
                return Err(error);
            }
            tracing::info!(%channel, %error, "a post will be tried again");
            sleep(pause).await;
            tries += 1;
        }
    }

    /// Once: over the connection where there is one, else over HTTP.
    async fn try_to_post(&self, channel: ChannelId, message: &PostMessage) -> Result<PostedMessage, SdkError> {
        let Some(link) = self.inner.link().ok().filter(|link| link.is_online()) else {
            return self.inner.http.call::<PostChannelMessage>(&MessagesPath { channel }, NONE, message).await;
        };
        let post = ChannelPost {
            client_msg_id: message.client_msg_id.to_vec(),
            channel: channel.to_vec(),
            text: message.text.clone(),
            reply_to: message.reply_to.map(MessageId::to_vec).unwrap_or_default(),
        };
        match link.request(client_frame::Kind::ChannelPost(post), ANSWER_TIMEOUT).await? {
            server_frame::Kind::ChannelPosted(posted) => {
                let id = MessageId::from_bytes(&posted.message);
                let message = id.map_err(|_| SdkError::Internal("the gateway gave a message no id"))?;
                Ok(PostedMessage { message, duplicate: posted.duplicate })
            }
            server_frame::Kind::Error(error) => Err(refused(error)),
            _ => Err(SdkError::Internal("the gateway answered with another kind of frame")),
        }
    }

    /// A page of a channel's messages, oldest first: the newest, or those that the page names.
    pub async fn channel_history(&self, channel: ChannelId, page: &HistoryPage) -> Result<ChannelHistory, SdkError> {
        self.inner.http.call::<GetChannelHistory>(&MessagesPath { channel }, page, &()).await
    }

    /// A message of a channel, as it is now.
    pub async fn channel_message(&self, channel: ChannelId, message: MessageId) -> Result<ChannelMessage, SdkError> {
        self.inner.http.call::<GetChannelMessage>(&MessagePath { channel, message }, NONE, &()).await
    }

    /// What is unread in each channel of a community that the account may see.
    pub async fn unread_in(&self, community: CommunityId) -> Result<Vec<ReadState>, SdkError> {
        Ok(self.inner.http.call::<GetUnread>(&UnreadPath { community }, NONE, &()).await?.channels)
    }

    /// Says up to which message the account has read a channel. What was read stays read: the answer is what is true then.
    pub async fn mark_channel_read(&self, channel: ChannelId, up_to: MessageId) -> Result<ReadState, SdkError> {
        self.inner.http.call::<MarkChannelRead>(&MessagesPath { channel }, NONE, &MarkRead { up_to }).await
    }

    /// Replaces the text of an own message.
    pub async fn edit_post(&self, channel: ChannelId, message: MessageId, text: &str) -> Result<(), SdkError> {
        let (path, edit) = (MessagePath { channel, message }, EditMessage { text: text.to_owned() });
        self.inner.http.call::<EditChannelMessage>(&path, NONE, &edit).await
    }

    /// Deletes a message: an own one, or with `manage_messages` anybody's.
    pub async fn delete_post(&self, channel: ChannelId, message: MessageId) -> Result<(), SdkError> {
        self.inner.http.call::<DeleteChannelMessage>(&MessagePath { channel, message }, NONE, &()).await
    }

    /// Reacts to a message with an emoji, or takes that back.
    pub async fn react_to_post(
        &self,
        channel: ChannelId,
        message: MessageId,
        emoji: &str,
        remove: bool,
    ) -> Result<(), SdkError> {
        let path = ReactionPath { channel, message, reaction: emoji.to_owned() };
        match remove {
            true => self.inner.http.call::<RemoveReaction>(&path, NONE, &()).await,
            false => self.inner.http.call::<AddReaction>(&path, NONE, &()).await,
        }
    }

    /// Pins a message, or takes the pin away.
    pub async fn pin_post(&self, channel: ChannelId, message: MessageId, unpin: bool) -> Result<(), SdkError> {
        let path = MessagePath { channel, message };
        match unpin {
            true => self.inner.http.call::<UnpinMessage>(&path, NONE, &()).await,
            false => self.inner.http.call::<PinMessage>(&path, NONE, &()).await,
        }
    }

    /// The pinned messages of a channel; what was pinned last comes first.
    pub async fn pins(&self, channel: ChannelId) -> Result<Vec<ChannelMessage>, SdkError> {
        Ok(self.inner.http.call::<ListPins>(&MessagesPath { channel }, NONE, &()).await?.messages)
    }

    /// Follows a channel from now on, on this connection and all later ones, until [`Client::unfollow`] or an
    /// [`Event::ChannelClosed`](crate::Event::ChannelClosed). What happens comes as events, after an
    /// [`Event::ChannelFollowed`](crate::Event::ChannelFollowed); what happened while there was no connection comes before the
    /// next of those.
    pub fn follow(&self, channel: ChannelId) {
        self.inner.follows().add(channel);
        self.inner.following.notify_one();
    }

    /// Follows a channel no more.
    pub async fn unfollow(&self, channel: ChannelId) {
        let was_followed = self.inner.follows().remove(channel);
        if let (true, Ok(link)) = (was_followed, self.inner.link()) {
            let leave = ChannelFollow { channel: channel.to_vec(), leave: true, resume: None };
            // what follows a channel is a connection: without one there is nothing to leave
            let _ = link.notify(client_frame::Kind::ChannelFollow(leave)).await;
        }
    }

    /// Tells that one types in a channel. Only while connected; more than once in two seconds is left out by the server.
    pub async fn typing_in(&self, channel: ChannelId) -> Result<(), SdkError> {
        let typing = ChannelTyping { channel: channel.to_vec() };
        self.inner.link()?.notify(client_frame::Kind::ChannelTyping(typing)).await
    }
}
