//! NATS: connecting, and provisioning the streams and consumers of `nats/streams.toml`.

mod cluster;
#[cfg(test)]
mod cluster_tests;

use std::time::Duration;

use anyhow::Context as _;
use async_nats::ServerAddr;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config as StreamConfig, ConsumerErrorKind, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt;
use nepto_proto::subject::{DEAD_LETTERS_STREAM, PROBE_SUBJECT, REPUBLISH_DM, Shard};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::cluster::Servers;
use crate::clock::Clock;
use crate::config::Nats;
use crate::health::Health;

/// The declaration that is compiled into the server.
const STREAMS: &str = include_str!("../../../nats/streams.toml");

/// So often a server is asked whether it is still there. When the third question comes and none was answered, it is left for another
/// one: a host that is off closes no connection.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(3);

/// The largest time that a request to JetStream may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and keeps connected: after a loss the client library tries again for ever, at every server of the cluster, and
/// `/readyz` is red meanwhile.
///
/// The second value counts connections: it changes after every reconnect.
pub async fn connect(
    config: &Nats,
    node: &str,
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<(async_nats::Client, watch::Receiver<u64>)> {
    // several implementations of TLS are linked in, and rustls chooses none by itself
    drop(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default());
    let (connected, connects) = watch::channel(0);
    let mut options = async_nats::ConnectOptions::new()
        .name(node)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .subscription_capacity(1_024)
        .client_capacity(8_192)
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            if matches!(event, async_nats::Event::Connected) {
                connected.send_modify(|count| *count += 1);
            }
            async move {
                match event {
                    async_nats::Event::Connected => tracing::info!("nats connected"),
                    async_nats::Event::SlowConsumer(_) => {
                        metrics::counter!("nepto_nats_slow_consumer_total").increment(1)
                    }
                    event => tracing::warn!(%event, "nats"),
                }
            }
        });
    if let Some(file) = &config.credentials_file {
        options = options.credentials_file(file).await?;
    }
    let servers = Servers::new(config)?;
    if let Some((user, password)) = user(servers.configured()) {
        options = options.user_and_password(user, password);
    }
    if !servers.may_grow() {
        options = options.ignore_discovered_servers();
    }
    let shown = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
    let named = servers.configured().iter().map(shown).collect::<Vec<_>>().join(", ");
    let client = options
        .connect(servers.configured().to_vec())
        .await
        .map_err(|error| anyhow::anyhow!("NATS at {named} can't be reached: {error}"))?;
    cluster::check_durable(config).await?;
    if servers.may_grow() {
        tokio::spawn(cluster::follow(client.clone(), servers, stop));
    }
    let checked = jetstream(&client);
    health.register("nats", move || {
        let jetstream = checked.clone();
        async move { write_probe(&jetstream).await.map_err(|error| error.to_string()) }
    });
    Ok((client, connects))
}

/// A message that is stored and synced like any other, in a stream that keeps only the last. A connection may look well long
/// after the server has stopped answering, and a JetStream that is full or has no disk answers everything but this.
async fn write_probe(jetstream: &Context) -> Result<(), jetstream::context::PublishError> {
    jetstream.publish(PROBE_SUBJECT, Bytes::new()).await?.await.map(drop)
}

/// Waits until the server has read all that this client published before. A flush only says that the bytes have left, and
/// those that wait for a server that hangs, or has just gone, have too. So this writes to itself: the server reads a connection
/// in order, and whoever else listens makes no difference.
pub async fn round_trip(client: &async_nats::Client, within: Duration) -> anyhow::Result<()> {
    let there_and_back = async {
        let inbox = client.new_inbox();
        let mut heard = client.subscribe(inbox.clone()).await?;
        client.publish(inbox, Bytes::new()).await?;
        heard.next().await.context("the connection ended").map(drop)
    };
    tokio::time::timeout(within, there_and_back).await.context("it does not answer in time")?
}

/// The pause before a connection is tried again: 50 ms, doubled with each attempt that failed, at most 1.6 s.
pub(crate) fn reconnect_delay(attempts: usize) -> Duration {
    Duration::from_millis(50 << attempts.min(5))
}

/// Name and password of `nats://user:password@host`, which the client library leaves aside. The first that is written
/// is for all servers: they are one cluster.
pub(crate) fn user(servers: &[ServerAddr]) -> Option<(String, String)> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    servers.iter().find_map(|server| Some((plain(server.username()?), plain(server.password().unwrap_or_default()))))
}

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

/// How often a stream was restored from a backup; part of its epoch.
const RESTORED: &str = "nepto_restored";

/// The epoch of a stream's sequences: another one means that a sequence of before says nothing any more.
pub fn stream_epoch(info: &Info) -> u64 {
    (info.created.unix_timestamp_nanos() / 1_000) as u64 + restorations(&info.config)
}

