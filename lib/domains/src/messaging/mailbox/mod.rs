//! The mailboxes, as streams of JetStream: reading in batches, counting, purging, [storing](store) and [whether that
//! works](stores), and what was [missed] for want of room.

pub mod missed;
mod publish;
mod store;
mod stores;

use std::collections::HashMap;

use async_nats::HeaderValue;
use bytes::Bytes;
use nepto_kit::nats::{NotConnected, is_connected};
use nepto_kit::{Ctx, direct_get, subscriptions};
use nepto_proto::event::MailboxNotice;
use nepto_proto::subject::{Live, Shard, parse_mailbox};
use nepto_proto::wire::Envelope;
use nepto_proto::{AccountId, DeviceId};
use prost::Message as _;
use serde::Deserialize;

pub use missed::Missed;
pub use store::{DeviceCopy, Store, StoreError, Stored, Submission};

/// Headers of JetStream (NATS ADR-31, direct get), and our own.
mod header {
    pub use nepto_kit::direct_get::{LAST_SEQUENCE, SEQUENCE, TIME};

    /// When the sender's gateway began to ask whether the recipient consents: milliseconds since 1970 by its clock.
    pub const CONSENT_MS: &str = "Nepto-Consent-Ms";
}

/// Consent that was asked for so long before a message was stored may be out of date. Less than anybody waits for JetStream's answer,
/// by what the clocks may differ.
const CONSENT_MS_MAX: u64 = 3_000;
/// Bytes of one batched read: the window of a session must not blow up memory.
const READ_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    description: String,
}

/// A stored message, as a session delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEnvelope {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The sequence before it in the same mailbox, 0 for none; only with what was republished.
    pub previous_seq: u64,
    /// When it was stored.
    pub stored_at_ms: u64,
    /// It was stored so long after its recipient's consent was asked for that its sender may have been told that it is not.
    pub late: bool,
    /// It is [not to be delivered](super::late).
    pub withheld: bool,
    /// An encoded `Envelope`.
    pub envelope: Bytes,
}

impl StoredEnvelope {
    /// Reads the headers that JetStream puts on what it republishes.
    pub fn from_live(message: &subscriptions::Message) -> Option<Self> {
        Self::new(|name| message.header(name), message.payload.clone())
    }

    fn from_stored(message: async_nats::Message) -> Option<Self> {
        let headers = message.headers.as_ref()?;
        Self::new(|name| headers.get(name).map(HeaderValue::as_str), message.payload)
    }

    fn new<'a>(header: impl Fn(&str) -> Option<&'a str>, envelope: Bytes) -> Option<Self> {
        let number = |name: &str| header(name).and_then(|value| value.parse::<u64>().ok());
        let stored_at = header(header::TIME)?;
        let stored_at = time::OffsetDateTime::parse(stored_at, &time::format_description::well_known::Rfc3339).ok()?;
        let stored_at_ms = (stored_at.unix_timestamp_nanos() / 1_000_000) as u64;
        // an older version says nothing
        let consent_ms = number(header::CONSENT_MS).unwrap_or(stored_at_ms);
        Some(Self {
            seq: number(header::SEQUENCE)?,
            previous_seq: number(header::LAST_SEQUENCE).unwrap_or(0),
            stored_at_ms,
            late: stored_at_ms.saturating_sub(consent_ms) > CONSENT_MS_MAX,
            withheld: false,
            envelope,
        })
    }

    /// Who sent it, as far as it can be read.
    pub fn sender(&self) -> Option<AccountId> {
        AccountId::from_bytes(&Envelope::decode(self.envelope.clone()).ok()?.from).ok()
    }
}

/// Tells the connections of a device something about its mailbox. What they miss they learn with their next ping or hello.
pub async fn notify(
    nats: &async_nats::Client,
    account: AccountId,
    device: DeviceId,
    notice: &MailboxNotice,
) -> anyhow::Result<()> {
    let notice = serde_json::to_vec(notice)?;
    Ok(nats.publish(Live::Mailbox.subject(account, device), notice.into()).await?)
}

/// A part of a mailbox, oldest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Up to as many as were asked for.
    pub messages: Vec<StoredEnvelope>,
    /// Whether more is waiting behind them.
    pub more: bool,
}

