//! Copies of JetStream's streams, as NATS makes and takes them: `$JS.API.STREAM.SNAPSHOT` and `$JS.API.STREAM.RESTORE`.
//!
//! A stream goes on while it is copied: what is stored meanwhile may be in the copy or not, and nothing of what was there is
//! missing. What consumers acknowledge meanwhile is another matter, so those of a stream whose messages must be worked off once at
//! least are held while it is copied ([`Held`]).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, consumer};
use async_nats::{Client, Request};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// Bytes that NATS sends at once, and gets back at once.
const CHUNK_BYTES: usize = 128 << 10;
/// The next chunk must come in this time, or be taken.
const CHUNK_WITHIN: Duration = Duration::from_secs(60);
/// NATS reads all of a large stream again before it says that it has it.
const TAKEN_WITHIN: Duration = Duration::from_secs(1_800);
/// Whoever holds consumers and dies holds them for so long.
const HELD_FOR: Duration = Duration::from_secs(120);
/// Held consumers finish what they have; after that it is left to them.
const FINISH_WITHIN: Duration = Duration::from_secs(35);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What NATS wants to know of a stream that it takes back: its configuration and its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// As it was configured.
    pub config: Value,
    /// How much it held, and up to which sequence.
    pub state: Value,
}

impl Description {
    /// Messages that it held.
    pub fn messages(&self) -> u64 {
        self.state["messages"].as_u64().unwrap_or(0)
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    description: String,
}

/// Of an answer of JetStream's, what it says unless it is an error.
fn accepted(answer: &[u8]) -> anyhow::Result<()> {
    let refusal: Refusal = serde_json::from_slice(answer).context("JetStream gave an answer that is no JSON")?;
    match refusal.error {
        Some(reason) => bail!("{}", reason.description),
        None => Ok(()),
    }
}

/// A copy that has begun: its chunks are still to come.
pub struct Copying {
    client: Client,
    chunks: async_nats::Subscriber,
    next: u64,
    /// What NATS wants to know when it takes it back.
    pub description: Description,
}

/// Begins to copy a stream, with its durable consumers and how far they are if these are asked for.
pub async fn begin(client: &Client, stream: &str, with_consumers: bool) -> anyhow::Result<Copying> {
    let inbox = client.new_inbox();
    let chunks = client.subscribe(inbox.clone()).await?;
    let request = json!({
        "deliver_subject": inbox,
        "no_consumers": !with_consumers,
        "chunk_size": CHUNK_BYTES,
    });
    let request = Request::new().payload(request.to_string().into()).timeout(Some(CHUNK_WITHIN));
    let answer = client.send_request(format!("$JS.API.STREAM.SNAPSHOT.{stream}"), request).await?;
    accepted(&answer.payload)?;
    let description = serde_json::from_slice(&answer.payload)?;
    Ok(Copying { client: client.clone(), chunks, next: 1, description })
}

impl Copying {
    /// The next chunk; nothing behind the last. A chunk that got lost on the way is an error.
    pub async fn chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        let chunk = tokio::time::timeout(CHUNK_WITHIN, self.chunks.next()).await.context("the copy stands still")?;
        let chunk = chunk.context("the connection to NATS is gone")?;
        if chunk.payload.is_empty() {
            // 204 ends it; whatever else NATS says ends it too early
            return match chunk.status {
                Some(status) if u16::from(status) == 204 => Ok(None),
                status => {
                    let status = status.map_or_else(|| "without a word".to_owned(), |status| status.to_string());
                    bail!("NATS broke the copy off: {status} {}", chunk.description.unwrap_or_default())
                }
            };
        }
        // … .<bytes>.<number>; the last one, which is smaller, has none and is not to be acknowledged
        if let Some(reply) = chunk.reply {
            let number = reply.rsplit('.').next().and_then(|number| number.parse().ok());
            ensure!(number == Some(self.next), "chunk {} of the copy is missing, {reply} came", self.next);
            self.next += 1;
            self.client.publish(reply, Bytes::new()).await?;
        }
        Ok(Some(chunk.payload))
    }
}

