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

/// Consumers of a stream that was copied while they were held go on.
pub async fn resume(jetstream: &jetstream::Context, stream: &str) -> anyhow::Result<()> {
    let stream = jetstream.get_stream(stream).await?;
    let consumers: Vec<Info> = stream.consumers().try_collect().await?;
    for consumer in consumers.into_iter().filter(|consumer| consumer.paused) {
        stream.resume_consumer(&consumer.name).await?;
    }
    Ok(())
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

/// Consumers that get nothing for a while. Call [`renew`](Held::renew) now and then, and [`release`](Held::release) in the end; if
/// nobody does, they go on after two minutes.
pub struct Held {
    stream: Stream,
    /// Those that this holds.
    names: Vec<String>,
    /// Those that somebody held before, and that stay so.
    paused: Vec<String>,
}

/// How far a consumer is: whatever it gets or acknowledges changes this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    delivered: u64,
    acknowledged: u64,
    pending: usize,
}

impl Held {
    /// Holds all durable consumers of a stream, and waits for what they have at the moment.
    pub async fn all(jetstream: &jetstream::Context, stream: &str, now: OffsetDateTime) -> anyhow::Result<Self> {
        let stream = jetstream.get_stream(stream).await?;
        let mut held = Self { stream, names: Vec::new(), paused: Vec::new() };
        let consumers: Vec<Info> = held.stream.consumers().try_collect().await?;
        for consumer in consumers.into_iter().filter(|consumer| consumer.config.durable_name.is_some()) {
            let names = if consumer.paused { &mut held.paused } else { &mut held.names };
            names.push(consumer.name);
        }
        match held.hold_and_wait(now).await {
            Ok(()) => Ok(held),
            Err(error) => {
                // they go on by themselves, and why it failed says more
                drop(held.release().await);
                Err(error)
            }
        }
    }

    async fn hold_and_wait(&self, now: OffsetDateTime) -> anyhow::Result<()> {
        self.renew(now).await?;
        let waiting = async {
            while self.places().await?.values().any(|place| place.pending > 0) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        // what is tried again and again waits until they go on
        tokio::time::timeout(FINISH_WITHIN, waiting).await.unwrap_or(Ok(()))
    }

    /// Holds them for two more minutes.
    pub async fn renew(&self, now: OffsetDateTime) -> anyhow::Result<()> {
        for name in &self.names {
            let answer = self.stream.pause_consumer(name, now + HELD_FOR).await?;
            // the end of a pause is a time of day, which NATS compares with its own
            let left = answer.pause_remaining.unwrap_or_default();
            ensure!(
                answer.paused && (HELD_FOR / 2..HELD_FOR * 2).contains(&left),
                "the consumer {name} is held for {} seconds instead of {}: the clocks of this machine and of NATS differ",
                left.as_secs(),
                HELD_FOR.as_secs()
            );
        }
        Ok(())
    }

    /// How far each is. As long as this is the same, nothing was acknowledged.
    pub async fn places(&self) -> anyhow::Result<BTreeMap<String, Place>> {
        let mut places = BTreeMap::new();
        for name in self.names.iter().chain(&self.paused) {
            let consumer = self.stream.get_consumer::<consumer::pull::Config>(name).await;
            let consumer = consumer.map_err(|error| anyhow::anyhow!("the consumer {name} is not there: {error}"))?;
            let info = consumer.cached_info();
            let place = Place {
                delivered: info.delivered.consumer_sequence,
                acknowledged: info.ack_floor.stream_sequence,
                pending: info.num_ack_pending,
            };
            places.insert(name.clone(), place);
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
    use crate::nats::{restored_config, stream_epoch};
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
        // a clock that is wrong holds nobody, or holds them for too long
        for wrong in [-300, 300] {
            let now = ground.ctx.clock.now() + time::Duration::seconds(wrong);
            let refused = held.renew(now).await.unwrap_err().to_string();
            assert!(refused.contains("clocks"), "{refused}");
        }
        held.release().await.unwrap();
        fetched(1).await[0].double_ack().await.unwrap();
        assert_eq!(copy.0.messages(), 2);

        restored(&ground, EVENTS_STREAM, &copy).await.unwrap();
        resume(js, EVENTS_STREAM).await.unwrap();
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
            let mut copy = copy.clone();
            // of a cluster, which there is none of here
            copy.0.config["num_replicas"] = 3.into();
            copy.0.config["placement"] = json!({ "cluster": "another" });
            restored_config(&mut copy.0.config, &ground.ctx.config.nats, &ground.ctx.clock);
            restored(&ground, DEAD_LETTERS_STREAM, &copy).await.unwrap();
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
