//! What an account has read of channels, and what not. Nothing of it is counted ahead: facts are stored (how far somebody read, which
//! message is the newest, which one mentions whom), and whoever asks counts them.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::Failure;
use nepto_kit::nats::is_connected;
use nepto_proto::api::channels::{ReadState, Unread};
use nepto_proto::event::ChannelsNotice;
use nepto_proto::svc::communities::CommunityStanding;
use nepto_proto::{AccountId, ChannelId, CommunityId, ErrorCode, MessageId, RoleId, subject};
use tokio::time::Instant;

use super::history::History;
use super::marks::{GroupMention, MENTIONS_MAX};
use super::projection::{Key, Message, Needs, Projection};
use super::rows::{mentioned, mentioned_roles};
use super::store::Window;
use super::stream::Seen;

/// Channels whose mentions are counted at once.
const COUNTS_MAX: usize = 8;

/// What happened behind the cursor of the tables.
#[derive(Debug, Default)]
struct Newer {
    /// The newest message of each channel.
    heads: HashMap<ChannelId, MessageId>,
    /// Messages that mention the account by name.
    named: HashSet<Key>,
    groups: HashMap<ChannelId, Vec<GroupMention>>,
    /// Messages that the tables still have.
    deleted: HashSet<Key>,
}

impl Newer {
    fn of(projection: &Projection, account: AccountId) -> Self {
        let mut newer = Self { deleted: projection.deleted.keys().copied().collect(), ..Self::default() };
        for key in &projection.created {
            newer.heads.insert(key.0, key.1);
            let Some(Message { author, mentions, .. }) = projection.now.messages.get(key) else { continue };
            if mentioned(*author, mentions).any(|one| one == account) {
                newer.named.insert(*key);
            }
            let (roles, everyone) = (mentioned_roles(mentions).collect(), mentions.everyone);
            let group = GroupMention { message: key.1, author: *author, roles, everyone };
            newer.groups.entry(key.0).or_default().push(group);
        }
        newer
    }
}

/// What the tables have of a channel behind an account's marker.
#[derive(Debug, Default)]
struct Facts {
    /// The newest message that is not deleted by now.
    head: Option<MessageId>,
    named: Vec<MessageId>,
    groups: Vec<GroupMention>,
}

