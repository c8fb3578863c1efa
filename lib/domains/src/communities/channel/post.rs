//! The way of a message from whoever posts it to its answer: it is read, counted and compared with what its author may do in one round
//! trip to Redis, held back by slow mode, stored, and answered. The same over the socket and over HTTP.
//!
//! What must hold:
//! - messages of one connection are stored in the order in which they were sent: [`Posting::begin`] runs in sequence and ends when the
//!   message is in its queue;
//! - whom a message mentions is fixed here, by what its author may do now;
//! - slow mode counts what was stored, and a repetition of the same message waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use nepto_kit::limit::{Cost, Exhausted, Limit, Taken};
use nepto_kit::nats::is_connected;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::channels::{PostMessage, PostedMessage};
use nepto_proto::event::ChannelsNotice;
use nepto_proto::permissions::Permission;
use nepto_proto::svc::communities::AccessIn;
use nepto_proto::wire::{ChannelEvent, ChannelMentions, ChannelPost, MessagePosted, channel_event};
use nepto_proto::{AccountId, ChannelId, ClientMsgId, CommunityId, ErrorCode, MessageId, markdown, subject};
use prost::Message as _;
use tokio::time::Instant;

use super::access::{self, Communities};
use super::config::Channels;
use super::publisher::{PublishError, Publisher, Submission};
use super::slow_mode;
use super::stream::StreamNow;

const MINUTE: Duration = Duration::from_secs(60);

/// What posting needs.
pub struct Posting {
    pub ctx: Ctx,
    pub publisher: Publisher,
    pub stream: Arc<StreamNow>,
    pub communities: Communities,
}

/// A message that is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    pub id: ClientMsgId,
    pub channel: ChannelId,
    pub text: String,
    pub reply_to: Option<MessageId>,
}

impl NewMessage {
    /// From a frame.
    pub fn of_frame(post: ChannelPost) -> Result<Self, Failure> {
        let reply_to = (!post.reply_to.is_empty()).then(|| MessageId::from_bytes(&post.reply_to)).transpose()?;
        Ok(Self {
            id: ClientMsgId::from_bytes(&post.client_msg_id)?,
            channel: ChannelId::from_bytes(&post.channel)?,
            text: post.text,
            reply_to,
        })
    }

    /// From a body.
    pub fn of_body(channel: ChannelId, PostMessage { client_msg_id, text, reply_to }: PostMessage) -> Self {
        Self { id: client_msg_id, channel, text, reply_to }
    }
}

/// A text of the length that one may have, which shows something.
pub fn check_text(config: &Channels, text: &str) -> Result<(), Failure> {
    if text.len() > config.text_bytes_max {
        let detail = format!("a text has at most {} bytes", config.text_bytes_max);
        return Err(Failure::new(ErrorCode::TextInvalid, detail));
    }
    if text.trim().is_empty() || text.contains('\0') {
        return Err(Failure::new(ErrorCode::TextInvalid, "a text has something to show, and no NUL"));
    }
    Ok(())
}

/// A message that is in its queue; its answer.
pub type Queued = BoxFuture<'static, Result<PostedMessage, Failure>>;

impl Posting {
    /// Takes a message as far as its queue.
    pub async fn begin(self: Arc<Self>, from: AccountId, message: NewMessage) -> Result<Queued, Failure> {
        let config = self.ctx.config.section::<Channels>();
        check_text(&config, &message.text)?;
        let allowed_at = Instant::now();
        let access = self.admit(from, message.channel).await?;
        let community = access::require_post(&access)?;
        let epoch_ms = self.epoch_ms().await?;
        let held = slow_mode::hold(&self.ctx, &access, from, &message).await?;
        let mentions = mentions_of(&config, &access, &message.text);
        let mentioned = mentions.users.clone();
        let posted = MessagePosted {
            client_msg_id: message.id.to_vec(),
            text: message.text,
            reply_to: message.reply_to.map(MessageId::to_vec).unwrap_or_default(),
            mentions: (mentions != ChannelMentions::default()).then_some(mentions),
        };
        let kind = Some(channel_event::Kind::Posted(posted));
        let stored = self.publisher.submit(Submission {
            subject: subject::channel(community, message.channel),
            id: Some(format!("{from}:{}", message.id)),
            event: Bytes::from(ChannelEvent { epoch: epoch_ms, by: from.to_vec(), kind }.encode_to_vec()),
            allowed_at,
        });
        let channel = message.channel;
        Ok(Box::pin(async move {
            let stored = match stored.await {
                Ok(stored) => stored,
                Err(error) => {
                    metrics::counter!("nepto_channel_posts_total", "outcome" => "failed").increment(1);
                    // what may have been stored counts
                    if matches!(error, PublishError::NotSent(_)) {
                        slow_mode::release(&self.ctx, held).await;
                    }
                    return Err(error.into());
                }
            };
            metrics::counter!("nepto_channel_posts_total", "outcome" => "stored").increment(1);
            let message = MessageId::at(epoch_ms, stored.seq);
            if !stored.duplicate {
                self.notify(community, channel, message, from, &mentioned).await;
            }
            Ok(PostedMessage { message, duplicate: stored.duplicate })
        }))
    }

