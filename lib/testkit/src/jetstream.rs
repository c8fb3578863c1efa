//! What lies in the streams, so that a test can end with "nothing is left".

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::TryStreamExt;
use nepto_proto::subject::Shards;
use nepto_proto::{AccountId, DeviceId};

use crate::Nats;

/// What a durable consumer has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Messages it has not seen.
    pub undelivered: u64,
    /// Messages it has seen and not acknowledged.
    pub unacknowledged: u64,
}

impl Pending {
    /// Nothing of either kind.
    pub const fn is_empty(self) -> bool {
        self.undelivered == 0 && self.unacknowledged == 0
    }
}

impl Nats {
    /// Messages in a stream.
    pub async fn messages(&self, stream: &str) -> Result<u64> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        Ok(stream.cached_info().state.messages)
    }

    /// Messages of one subject, or of all that a pattern matches.
    pub async fn messages_of(&self, stream: &str, subject: &str) -> Result<u64> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        let counts: Vec<(String, usize)> = stream.info_with_subjects(subject).await?.try_collect().await?;
        Ok(counts.into_iter().map(|(_, count)| count as u64).sum())
    }

    /// Messages that wait for one device.
    pub async fn mailbox(&self, shards: Shards, account: AccountId, device: DeviceId) -> Result<u64> {
        let shard = shards.of(account);
        self.messages_of(&shard.stream(), &shard.mailbox(account, device)).await
    }

    /// Messages that wait for anybody.
    pub async fn mailboxes(&self, shards: Shards) -> Result<u64> {
        let jetstream = self.jetstream().await?;
        let mut sum = 0;
        for shard in shards.all() {
            sum += jetstream.get_stream(shard.stream()).await?.cached_info().state.messages;
        }
        Ok(sum)
    }

    /// What a durable pull consumer has before it.
    pub async fn pending(&self, stream: &str, consumer: &str) -> Result<Pending> {
        let stream = self.jetstream().await?.get_stream(stream).await?;
        let consumer: PullConsumer =
            stream.get_consumer(consumer).await.map_err(|error| anyhow::anyhow!(error)).context("no such consumer")?;
        let info = consumer.cached_info();
        Ok(Pending { undelivered: info.num_pending, unacknowledged: info.num_ack_pending as u64 })
    }
}