fn restorations(config: &StreamConfig) -> u64 {
    config.metadata.get(RESTORED).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// How a stream of a backup is configured where it is restored: with as many copies as there are servers for here, and in a new
/// epoch, which it never had before, however often the same backup is restored.
pub fn restored_config(config: &mut serde_json::Value, here: &Nats, clock: &Clock) {
    let now_us = clock.now().unix_timestamp_nanos() / 1_000;
    config["num_replicas"] = here.replicas.into();
    config["metadata"][RESTORED] = now_us.to_string().into();
    if let Some(config) = config.as_object_mut() {
        config.remove("placement");
    }
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
    stream_names(config, false)
}

/// The streams that do not: what is in them is made again.
pub fn rebuilt_streams(config: &Nats) -> anyhow::Result<Vec<String>> {
    stream_names(config, true)
}

fn stream_names(config: &Nats, rebuilt: bool) -> anyhow::Result<Vec<String>> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    let streams = declaration.stream.into_iter().filter(|stream| stream.rebuilt == rebuilt);
    let names = streams.flat_map(|stream| match stream.sharded {
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

/// Creates or updates every stream and consumer. Idempotent; deletes nothing but retired consumers. `restored` starts a new epoch.
pub async fn provision(jetstream: &Context, config: &Nats, wanted: &Wanted, restored: bool) -> anyhow::Result<()> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    for stream in &declaration.stream {
        let shards: Vec<Option<Shard>> =
            if stream.sharded { config.shards.all().map(Some).collect() } else { vec![None] };
        for shard in shards {
            let mut made = stream.config(config, shard, &wanted.sharded);
            let name = made.name.clone();
            let known = find_stream(jetstream, &name).await?.map(|stream| stream.cached_info().clone());
            check_room(known.as_ref(), &made)?;
            let before = known.map_or(0, |known| restorations(&known.config));
            made.metadata.insert(RESTORED.to_owned(), (before + u64::from(restored)).to_string());
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
    fn config(&self, config: &Nats, shard: Option<Shard>, sharded: &Bounds) -> StreamConfig {
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
        if self.sharded {
            stream.max_age = sharded.max_age;
            stream.duplicate_window = sharded.duplicate_window;
            stream.max_messages_per_subject = sharded.messages_per_subject_max;
            stream.max_bytes = sharded.bytes_max;
            // A full mailbox refuses what is new, so that the sender learns of it.
            stream.discard = DiscardPolicy::New;
            stream.discard_new_per_subject = true;
            let (source, destination) = REPUBLISH_DM;
            stream.republish =
                Some(Republish { source: source.to_owned(), destination: destination.to_owned(), headers_only: false });
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

/// The streams that it declares, with one for each shard.
pub fn declared_streams(config: &Nats) -> anyhow::Result<Vec<String>> {
    let declaration: Declaration = toml::from_str(STREAMS)?;
    let streams = declaration.stream.into_iter().flat_map(|stream| match stream.sharded {
        true => config.shards.all().map(Shard::stream).collect(),
        false => vec![stream.name],
    });
    Ok(streams.collect())
}

/// A context whose requests are bounded in time.
pub fn jetstream(client: &async_nats::Client) -> Context {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(REQUEST_TIMEOUT);
    context
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
        let declaration: Declaration = toml::from_str(STREAMS).unwrap();
        let mailboxes = declaration.stream.iter().find(|stream| stream.sharded).unwrap();
        let streams: Vec<_> =
            config.shards.all().map(|shard| mailboxes.config(&config, Some(shard), &bounds)).collect();
        assert_eq!(streams[2].name, "DM_2");
        assert_eq!(streams[2].subjects, ["dm.2.*.*", "missed.2.*.*"]);
        assert_eq!((streams[2].max_age.as_secs(), streams[2].max_messages_per_subject), (9, 7));
        assert!(streams[2].discard_new_per_subject && streams[2].allow_atomic_publish);
    }

    #[tokio::test]
    async fn a_round_trip_needs_a_server_that_reads() {
        const WITHIN: Duration = Duration::from_millis(500);
        let ground = Ground::new().await;
        let client = &ground.ctx.nats;
        round_trip(client, WITHIN).await.unwrap();
        ground.nats.pause().unwrap();
        client.publish("somebody", Bytes::new()).await.unwrap();
        client.flush().await.unwrap();
        let error = round_trip(client, WITHIN).await.unwrap_err();
        assert_eq!(error.to_string(), "it does not answer in time");
        ground.nats.resume().unwrap();
        round_trip(client, Duration::from_secs(10)).await.unwrap();
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
