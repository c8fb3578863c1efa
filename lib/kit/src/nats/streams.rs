//! The streams and consumers of `nats/streams.toml`: what they are called, and making them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config as StreamConfig, ConsumerErrorKind, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context, ErrorCode};
use nepto_proto::subject::{DEAD_LETTERS_STREAM, REPUBLISH_CHANNEL, REPUBLISH_DM, Shard};
use serde::Deserialize;

use super::epoch;
use crate::config::Nats;

/// The declaration that is compiled into the server.
const STREAMS: &str = include_str!("../../../../nats/streams.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    stream: Vec<Stream>,
}

/// One stream of the declaration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    name: String,
    #[serde(default)]
    sharded: bool,
    subjects: Vec<String>,
    retention: Retention,
    max_age_s: Option<u64>,
    duplicate_window_s: Option<u64>,
    #[serde(default)]
    atomic_batches: bool,
    #[serde(default)]
    direct_get: bool,
    /// Bounded in bytes by the configuration; refuses what is new when it is full.
    #[serde(default)]
    dead_letters: bool,
    /// Bounded in age and bytes by the configuration of channels, and republished to whoever follows them.
    #[serde(default)]
    channels: bool,
    /// No part of a backup: what is in it is made again.
    #[serde(default)]
    rebuilt: bool,
    /// Consumers that there were once.
    #[serde(default)]
    retired: Vec<String>,
    /// Past it the oldest messages of a subject make room.
    messages_per_subject_max: Option<i64>,
    #[serde(default)]
    consumer: Vec<Consumer>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Retention {
    Limits,
    Interest,
    WorkQueue,
}

/// One durable pull consumer of the declaration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Consumer {
    name: String,
    /// One for each watched chain: `<name>-<chain>`.
    #[serde(default)]
    per_chain: bool,
    #[serde(default)]
    filter: String,
    /// Several, instead of one.
    #[serde(default)]
    filters: Vec<String>,
    ack_wait_s: u64,
    ack_pending_max: i64,
}
/// A stream, if there is one. That nobody can say so is an error.
pub async fn find_stream(jetstream: &Context, name: &str) -> anyhow::Result<Option<jetstream::stream::Stream>> {
    match jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(anyhow::anyhow!("nobody says whether there is a stream {name}: {error}")),
        },
    }
}

/// The streams that belong to a backup.
pub fn copied_streams(config: &Nats) -> anyhow::Result<Vec<String>> {
    stream_names(config, |stream| !stream.rebuilt)
}

/// The streams that do not: what is in them is made again.
pub fn rebuilt_streams(config: &Nats) -> anyhow::Result<Vec<String>> {
    stream_names(config, |stream| stream.rebuilt)
}

/// The streams of the declaration, with one for each shard.
pub fn declared_streams(config: &Nats) -> anyhow::Result<Vec<String>> {
    stream_names(config, |_| true)
}

fn stream_names(config: &Nats, wanted: impl FnMut(&Stream) -> bool) -> anyhow::Result<Vec<String>> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    let names = declaration.stream.into_iter().filter(wanted).flat_map(|stream| match stream.sharded {
        true => config.shards.all().map(Shard::stream).collect(),
        false => vec![stream.name],
    });
    Ok(names.collect())
}

/// What domains say about the streams of the declaration.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of each sharded stream.
    pub sharded: Bounds,
    /// Of the stream of channels.
    pub channels: ChannelBounds,
    /// EIP-155: a `per_chain` consumer is made for each.
    pub chains: Vec<u64>,
}

/// What a stream may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A message that is older expires.
    pub max_age: Duration,
    /// A message with the id of another one within this time is not stored again.
    pub duplicate_window: Duration,
    /// Messages of one subject.
    pub messages_per_subject_max: i64,
    /// Bytes of each stream; -1 for no bound but the disk.
    pub bytes_max: i64,
}

/// What the stream of channels may hold. Past either the oldest make room.
#[derive(Debug, Clone, Copy)]
pub struct ChannelBounds {
    /// An event that is older expires.
    pub max_age: Duration,
    /// Bytes of the stream; -1 for no bound but the disk.
    pub bytes_max: i64,
}

