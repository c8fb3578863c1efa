//! The channels that a connection follows: opening, reading, closing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use nepto_kit::Failure;
use nepto_kit::frames::Order;
use nepto_kit::subscriptions::Message;
use nepto_proto::permissions::Permission;
use nepto_proto::wire::{self, ChannelClosedReason, ChannelFollow, server_frame};
use nepto_proto::{ChannelId, ErrorCode, subject};

use super::super::access;
use super::super::config::Channels;
use super::super::follow::{Followed, Opened};
use super::super::following::Effect;
use super::super::work::{self, Done};
use super::{Out, Session, Topic};

/// A read that failed, or found nothing where something must be, is repeated after this.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Session {
    pub(super) fn follow(&mut self, reply_to: u32, follow: ChannelFollow, out: &mut Out) {
        let channel = match ChannelId::from_bytes(&follow.channel) {
            Ok(channel) => channel,
            Err(error) => return out.refuse(reply_to, error.into()),
        };
        if follow.leave {
            return self.close(channel, reply_to, ChannelClosedReason::Left, out);
        }
        let max = self.shared.ctx.config.section::<Channels>().followed_max;
        if !self.followed.contains_key(&channel) && self.followed.len() >= max {
            let detail = format!("a connection follows at most {max} channels");
            return out.refuse(reply_to, Failure::new(ErrorCode::FollowLimit, detail));
        }
        // one that is followed already begins again
        self.forget(channel, out);
        self.tokens += 1;
        self.followed.insert(channel, Followed::new(self.tokens, reply_to, follow.resume));
        let own = subject::live_account(self.account);
        if !self.subjects.contains_key(&own) {
            self.subjects.insert(own.clone(), Topic::Account);
            out.subscribe(own);
        }
        let asked = work::ask(self.shared.clone(), channel, self.account);
        let token = self.tokens;
        out.run(Order::Background, asked.map(move |access| Done::Asked(channel, token, access)));
    }

    pub(super) fn asked(&mut self, channel: ChannelId, access: work::Asked, out: &mut Out) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let seen = access.and_then(|access| access::require(&access, Permission::ViewChannel));
        let community = match seen {
            Ok(community) => community,
            Err(failure) => {
                let reply_to = followed.reply_to;
                self.forget(channel, out);
                return out.refuse(reply_to, failure);
            }
        };
        followed.community = Some(community);
        let listening = self.communities.entry(community).or_default();
        listening.channels += 1;
        let of_community = subject::live_community(community);
        if listening.channels == 1 {
            self.subjects.insert(of_community.clone(), Topic::Community(community));
            out.subscribe(of_community);
        }
        let of_channel = subject::live_channel(community, channel);
        self.subjects.insert(of_channel.clone(), Topic::Channel(channel));
        out.subscribe(of_channel);
    }

    /// Channels whose subjects are all subscribed: what may be seen is asked once more, because it may have changed before that.
    pub(super) fn ask_for_confirmed(&mut self, out: &mut Out) {
        for (channel, followed) in &mut self.followed {
            let is_heard = followed.community.and_then(|community| self.communities.get(&community));
            let is_heard = followed.is_confirmed && is_heard.is_some_and(|listening| listening.is_confirmed);
            if !is_heard || followed.is_asked_again {
                continue;
            }
            followed.is_asked_again = true;
            let (channel, token) = (*channel, followed.token);
            let asked = work::ask(self.shared.clone(), channel, self.account);
            out.run(Order::Background, asked.map(move |access| Done::Confirmed(channel, token, access)));
        }
    }

    pub(super) fn confirmed(&mut self, channel: ChannelId, access: work::Asked, out: &mut Out) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let seen = access.and_then(|access| {
            access::require(&access, Permission::ViewChannel)?;
            Ok(access)
        });
        match seen {
            Ok(access) => {
                let resume_max = self.shared.ctx.config.section::<Channels>().resume_max;
                let effects = followed.open(&access, self.shared.stream.epoch_ms(), resume_max);
                self.apply(channel, effects, out);
            }
            Err(failure) => {
                let reply_to = followed.reply_to;
                self.forget(channel, out);
                out.refuse(reply_to, failure);
            }
        }
    }

    /// Something happened in a channel that is followed.
    pub(super) fn happened(&mut self, channel: ChannelId, message: &Arc<Message>, out: &mut Out) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let effects = followed.live(channel, message, self.shared.stream.epoch_ms());
        match effects {
            Opened::Effects(effects) => self.apply(channel, effects, out),
            Opened::Typing(frame) => out.send(frame),
            Opened::AnotherEpoch => self.close(channel, 0, ChannelClosedReason::Unavailable, out),
        }
    }

    pub(super) fn read_again(&mut self, channel: ChannelId, out: &mut Out) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let effects = followed.missed();
        self.apply(channel, effects, out);
    }

    pub(super) fn advance(
        &mut self,
        channel: ChannelId,
        token: u64,
        out: &mut Out,
        step: impl FnOnce(&mut Followed) -> Vec<Effect<Bytes>>,
    ) {
        if !self.is_current(channel, token) {
            return;
        }
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let effects = step(followed);
        self.apply(channel, effects, out);
    }

    fn apply(&mut self, channel: ChannelId, effects: Vec<Effect<Bytes>>, out: &mut Out) {
        let Some(followed) = self.followed.get_mut(&channel) else { return };
        let (Some(community), token) = (followed.community, followed.token) else { return };
        let pause = if followed.waits() { READ_AGAIN_AFTER } else { Duration::ZERO };
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    metrics::counter!("nepto_channel_delivered_total").increment(1);
                    out.send(frame);
                }
                Effect::Followed { at, reload } => {
                    let at = wire::Cursor { epoch: followed.epoch_ms, seq: at };
                    let (channel_id, community) = (channel.to_vec(), community.to_vec());
                    let told = wire::ChannelFollowed { channel: channel_id, community, at: Some(at), reload };
                    out.reply(std::mem::take(&mut followed.reply_to), server_frame::Kind::ChannelFollowed(told));
                }
                Effect::Read { after, resuming } => {
                    let place = work::Place { community, channel, token };
                    out.run(Order::Background, work::read(self.shared.clone(), place, after, resuming, pause));
                }
                Effect::ReadHead => {
                    let place = work::Place { community, channel, token };
                    out.run(Order::Background, work::read_head(self.shared.clone(), place, pause));
                }
            }
        }
    }

    pub(super) fn is_current(&self, channel: ChannelId, token: u64) -> bool {
        self.followed.get(&channel).is_some_and(|followed| followed.token == token)
    }

    pub(super) fn not_subscribed(&mut self, topic: Topic, out: &mut Out) {
        let concerned: Vec<ChannelId> = match topic {
            Topic::Channel(channel) => vec![channel],
            Topic::Community(community) => {
                let of = self.followed.iter().filter(|(_, followed)| followed.community == Some(community));
                of.map(|(channel, _)| *channel).collect()
            }
            Topic::Account => {
                // with the next channel that is followed
                self.subjects.retain(|_, topic| *topic != Topic::Account);
                return;
            }
        };
        for channel in concerned {
            let reply_to = self.followed.get(&channel).map_or(0, |followed| followed.reply_to);
            self.close(channel, reply_to, ChannelClosedReason::Unavailable, out);
        }
    }

    /// Ends a following, and says so.
    pub(super) fn close(&mut self, channel: ChannelId, reply_to: u32, reason: ChannelClosedReason, out: &mut Out) {
        self.forget(channel, out);
        let closed = wire::ChannelClosed { channel: channel.to_vec(), reason: reason.into() };
        out.reply(reply_to, server_frame::Kind::ChannelClosed(closed));
    }

    /// Where streams have replicas, the one that was read first may have lagged, and the last of a burst reveals no gap.
    pub(super) fn verify(&mut self, out: &mut Out) {
        if self.shared.ctx.config.nats.replicas < 2 {
            return;
        }
        let open = self.followed.iter_mut().filter(|(_, followed)| followed.is_asked_again && !followed.is_verified);
        let open = open.map(|(channel, followed)| {
            followed.is_verified = true;
            *channel
        });
        for channel in open.collect::<Vec<_>>() {
            self.read_again(channel, out);
        }
    }

    fn forget(&mut self, channel: ChannelId, out: &mut Out) {
        let Some(followed) = self.followed.remove(&channel) else { return };
        let Some(community) = followed.community else { return };
        let of_channel = subject::live_channel(community, channel);
        self.subjects.remove(&of_channel);
        out.unsubscribe(of_channel);
        let Some(listening) = self.communities.get_mut(&community) else { return };
        listening.channels -= 1;
        if listening.channels == 0 {
            self.communities.remove(&community);
            let of_community = subject::live_community(community);
            self.subjects.remove(&of_community);
            out.unsubscribe(of_community);
        }
    }
}
