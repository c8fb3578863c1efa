//! Giving letters back and dropping them: many at once, in their order.
//!
//! A letter is taken out only after its consumer's stream has it. Who dies in between leaves the letter, and given back
//! once more it is known by its number for as long as the stream's window for duplicates; past that, a consumer takes
//! each event more than once anyway.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use futures_util::{StreamExt, TryStreamExt, stream};
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{DeadLetterFilter, SettledDeadLetters};
use nepto_proto::subject::DEAD_LETTERS_STREAM;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::read::{Letter, Reader, subject_of};
use super::{DROPPED_HEADER, NOTIFY_HEADER, stream as dead_letters, unavailable};
use crate::batch::{self, Part};
use crate::{Ctx, Failure};

/// Letters that are deleted at once, where they are not deleted as a whole.
const DELETES_AT_ONCE: usize = 64;

/// Fewer go one by one: JetStream opens a store of its own for each batch, which pays only if it saves some syncs of the disk.
const BATCH_MIN: usize = 8;
/// Consumers have so long to make room for what is given back.
const ROOM_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is to be done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Replay,
    Drop,
}

/// Settles the next letters behind `after`, up to `up_to`, that a filter means. A bounded number; the answer says where
/// to go on.
pub async fn settle(
    ctx: &Ctx,
    verdict: Verdict,
    filter: &DeadLetterFilter,
    after: u64,
    up_to: u64,
) -> Result<SettledDeadLetters, Failure> {
    let mut reader = Reader::after(ctx, filter, after, true).await?;
    let mut letters = reader.next().await?;
    let is_end = reader.left == 0 || letters.last().is_none_or(|last| last.number >= up_to);
    reader.end(ctx).await;
    letters.retain(|letter| letter.number <= up_to);
    let next = letters.last().map(|last| last.number).filter(|_| !is_end);
    let looked_at = letters.len() as u64;
    let now = ctx.clock.now();
    let chosen: Vec<&Letter> = letters.iter().filter(|letter| letter.is_of(filter, now)).collect();
    if verdict == Verdict::Replay {
        wait_for_room(ctx, &chosen).await?;
    }
    let (done, refused) = hand_over(ctx, verdict, &chosen).await;
    take_out(ctx, filter, &letters, &done).await?;
    Ok(SettledDeadLetters { settled: done.len() as u64, looked_at, next, refused })
}

/// Settles one letter.
pub async fn settle_one(ctx: &Ctx, verdict: Verdict, letter: &Letter) -> Result<(), Failure> {
    let (done, refused) = hand_over(ctx, verdict, &[letter]).await;
    match refused.into_iter().next() {
        Some(reason) => Err(Failure::new(ErrorCode::Unavailable, reason)),
        None => delete(ctx, &done).await,
    }
}

/// Gives letters back to their consumers, or tells those who want to know that they are dropped. The numbers of those
/// that may be taken out now, and why the others may not.
async fn hand_over(ctx: &Ctx, verdict: Verdict, letters: &[&Letter]) -> (Vec<u64>, Vec<String>) {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    // a batch is of one stream, which the first part of a subject says
    let mut groups: HashMap<&str, Vec<(u64, Part)>> = HashMap::new();
    for letter in letters {
        let mut headers = HeaderMap::new();
        if verdict == Verdict::Drop {
            if letter.headers.get(NOTIFY_HEADER).is_none() {
                done.push(letter.number);
                continue;
            }
            headers.insert(DROPPED_HEADER, "1");
        }
        let verdict = if verdict == Verdict::Drop { "drop" } else { "replay" };
        headers.insert(NATS_MESSAGE_ID, format!("dlq:{verdict}:{}", letter.number));
        let Some(subject) = letter.back_to() else {
            refused.push(format!("{}: nobody knows where it came from; drop it", letter.number));
            continue;
        };
        let part = Part { subject: subject.to_owned(), headers, body: letter.body.clone() };
        groups.entry(subject.split('.').next().unwrap_or_default()).or_default().push((letter.number, part));
    }
    for group in groups.into_values() {
        give_back(ctx, group, &mut done, &mut refused).await;
    }
    (done, refused)
}

