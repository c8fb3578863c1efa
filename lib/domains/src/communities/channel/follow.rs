//! One channel of one connection, from the request to follow it until it is closed.

use std::sync::Arc;

use bytes::Bytes;
use nepto_kit::subscriptions::Message;
use nepto_proto::permissions::Permission;
use nepto_proto::svc::communities::AccessIn;
use nepto_proto::{ChannelId, CommunityId, frame, wire};

use super::following::{Effect, Following, Live, Page};
use super::stream::{Stored, live_seq};
use super::typing;

/// A channel that a connection follows, or is about to.
pub struct Followed {
    /// Tells it from what the connection followed before under the same id.
    pub token: u64,
    /// The request, until it is answered.
    pub reply_to: u32,
    resume: Option<wire::Cursor>,
    /// Known once the account may see the channel.
    pub community: Option<CommunityId>,
    /// The channel's subject is subscribed.
    pub is_confirmed: bool,
    /// Everything is subscribed, and access was asked for after that.
    pub is_asked_again: bool,
    /// What a replica that lagged may have kept back was looked for.
    pub is_verified: bool,
    /// Of the sequences that are sent.
    pub epoch_ms: u64,
    /// Once the account may see what happens.
    following: Option<Following<Bytes>>,
    /// The last read failed.
    has_failed: bool,
}

/// What comes of something that arrived.
pub enum Opened {
    /// It is an event.
    Effects(Vec<Effect<Bytes>>),
    /// Somebody types.
    Typing(Bytes),
    /// The stream is not the one that is followed.
    AnotherEpoch,
}

impl Followed {
    /// As a client asks for it.
    pub fn new(token: u64, reply_to: u32, resume: Option<wire::Cursor>) -> Self {
        Self {
            token,
            reply_to,
            resume,
            community: None,
            is_confirmed: false,
            is_asked_again: false,
            is_verified: false,
            epoch_ms: 0,
            following: None,
            has_failed: false,
        }
    }

    /// The account may see it. What was missed is history, which not everybody may read.
    pub fn open(&mut self, access: &AccessIn, epoch_ms: u64, resume_max: usize) -> Vec<Effect<Bytes>> {
        let reads_history = access.permissions.contains(Permission::ReadHistory);
        let following = match &self.resume {
            None => Following::new(None, resume_max),
            Some(cursor) if reads_history && cursor.epoch == epoch_ms => Following::new(Some(cursor.seq), resume_max),
            Some(_) => Following::lost(resume_max),
        };
        self.epoch_ms = epoch_ms;
        vec![self.following.insert(following).start()]
    }

    /// Something arrived on the channel's subject.
    pub fn live(&mut self, channel: ChannelId, message: &Arc<Message>, epoch_ms: u64) -> Opened {
        let Some(following) = &mut self.following else { return Opened::Effects(Vec::new()) };
        let Some((seq, previous_seq)) = live_seq(message) else {
            return Opened::Typing(message.frame(|message| typing::frame(&message.payload)));
        };
        if epoch_ms != self.epoch_ms {
            return Opened::AnotherEpoch;
        }
        let event = message
            .frame(|message| Stored::from_live(message).map(|event| frame_of(channel, &event)).unwrap_or_default());
        let mut effects = Vec::new();
        match event.is_empty() {
            false => following.live(Live { seq, previous_seq, event }, &mut effects),
            // it is read as it is stored
            true => following.missed(&mut effects),
        }
        Opened::Effects(effects)
    }

    /// A part of the stream was read, or was not.
    pub fn page(&mut self, page: anyhow::Result<Page<Bytes>>) -> Vec<Effect<Bytes>> {
        self.step(page, Following::page)
    }

    /// The newest event was found, or was not.
    pub fn head(&mut self, seq: anyhow::Result<u64>) -> Vec<Effect<Bytes>> {
        self.step(seq, Following::head)
    }

    /// Something may have been missed.
    pub fn missed(&mut self) -> Vec<Effect<Bytes>> {
        let mut effects = Vec::new();
        if let Some(following) = &mut self.following {
            following.missed(&mut effects);
        }
        effects
    }

    /// Whether the next read had better wait.
    pub fn waits(&self) -> bool {
        self.has_failed || self.following.as_ref().is_some_and(|following| following.reads_in_vain() > 1)
    }

    /// Whether it follows a stream that was made anew.
    pub fn is_of_another(&self, epoch_ms: u64) -> bool {
        self.following.is_some() && self.epoch_ms != epoch_ms
    }

    fn step<T>(
        &mut self,
        outcome: anyhow::Result<T>,
        next: impl FnOnce(&mut Following<Bytes>, T, &mut Vec<Effect<Bytes>>),
    ) -> Vec<Effect<Bytes>> {
        let mut effects = Vec::new();
        self.has_failed = outcome.is_err();
        let Some(following) = &mut self.following else { return effects };
        match outcome {
            Ok(found) => next(following, found, &mut effects),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a channel was not read; trying again");
                following.failed(&mut effects);
            }
        }
        effects
    }
}

/// The frame of an event.
pub fn frame_of(channel: ChannelId, event: &Stored) -> Bytes {
    frame::encode_channel_event(channel, event.seq, event.stored_at_ms, &event.event)
}
