//! NATS: connecting, and knowing whether the server answers.

mod cluster;
#[cfg(test)]
mod cluster_tests;
mod epoch;
mod streams;

use std::time::Duration;

use anyhow::Context as _;
use async_nats::ServerAddr;
use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt;
use nepto_proto::subject::PROBE_SUBJECT;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::cluster::Servers;
pub use self::epoch::{restored_config, stream_epoch, stream_epoch_ms};
pub use self::streams::{
    Bounds, ChannelBounds, Wanted, copied_streams, declared_consumers, declared_streams, find_stream, of_chain,
    provision, rebuilt_streams,
};
use crate::config::Nats;
use crate::health::Health;

/// So often a server is asked whether it is still there. When the third question comes and none was answered, it is left for another
/// one: a host that is off closes no connection.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(3);

/// The largest time that a request to JetStream may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is lost is waited for so long: longer than it takes to another server of the cluster.
const RECONNECTS_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

/// Nothing was published, because there is no connection to publish it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no connection to NATS")]
pub struct NotConnected;

/// Whether there is a connection: to be asked right before something is published that must not arrive long after whoever published
/// it was told that it failed.
///
/// The client library keeps what is published without a connection, also after whoever published it has given up, and sends it with
/// the next one. What it was given in the moment in which a connection dies, or while the server hangs, may still arrive late.
pub fn is_connected(client: &async_nats::Client) -> bool {
    client.connection_state() == State::Connected
}

/// Waits for a connection, if it was lost: for a second.
pub async fn connected(client: &async_nats::Client) -> Result<(), NotConnected> {
    let reconnected = async {
        while !is_connected(client) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(RECONNECTS_WITHIN, reconnected).await.map_err(|_| NotConnected)
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
/// A context whose requests are bounded in time.
pub fn jetstream(client: &async_nats::Client) -> Context {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(REQUEST_TIMEOUT);
    context
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ground;

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
}
