//! Reading a stream's store directly (NATS ADR-31), without a consumer.

use std::time::Duration;

use async_nats::{Client, Message};
use futures_util::StreamExt;
use tokio::time::timeout;

/// The sequence of a message that was read.
pub const SEQUENCE: &str = "Nats-Sequence";
/// When it was stored (RFC 3339).
pub const TIME: &str = "Nats-Time-Stamp";
/// Its subject.
pub const SUBJECT: &str = "Nats-Subject";
/// Of what is republished: the sequence of the message before it of the same subject, 0 for none.
pub const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
const PENDING: &str = "Nats-Num-Pending";

/// A read is complete in this time, or is tried again.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages of a subject, oldest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Up to as many as were asked for.
    pub messages: Vec<Message>,
    /// Whether more is stored behind them.
    pub more: bool,
}

/// Up to `limit` messages of a subject, or of all that a pattern matches, after a sequence, in about so many bytes at most.
pub async fn after(
    nats: &Client,
    stream: &str,
    subject: &str,
    after: u64,
    limit: usize,
    bytes_max: usize,
) -> anyhow::Result<Page> {
    let request = serde_json::json!({
        "seq": after.saturating_add(1),
        "next_by_subj": subject,
        "batch": limit,
        "max_bytes": bytes_max,
    });
    let inbox = nats.new_inbox();
    let mut replies = nats.subscribe(inbox.clone()).await?;
    nats.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, request.to_string().into()).await?;
    let read = async {
        let mut page = Page::default();
        while let Some(reply) = replies.next().await {
            match reply.status.map(|status| status.as_u16()) {
                None => page.messages.push(reply),
                // end of batch, with what is left behind it
                Some(204) => {
                    let pending = reply.headers.as_ref().and_then(|headers| headers.get(PENDING));
                    page.more = pending.is_some_and(|pending| pending.as_str() != "0");
                    return Ok(page);
                }
                Some(404) => return Ok(page),
                Some(status) => {
                    anyhow::bail!("direct get answers {status}: {}", reply.description.unwrap_or_default())
                }
            }
        }
        anyhow::bail!("the connection to NATS was lost")
    };
    timeout(READ_TIMEOUT, read).await.map_err(|_| anyhow::anyhow!("direct get does not answer"))?
}

/// The newest message of a subject, if there is one.
pub async fn newest(nats: &Client, stream: &str, subject: &str) -> anyhow::Result<Option<Message>> {
    let asked = nats.request(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Default::default());
    let reply = timeout(READ_TIMEOUT, asked).await.map_err(|_| anyhow::anyhow!("direct get does not answer"))??;
    match reply.status.map(|status| status.as_u16()) {
        None => Ok(Some(reply)),
        Some(404) => Ok(None),
        Some(status) => anyhow::bail!("direct get answers {status}: {}", reply.description.unwrap_or_default()),
    }
}