/// Reads up to `limit` messages of a mailbox after a sequence, straight from the stream's store (batched direct get).
pub async fn read(
    nats: &async_nats::Client,
    shard: Shard,
    account: AccountId,
    device: DeviceId,
    after: u64,
    limit: usize,
) -> anyhow::Result<Page> {
    let found =
        direct_get::after(nats, &shard.stream(), &shard.mailbox(account, device), after, limit, READ_BYTES_MAX).await?;
    let read = |message| {
        StoredEnvelope::from_stored(message).ok_or_else(|| anyhow::anyhow!("a stored message lacks its headers"))
    };
    Ok(Page { messages: found.messages.into_iter().map(read).collect::<anyhow::Result<_>>()?, more: found.more })
}

/// How many messages each device's mailbox holds; those that hold none are left out. One question for all of an account.
pub async fn counts(
    nats: &async_nats::Client,
    shard: Shard,
    account: AccountId,
) -> anyhow::Result<HashMap<DeviceId, u64>> {
    #[derive(Deserialize)]
    struct Reply {
        error: Option<ApiError>,
        state: Option<State>,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: HashMap<String, u64>,
    }
    let request = serde_json::json!({ "subjects_filter": shard.mailboxes_of(account) });
    let subject = format!("$JS.API.STREAM.INFO.{}", shard.stream());
    let reply: Reply = serde_json::from_slice(&nats.request(subject, request.to_string().into()).await?.payload)?;
    if let Some(error) = reply.error {
        anyhow::bail!("stream info: {}", error.description);
    }
    let subjects = reply.state.map(|state| state.subjects).unwrap_or_default();
    Ok(subjects.into_iter().filter_map(|(subject, count)| Some((parse_mailbox(&subject)?.1, count))).collect())
}

/// Purges a mailbox up to and including a sequence, whatever its epoch: only [`EpochsNow::purge`](super::mailboxes::EpochsNow::purge)
/// asks for that.
pub async fn purge(ctx: &Ctx, account: AccountId, device: DeviceId, up_to: u64) -> anyhow::Result<()> {
    let shard = ctx.config.nats.shards.of(account);
    purge_subject(&ctx.nats, shard, shard.mailbox(account, device), Some(up_to)).await
}

/// Purges all that is kept for a device.
pub async fn purge_all(ctx: &Ctx, account: AccountId, device: DeviceId) -> anyhow::Result<()> {
    let shard = ctx.config.nats.shards.of(account);
    purge_subject(&ctx.nats, shard, shard.mailbox(account, device), None).await?;
    missed::forget(ctx, account, device).await
}

async fn purge_subject(
    nats: &async_nats::Client,
    shard: Shard,
    subject: String,
    up_to: Option<u64>,
) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Reply {
        error: Option<ApiError>,
    }
    let mut request = serde_json::json!({ "filter": subject });
    if let Some(up_to) = up_to {
        // up to, but not including, this one
        request["seq"] = up_to.saturating_add(1).into();
    }
    let subject = format!("$JS.API.STREAM.PURGE.{}", shard.stream());
    // it must not wait in the client for the next connection, behind which there may be another mailbox
    anyhow::ensure!(is_connected(nats), NotConnected);
    let reply = nats.request(subject, request.to_string().into()).await?;
    match serde_json::from_slice::<Reply>(&reply.payload)?.error {
        None => Ok(()),
        Some(error) => anyhow::bail!("purge: {}", error.description),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_late_that_was_stored_long_after_its_consent_was_asked_for() {
        let late = |consent_ms: Option<&str>| {
            let header = |name: &str| match name {
                header::SEQUENCE => Some("7"),
                header::TIME => Some("1970-01-01T00:01:40Z"),
                header::CONSENT_MS => consent_ms,
                _ => None,
            };
            StoredEnvelope::new(header, Bytes::new()).unwrap().late
        };
        assert!(!late(None));
        // the clock of a gateway may be ahead
        for in_time in ["97000", "100000", "200000"] {
            assert!(!late(Some(in_time)), "{in_time}");
        }
        assert!(late(Some("96999")));
    }
}