/// Gives a copy back to NATS, which must not have a stream of this name. `next` returns its chunks in their order.
pub async fn restore(
    client: &Client,
    stream: &str,
    description: &Description,
    mut next: impl FnMut() -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Door {
        deliver_subject: String,
    }
    let request = Request::new().payload(serde_json::to_vec(description)?.into()).timeout(Some(CHUNK_WITHIN));
    let answer = client.send_request(format!("$JS.API.STREAM.RESTORE.{stream}"), request).await?;
    accepted(&answer.payload)?;
    let Door { deliver_subject } = serde_json::from_slice(&answer.payload)?;
    while let Some(chunk) = next()? {
        let request = Request::new().payload(chunk.into()).timeout(Some(CHUNK_WITHIN));
        let answer = client.send_request(deliver_subject.clone(), request).await?;
        if !answer.payload.is_empty() {
            accepted(&answer.payload)?;
        }
    }
    let end = Request::new().payload(Bytes::new()).timeout(Some(TAKEN_WITHIN));
    let answer = client.send_request(deliver_subject, end).await?;
    // the last answer is about the stream, which there is from now on
    serde_json::from_slice::<IgnoredAny>(&answer.payload).context("NATS did not say that it took the stream")?;
    accepted(&answer.payload)
}

/// Consumers that get nothing for a while. Call [`release`](Held::release); if nobody does, they go on after two minutes.
pub struct Held {
    stream: Stream,
    names: Vec<String>,
}

/// How far a consumer is: whatever it acknowledges changes this.
type Place = (u64, usize);

impl Held {
    /// Holds all durable consumers of a stream, and waits for what they have at the moment.
    pub async fn all(jetstream: &jetstream::Context, stream: &str, now: OffsetDateTime) -> anyhow::Result<Self> {
        let stream = jetstream.get_stream(stream).await?;
        let mut held = Self { stream, names: Vec::new() };
        let consumers: Vec<Info> = held.stream.consumers().try_collect().await?;
        for consumer in consumers {
            if consumer.config.durable_name.is_some() {
                held.names.push(consumer.name);
            }
        }
        match held.hold_and_wait(now + HELD_FOR).await {
            Ok(()) => Ok(held),
            Err(error) => {
                held.release().await?;
                Err(error)
            }
        }
    }

