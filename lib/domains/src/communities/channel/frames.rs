//! Channels on the sockets: posts, typing, and the channels that a connection follows.
//!
//! A channel is opened in this order: what may the account see; listen to the notices about the community, and to the channel; what may
//! the account see now; read what was missed. So no change of access falls in between, and no event.

mod channels;
mod notices;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nepto_kit::frames::{
    AnySession, Connections, Effects, Frame, FrameHandler, FrameKind, FrameSession, Frames, Opening, Order, Price,
};
use nepto_kit::subscriptions::Message;
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::channels::PostedMessage;
use nepto_proto::frame::ClientKind;
use nepto_proto::wire::{ChannelFollow, ChannelPost, ChannelPosted, ChannelTyping, server_frame};
use nepto_proto::{AccountId, ChannelId, CloseCode, CommunityId};
use tokio::time::Instant;

use super::follow::Followed;
use super::post::{NewMessage, Queued};
use super::shared::Shared;
use super::work::Done;
use super::{access, typing};

pub fn mount(ctx: Ctx, _: Arc<dyn Connections>) -> BoxFuture<'static, anyhow::Result<Frames>> {
    Box::pin(async move {
        let (shared, writer) = Shared::new(&ctx);
        let shared = Arc::new(shared);
        shared.stream.lately(&ctx).await?;
        let (watching, stop) = (shared.clone(), ctx.stop.clone());
        let watch = async move { watching.stream.watch(&watching.ctx).await };
        Ok(Frames {
            handler: Arc::new(ChannelFrames(shared)),
            parts: vec![
                ("channel writer".to_owned(), Box::pin(writer.run(stop).map(Ok))),
                ("channel stream".to_owned(), Box::pin(watch)),
            ],
        })
    })
}

struct ChannelFrames(Arc<Shared>);

impl FrameHandler for ChannelFrames {
    fn domain(&self) -> &'static str {
        "communities"
    }

    /// Posts have limits of their own.
    fn kinds(&self) -> &'static [FrameKind] {
        const KINDS: &[FrameKind] = &[
            FrameKind::of::<ChannelPost>(Price::Free),
            FrameKind::of::<ChannelFollow>(Price::Units(2)),
            FrameKind::of::<ChannelTyping>(Price::Units(1)),
        ];
        KINDS
    }

    fn open<'a>(&'a self, opening: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>> {
        let session = Session {
            shared: self.0.clone(),
            account: opening.claims.account,
            followed: HashMap::new(),
            subjects: HashMap::new(),
            communities: HashMap::new(),
            said: typing::Said::default(),
            unknown: HashMap::new(),
            is_retrying: false,
            tokens: 0,
        };
        Box::pin(async move { Ok(Box::new(session) as Box<dyn AnySession>) })
    }
}

/// What a subject that the connection listens to is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Channel(ChannelId),
    Community(CommunityId),
    Account,
}

/// The notices about a community.
#[derive(Debug, Default)]
struct Listening {
    is_confirmed: bool,
    /// Channels of it that are followed.
    channels: usize,
}

/// One connection.
struct Session {
    shared: Arc<Shared>,
    account: AccountId,
    followed: HashMap<ChannelId, Followed>,
    subjects: HashMap<String, Topic>,
    communities: HashMap<CommunityId, Listening>,
    said: typing::Said,
    /// Channels that are open and of which nobody knew lately who may see them.
    unknown: HashMap<ChannelId, u64>,
    /// They are being asked for.
    is_retrying: bool,
    /// Tells the work of one following from that of another one of the same channel.
    tokens: u64,
}

type Out<'a> = Effects<'a, Done>;

impl FrameSession for Session {
    type Done = Done;

    fn frame(&mut self, frame: Frame, out: &mut Out) -> Result<(), CloseCode> {
        match frame.kind {
            ChannelPost::NUMBER => self.post(frame.id, frame.read()?, out),
            ChannelFollow::NUMBER => self.follow(frame.id, frame.read()?, out),
            ChannelTyping::NUMBER => self.typing(frame.id, &frame.read()?, out),
            _ => {}
        }
        Ok(())
    }

    fn limited(&mut self, frame: Frame, failure: Failure, out: &mut Out) -> Result<(), CloseCode> {
        let client_msg_id =
            if frame.kind == ChannelPost::NUMBER { frame.read::<ChannelPost>()?.client_msg_id } else { Vec::new() };
        out.refuse_message(frame.id, failure, client_msg_id);
        Ok(())
    }

    fn live(&mut self, message: &Arc<Message>, out: &mut Out) -> Result<(), CloseCode> {
        match self.subjects.get(message.subject()).copied() {
            Some(Topic::Channel(channel)) => self.happened(channel, message, out),
            Some(Topic::Community(community)) => self.access_changed(community, message, out),
            Some(Topic::Account) => self.noticed(message, out),
            // it was on its way
            None => {}
        }
        Ok(())
    }

