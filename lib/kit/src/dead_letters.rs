//! What consumers gave up: reading it, giving it back after a fix, dropping it. For the operator's listener.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{DeadLetter, DeadLetters};
use nepto_proto::subject::DEAD_LETTERS_STREAM;
use serde::Deserialize;

use crate::http::{Path, Query};
use crate::{Ctx, Failure};

/// Dead letters of one answer.
const PAGE: usize = 200;
const SUBJECT_HEADER: &str = "Nepto-Subject";
const REASON_HEADER: &str = "Nepto-Reason";
/// Of a letter: who put it aside wants to know when it is dropped.
const TELL_HEADER: &str = "Nepto-Tell-Dropped";
/// Of what is told then.
const DROPPED_HEADER: &str = "Nepto-Dropped";

/// The headers of a dead letter: where it goes when it is given back, and why it is one.
pub fn headers(subject: &str, reason: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(SUBJECT_HEADER, subject);
    headers.insert(REASON_HEADER, reason.replace(['\r', '\n'], " "));
    headers
}

/// When the letter is dropped, it goes back like one that is to be tried again, but says so ([`is_dropped`]).
pub fn tell_when_dropped(headers: &mut HeaderMap) {
    headers.insert(TELL_HEADER, "1");
}

/// Whether a message is a letter that was dropped.
pub fn is_dropped(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(DROPPED_HEADER).is_some())
}

/// `/dead-letters`
pub fn routes(ctx: Ctx) -> Router {
    Router::new()
        .route("/dead-letters", get(list))
        .route("/dead-letters/{number}/replay", post(replay))
        .route("/dead-letters/{number}", delete(discard))
        .with_state(ctx)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Where the page before ended.
    #[serde(default)]
    after: u64,
    /// Only of this consumer.
    consumer: Option<String>,
}

async fn list(State(ctx): State<Ctx>, Query(page): Query<Page>) -> Result<Json<DeadLetters>, Failure> {
    let stream = stream(&ctx).await?;
    let subject = match &page.consumer {
        Some(consumer) => format!("dlq.*.{consumer}"),
        None => "dlq.>".to_owned(),
    };
    let mut letters = Vec::new();
    let mut next = page.after + 1;
    while letters.len() < PAGE {
        let found = stream.get_first_raw_message_by_subject(&subject, next).await;
        let Ok(message) = found else { break };
        next = message.sequence + 1;
        letters.push(show(&message));
    }
    Ok(Json(DeadLetters { letters }))
}

/// Gives it back to its consumer, and takes it out of here.
async fn replay(State(ctx): State<Ctx>, Path(number): Path<u64>) -> Result<StatusCode, Failure> {
    let stream = stream(&ctx).await?;
    let message = find(&stream, number).await?;
    give_back(&ctx, &message, HeaderMap::new()).await?;
    drop_one(&stream, number).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn give_back(ctx: &Ctx, letter: &StreamMessage, headers: HeaderMap) -> Result<(), Failure> {
    let subject = letter.headers.get(SUBJECT_HEADER).map(|subject| subject.as_str().to_owned());
    let subject = subject.ok_or_else(|| Failure::new(ErrorCode::Malformed, "nobody knows where it came from"))?;
    let unavailable = |error: async_nats::jetstream::context::PublishError| Failure::unavailable("NATS", error);
    let sent = ctx.jetstream.publish_with_headers(subject, headers, letter.payload.clone()).await;
    sent.map_err(unavailable)?.await.map_err(unavailable)?;
    Ok(())
}

/// Drops all letters of a subject that would go back to another; how many.
pub async fn drop_of(ctx: &Ctx, letters: &str, back_to: &str) -> Result<u64, Failure> {
    let stream = stream(ctx).await?;
    let (mut next, mut dropped) = (1, 0);
    while let Ok(message) = stream.get_first_raw_message_by_subject(letters, next).await {
        next = message.sequence + 1;
        if message.headers.get(SUBJECT_HEADER).is_some_and(|header| header.as_str() == back_to) {
            drop_one(&stream, message.sequence).await?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn discard(State(ctx): State<Ctx>, Path(number): Path<u64>) -> Result<StatusCode, Failure> {
    let stream = stream(&ctx).await?;
    let message = find(&stream, number).await?;
    if message.headers.get(TELL_HEADER).is_some() {
        let mut headers = HeaderMap::new();
        headers.insert(DROPPED_HEADER, "1");
        give_back(&ctx, &message, headers).await?;
    }
    drop_one(&stream, number).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stream(ctx: &Ctx) -> Result<Stream, Failure> {
    ctx.jetstream.get_stream(DEAD_LETTERS_STREAM).await.map_err(|error| Failure::unavailable("NATS", error))
}

async fn find(stream: &Stream, number: u64) -> Result<StreamMessage, Failure> {
    let found = stream.get_raw_message(number).await;
    found.map_err(|_| Failure::new(ErrorCode::NotFound, format!("there is no dead letter {number}")))
}

async fn drop_one(stream: &Stream, number: u64) -> Result<(), Failure> {
    stream.delete_message(number).await.map(drop).map_err(|error| Failure::unavailable("NATS", error))
}

fn show(message: &StreamMessage) -> DeadLetter {
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    DeadLetter {
        number: message.sequence,
        consumer: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
        subject: header(SUBJECT_HEADER),
        reason: header(REASON_HEADER),
        bytes: message.payload.len() as u64,
        at: message.time,
    }
}
