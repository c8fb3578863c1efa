//! The stream of channels: what this process knows of it, and reading it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderValue;
use bytes::Bytes;
use futures_util::StreamExt;
use nepto_kit::direct_get::{self, LAST_SEQUENCE, SEQUENCE, SUBJECT, TIME};
use nepto_kit::{Ctx, nats, subscriptions};
use nepto_proto::subject::{self, CHANNELS_STREAM};
use nepto_proto::wire::ChannelEvent;
use nepto_proto::{ChannelId, CommunityId, MessageId};
use prost::Message as _;
use tokio::time::Instant;

/// JetStream says that it made a stream (NATS ADR-8, advisories).
const STREAM_CREATED: &str = "$JS.EVENT.ADVISORY.STREAM.CREATED.CHANNEL";
/// How often the stream is looked at, should that advisory be lost.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// What was seen so long ago is looked at again by whoever needs it. More than [`LOOK_EVERY`].
const SEEN_LATELY: Duration = Duration::from_secs(20);
/// After a look that failed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Events of one read of many.
const READ_MAX: usize = 500;
/// Bytes of one read.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The stream, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it was asked for.
    pub at: Instant,
    /// Of its sequences, milliseconds since 1970.
    pub epoch_ms: u64,
    /// The oldest sequence that is still there, or would be.
    pub first: u64,
    /// The newest one.
    pub last: u64,
}

/// What a process knows of the stream.
#[derive(Debug, Default)]
pub struct StreamNow {
    seen: Mutex<Option<Seen>>,
    /// One look at a time: who waits for it may find that it is new enough.
    looking: tokio::sync::Mutex<()>,
}

impl StreamNow {
    /// The epoch that was seen last, 0 before anything was.
    pub fn epoch_ms(&self) -> u64 {
        self.known().map_or(0, |seen| seen.epoch_ms)
    }

    /// As it was seen lately.
    pub async fn lately(&self, ctx: &Ctx) -> anyhow::Result<Seen> {
        match self.known() {
            Some(seen) if seen.at.elapsed() < SEEN_LATELY => Ok(seen),
            _ => self.seen_since(ctx, Instant::now()).await,
        }
    }

    /// As it is at this moment or later.
    pub async fn seen_since(&self, ctx: &Ctx, since: Instant) -> anyhow::Result<Seen> {
        let _turn = self.looking.lock().await;
        if let Some(seen) = self.known()
            && seen.at >= since
        {
            return Ok(seen);
        }
        let seen = look(ctx).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(seen)
    }

    fn known(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on looking: somebody may make it anew, and then no place of before means anything.
    pub async fn watch(&self, ctx: &Ctx) -> anyhow::Result<()> {
        let mut created = ctx.nats.subscribe(STREAM_CREATED).await?;
        let mut connects = ctx.nats_connects.clone();
        let mut due = tokio::time::interval(LOOK_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return Ok(()),
                Some(_) = created.next() => {
                    due.reset_immediately();
                    continue;
                }
                changed = connects.changed() => {
                    changed?;
                    due.reset_immediately();
                    continue;
                }
                _ = due.tick() => {}
            }
            if let Err(error) = self.seen_since(ctx, Instant::now()).await {
                tracing::warn!(error = format!("{error:#}"), "the stream of channels was not found; looking again");
                due.reset_after(LOOK_AGAIN_AFTER);
            }
        }
    }
}

async fn look(ctx: &Ctx) -> anyhow::Result<Seen> {
    let at = Instant::now();
    let stream = ctx.jetstream.get_stream(CHANNELS_STREAM).await.map_err(|error| {
        anyhow::anyhow!("the stream {CHANNELS_STREAM} is not there: {error}; run `nepto-server provision`")
    })?;
    let info = stream.cached_info();
    let (first, last) = (info.state.first_sequence, info.state.last_sequence);
    Ok(Seen { at, epoch_ms: nats::stream_epoch_ms(info), first, last })
}

/// An event as the stream has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored, milliseconds since 1970.
    pub stored_at_ms: u64,
    /// An encoded `ChannelEvent`.
    pub event: Bytes,
}

impl Stored {
    /// Reads what JetStream republished.
    pub fn from_live(message: &subscriptions::Message) -> Option<Self> {
        Self::new(|name| message.header(name), message.payload.clone())
    }

    /// Reads what a direct get answered.
    pub fn from_stored(message: async_nats::Message) -> Option<Self> {
        let headers = message.headers.as_ref()?;
        Self::new(|name| headers.get(name).map(HeaderValue::as_str), message.payload)
    }