/// Creates or updates every stream and consumer. Idempotent; deletes nothing but retired consumers. `restored` starts a new epoch.
pub async fn provision(jetstream: &Context, config: &Nats, wanted: &Wanted, restored: bool) -> anyhow::Result<()> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    for stream in &declaration.stream {
        let shards: Vec<Option<Shard>> =
            if stream.sharded { config.shards.all().map(Some).collect() } else { vec![None] };
        for shard in shards {
            let mut made = stream.config(config, shard, wanted);
            let name = made.name.clone();
            let known = find_stream(jetstream, &name).await?.map(|stream| stream.cached_info().clone());
            check_room(known.as_ref(), &made)?;
            epoch::carry_over(known.as_ref(), &mut made, restored);
            let found = jetstream
                .create_or_update_stream(made)
                .await
                .map_err(|error| anyhow::anyhow!("the stream {name} can't be provisioned: {error}"))?;
            let existing = jetstream.get_stream(&found.config.name).await?;
            for consumer in &stream.consumer {
                for made in consumer.configs(&wanted.chains) {
                    let called = made.durable_name.clone().unwrap_or_default();
                    existing.create_consumer(made).await.map_err(|error| {
                        anyhow::anyhow!("the consumer {name}/{called} can't be provisioned: {error}")
                    })?;
                }
            }
            for retired in &stream.retired {
                retire(&existing, retired).await?;
            }
        }
    }
    Ok(())
}

/// A stream that refuses what is new must not make room by dropping what is old: JetStream would, if it got a smaller bound.
fn check_room(known: Option<&Info>, wanted: &StreamConfig) -> anyhow::Result<()> {
    let Some(known) = known.filter(|_| wanted.name == DEAD_LETTERS_STREAM) else { return Ok(()) };
    let (bytes, bound) = (known.state.bytes, wanted.max_bytes);
    anyhow::ensure!(
        i64::try_from(bytes).is_ok_and(|bytes| bytes <= bound),
        "{bytes} bytes of dead letters wait, more than nats.dead_letters_bytes_max = {bound}: raise it, or replay or drop some \
         first (`nepto admin dead-letters`)"
    );
    Ok(())
}

/// Deletes a consumer that there was once: nobody works it off, and what it keeps would fill the stream.
async fn retire(stream: &jetstream::stream::Stream, consumer: &str) -> anyhow::Result<()> {
    match stream.delete_consumer(consumer).await {
        Ok(_) => tracing::info!(consumer, "a retired consumer was deleted"),
        Err(error) if is_absent(error.kind()) => {}
        Err(error) => anyhow::bail!("the retired consumer {consumer} can't be deleted: {error}"),
    }
    Ok(())
}

