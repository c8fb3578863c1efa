//! Giving letters back and dropping them: many at once, in their order.
//!
//! A letter is taken out only after its consumer's stream has it. Who dies in between leaves the letter, and given back once more it is
//! known by its number for as long as the stream's window for duplicates; past that, a consumer takes each event more than once anyway.

use std::collections::HashSet;
use std::future::IntoFuture;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{DeadLetterFilter, SettledDeadLetters};

use super::read::{Letter, Reader, subject_of};
use super::{DROPPED_HEADER, TELL_HEADER, stream as dead_letters, unavailable};
use crate::{Ctx, Failure};

/// Letters that are deleted at once, where they are not deleted as a whole.
const DELETES_AT_ONCE: usize = 64;

/// What is to be done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Replay,
    Drop,
}

/// Settles the next letters behind `after`, up to `up_to`, that a filter means. A bounded number; the answer says where to go on.
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
    let (done, refused) = hand_over(ctx, verdict, &chosen).await;
    take_out(ctx, filter, &letters, &done).await?;
    Ok(SettledDeadLetters { settled: done.len() as u64, looked_at, next, refused })
}

/// Settles one letter.
pub async fn settle_one(ctx: &Ctx, verdict: Verdict, letter: &Letter) -> Result<(), Failure> {
    let (done, refused) = hand_over(ctx, verdict, &[letter]).await;
    match refused.into_iter().next() {
        Some(reason) => Err(Failure::new(ErrorCode::Unavailable, reason)),
        None => delete(&dead_letters(ctx).await?, &done).await,
    }
}

/// Gives letters back to their consumers, or tells those who want to know that they are dropped. The numbers of those that may be
/// taken out now, and why the others may not.
async fn hand_over(ctx: &Ctx, verdict: Verdict, letters: &[&Letter]) -> (Vec<u64>, Vec<String>) {
    let (mut done, mut refused, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for letter in letters {
        let mut headers = HeaderMap::new();
        if verdict == Verdict::Drop {
            if letter.headers.get(TELL_HEADER).is_none() {
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
        match ctx.jetstream.publish_with_headers(subject.to_owned(), headers, letter.body.clone()).await {
            Ok(ack) => waiting.push((letter.number, ack.into_future())),
            Err(error) => refused.push(format!("{}: {error}", letter.number)),
        }
    }
    for (number, ack) in waiting {
        match ack.await {
            Ok(_) => done.push(number),
            Err(error) => refused.push(format!("{number}: {error}")),
        }
    }
    (done, refused)
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
    delete(&stream, done).await
}

async fn delete(stream: &Stream, numbers: &[u64]) -> Result<(), Failure> {
    let numbers: HashSet<u64> = numbers.iter().copied().collect();
    let deletes = stream::iter(numbers).map(|number| stream.delete_message(number)).buffer_unordered(DELETES_AT_ONCE);
    deletes.try_for_each(|_| std::future::ready(Ok(()))).await.map_err(unavailable)
}