    fn missed(&mut self, subject: &str, out: &mut Out) -> Result<(), CloseCode> {
        match self.subjects.get(subject).copied() {
            Some(Topic::Channel(channel)) => self.read_again(channel, out),
            Some(Topic::Community(community)) => {
                let spread = self.spread();
                self.recheck(|followed| followed.community == Some(community), spread, out);
            }
            // what is unread is asked for when it is shown
            Some(Topic::Account) | None => {}
        }
        Ok(())
    }

    fn subscribed(&mut self, subject: &str, outcome: Result<(), Failure>, out: &mut Out) -> Result<(), CloseCode> {
        let Some(topic) = self.subjects.get(subject).copied() else { return Ok(()) };
        if let Err(failure) = outcome {
            tracing::debug!(subject, %failure, "not subscribed");
            self.not_subscribed(topic, out);
            return Ok(());
        }
        match topic {
            Topic::Channel(channel) => {
                if let Some(followed) = self.followed.get_mut(&channel) {
                    followed.is_confirmed = true;
                }
            }
            Topic::Community(community) => {
                if let Some(listening) = self.communities.get_mut(&community) {
                    listening.is_confirmed = true;
                }
            }
            Topic::Account => {}
        }
        self.ask_for_confirmed(out);
        Ok(())
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Result<(), CloseCode> {
        match done {
            Done::Queued(reply_to, id, queued) => self.queued(reply_to, id, queued, out),
            Done::Stored(reply_to, id, stored) => answer_post(reply_to, id, stored, out),
            Done::Asked(channel, token, access) => {
                if self.is_current(channel, token) {
                    self.asked(channel, access, out);
                }
            }
            Done::Confirmed(channel, token, access) => {
                if self.is_current(channel, token) {
                    self.confirmed(channel, access, out);
                }
            }
            Done::Rechecked(answers, is_retry) => self.rechecked(answers, is_retry, out),
            Done::Page(channel, token, page) => self.advance(channel, token, out, |followed| followed.page(page)),
            Done::Head(channel, token, seq) => self.advance(channel, token, out, |followed| followed.head(seq)),
            Done::MaySee(notice, may_see) => {
                if may_see {
                    out.reply(0, server_frame::Kind::ChannelNotice(notice));
                }
            }
        }
        Ok(())
    }

    /// The slow way to learn what a lost notice would have said.
    fn tick(&mut self, out: &mut Out) -> Result<(), CloseCode> {
        self.close_of_another_epoch(out);
        self.verify(out);
        let spread = self.spread();
        self.recheck(|_| true, spread, out);
        Ok(())
    }
}

// Posting and typing.

impl Session {
    fn post(&mut self, reply_to: u32, post: ChannelPost, out: &mut Out) {
        let client_msg_id = post.client_msg_id.clone();
        match NewMessage::of_frame(post) {
            Ok(message) => {
                let begun = self.shared.posting.clone().begin(self.account, message);
                out.run(Order::InSequence, begun.map(move |queued| Done::Queued(reply_to, client_msg_id, queued)));
            }
            Err(failure) => out.refuse_message(reply_to, failure, client_msg_id),
        }
    }

    fn queued(&self, reply_to: u32, id: Vec<u8>, queued: Result<Queued, Failure>, out: &mut Out) {
        match queued {
            Ok(queued) => out.run(Order::Parallel, queued.map(move |stored| Done::Stored(reply_to, id, stored))),
            Err(failure) => out.refuse_message(reply_to, failure, id),
        }
    }

    fn typing(&mut self, reply_to: u32, typing: &ChannelTyping, out: &mut Out) {
        let channel = match ChannelId::from_bytes(&typing.channel) {
            Ok(channel) => channel,
            Err(error) => return out.refuse(reply_to, error.into()),
        };
        if !self.said.passes(channel, Instant::now()) {
            return;
        }
        let (shared, account) = (self.shared.clone(), self.account);
        out.answer(Order::Background, async move {
            let access = access::ask(&shared.ctx, &shared.posting.communities, channel, account).await.ok()?;
            let community = access::require_post(&access).ok()?;
            if let Err(error) = typing::pass_on(&shared.ctx, community, channel, account).await {
                tracing::debug!(%error, "typing was not passed on");
            }
            None
        });
    }
}

fn answer_post(reply_to: u32, client_msg_id: Vec<u8>, stored: Result<PostedMessage, Failure>, out: &mut Out) {
    match stored {
        Ok(PostedMessage { message, duplicate }) => {
            let posted = ChannelPosted { client_msg_id, message: message.to_vec(), duplicate };
            out.reply(reply_to, server_frame::Kind::ChannelPosted(posted));
        }
        Err(failure) => out.refuse_message(reply_to, failure, client_msg_id),
    }
}