    /// The epoch of what is stored now.
    pub async fn epoch_ms(&self) -> Result<u64, Failure> {
        let seen = self.stream.lately(&self.ctx).await.map_err(|error| Failure::unavailable("JetStream", error))?;
        Ok(seen.epoch_ms)
    }

    /// Counts a message, and finds out what its author may do: one round trip, unless Redis does not know.
    async fn admit(&self, from: AccountId, channel: ChannelId) -> Result<AccessIn, Failure> {
        let limits = self.ctx.config.section::<Channels>();
        let cost = |kind, max, subject: String, refundable| Cost {
            limit: Limit { kind, max, window: MINUTE },
            subject,
            member: None,
            amount: 1,
            refundable,
        };
        let of_account = cost("posts", limits.posts_per_account_per_minute, from.to_string(), false);
        // whoever may not post takes nothing of what a channel has for those who may
        let of_channel = cost("posts_in", limits.posts_per_channel_per_minute, channel.to_string(), true);
        let community = self.communities.of(channel);
        let keys = community.map_or_else(Vec::new, |community| access::keys(community, channel, from).to_vec());
        let mut taken = Taken::default();
        let (ctx, costs) = (&self.ctx, [of_account, of_channel]);
        let found = match taken.add_and_read(&ctx.redis, &ctx.clock, &costs, &keys).await? {
            Ok(found) => found,
            Err(Exhausted { limit, left }) => {
                metrics::counter!("nepto_rate_limited_total", "kind" => limit.kind).increment(1);
                return Err(Failure::rate_limited(left, format!("at most {} messages a minute", limit.max)));
            }
        };
        let access = match community.and_then(|community| access::counting(ctx, community, &found)) {
            Some(access) => Ok(access),
            None => access::ask_owner(ctx, &self.communities, channel, from).await,
        };
        let may_post = access.as_ref().is_ok_and(|access| access::require_post(access).is_ok());
        if !may_post && let Err(error) = taken.give_back(&ctx.redis).await {
            tracing::debug!(%error, "a place in a channel was not given back");
        }
        access
    }

    /// Tells those who are mentioned by name; their connections look whether they may see the message. Travels at most once.
    async fn notify(
        &self,
        community: CommunityId,
        channel: ChannelId,
        message: MessageId,
        from: AccountId,
        mentioned: &[Vec<u8>],
    ) {
        if mentioned.is_empty() || !is_connected(&self.ctx.nats) {
            return;
        }
        let notice = ChannelsNotice::Mentioned { community, channel, message, from };
        let Ok(notice) = serde_json::to_vec(&notice).map(Bytes::from) else { return };
        for account in mentioned.iter().filter_map(|id| AccountId::from_bytes(id).ok()) {
            if account != from {
                let _ = self.ctx.nats.publish(subject::live_account(account), notice.clone()).await;
            }
        }
    }
}

/// Whom a text mentions, as far as its author may: roles and everybody by permission, and so many.
fn mentions_of(config: &Channels, access: &AccessIn, text: &str) -> ChannelMentions {
    let found = markdown::mentions(text);
    let may_mention_many = access.permissions.contains(Permission::MentionEveryone);
    let users: Vec<Vec<u8>> = found.users.iter().take(config.mentions_max).map(|id| id.to_vec()).collect();
    let left = if may_mention_many { config.mentions_max - users.len() } else { 0 };
    ChannelMentions {
        users,
        roles: found.roles.iter().take(left).map(|id| id.to_vec()).collect(),
        everyone: may_mention_many && found.everyone,
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::permissions::Permissions;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_text_has_a_length_and_shows_something() {
        let config = Channels { text_bytes_max: 4, ..Channels::default() };
        for (text, is_good) in [("ä b", true), ("äöü", false), ("", false), (" \n", false), ("a\0", false)] {
            assert_eq!(check_text(&config, text).is_ok(), is_good, "{text:?}");
        }
    }

    #[test]
    fn roles_and_everybody_are_mentioned_by_permission_and_so_many_in_all() {
        let (account, role) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = format!("<@{account}> <@&{role}> @everyone");
        let of = |mentions_max, permissions: &[Permission]| {
            let config = Channels { mentions_max, ..Channels::default() };
            let access = AccessIn { permissions: Permissions::of(permissions), ..AccessIn::HIDDEN };
            let ChannelMentions { users, roles, everyone } = mentions_of(&config, &access, &text);
            (users.len(), roles.len(), everyone)
        };
        assert_eq!(of(20, &[Permission::SendMessages]), (1, 0, false));
        assert_eq!(of(20, &[Permission::MentionEveryone]), (1, 1, true));
        assert_eq!(of(1, &[Permission::MentionEveryone]), (1, 0, true));
    }
}
