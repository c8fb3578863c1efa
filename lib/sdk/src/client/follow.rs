//! The channels that the program follows: asked for on each connection, from where they were left, and again when the server
//! could not go on.
//!
//! The engine takes in what comes, in order; only when it has heard of a new connection is a channel asked for on it, so that
//! nothing of the one before is still on its way and the place is the right one.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use nepto_proto::wire::{self, ChannelClosedReason, ChannelFollow, Cursor, client_frame, server_frame};
use nepto_proto::{AccountId, ChannelId, CommunityId, MessageId};
use nepto_sdk_core::channels::{ChannelEnd, place_of, read_event, read_state};
use tokio::time::{Instant, sleep_until};

use super::{Inner, refused};
use crate::session::Link;
use crate::{Event, SdkError};

/// Before a channel is asked for again that the server could not let be followed; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Before any further try.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// What is followed.
#[derive(Debug, Default)]
pub(super) struct Follows(HashMap<ChannelId, Following>);

#[derive(Debug, Default)]
struct Following {
    /// Up to where everything was heard.
    at: Option<MessageId>,
    /// It was asked for on this connection.
    is_asked: bool,
    /// It is not asked for before that.
    not_before: Option<Instant>,
    /// How often it was refused for now.
    refusals: u32,
}

impl Follows {
    pub fn add(&mut self, channel: ChannelId) {
        self.0.entry(channel).or_default();
    }

    /// Whether it was followed.
    pub fn remove(&mut self, channel: ChannelId) -> bool {
        self.0.remove(&channel).is_some()
    }

    /// There is another connection, on which nothing was asked for.
    pub fn reconnected(&mut self) {
        for following in self.0.values_mut() {
            (following.is_asked, following.not_before) = (false, None);
        }
    }

    /// What is to be asked for now, and when there is more.
    fn due(&mut self, now: Instant) -> (Vec<ChannelFollow>, Option<Instant>) {
        let (mut due, mut later) = (Vec::new(), None::<Instant>);
        for (channel, following) in self.0.iter_mut().filter(|(_, following)| !following.is_asked) {
            match following.not_before.filter(|at| *at > now) {
                Some(at) => later = Some(later.map_or(at, |other| other.min(at))),
                None => {
                    following.is_asked = true;
                    let resume = following.at.map(|at| Cursor { epoch: at.epoch_ms(), seq: at.seq() });
                    due.push(ChannelFollow { channel: channel.to_vec(), leave: false, resume });
                }
            }
        }
        (due, later)
    }

    /// The server has told everything up to this place. Whether the channel is followed at all.
    fn followed(&mut self, channel: ChannelId, at: MessageId) -> bool {
        let Some(following) = self.0.get_mut(&channel) else { return false };
        (following.at, following.refusals) = (Some(at), 0);
        true
    }

    /// Whether something at this place is news of a channel that is followed.
    fn is_news(&mut self, channel: ChannelId, at: MessageId) -> bool {
        let Some(following) = self.0.get_mut(&channel) else { return false };
        let is_news = following.at.is_none_or(|before| at > before);
        if is_news {
            following.at = Some(at);
        }
        is_news
    }

    /// It is to be asked for again, from where it was left, after a pause that grows.
    fn retry(&mut self, channel: ChannelId, pause: impl FnOnce(u32) -> Duration, now: Instant) {
        if let Some(following) = self.0.get_mut(&channel) {
            following.not_before = Some(now + pause(following.refusals));
            following.refusals = following.refusals.saturating_add(1);
            following.is_asked = false;
        }
    }
}

/// Asks for what is followed while there is a connection.
pub(super) async fn run(inner: Arc<Inner>, mut link: Link) {
    loop {
        let mut later = None;
        if link.is_online() {
            let (due, more) = inner.follows().due(Instant::now());
            for follow in due {
                // without the connection it is asked for on the next one
                let _ = link.notify(client_frame::Kind::ChannelFollow(follow)).await;
            }
            later = more;
        }
        tokio::select! {
            () = inner.following.notified() => {}
            changed = link.changed() => if !changed { return },
            () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {}
        }
    }
}