/// Publishes letters of one stream, in their order.
async fn give_back(ctx: &Ctx, letters: Vec<(u64, Part)>, done: &mut Vec<u64>, refused: &mut Vec<String>) {
    if letters.len() >= BATCH_MIN {
        let parts = letters.iter().map(|(_, part)| part.clone()).collect();
        match batch::publish(&ctx.nats, &ctx.random.alphanumeric(24), parts).await {
            Ok(_) => {
                done.extend(letters.iter().map(|(number, _)| *number));
                return;
            }
            Err(error) => tracing::debug!(%error, "each letter goes alone"),
        }
    }
    let mut waiting = Vec::new();
    for (number, Part { subject, headers, body }) in letters {
        match ctx.jetstream.publish_with_headers(subject, headers, body).await {
            Ok(ack) => waiting.push((number, ack.into_future())),
            Err(error) => refused.push(format!("{number}: {error}")),
        }
    }
    for (number, ack) in waiting {
        match ack.await {
            Ok(_) => done.push(number),
            Err(error) => refused.push(format!("{number}: {error}")),
        }
    }
}

/// Waits until those who take letters back keep up: a stream that is bounded for each subject drops the oldest message
/// for a new one, which would be a letter that was given back a moment ago.
async fn wait_for_room(ctx: &Ctx, letters: &[&Letter]) -> Result<(), Failure> {
    let mut going: HashMap<&str, u64> = HashMap::new();
    for subject in letters.iter().filter_map(|letter| letter.back_to()) {
        *going.entry(subject).or_default() += 1;
    }
    for (subject, count) in going {
        let begun = Instant::now();
        while !has_room(ctx, subject, count).await? {
            if begun.elapsed() > ROOM_WITHIN {
                let detail =
                    format!("so much waits on {subject} that letters would push out others; see to its consumer first");
                return Err(Failure::new(ErrorCode::Unavailable, detail));
            }
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

async fn has_room(ctx: &Ctx, subject: &str, count: u64) -> Result<bool, Failure> {
    // where nobody takes it, publishing says so
    let Ok(name) = ctx.jetstream.stream_by_subject(subject).await else { return Ok(true) };
    let stream = ctx.jetstream.get_stream(&name).await.map_err(unavailable)?;
    let bound = u64::try_from(stream.cached_info().config.max_messages_per_subject).unwrap_or(0);
    if bound == 0 {
        return Ok(true);
    }
    let subjects = stream.info_with_subjects(subject).await.map_err(unavailable)?;
    let waiting: Vec<(String, usize)> = subjects.try_collect().await.map_err(unavailable)?;
    let waiting: u64 = waiting.iter().map(|(_, count)| *count as u64).sum();
    Ok(waiting + count <= bound / 2)
}

/// Takes letters out: as a whole where every letter that is there was settled, which is one request, or one by one.
async fn take_out(ctx: &Ctx, filter: &DeadLetterFilter, read: &[Letter], done: &[u64]) -> Result<(), Failure> {
    let ([first, ..], [.., last]) = (read, read) else { return Ok(()) };
    let stream = dead_letters(ctx).await?;
    let subject = subject_of(filter);
    let are_all = done.len() == read.len() && {
        let oldest = stream.get_first_raw_message_by_subject(&subject, 1).await;
        oldest.is_ok_and(|oldest| oldest.sequence == first.number)
    };
    if are_all {
        stream.purge().filter(subject).sequence(last.number + 1).await.map_err(unavailable)?;
        return Ok(());
    }
    delete(ctx, done).await
}

/// JetStream's answer to a delete.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default)]
    success: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    err_code: u64,
    description: String,
}

/// What JetStream says of a message that is gone already.
const NO_MESSAGE: u64 = 10_037;

async fn delete(ctx: &Ctx, numbers: &[u64]) -> Result<(), Failure> {
    let delete = |number: u64| async move {
        // without writing over its bytes on the disk, which the client library always asks for, and which takes four
        // times as long
        let order = json!({ "seq": number, "no_erase": true });
        let subject = format!("STREAM.MSG.DELETE.{DEAD_LETTERS_STREAM}");
        let deleted: Deleted = ctx.jetstream.request(subject, &order).await.map_err(unavailable)?;
        match deleted.error {
            Some(refusal) if refusal.err_code != NO_MESSAGE => {
                Err(unavailable(anyhow::anyhow!("the letter {number} was not deleted: {}", refusal.description)))
            }
            None if !deleted.success => Err(unavailable(anyhow::anyhow!("the letter {number} was not deleted"))),
            _ => Ok(()),
        }
    };
    let deletes = stream::iter(numbers.iter().copied()).map(delete).buffer_unordered(DELETES_AT_ONCE);
    deletes.try_for_each(|()| std::future::ready(Ok(()))).await
}
