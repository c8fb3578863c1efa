//! What a device missed because its mailbox was full: a mark with the time of the first such message, in the same stream as
//! the mailbox, so that it is as durable and expires with it.
//!
//! What must hold: a copy that was not stored for want of room stands behind a mark that is not younger than it, until the
//! device was told and has acknowledged something since. There is one mark for a device at most.

use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::StreamExt;
use nepto_kit::Ctx;
use nepto_kit::batch::{self, Part};
use nepto_proto::subject::{Shard, parse_missed};
use nepto_proto::{AccountId, DeviceId};
use tokio::time::timeout;

use super::publish::Refused;
use super::purge_subject;

/// Headers of JetStream.
mod header {
    /// Stores only if this is the last sequence of the subject; 0: only if there is none.
    pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
}

/// The marks of an account are read in this time, or the connection that asks is refused.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A device that misses messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The device, of the account that was asked about.
    pub device: DeviceId,
    /// When the first message was missed, milliseconds since 1970.
    pub since_ms: u64,
}

/// Marks a device, unless it is marked already. Whether it was not.
pub async fn mark(
    nats: &async_nats::Client,
    shard: Shard,
    account: AccountId,
    missed: Missed,
) -> Result<bool, Refused> {
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    let subject = shard.missed(account, missed.device);
    let mark = Part { subject, headers, body: missed.since_ms.to_string().into() };
    match batch::publish_one(nats, mark).await.map_err(Refused::from) {
        Ok(_) => Ok(true),
        Err(Refused::Exists) => Ok(false),
        Err(refused) => Err(refused),
    }
}

/// Which devices of an account are marked. Costs one request if none is.
pub async fn of(nats: &async_nats::Client, shard: Shard, account: AccountId) -> anyhow::Result<Vec<Missed>> {
    let subject = format!("$JS.API.DIRECT.GET.{}", shard.stream());
    let request = serde_json::json!({ "multi_last": [shard.missed_of(account)] }).to_string();
    let first = nats.request(subject.clone(), request.clone().into()).await?;
    if first.status.is_some_and(|status| status.as_u16() == 404) {
        return Ok(Vec::new());
    }
    let inbox = nats.new_inbox();
    let mut replies = nats.subscribe(inbox.clone()).await?;
    nats.publish_with_reply(subject, inbox, request.into()).await?;
    let read = async {
        let mut marks = Vec::new();
        while let Some(reply) = replies.next().await {
            match reply.status.map(|status| status.as_u16()) {
                None => marks.extend(parse(&reply)),
                Some(204 | 404) => return Ok(marks),
                Some(status) => {
                    anyhow::bail!("direct get answers {status}: {}", reply.description.unwrap_or_default())
                }
            }
        }
        anyhow::bail!("the connection to NATS was lost")
    };
    timeout(READ_TIMEOUT, read).await.map_err(|_| anyhow::anyhow!("direct get does not answer"))?
}

fn parse(mark: &async_nats::Message) -> Option<Missed> {
    let subject = mark.headers.as_ref()?.get("Nats-Subject")?;
    let (_, device) = parse_missed(subject.as_str())?;
    let since_ms = std::str::from_utf8(&mark.payload).ok()?.parse().ok()?;
    Some(Missed { device, since_ms })
}

/// The device was told.
pub async fn forget(ctx: &Ctx, account: AccountId, device: DeviceId) -> anyhow::Result<()> {
    let shard = ctx.config.nats.shards.of(account);
    purge_subject(&ctx.nats, shard, shard.missed(account, device), None).await
}
