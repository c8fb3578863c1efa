//! Routes of the operator's listener: dead letters.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{
    CountedDeadLetters, DeadLetterFilter, DeadLetters, SettledDeadLetters, ShownDeadLetter,
};
use serde::Deserialize;

use super::read::{Letter, Reader};
use super::settle::{Verdict, settle, settle_one};
use super::{stream, unavailable};
use crate::http::{Path, Query};
use crate::{Ctx, Failure};

/// Dead letters of one answer.
const PAGE: usize = 200;
/// Letters that are looked at for one answer.
const LOOKED_AT_MAX: usize = 5_000;

/// `/dead-letters` of the operator's listener.
pub fn routes(ctx: Ctx) -> Router {
    Router::new()
        .route("/dead-letters", get(list))
        .route("/dead-letters/count", get(count))
        .route("/dead-letters/replay", post(replay_many))
        .route("/dead-letters/drop", post(drop_many))
        .route("/dead-letters/{number}", get(show).delete(drop_one))
        .route("/dead-letters/{number}/replay", post(replay_one))
        .with_state(ctx)
}

/// Which letters, and where among them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Where the answer before ended.
    #[serde(default)]
    after: u64,
    /// The last number; what is dead-lettered meanwhile has a higher one.
    up_to: Option<u64>,
    consumer: Option<String>,
    subject: Option<String>,
    reason: Option<String>,
    older_than_s: Option<u64>,
    newer_than_s: Option<u64>,
}

impl Which {
    fn filter(self) -> Result<DeadLetterFilter, Failure> {
        let is_token = |name: &String| !name.is_empty() && !name.contains(['.', '*', '>', ' ', '\t', '\r', '\n']);
        if self.consumer.as_ref().is_some_and(|consumer| !is_token(consumer)) {
            return Err(Failure::new(ErrorCode::Malformed, "that is no name of a consumer; see nats/streams.toml"));
        }
        let Self { consumer, subject, reason, older_than_s, newer_than_s, .. } = self;
        Ok(DeadLetterFilter { consumer, subject, reason, older_than_s, newer_than_s })
    }
}

async fn list(State(ctx): State<Ctx>, Query(which): Query<Which>) -> Result<Json<DeadLetters>, Failure> {
    let after = which.after;
    let filter = which.filter()?;
    let now = ctx.clock.now();
    let mut reader = Reader::after(&ctx, &filter, after, false).await?;
    let (mut letters, mut looked_at, mut next) = (Vec::new(), 0, None);
    'reading: while letters.len() < PAGE && looked_at < LOOKED_AT_MAX {
        let read = reader.next().await?;
        if read.is_empty() {
            next = None;
            break;
        }
        looked_at += read.len();
        for letter in read {
            next = Some(letter.number);
            if letter.is_of(&filter, now) {
                letters.push(letter.show());
                if letters.len() == PAGE {
                    break 'reading;
                }
            }
        }
        if reader.left == 0 {
            next = None;
        }
    }
    reader.end(&ctx).await;
    Ok(Json(DeadLetters { letters, next }))
}

async fn count(State(ctx): State<Ctx>, Query(which): Query<Which>) -> Result<Json<CountedDeadLetters>, Failure> {
    let filter = which.filter()?;
    let reader = Reader::after(&ctx, &filter, 0, false).await?;
    let letters = reader.left;
    reader.end(&ctx).await;
    let stream = stream(&ctx).await?;
    let info = stream.cached_info();
    let bytes_max = u64::try_from(info.config.max_bytes).ok();
    Ok(Json(CountedDeadLetters { letters, last: info.state.last_sequence, bytes: info.state.bytes, bytes_max }))
}

async fn show(State(ctx): State<Ctx>, Path(number): Path<u64>) -> Result<Json<ShownDeadLetter>, Failure> {
    let letter = find(&ctx, number).await?;
    let header = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
        let values: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
        (name.to_string(), values.join(", "))
    };
    let headers: BTreeMap<String, String> = letter.headers.iter().map(header).collect();
    let text = std::str::from_utf8(&letter.body).ok().map(str::to_owned);
    Ok(Json(ShownDeadLetter { letter: letter.show(), headers, text, body: BASE64_STANDARD.encode(&letter.body) }))
}

/// Gives it back to its consumer, and takes it out of here.
async fn replay_one(State(ctx): State<Ctx>, Path(number): Path<u64>) -> Result<StatusCode, Failure> {
    settle_one(&ctx, Verdict::Replay, &find(&ctx, number).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drop_one(State(ctx): State<Ctx>, Path(number): Path<u64>) -> Result<StatusCode, Failure> {
    settle_one(&ctx, Verdict::Drop, &find(&ctx, number).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn replay_many(State(ctx): State<Ctx>, Query(which): Query<Which>) -> Result<Json<SettledDeadLetters>, Failure> {
    settle_many(&ctx, Verdict::Replay, which).await
}

async fn drop_many(State(ctx): State<Ctx>, Query(which): Query<Which>) -> Result<Json<SettledDeadLetters>, Failure> {
    settle_many(&ctx, Verdict::Drop, which).await
}

async fn settle_many(ctx: &Ctx, verdict: Verdict, which: Which) -> Result<Json<SettledDeadLetters>, Failure> {
    let (after, up_to) = (which.after, which.up_to.unwrap_or(u64::MAX));
    Ok(Json(settle(ctx, verdict, &which.filter()?, after, up_to).await?))
}

async fn find(ctx: &Ctx, number: u64) -> Result<Letter, Failure> {
    match stream(ctx).await?.get_raw_message(number).await {
        Ok(message) => Ok(message.into()),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            Err(Failure::new(ErrorCode::NotFound, format!("there is no dead letter {number}")))
        }
        Err(error) => Err(unavailable(error)),
    }
}