fn is_absent(error: ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

impl Stream {
    fn config(&self, config: &Nats, shard: Option<Shard>, wanted: &Wanted) -> StreamConfig {
        let subjects = match shard {
            Some(shard) => {
                self.subjects.iter().map(|subject| subject.replace("{shard}", &shard.index().to_string())).collect()
            }
            None => self.subjects.clone(),
        };
        let mut stream = StreamConfig {
            name: shard.map_or_else(|| self.name.clone(), Shard::stream),
            subjects,
            retention: match self.retention {
                Retention::Limits => RetentionPolicy::Limits,
                Retention::Interest => RetentionPolicy::Interest,
                Retention::WorkQueue => RetentionPolicy::WorkQueue,
            },
            storage: StorageType::File,
            num_replicas: config.replicas,
            max_age: Duration::from_secs(self.max_age_s.unwrap_or(0)),
            duplicate_window: Duration::from_secs(self.duplicate_window_s.unwrap_or(120)),
            allow_direct: self.direct_get,
            allow_atomic_publish: self.atomic_batches,
            max_messages_per_subject: self.messages_per_subject_max.unwrap_or(-1),
            max_messages: -1,
            max_bytes: -1,
            ..StreamConfig::default()
        };
        if self.dead_letters {
            stream.max_bytes = config.dead_letters_bytes_max;
            stream.discard = DiscardPolicy::New;
        }
        let republish = |(source, destination): (&str, &str)| {
            Some(Republish { source: source.to_owned(), destination: destination.to_owned(), headers_only: false })
        };
        if self.channels {
            stream.max_age = wanted.channels.max_age;
            stream.max_bytes = wanted.channels.bytes_max;
            stream.republish = republish(REPUBLISH_CHANNEL);
        }
        if self.sharded {
            let sharded = &wanted.sharded;
            stream.max_age = sharded.max_age;
            stream.duplicate_window = sharded.duplicate_window;
            stream.max_messages_per_subject = sharded.messages_per_subject_max;
            stream.max_bytes = sharded.bytes_max;
            // A full mailbox refuses what is new, so that the sender learns of it.
            stream.discard = DiscardPolicy::New;
            stream.discard_new_per_subject = true;
            stream.republish = republish(REPUBLISH_DM);
        }
        stream
    }
}

/// The durable name of a consumer that there is for each chain.
pub fn of_chain(consumer: &str, chain_id: u64) -> String {
    format!("{consumer}-{chain_id}")
}

impl Consumer {
    fn configs(&self, chains: &[u64]) -> Vec<pull::Config> {
        if !self.per_chain {
            return vec![self.config(self.name.clone(), self.filter.clone())];
        }
        let of_chain =
            |chain: &u64| self.config(of_chain(&self.name, *chain), self.filter.replace("{chain}", &chain.to_string()));
        chains.iter().map(of_chain).collect()
    }

    fn config(&self, name: String, filter: String) -> pull::Config {
        pull::Config {
            durable_name: Some(name),
            filter_subject: filter,
            filter_subjects: self.filters.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(self.ack_wait_s),
            max_ack_pending: self.ack_pending_max,
            ..pull::Config::default()
        }
    }
}

/// The durable consumers that `nats/streams.toml` declares, of all streams.
pub fn declared_consumers() -> anyhow::Result<Vec<String>> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    Ok(declaration.stream.into_iter().flat_map(|stream| stream.consumer).map(|consumer| consumer.name).collect())
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::consumer::PullConsumer;
    use nepto_proto::AccountId;
    use nepto_proto::event::{Event, WalletLinked};
    use nepto_proto::subject::{EVENTS_STREAM, Shards};
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Ground, WANTED};

    #[test]
    fn the_declaration_is_read_and_has_a_stream_for_each_shard() {
        let config = Nats { shards: Shards::new(3).unwrap(), ..Nats::default() };
        let bounds = Bounds {
            max_age: Duration::from_secs(9),
            duplicate_window: Duration::from_secs(3),
            messages_per_subject_max: 7,
            bytes_max: -1,
        };
        let channels = ChannelBounds { max_age: Duration::from_secs(5), bytes_max: 6 };
        let wanted = Wanted { sharded: bounds, channels, chains: Vec::new() };
        let declaration: Declaration = toml::from_str(STREAMS).unwrap();
        let of_channels = declaration.stream.iter().find(|stream| stream.channels).unwrap();
        let of_channels = of_channels.config(&config, None, &wanted);
        assert_eq!((of_channels.max_age.as_secs(), of_channels.max_bytes), (5, 6));
        assert!(of_channels.republish.is_some() && of_channels.discard == DiscardPolicy::Old);
        let mailboxes = declaration.stream.iter().find(|stream| stream.sharded).unwrap();
        let streams: Vec<_> =
            config.shards.all().map(|shard| mailboxes.config(&config, Some(shard), &wanted)).collect();
        assert_eq!(streams[2].name, "DM_2");
        assert_eq!(streams[2].subjects, ["dm.2.*.*", "missed.2.*.*"]);
        assert_eq!((streams[2].max_age.as_secs(), streams[2].max_messages_per_subject), (9, 7));
        assert!(streams[2].discard_new_per_subject && streams[2].allow_atomic_publish);
    }

    #[tokio::test]
    async fn what_a_retired_consumer_had_left_goes_to_the_one_that_took_its_place() {
        let ground = Ground::new().await;
        let js = &ground.ctx.jetstream;
        let events = js.get_stream(EVENTS_STREAM).await.unwrap();
        // as a version before left it
        events.delete_consumer("assets-wallets").await.unwrap();
        let before = pull::Config {
            durable_name: Some("assets-wallet-linked".to_owned()),
            filter_subject: WalletLinked::subject(),
            ..pull::Config::default()
        };
        events.create_consumer(before).await.unwrap();
        ground.publish(&WalletLinked { account: AccountId::new(Uuid::nil()), wallet: "0xA".into(), version: 0 }).await;
        provision(js, &ground.ctx.config.nats, &WANTED, false).await.unwrap();
        let now: PullConsumer = events.get_consumer("assets-wallets").await.unwrap();
        assert_eq!(now.cached_info().num_pending, 1);
        assert!(events.get_consumer::<pull::Config>("assets-wallet-linked").await.is_err());
        provision(js, &ground.ctx.config.nats, &WANTED, false).await.unwrap();
    }

    #[tokio::test]
    async fn dead_letters_are_not_dropped_for_a_smaller_bound() {
        let ground = Ground::new().await;
        let js = &ground.ctx.jetstream;
        for _ in 0..3 {
            js.publish("dlq.EVENTS.somebody", vec![7; 100_000].into()).await.unwrap().await.unwrap();
        }
        let smaller = Nats { dead_letters_bytes_max: 200_000, ..ground.ctx.config.nats.clone() };
        let error = provision(js, &smaller, &WANTED, false).await.unwrap_err().to_string();
        assert!(error.contains("dead_letters_bytes_max = 200000"), "{error}");
        let letters = js.get_stream(DEAD_LETTERS_STREAM).await.unwrap();
        assert_eq!(letters.cached_info().state.messages, 3);
    }
}