/// Whether something is unread in a channel, and how many messages of it mention the account.
fn count(
    (account, roles): (AccountId, &[RoleId]),
    channel: ChannelId,
    up_to: Option<MessageId>,
    facts: &Facts,
    newer: &Newer,
) -> (bool, u32) {
    let head = newer.heads.get(&channel).copied().max(facts.head);
    let new_names = newer.named.iter().filter(|(of, _)| *of == channel).map(|(_, message)| *message);
    let groups = facts.groups.iter().chain(newer.groups.get(&channel).into_iter().flatten());
    let groups = groups.filter(|group| group.is_of(account, roles)).map(|group| group.message);
    let mut mentions: BTreeSet<MessageId> = facts.named.iter().copied().chain(new_names).chain(groups).collect();
    mentions.retain(|message| Some(*message) > up_to && !newer.deleted.contains(&(channel, *message)));
    (head > up_to, mentions.len().min(MENTIONS_MAX) as u32)
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
        let mut tail = self.tail(asker.community, of).await?;
        let mut newer = Newer::default();
        if !tail.events.is_empty() {
            let view = self.store.view(None, &Needs::of(&tail.events)).await?;
            tail.events.retain(|event| !view.cursor.has(tail.epoch_ms, event.place, event.seq));
            let mut projection = Projection::over(view.base);
            tail.events.iter().for_each(|event| projection.apply(event));
            newer = Newer::of(&projection, asker.account);
        }
        let (heads, markers) =
            tokio::try_join!(self.store.heads(channels), self.store.markers(asker.account, channels))?;
        let newer = &newer;
        let states = channels.iter().map(|channel| {
            self.state(asker, *channel, heads.get(channel).copied(), markers.get(channel).copied(), newer)
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
        let mut facts = Facts { head: self.standing_head(channel, head, newer).await?, ..Facts::default() };
        if facts.head > up_to {
            (facts.named, facts.groups) = tokio::try_join!(
                self.store.mentions(account, channel, up_to),
                self.store.group_mentions(channel, up_to)
            )?;
        }
        let (unread, mentions) = count((account, roles), channel, up_to, &facts, newer);
        Ok(ReadState { community, channel, up_to, unread, mentions })
    }

    /// The newest message of the tables that is not deleted by now.
    async fn standing_head(
        &self,
        channel: ChannelId,
        head: Option<MessageId>,
        newer: &Newer,
    ) -> Result<Option<MessageId>, Failure> {
        let is_deleted = |message: &MessageId| newer.deleted.contains(&(channel, *message));
        if !head.is_some_and(|head| is_deleted(&head)) {
            return Ok(head);
        }
        let deleted = newer.deleted.iter().filter(|(of, _)| *of == channel).count();
        let newest = Window::Newest(deleted + 1);
        let view = self.store.view(Some((channel, newest)), &Needs::default()).await?;
        Ok(view.window.into_iter().find(|message| !is_deleted(message)))
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::wire::{ChannelEvent, ChannelMentions, MessagePosted, MessagesDeleted, channel_event};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::stream::Event;
    use super::*;
    use crate::testing::account;

    fn channel() -> ChannelId {
        ChannelId::new(Uuid::from_u128(100))
    }

    fn role() -> RoleId {
        RoleId::new(Uuid::from_u128(200))
    }

    /// Somebody posts under a name and mentions whom, or deletes a message.
    #[derive(Debug, Clone)]
    enum Does {
        Post { by: u128, name: u8, names: bool, role: bool, everyone: bool },
        Delete(u64),
    }

    fn does() -> impl Strategy<Value = Does> {
        let mentions = (any::<bool>(), any::<bool>(), any::<bool>());
        prop_oneof![
            3 => (1u128..4, 0u8..20, mentions)
                .prop_map(|(by, name, (names, role, everyone))| Does::Post { by, name, names, role, everyone }),
            1 => (1u64..40).prop_map(Does::Delete),
        ]
    }

    fn event(seq: u64, does: &Does) -> Event {
        let (by, kind) = match does {
            Does::Post { by, name, names, role: of_role, everyone } => {
                let mentions = ChannelMentions {
                    users: if *names { vec![account(1).to_vec()] } else { Vec::new() },
                    roles: if *of_role { vec![role().to_vec()] } else { Vec::new() },
                    everyone: *everyone,
                };
                let client_msg_id = vec![*name; 16];
                let posted = MessagePosted { client_msg_id, mentions: Some(mentions), ..MessagePosted::default() };
                (account(*by), channel_event::Kind::Posted(posted))
            }
            Does::Delete(of) => {
                let deleted = MessagesDeleted { messages: vec![MessageId::at(7, *of).to_vec()] };
                (account(9), channel_event::Kind::Deleted(deleted))
            }
        };
        let event = ChannelEvent { epoch: 7, by: by.to_vec(), kind: Some(kind) };
        let community = CommunityId::new(Uuid::from_u128(9));
        Event { community, channel: channel(), place: MessageId::at(7, seq), seq, stored_at_ms: 0, event }
    }

    fn after(events: &[Event]) -> Projection {
        let mut projection = Projection::default();
        events.iter().for_each(|event| projection.apply(event));
        projection
    }

    proptest! {
        #[test]
        fn what_is_unread_is_what_a_recount_finds_wherever_the_tables_are(
            does in proptest::collection::vec(does(), 0..40),
            committed in 0usize..40,
            marker in proptest::option::of(0u64..40),
            has_role in any::<bool>(),
        ) {
            let events: Vec<Event> = (1..).zip(&does).map(|(seq, does)| event(seq, does)).collect();
            let (committed, tail) = events.split_at(committed.min(events.len()));
            let (me, up_to) = (account(1), marker.map(|seq| MessageId::at(7, seq)));
            let roles = if has_role { vec![role()] } else { Vec::new() };
            // a recount of all messages that there are
            let whole = after(&events).now.messages;
            let unread: Vec<&Message> =
                whole.iter().filter(|((_, id), _)| Some(*id) > up_to).map(|(_, message)| message).collect();
            let mentions_me = |message: &&&Message| {
                let Message { author, mentions, .. } = message;
                let by_role = mentioned_roles(mentions).any(|role| roles.contains(&role));
                *author != me && (mentions.everyone || by_role || mentioned(*author, mentions).any(|one| one == me))
            };
            let wanted = (!unread.is_empty(), unread.iter().filter(mentions_me).count() as u32);
            // what the tables have, and what is behind them
            let tables = after(committed).now;
            let mut projection = Projection::over(tables.clone());
            tail.iter().for_each(|event| projection.apply(event));
            let newer = Newer::of(&projection, me);
            let stands = |id: &MessageId| !newer.deleted.contains(&(channel(), *id));
            let mut facts = Facts { head: tables.messages.keys().map(|(_, id)| *id).filter(stands).max(), ..Facts::default() };
            for ((_, id), Message { author, mentions, .. }) in &tables.messages {
                if mentioned(*author, mentions).any(|one| one == me) {
                    facts.named.push(*id);
                }
                let (roles, everyone) = (mentioned_roles(mentions).collect(), mentions.everyone);
                facts.groups.push(GroupMention { message: *id, author: *author, roles, everyone });
            }
            prop_assert_eq!(count((me, &roles), channel(), up_to, &facts, &newer), wanted);
        }
    }
}
