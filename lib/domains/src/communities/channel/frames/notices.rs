//! What a connection hears beside the channels themselves: that access changed, and what concerns its account.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use nepto_kit::frames::Order;
use nepto_kit::subscriptions::Message;
use nepto_proto::event::{ChannelsNotice, CommunityNotice};
use nepto_proto::permissions::Permission;
use nepto_proto::wire::{self, ChannelClosedReason, server_frame};
use nepto_proto::{ChannelId, CommunityId};

use super::super::access;
use super::super::follow::Followed;
use super::super::work::{self, Done};
use super::{Out, Session};

/// After a change that is about everybody, connections ask within this time, and not all at once.
const SPREAD_MS: u64 = 300;
/// Whoever got no answer asks again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Session {
    pub(super) fn spread(&self) -> Duration {
        Duration::from_millis(self.shared.ctx.random.below(SPREAD_MS))
    }

    pub(super) fn access_changed(&mut self, community: CommunityId, message: &Arc<Message>, out: &mut Out) {
        let Ok(CommunityNotice::AccessChanged { account }) = serde_json::from_slice(&message.payload) else { return };
        let spread = match account {
            Some(account) if account != self.account => return,
            Some(_) => Duration::ZERO,
            None => self.spread(),
        };
        self.recheck(|followed| followed.community == Some(community), spread, out);
    }

    /// Asks again what may be seen of the channels that are open.
    pub(super) fn recheck(&mut self, concerned: impl Fn(&Followed) -> bool, after: Duration, out: &mut Out) {
        let open = self.followed.iter().filter(|(_, followed)| followed.is_asked_again && concerned(followed));
        let channels: Vec<(ChannelId, u64)> = open.map(|(channel, followed)| (*channel, followed.token)).collect();
        if !channels.is_empty() {
            let asked = work::ask_again(self.shared.clone(), self.account, channels, after);
            out.run(Order::Background, asked.map(|answers| Done::Rechecked(answers, false)));
        }
    }

    /// What was lost is closed. Where nobody knows, it stays open, and is asked for again.
    pub(super) fn rechecked(&mut self, answers: Vec<work::Answer>, is_retry: bool, out: &mut Out) {
        self.is_retrying &= !is_retry;
        for (channel, token, access) in answers {
            self.unknown.remove(&channel);
            if !self.is_current(channel, token) {
                continue;
            }
            match access {
                Ok(access) => {
                    if access::require(&access, Permission::ViewChannel).is_err() {
                        metrics::counter!("nepto_channel_closed_total").increment(1);
                        self.close(channel, 0, ChannelClosedReason::AccessLost, out);
                    }
                }
                Err(failure) => {
                    tracing::debug!(%channel, %failure, "nobody knows who may see it");
                    self.unknown.insert(channel, token);
                }
            }
        }
        if !self.unknown.is_empty() && !self.is_retrying {
            self.is_retrying = true;
            let unknown = self.unknown.iter().map(|(channel, token)| (*channel, *token)).collect();
            let asked = work::ask_again(self.shared.clone(), self.account, unknown, ASK_AGAIN_AFTER);
            out.run(Order::Background, asked.map(|answers| Done::Rechecked(answers, true)));
        }
    }

    /// The stream was made anew: no place of before means anything, and clients load what they show again.
    pub(super) fn close_of_another_epoch(&mut self, out: &mut Out) {
        let epoch_ms = self.shared.stream.epoch_ms();
        let of_another = self.followed.iter().filter(|(_, followed)| followed.is_of_another(epoch_ms));
        let of_another: Vec<ChannelId> = of_another.map(|(channel, _)| *channel).collect();
        for channel in of_another {
            self.close(channel, 0, ChannelClosedReason::Unavailable, out);
        }
    }

    pub(super) fn noticed(&mut self, message: &Arc<Message>, out: &mut Out) {
        match serde_json::from_slice(&message.payload) {
            Ok(ChannelsNotice::Read(state)) => {
                let read = wire::ChannelRead {
                    community: state.community.to_vec(),
                    channel: state.channel.to_vec(),
                    up_to: state.up_to.map(|id| id.to_vec()).unwrap_or_default(),
                    unread: state.unread,
                    mentions: state.mentions,
                };
                out.reply(0, server_frame::Kind::ChannelRead(read));
            }
            // what is followed is seen anyway
            Ok(ChannelsNotice::Mentioned { channel, .. }) if self.followed.contains_key(&channel) => {}
            Ok(ChannelsNotice::Mentioned { community, channel, message, from }) => {
                let notice = wire::ChannelNotice {
                    community: community.to_vec(),
                    channel: channel.to_vec(),
                    message: message.to_vec(),
                    from: from.to_vec(),
                };
                let asked = work::ask(self.shared.clone(), channel, self.account);
                out.run(
                    Order::Background,
                    asked.map(move |access| {
                        let needed = Permission::ViewChannel;
                        let may_see = access.is_ok_and(|access| access::require(&access, needed).is_ok());
                        Done::MaySee(notice, may_see)
                    }),
                );
            }
            // of a newer version
            Err(_) => {}
        }
    }
}