impl Inner {
    pub(super) fn follows(&self) -> MutexGuard<'_, Follows> {
        self.follows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a new connection everything is asked for again.
    pub(super) fn follow_again(&self) {
        self.follows().reconnected();
        self.following.notify_one();
    }

    /// Takes in what a gateway says of channels. Of other frames there is nothing to tell.
    pub(super) fn heard_of_channels(&self, frame: server_frame::Kind) -> Vec<Event> {
        match frame {
            server_frame::Kind::ChannelEvents(events) => self.happened(&events),
            server_frame::Kind::ChannelFollowed(followed) => self.followed(&followed).into_iter().collect(),
            server_frame::Kind::ChannelClosed(closed) => {
                let Ok(channel) = ChannelId::from_bytes(&closed.channel) else { return Vec::new() };
                match closed.reason() {
                    // we asked for it
                    ChannelClosedReason::Left => Vec::new(),
                    ChannelClosedReason::AccessLost => self.end(channel, ChannelEnd::AccessLost),
                    ChannelClosedReason::Unavailable | ChannelClosedReason::Unspecified => {
                        self.retry(channel, Duration::ZERO);
                        Vec::new()
                    }
                }
            }
            server_frame::Kind::ChannelNotice(notice) => mentioned(&notice).into_iter().collect(),
            server_frame::Kind::ChannelRead(read) => read_state(&read).map(Event::ChannelRead).into_iter().collect(),
            server_frame::Kind::ChannelTypingFrom(typing) => {
                let Ok(channel) = ChannelId::from_bytes(&typing.channel) else { return Vec::new() };
                let accounts = typing.accounts.iter().filter_map(|id| AccountId::from_bytes(id).ok()).collect();
                vec![Event::ChannelTyping { channel, accounts, more: typing.more }]
            }
            _ => Vec::new(),
        }
    }

