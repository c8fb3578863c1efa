//! Drives the queue: per conversation one item at a time and in order, several conversations at once, until the server
//! has it or refuses it for good.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nepto_proto::AccountId;
use nepto_proto::wire::{Mismatch, client_frame, server_frame};
use nepto_sdk_core::{Outgoing, Prepared};
use tokio::sync::mpsc;

use super::{Inner, refused};
use crate::session::Link;
use crate::{Event, SdkError};

/// Conversations sent to at once.
const PARALLEL_MAX: usize = 16;
/// Device lists that may change under one message.
const MISMATCHES_MAX: u32 = 5;
/// Fetches of bundles for one message: of the peer and of one's own devices, for each device list.
const FETCHES_MAX: u32 = 2 * (1 + MISMATCHES_MAX);
/// From a frame to its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Before the second try of a message; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Before any further try.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// The longest wait that a server may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3600);

/// Sends what is queued while there is a connection.
pub(super) async fn run(inner: Arc<Inner>, mut link: Link, events: mpsc::Sender<Event>) {
    let mut running = FuturesUnordered::new();
    let mut busy: HashSet<AccountId> = HashSet::new();
    loop {
        if link.is_online() {
            let heads = inner.core().queue_heads(&|to| busy.contains(&to), PARALLEL_MAX - running.len());
            match heads {
                Ok(heads) => {
                    for item in heads {
                        busy.insert(item.to);
                        running.push(send(&inner, link.clone(), item, &events));
                    }
                }
                Err(error) => {
                    let _ = events.send(Event::StoreFailed(error.to_string())).await;
                    return;
                }
            }
        }
        tokio::select! {
            () = inner.queued.notified() => {}
            changed = link.changed() => if !changed { return },
            Some(done) = running.next(), if !running.is_empty() => {
                busy.remove(&done);
                inner.sent.send_modify(|count| *count += 1);
            }
        }
    }
}

/// Sends one item until it is stored, refused, or the connection is gone.
async fn send(inner: &Inner, mut link: Link, item: Outgoing, events: &mpsc::Sender<Event>) -> AccountId {
    let to = item.to;
    for tries in 0u32.. {
        let error = match attempt(inner, &link, &item, events).await {
            Ok(()) => return to,
            Err(error) => error,
        };
        if !link.is_online() && error.is_temporary() {
            // it stays in the queue for the next connection
            return to;
        }
        let failure = match error.lasting() {
            None => {
                let asked = match &error {
                    SdkError::Server { retry_after: Some(asked), .. } => (*asked).min(ASKED_MAX),
                    _ => Duration::ZERO,
                };
                let backoff = RETRY_FIRST.saturating_mul(2u32.saturating_pow(tries.min(10))).min(RETRY_MAX);
                tracing::info!(%to, %error, "a message will be tried again");
                let pause = tokio::time::sleep(asked + backoff / 2 + inner.env.jitter(backoff / 2));
                // a connection that was lost and made again is a reason to try at once
                tokio::select! {
                    () = pause => {}
                    changed = link.changed() => if !changed { return to },
                }
                continue;
            }
            Some(failure) => failure,
        };
        tracing::warn!(%to, %error, "a message was given up");
        let reported = inner.core().failed(&item, failure);
        report(reported, events).await;
        return to;
    }
    to
}

async fn attempt(inner: &Inner, link: &Link, item: &Outgoing, events: &mpsc::Sender<Event>) -> Result<(), SdkError> {
    let (mut mismatches, mut fetches) = (0, 0);
    loop {
        let prepared = inner.core().prepare(item)?;
        let frame = match prepared {
            Prepared::Frame(frame) => frame,
            Prepared::Local => {
                let reported = inner.core().sent(item, false)?;
                report(Ok(reported), events).await;
                return Ok(());
            }
            Prepared::NeedDirectory(account) => {
                let reported = inner.fetch_directory(account, None).await?;
                report(Ok(reported), events).await;
                continue;
            }
            Prepared::NeedBundles(account, devices) => {
                fetches += 1;
                if fetches > FETCHES_MAX {
                    return Err(SdkError::MismatchLoop(account));
                }
                let bundles = inner.http.bundles(account, &devices).await?;
                if bundles.account != account {
                    return Err(SdkError::BadKeys { account, reason: "the server answered for another account" });
                }
                if bundles.bundles.is_empty() {
                    // devices that were removed since the list was fetched
                    let reported = inner.fetch_directory(account, None).await?;
                    report(Ok(reported), events).await;
                    continue;
                }
                inner.core().apply_bundles(&bundles)?;
                continue;
            }
        };
        let sync_later = frame.sync_later;
        match link.request(client_frame::Kind::SendDm(frame.send), ANSWER_TIMEOUT).await? {
            server_frame::Kind::Stored(_) => {
                let reported = inner.core().sent(item, sync_later)?;
                if sync_later {
                    inner.queued.notify_one();
                }
                report(Ok(reported), events).await;
                return Ok(());
            }
            server_frame::Kind::Mismatch(mismatch) => {
                mismatches += 1;
                refresh(inner, &mismatch, mismatches, events).await?;
            }
            server_frame::Kind::Error(error) => return Err(refused(error)),
            _ => return Err(SdkError::Internal("the gateway answered with another kind of frame")),
        }
    }
}

async fn refresh(
    inner: &Inner,
    mismatch: &Mismatch,
    mismatches: u32,
    events: &mpsc::Sender<Event>,
) -> Result<(), SdkError> {
    let account = inner.core().apply_mismatch(mismatch)?;
    let reported = inner.fetch_directory(account, None).await?;
    report(Ok(reported), events).await;
    if mismatches >= MISMATCHES_MAX { Err(SdkError::MismatchLoop(account)) } else { Ok(()) }
}

async fn report(reported: Result<Vec<Event>, SdkError>, events: &mpsc::Sender<Event>) {
    let reported = reported.unwrap_or_else(|error| vec![Event::StoreFailed(error.to_string())]);
    for event in reported {
        let _ = events.send(event).await;
    }
}
