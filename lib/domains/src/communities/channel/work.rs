//! What takes time for a connection, and what it results in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nepto_kit::Failure;
use nepto_proto::api::channels::PostedMessage;
use nepto_proto::svc::communities::AccessIn;
use nepto_proto::{AccountId, ChannelId, CommunityId, wire};
use tokio::time::{Instant, sleep};

use super::access;
use super::follow::frame_of;
use super::following::{Page, READ_MAX};
use super::post::Queued;
use super::shared::Shared;
use super::stream;

/// What an account may do, if anybody knows.
pub type Asked = Result<AccessIn, Failure>;
/// The same, of a channel that is followed under this token.
pub type Answer = (ChannelId, u64, Asked);

/// What work results in.
pub enum Done {
    /// A message of this request is in its queue, or is refused.
    Queued(u32, Vec<u8>, Result<Queued, Failure>),
    /// It is stored, or may not be.
    Stored(u32, Vec<u8>, Result<PostedMessage, Failure>),
    /// What the account may do in a channel that it wants to follow.
    Asked(ChannelId, u64, Asked),
    /// The same, after everything was subscribed.
    Confirmed(ChannelId, u64, Asked),
    /// The same, of channels that are open; and whether they were asked for because nobody had known.
    Rechecked(Vec<Answer>, bool),
    /// A part of a channel was read.
    Page(ChannelId, u64, anyhow::Result<Page<Bytes>>),
    /// The newest sequence of a channel.
    Head(ChannelId, u64, anyhow::Result<u64>),
    /// Whether the account may see what mentions it.
    MaySee(wire::ChannelNotice, bool),
}

/// A channel that is followed.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub community: CommunityId,
    pub channel: ChannelId,
    pub token: u64,
}

async fn wait(pause: Duration) {
    // a timer is never over at once
    if !pause.is_zero() {
        sleep(pause).await;
    }
}

/// Asks what an account may do in a channel.
pub async fn ask(shared: Arc<Shared>, channel: ChannelId, account: AccountId) -> Asked {
    let _turn = shared.questions.acquire().await;
    access::ask(&shared.ctx, &shared.posting.communities, channel, account).await
}

/// The same for many, after a while.
pub async fn ask_again(
    shared: Arc<Shared>,
    account: AccountId,
    channels: Vec<(ChannelId, u64)>,
    after: Duration,
) -> Vec<Answer> {
    wait(after).await;
    let mut answers = Vec::with_capacity(channels.len());
    for (channel, token) in channels {
        answers.push((channel, token, ask(shared.clone(), channel, account).await));
    }
    answers
}

/// Reads a part of a channel after a sequence. If a client resumes there, it is found out whether what comes next may be gone.
pub async fn read(shared: Arc<Shared>, place: Place, after: u64, resuming: bool, pause: Duration) -> Done {
    let Place { community, channel, token } = place;
    let read = async {
        wait(pause).await;
        let _turn = shared.reads.acquire().await;
        let page = stream::read(&shared.ctx.nats, community, channel, after, READ_MAX).await?;
        let expired = match resuming {
            true => {
                // whatever expired before this moment was not read, and a place that the stream never reached is none
                let seen = shared.stream.seen_since(&shared.ctx, Instant::now()).await?;
                seen.first > after.saturating_add(1) || after > seen.last
            }
            false => false,
        };
        let events = page.events.iter().map(|event| (event.seq, frame_of(channel, event))).collect();
        anyhow::Ok(Page { events, more: page.more, expired })
    };
    Done::Page(channel, token, read.await)
}

/// Finds the newest sequence of a channel.
pub async fn read_head(shared: Arc<Shared>, Place { community, channel, token }: Place, pause: Duration) -> Done {
    let read = async {
        wait(pause).await;
        let _turn = shared.reads.acquire().await;
        stream::newest_seq(&shared.ctx.nats, community, channel).await
    };
    Done::Head(channel, token, read.await)
}