    async fn hold_and_wait(&self, until: OffsetDateTime) -> anyhow::Result<()> {
        for name in &self.names {
            self.stream.pause_consumer(name, until).await?;
        }
        let waiting = async {
            while self.places().await?.values().any(|(_, pending)| *pending > 0) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        // what is tried again and again waits until they go on
        tokio::time::timeout(FINISH_WITHIN, waiting).await.unwrap_or(Ok(()))
    }

    /// How far each is. As long as this is the same, nothing was acknowledged.
    pub async fn places(&self) -> anyhow::Result<BTreeMap<String, Place>> {
        let mut places = BTreeMap::new();
        for name in &self.names {
            let consumer = self.stream.get_consumer::<consumer::pull::Config>(name).await;
            let consumer = consumer.map_err(|error| anyhow::anyhow!("the consumer {name} is not there: {error}"))?;
            let info = consumer.cached_info();
            places.insert(name.clone(), (info.ack_floor.stream_sequence, info.num_ack_pending));
        }
        Ok(places)
    }

    /// They go on.
    pub async fn release(self) -> anyhow::Result<()> {
        let mut released = Ok(());
        for name in &self.names {
            released = released.and(self.stream.resume_consumer(name).await.map(drop));
        }
        released.context("consumers were held for the backup and go on by themselves in two minutes")
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::consumer::PullConsumer;
    use nepto_proto::AccountId;
    use nepto_proto::event::WalletLinked;
    use nepto_proto::subject::{DEAD_LETTERS_STREAM, EVENTS_STREAM};
    use uuid::Uuid;

    use super::*;
    use crate::nats::{begin_epoch, stream_epoch};
    use crate::testing::Ground;

    async fn copied(ground: &Ground, stream: &str) -> (Description, Vec<Vec<u8>>) {
        let mut copy = begin(&ground.ctx.nats, stream, true).await.unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = copy.chunk().await.unwrap() {
            chunks.push(chunk.to_vec());
        }
        (copy.description, chunks)
    }

    async fn restored(ground: &Ground, stream: &str, copy: &(Description, Vec<Vec<u8>>)) -> anyhow::Result<()> {
        ground.ctx.jetstream.delete_stream(stream).await?;
        let mut chunks = copy.1.clone().into_iter();
        restore(&ground.ctx.nats, stream, &copy.0, || Ok(chunks.next())).await
    }

    #[tokio::test]
    async fn what_consumers_had_left_is_there_again_and_nothing_is_acknowledged_while_they_are_held() {
        let ground = Ground::new().await;
        let js = &ground.ctx.jetstream;
        for wallet in ["0xA", "0xB", "0xC"] {
            let account = AccountId::new(Uuid::nil());
            ground.publish(&WalletLinked { account, wallet: wallet.to_owned(), version: 0 }).await;
        }
        let consumer = async || -> PullConsumer {
            js.get_stream(EVENTS_STREAM).await.unwrap().get_consumer("assets-wallets").await.unwrap()
        };
        let fetched = async |count| {
            let consumer = consumer().await;
            let messages = consumer.fetch().max_messages(count).expires(Duration::from_millis(500)).messages().await;
            messages.unwrap().try_collect::<Vec<_>>().await.unwrap()
        };
        fetched(1).await[0].double_ack().await.unwrap();
        let held = Held::all(js, EVENTS_STREAM, ground.ctx.clock.now()).await.unwrap();
        let before = held.places().await.unwrap();
        assert!(fetched(1).await.is_empty(), "a held consumer gets nothing");
        let copy = copied(&ground, EVENTS_STREAM).await;
        assert_eq!(held.places().await.unwrap(), before);
        held.release().await.unwrap();
        fetched(1).await[0].double_ack().await.unwrap();
        assert_eq!(copy.0.messages(), 2);

        restored(&ground, EVENTS_STREAM, &copy).await.unwrap();
        js.get_stream(EVENTS_STREAM).await.unwrap().resume_consumer("assets-wallets").await.unwrap();
        let left = fetched(9).await;
        let wallets: Vec<String> = left
            .iter()
            .map(|message| serde_json::from_slice::<WalletLinked>(&message.payload).unwrap().wallet)
            .collect();
        assert_eq!(wallets, ["0xB", "0xC"]);
    }

    #[tokio::test]
    async fn a_stream_of_many_chunks_comes_back_in_a_new_epoch_and_one_with_a_gap_does_not() {
        let ground = Ground::new().await;
        let js = &ground.ctx.jetstream;
        // what can't be compressed
        let random = &ground.ctx.random;
        let letters: Vec<Bytes> = (0..6).map(|_| Bytes::copy_from_slice(&random.bytes::<100_000>())).collect();
        for letter in &letters {
            js.publish("dlq.EVENTS.somebody", letter.clone()).await.unwrap().await.unwrap();
        }
        let copy = copied(&ground, DEAD_LETTERS_STREAM).await;
        assert!(copy.1.len() > 2, "{} chunks", copy.1.len());
        let exists = restore(&ground.ctx.nats, DEAD_LETTERS_STREAM, &copy.0, || Ok(None)).await.unwrap_err();
        assert!(exists.to_string().contains("already in use"), "{exists}");
        let mut epochs = Vec::new();
        for _ in 0..2 {
            let stream = js.get_stream(DEAD_LETTERS_STREAM).await.unwrap();
            epochs.push(stream_epoch(stream.cached_info()));
            restored(&ground, DEAD_LETTERS_STREAM, &copy).await.unwrap();
            begin_epoch(js, DEAD_LETTERS_STREAM, &ground.ctx.clock).await.unwrap();
        }
        let stream = js.get_stream(DEAD_LETTERS_STREAM).await.unwrap();
        epochs.push(stream_epoch(stream.cached_info()));
        assert!(epochs.is_sorted_by(|one, other| one < other), "{epochs:?}");
        assert_eq!(stream.get_raw_message(6).await.unwrap().payload, letters[5]);
        let mut gap = copy.clone();
        gap.1.remove(1);
        assert!(restored(&ground, DEAD_LETTERS_STREAM, &gap).await.is_err());
    }
}