    fn new<'a>(header: impl Fn(&str) -> Option<&'a str>, event: Bytes) -> Option<Self> {
        let number = |name: &str| header(name).and_then(|value| value.parse::<u64>().ok());
        let stored_at = time::OffsetDateTime::parse(header(TIME)?, &time::format_description::well_known::Rfc3339);
        Some(Self {
            seq: number(SEQUENCE)?,
            stored_at_ms: (stored_at.ok()?.unix_timestamp_nanos() / 1_000_000) as u64,
            event,
        })
    }

    /// The event with its place.
    pub fn read(&self, community: CommunityId, channel: ChannelId) -> Result<Event, prost::DecodeError> {
        let event = ChannelEvent::decode(self.event.clone())?;
        let place = MessageId::at(event.epoch, self.seq);
        Ok(Event { community, channel, place, seq: self.seq, stored_at_ms: self.stored_at_ms.cast_signed(), event })
    }
}

/// The sequence of what was republished, and the one before it in the same channel. `None` for what was not: somebody types.
pub fn live_seq(message: &subscriptions::Message) -> Option<(u64, u64)> {
    let number = |name: &str| message.header(name).and_then(|value| value.parse::<u64>().ok());
    Some((number(SEQUENCE)?, number(LAST_SEQUENCE).unwrap_or(0)))
}

/// Something that happened in a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Of the channel.
    pub community: CommunityId,
    /// Where it happened.
    pub channel: ChannelId,
    /// Where it stands among all; the id of the message that it posts.
    pub place: MessageId,
    /// Its sequence in the stream.
    pub seq: u64,
    /// When it was stored, milliseconds since 1970.
    pub stored_at_ms: i64,
    /// What happened.
    pub event: ChannelEvent,
}

/// Events of a channel, oldest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Up to as many as were asked for.
    pub events: Vec<Stored>,
    /// More is stored behind them.
    pub more: bool,
}

/// Up to `limit` events of a channel after a sequence.
pub async fn read(
    nats: &async_nats::Client,
    community: CommunityId,
    channel: ChannelId,
    after: u64,
    limit: usize,
) -> anyhow::Result<Page> {
    let found = get(nats, &subject::channel(community, channel), after, limit).await?;
    let read =
        |message| Stored::from_stored(message).ok_or_else(|| anyhow::anyhow!("a stored event lacks its headers"));
    Ok(Page { events: found.messages.into_iter().map(read).collect::<anyhow::Result<_>>()?, more: found.more })
}

async fn get(nats: &async_nats::Client, subject: &str, after: u64, limit: usize) -> anyhow::Result<direct_get::Page> {
    direct_get::after(nats, CHANNELS_STREAM, subject, after, limit, READ_BYTES_MAX).await
}

/// Everything that happened in a channel, or in all channels of a community, after a sequence, up to a bound; and whether that is all.
pub async fn read_all(
    nats: &async_nats::Client,
    community: CommunityId,
    channel: Option<ChannelId>,
    after: u64,
    events_max: usize,
) -> anyhow::Result<(Vec<Event>, bool)> {
    let subject = match channel {
        Some(channel) => subject::channel(community, channel),
        None => subject::channels_of(community),
    };
    let (mut events, mut after) = (Vec::new(), after);
    loop {
        let found = get(nats, &subject, after, READ_MAX).await?;
        for message in found.messages {
            let subject = message.headers.as_ref().and_then(|headers| headers.get(SUBJECT));
            let subject = subject.map(|subject| subject.as_str().to_owned());
            let stored =
                Stored::from_stored(message).ok_or_else(|| anyhow::anyhow!("a stored event lacks its headers"))?;
            after = stored.seq;
            let Some((community, channel)) = subject.as_deref().and_then(subject::parse_channel) else { continue };
            match stored.read(community, channel) {
                Ok(event) => events.push(event),
                Err(error) => unreadable(stored.seq, &error),
            }
        }
        if !found.more || events.len() >= events_max {
            return Ok((events, !found.more));
        }
    }
}

/// An event that is none is passed over, wherever it is read, and said.
pub fn unreadable(seq: u64, error: &prost::DecodeError) {
    metrics::counter!("nepto_channel_events_unreadable_total").increment(1);
    tracing::error!(seq, %error, "an event of a channel can't be read");
}

/// The sequence of a channel's newest event, 0 for none.
pub async fn newest_seq(nats: &async_nats::Client, community: CommunityId, channel: ChannelId) -> anyhow::Result<u64> {
    let found = direct_get::newest(nats, CHANNELS_STREAM, &subject::channel(community, channel)).await?;
    let read =
        |message| Stored::from_stored(message).ok_or_else(|| anyhow::anyhow!("a stored event lacks its headers"));
    Ok(found.map(read).transpose()?.map_or(0, |event| event.seq))
}
