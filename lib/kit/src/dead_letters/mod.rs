//! What consumers could not process: keeping it, reading it, giving it back after a fix, dropping it.
//!
//! The stream `DLQ` is bounded in age and in bytes (`nats.dead_letters_bytes_max`). When it is full it takes nothing more, and a
//! consumer keeps what it can't dead-letter: nothing is lost in silence.

mod read;
mod routes;
mod settle;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Stream;
use nepto_proto::subject::{self, DEAD_LETTERS_STREAM};

use crate::{Ctx, Failure};

#[cfg(test)]
pub(crate) use self::read::Reader;
pub use self::routes::routes;

const SUBJECT_HEADER: &str = "Nepto-Subject";
const REASON_HEADER: &str = "Nepto-Reason";
/// Of a letter: who dead-lettered it wants to know when it is dropped.
const NOTIFY_HEADER: &str = "Nepto-Tell-Dropped";
/// Of what is told then.
const DROPPED_HEADER: &str = "Nepto-Dropped";
/// Of a reason: what a header may take, and a person reads.
const REASON_BYTES_MAX: usize = 1_024;

/// The headers of a dead letter: where it goes when it is given back, and why it is one.
pub fn headers(subject: &str, reason: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(SUBJECT_HEADER, subject);
    let mut reason = reason.replace(['\r', '\n'], " ");
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    headers.insert(REASON_HEADER, reason);
    headers
}

/// When the letter is dropped, it goes back like one that is to be tried again, but says so ([`is_dropped`]).
pub fn notify_when_dropped(headers: &mut HeaderMap) {
    headers.insert(NOTIFY_HEADER, "1");
}

/// Whether a message is a letter that was dropped.
pub fn is_dropped(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(DROPPED_HEADER).is_some())
}

/// Dead-letters a consumer's message. It is one letter, however often the consumer comes to that.
pub async fn publish(
    ctx: &Ctx,
    stream: &str,
    consumer: &str,
    message: &Message,
    reason: &str,
) -> Result<(), async_nats::Error> {
    let mut headers = headers(&message.subject, reason);
    headers.insert(NATS_MESSAGE_ID, format!("{consumer}:{}", message.info()?.stream_sequence));
    let subject = subject::dead_letter(stream, consumer);
    ctx.jetstream.publish_with_headers(subject, headers, message.payload.clone()).await?.await?;
    Ok(())
}

/// Drops all letters of a subject that would go back to another; how many.
pub async fn drop_of(ctx: &Ctx, letters: &str, back_to: &str) -> Result<u64, Failure> {
    let stream = stream(ctx).await?;
    let (mut next, mut dropped) = (1, 0);
    while let Ok(message) = stream.get_first_raw_message_by_subject(letters, next).await {
        next = message.sequence + 1;
        if message.headers.get(SUBJECT_HEADER).is_some_and(|header| header.as_str() == back_to) {
            stream.delete_message(message.sequence).await.map_err(unavailable)?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn stream(ctx: &Ctx) -> Result<Stream, Failure> {
    ctx.jetstream.get_stream(DEAD_LETTERS_STREAM).await.map_err(unavailable)
}

fn unavailable(error: impl Into<anyhow::Error>) -> Failure {
    Failure::unavailable("NATS", error)
}