    /// The gateway does not let a channel be followed: for good, or for now.
    pub(super) fn not_followed(&self, channel: &[u8], error: wire::Error) -> Vec<Event> {
        let Ok(channel) = ChannelId::from_bytes(channel) else { return Vec::new() };
        let error = refused(error);
        match (&error, error.code()) {
            (_, Some(code)) if !error.is_temporary() => self.end(channel, ChannelEnd::Refused(code)),
            (SdkError::Server { retry_after, .. }, _) => {
                tracing::info!(%channel, %error, "a channel will be asked for again");
                self.retry(channel, retry_after.unwrap_or_default());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn happened(&self, events: &wire::ChannelEvents) -> Vec<Event> {
        let Ok(channel) = ChannelId::from_bytes(&events.channel) else { return Vec::new() };
        let mut follows = self.follows();
        let is_news =
            |stored: &&wire::StoredChannelEvent| place_of(stored).is_some_and(|at| follows.is_news(channel, at));
        let news = events.events.iter().filter(is_news);
        news.filter_map(|stored| read_event(channel, stored)).map(Event::Channel).collect()
    }

    fn followed(&self, followed: &wire::ChannelFollowed) -> Option<Event> {
        let channel = ChannelId::from_bytes(&followed.channel).ok()?;
        let community = CommunityId::from_bytes(&followed.community).ok()?;
        let at = followed.at.as_ref().map(|at| MessageId::at(at.epoch, at.seq))?;
        let is_followed = self.follows().followed(channel, at);
        is_followed.then_some(Event::ChannelFollowed { community, channel, at, reload: followed.reload })
    }

    fn end(&self, channel: ChannelId, why: ChannelEnd) -> Vec<Event> {
        let was_followed = self.follows().remove(channel);
        was_followed.then_some(Event::ChannelClosed { channel, why }).into_iter().collect()
    }

    fn retry(&self, channel: ChannelId, asked: Duration) {
        let pause = |refusals: u32| {
            let backoff = RETRY_FIRST.saturating_mul(2u32.saturating_pow(refusals.min(10))).min(RETRY_MAX);
            asked + backoff / 2 + self.env.jitter(backoff / 2)
        };
        self.follows().retry(channel, pause, Instant::now());
        self.following.notify_one();
    }
}

fn mentioned(notice: &wire::ChannelNotice) -> Option<Event> {
    Some(Event::ChannelMention {
        community: CommunityId::from_bytes(&notice.community).ok()?,
        channel: ChannelId::from_bytes(&notice.channel).ok()?,
        message: MessageId::from_bytes(&notice.message).ok()?,
        from: AccountId::from_bytes(&notice.from).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const EPOCH_MS: u64 = 1_800_000_000_000;

    fn channel() -> ChannelId {
        ChannelId::new(Uuid::from_u128(1))
    }

    fn resumed(follows: &mut Follows, now: Instant) -> Vec<Option<Cursor>> {
        follows.due(now).0.into_iter().map(|follow| follow.resume).collect()
    }

    #[test]
    fn a_channel_is_asked_for_once_on_each_connection_from_where_it_was_left() {
        let (mut follows, now) = (Follows::default(), Instant::now());
        follows.add(channel());
        assert_eq!(resumed(&mut follows, now), [None], "what comes from now on");
        follows.add(channel());
        assert!(resumed(&mut follows, now).is_empty(), "it was asked for");
        assert!(follows.followed(channel(), MessageId::at(EPOCH_MS, 5)));
        follows.reconnected();
        assert_eq!(resumed(&mut follows, now), [Some(Cursor { epoch: EPOCH_MS, seq: 5 })]);
        assert!(follows.is_news(channel(), MessageId::at(EPOCH_MS, 8)));
        follows.reconnected();
        assert_eq!(resumed(&mut follows, now), [Some(Cursor { epoch: EPOCH_MS, seq: 8 })]);
        assert!(follows.remove(channel()) && !follows.remove(channel()));
        follows.reconnected();
        assert!(resumed(&mut follows, now).is_empty());
        assert!(!follows.followed(channel(), MessageId::at(EPOCH_MS, 9)), "it is followed no more");
        assert!(!follows.is_news(channel(), MessageId::at(EPOCH_MS, 9)));
    }

    #[test]
    fn what_comes_twice_is_no_news_and_a_restored_stream_begins_later() {
        let mut follows = Follows::default();
        follows.add(channel());
        for (epoch_ms, seq, is_news) in [
            (EPOCH_MS, 7, true),
            (EPOCH_MS, 7, false),
            (EPOCH_MS, 6, false),
            (EPOCH_MS, 9, true),
            (EPOCH_MS + 1, 1, true),
            (EPOCH_MS, 10, false),
        ] {
            assert_eq!(follows.is_news(channel(), MessageId::at(epoch_ms, seq)), is_news, "{epoch_ms} {seq}");
        }
    }

    #[test]
    fn what_is_refused_for_now_is_asked_for_after_a_pause_that_grows() {
        let (mut follows, now) = (Follows::default(), Instant::now());
        let pause = |refusals: u32| Duration::from_secs(1 + u64::from(refusals));
        follows.add(channel());
        assert_eq!(follows.due(now).0.len(), 1);
        follows.retry(channel(), pause, now);
        assert_eq!(follows.due(now), (Vec::new(), Some(now + Duration::from_secs(1))));
        let then = now + Duration::from_secs(1);
        assert_eq!(follows.due(then).0.len(), 1);
        follows.retry(channel(), pause, then);
        assert_eq!(follows.due(then).1, Some(then + Duration::from_secs(2)));
        // another gateway may well do it
        follows.reconnected();
        assert_eq!(follows.due(then).0.len(), 1);
        assert!(follows.followed(channel(), MessageId::at(EPOCH_MS, 1)));
        follows.retry(channel(), pause, then);
        assert_eq!(follows.due(then).1, Some(then + Duration::from_secs(1)), "it went well in between");
    }
}
