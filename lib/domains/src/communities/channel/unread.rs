//! What an account has read of channels, and what not. Nothing of it is counted ahead: facts are stored (how far somebody read, which
//! message is the newest, which one mentions whom), and whoever asks counts them.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::Failure;
use nepto_kit::nats::is_connected;
use nepto_proto::api::channels::{ReadState, Unread};
use nepto_proto::event::ChannelsNotice;
use nepto_proto::svc::communities::CommunityStanding;
use nepto_proto::wire::channel_event;
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, MessageId, RoleId, subject};
use tokio::time::Instant;

use super::history::History;
use super::marks::{GroupMention, MENTIONS_MAX};
use super::rows::{mentioned, mentioned_roles};
use super::stream::{Event, Seen};

/// Channels whose mentions are counted at once.
const COUNTS_MAX: usize = 8;

/// What happened behind the cursor of the tables.
#[derive(Debug, Default)]
struct Newer {
    /// The newest message of each channel.
    heads: HashMap<ChannelId, MessageId>,
    /// Messages that mention the account by name.
    mentions: HashMap<ChannelId, BTreeSet<MessageId>>,
    groups: HashMap<ChannelId, Vec<GroupMention>>,
    deleted: HashSet<(ChannelId, MessageId)>,
}

impl Newer {
    fn of(events: &[Event], account: AccountId) -> Self {
        let mut newer = Self::default();
        for event in events {
            if let Some(channel_event::Kind::Deleted(deleted)) = &event.event.kind {
                let ids = deleted.messages.iter().filter_map(|id| MessageId::from_bytes(id).ok());
                newer.deleted.extend(ids.map(|id| (event.channel, id)));
            }
        }
        for event in events {
            let (Some(channel_event::Kind::Posted(posted)), Some(author)) = (&event.event.kind, event.by()) else {
                continue;
            };
            let (channel, message) = (event.channel, event.place);
            if newer.deleted.contains(&(channel, message)) {
                continue;
            }
            newer.heads.insert(channel, message);
            let Some(mentions) = &posted.mentions else { continue };
            if mentioned(author, mentions).any(|one| one == account) {
                newer.mentions.entry(channel).or_default().insert(message);
            }
            let roles: Vec<RoleId> = mentioned_roles(mentions).collect();
            let everyone = mentions.everyone;
            newer.groups.entry(channel).or_default().push(GroupMention { message, author, roles, everyone });
        }
        newer
    }
}

/// Whose question it is.
#[derive(Debug, Clone, Copy)]
struct Asker<'a> {
    account: AccountId,
    community: CommunityId,
    roles: &'a [RoleId],
}

impl History {
    /// What is unread in these channels of a community, which the account may see.
    pub async fn unread(
        &self,
        account: AccountId,
        community: CommunityId,
        channels: &[ChannelId],
    ) -> Result<Unread, Failure> {
        let standing = self.ctx.call(&CommunityStanding { community, account }).await?;
        let standing = standing.ok_or_else(|| Failure::new(ErrorCode::NotFound, "there is no such community"))?;
        let asker = Asker { account, community, roles: &standing.roles };
        Ok(Unread { channels: self.states(asker, channels).await? })
    }

    /// Says how far an account has read a channel, and tells all its connections what is true then.
    pub async fn mark_read(
        &self,
        account: AccountId,
        community: CommunityId,
        channel: ChannelId,
        up_to: MessageId,
    ) -> Result<ReadState, Failure> {
        self.check_place(up_to).await?;
        let standing = self.ctx.call(&CommunityStanding { community, account }).await?;
        let roles = standing.map(|standing| standing.roles).unwrap_or_default();
        self.store.mark(account, channel, up_to).await?;
        let states = self.states(Asker { account, community, roles: &roles }, &[channel]).await?;
        let state = states.into_iter().next().ok_or_else(|| Failure::new(ErrorCode::NotFound, ""))?;
        let notice = serde_json::to_vec(&ChannelsNotice::Read(state.clone())).map_err(Failure::internal)?;
        // who does not hear it asks when it is shown again; nothing waits for a connection
        if is_connected(&self.ctx.nats) {
            let _ = self.ctx.nats.publish(subject::live_account(account), notice.into()).await;
        }
        Ok(state)
    }

    /// A marker behind everything that there is would hide what is still to come.
    async fn check_place(&self, up_to: MessageId) -> Result<(), Failure> {
        let unreachable = |error: anyhow::Error| Failure::unavailable("JetStream", error);
        let newest = |seen: Seen| MessageId::at(seen.epoch_ms, seen.last);
        if up_to <= newest(self.stream.lately(&self.ctx).await.map_err(unreachable)?) {
            return Ok(());
        }
        let seen = self.stream.seen_since(&self.ctx, Instant::now()).await.map_err(unreachable)?;
        if up_to <= newest(seen) { Ok(()) } else { Err(Failure::new(ErrorCode::MessageUnknown, "")) }
    }

    async fn states(&self, asker: Asker<'_>, channels: &[ChannelId]) -> Result<Vec<ReadState>, Failure> {
        let of = match channels {
            [one] => Some(*one),
            _ => None,
        };
        let tail = self.tail(asker.community, of).await?;
        let newer = Newer::of(&tail.events, asker.account);
        let (heads, markers) =
            tokio::try_join!(self.store.heads(channels), self.store.markers(asker.account, channels))?;
        let states = channels.iter().map(|channel| {
            let head = heads.get(channel).copied().filter(|head| !newer.deleted.contains(&(*channel, *head)));
            let head = newer.heads.get(channel).copied().max(head);
            self.state(asker, *channel, head, markers.get(channel).copied(), &newer)
        });
        let states: Vec<_> = states.collect();
        futures_util::stream::iter(states).buffered(COUNTS_MAX).try_collect().await
    }

    async fn state(
        &self,
        Asker { account, community, roles }: Asker<'_>,
        channel: ChannelId,
        head: Option<MessageId>,
        up_to: Option<MessageId>,
        newer: &Newer,
    ) -> Result<ReadState, Failure> {
        let unread = head > up_to;
        let mut mentions = BTreeSet::new();
        if unread {
            let (named, groups) = tokio::try_join!(
                self.store.mentions(account, channel, up_to),
                self.store.group_mentions(channel, up_to)
            )?;
            mentions.extend(named);
            mentions.extend(newer.mentions.get(&channel).into_iter().flatten());
            let groups = groups.iter().chain(newer.groups.get(&channel).into_iter().flatten());
            mentions.extend(groups.filter(|group| group.is_of(account, roles)).map(|group| group.message));
            mentions.retain(|message| Some(*message) > up_to && !newer.deleted.contains(&(channel, *message)));
        }
        let mentions = mentions.len().min(MENTIONS_MAX) as u32;
        Ok(ReadState { community, channel, up_to, unread, mentions })
    }
}
