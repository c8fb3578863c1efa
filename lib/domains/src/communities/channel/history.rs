//! Messages as they are now: what the tables have, and what is in the stream behind them.

use std::sync::Arc;

use nepto_kit::{Ctx, Failure};
use nepto_proto::{ChannelId, CommunityId, MessageId};

use super::projection::{Edit, Key, Message, Needs, Projection};
use super::store::{Store, View, Window};
use super::stream::{self, Event, StreamNow};

/// Events behind the tables that a request reads: as many as an hour of a busy channel. With more the history is out of reach until the
/// worker is back.
const TAIL_MAX: usize = 20_000;
/// Deletions behind the tables that a page allows for.
const DELETED_MAX: usize = 500;

/// What reading needs.
#[derive(Clone)]
pub struct History {
    pub ctx: Ctx,
    pub store: Store,
    pub stream: Arc<StreamNow>,
}

/// Events that are not in the tables yet.
#[derive(Debug)]
pub struct Tail {
    pub events: Vec<Event>,
    /// Of the stream that they were read from.
    pub epoch_ms: u64,
}

/// A part of a channel's messages.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<(MessageId, Message)>,
    /// There are more beyond the end that the window does not name.
    pub more: bool,
}

impl History {
    /// What the tables do not have yet of a channel, or of all channels of a community.
    pub async fn tail(&self, community: CommunityId, channel: Option<ChannelId>) -> Result<Tail, Failure> {
        let unreachable = |error: anyhow::Error| Failure::unavailable("JetStream", error);
        let cursor = self.store.cursor().await?;
        let epoch_ms = self.stream.lately(&self.ctx).await.map_err(unreachable)?.epoch_ms;
        let after = cursor.after(epoch_ms);
        let read = stream::read_all(&self.ctx.nats, community, channel, after, TAIL_MAX).await;
        let (mut events, is_all) = read.map_err(unreachable)?;
        if !is_all {
            let error =
                anyhow::anyhow!("more than {TAIL_MAX} events are not in the tables; does `channel-history` run?");
            return Err(Failure::unavailable("the history", error));
        }
        events.retain(|event| !cursor.has(epoch_ms, event.place, event.seq));
        Ok(Tail { events, epoch_ms })
    }

    /// A channel's messages with everything that was acknowledged, as far as the window shows them and `needs` names them.
    async fn project(
        &self,
        community: CommunityId,
        channel: ChannelId,
        window: Option<Window>,
        needs: Needs,
    ) -> Result<(Projection, View, usize), Failure> {
        let mut tail = self.tail(community, Some(channel)).await?;
        let mut all = Needs::of(&tail.events);
        let deleted = all.messages.len().min(DELETED_MAX);
        all.messages.extend(needs.messages);
        let window = window.map(|window| (channel, window.with_limit(window.limit() + 1 + deleted)));
        let limit = window.map_or(0, |(_, window)| window.limit());
        let mut view = self.store.view(window, &all).await?;
        // the worker may have gone on meanwhile
        tail.events.retain(|event| !view.cursor.has(tail.epoch_ms, event.place, event.seq));
        let mut projection = Projection::over(std::mem::take(&mut view.base));
        tail.events.iter().for_each(|event| projection.apply(event));
        Ok((projection, view, limit))
    }

    /// A message, if it is there.
    pub async fn message(&self, community: CommunityId, (channel, id): Key) -> Result<Option<Message>, Failure> {
        let needs = Needs { messages: [(channel, id)].into(), ..Needs::default() };
        let (mut projection, ..) = self.project(community, channel, None, needs).await?;
        Ok(projection.now.messages.remove(&(channel, id)))
    }

    /// What a message said before, as far as the tables do not have it.
    pub async fn edits_behind(&self, community: CommunityId, key: Key) -> Result<Vec<Edit>, Failure> {
        let needs = Needs { messages: [key].into(), ..Needs::default() };
        let (projection, ..) = self.project(community, key.0, None, needs).await?;
        Ok(projection.edits.into_iter().filter(|edit| edit.of == key).collect())
    }

    /// A window of a channel.
    pub async fn page(
        &self,
        community: CommunityId,
        channel: ChannelId,
        window: Window,
    ) -> Result<(Page, Projection), Failure> {
        let (projection, view, limit) = self.project(community, channel, Some(window), Needs::default()).await?;
        let page = page_of(channel, window, &projection, &view.window, limit);
        Ok((page, projection))
    }
}

/// What the window shows of a projection. `read` is what the tables showed of it, up to `limit`: of what lies beyond that, nothing is
/// known but what the events behind the tables happen to name.
pub(super) fn page_of(
    channel: ChannelId,
    window: Window,
    projection: &Projection,
    read: &[MessageId],
    limit: usize,
) -> Page {
    let is_full = read.len() >= limit;
    let edge = read.last().copied().filter(|_| is_full);
    let is_shown = |id: MessageId, message: &Message| match window {
        Window::Newest(_) => edge.is_none_or(|edge| id >= edge),
        Window::Before(before, _) => id < before && edge.is_none_or(|edge| id >= edge),
        Window::After(after, _) => id > after && edge.is_none_or(|edge| id <= edge),
        Window::From(from, _) => id >= from && edge.is_none_or(|edge| id <= edge),
        Window::Pinned(_) => message.pinned_at_ms.is_some(),
    };
    let of_channel = projection.now.messages.iter().filter(|((of, _), _)| *of == channel);
    let shown = of_channel.filter(|((_, id), message)| is_shown(*id, message));
    let mut messages: Vec<(MessageId, Message)> = shown.map(|((_, id), message)| (*id, message.clone())).collect();
    messages.sort_unstable_by_key(|(id, _)| *id);
    let wanted = window.limit();
    let more = is_full || messages.len() > wanted;
    match window {
        Window::Newest(_) | Window::Before(..) => drop(messages.drain(..messages.len().saturating_sub(wanted))),
        Window::After(..) | Window::From(..) => messages.truncate(wanted),
        Window::Pinned(_) => {}
    }
    Page { messages, more }
}
