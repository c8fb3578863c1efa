//! A cluster of which `nats.url` names one server: what holds while others come, go and are killed.

use std::time::Duration;

use async_nats::jetstream::stream;
use futures_util::StreamExt;
use nepto_testkit::{Nats as Server, NatsCluster, eventually, seconds};
use tokio::time::Instant;

use super::*;
use crate::subscriptions::{Listener, Subscriptions};

/// What a gateway has of NATS, connected to a cluster by the address of one server.
struct Connected {
    client: async_nats::Client,
    jetstream: Context,
    listener: Listener,
    stop: CancellationToken,
}

impl Connected {
    async fn to(server: &Server) -> Self {
        let (config, health) = (Nats { url: server.url(), ..Nats::default() }, Health::default());
        let stop = CancellationToken::new();
        let (client, _) = connect(&config, "test", &health, stop.clone()).await.unwrap();
        let (subscriptions, link) = Subscriptions::connect(&config, "test", &health, stop.clone()).await.unwrap();
        tokio::spawn(link.run());
        let (jetstream, listener) = (jetstream(&client), subscriptions.listener());
        listener.subscribe("live.>", 0).await.unwrap();
        Self { client, jetstream, listener, stop }
    }

    /// A question is answered, a message is stored on a majority of servers, and what is published is heard.
    async fn works(&mut self, number: u32) -> anyhow::Result<bool> {
        let answer = tokio::time::timeout(seconds(1), self.client.request("svc.echo", "?".into())).await??;
        anyhow::ensure!(answer.payload == "!", "{:?}", answer.payload);
        let stored = self.jetstream.publish("stored.test", number.to_string().into());
        tokio::time::timeout(seconds(2), async { stored.await?.await }).await??;
        self.client.publish("live.test", number.to_string().into()).await?;
        self.client.flush().await?;
        let heard = async {
            loop {
                let arrivals = self.listener.next().await;
                if arrivals.messages.iter().any(|message| message.payload == number.to_string()) {
                    return;
                }
            }
        };
        Ok(tokio::time::timeout(seconds(1), heard).await.is_ok())
    }

    /// How long until everything works again.
    async fn recovers(&mut self, number: u32) -> Duration {
        let began = Instant::now();
        eventually(seconds(30), async || self.works(number).await).await.unwrap();
        began.elapsed()
    }

    fn port(&self) -> u16 {
        self.client.server_info().port
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Answers questions, from a process of its own.
async fn echo(server: &Server) -> async_nats::Client {
    let health = Health::default();
    let config = Nats { url: server.url(), ..Nats::default() };
    let (client, _) = connect(&config, "echo", &health, CancellationToken::new()).await.unwrap();
    let (mut asked, answering) = (client.queue_subscribe("svc.echo", "echo".into()).await.unwrap(), client.clone());
    tokio::spawn(async move {
        while let Some(question) = asked.next().await {
            if let Some(reply) = question.reply {
                drop(answering.publish(reply, "!".into()).await);
            }
        }
    });
    client
}

#[tokio::test]
async fn a_cluster_is_used_whole_although_one_server_is_named() {
    let cluster = NatsCluster::start().await.unwrap();
    let mut connected = Connected::to(&cluster.servers[0]).await;
    let _echo = echo(&cluster.servers[1]).await;
    let stored = stream::Config {
        name: "STORED".into(),
        subjects: vec!["stored.>".into()],
        num_replicas: 3,
        ..stream::Config::default()
    };
    connected.jetstream.create_stream(stored).await.unwrap();
    connected.recovers(0).await;
    // the only one that was named
    let at = |port: u16| cluster.servers.iter().find(|server| server.address().port() == port).unwrap();
    let named = at(connected.port());
    named.kill9().unwrap();
    // a new leader is elected within ten seconds, and the connections are made again long before
    let pause = connected.recovers(1).await;
    assert!(pause < seconds(20), "{pause:?} after kill -9");
    assert_ne!(connected.port(), named.address().port());
    named.restart().await.unwrap();
    connected.recovers(2).await;
    // all copies are needed for what follows
    eventually(seconds(30), async || {
        let mut stream = connected.jetstream.get_stream("STORED").await?;
        let replicas =
            stream.info().await?.cluster.as_ref().map(|cluster| cluster.replicas.clone()).unwrap_or_default();
        Ok(replicas.len() == 2 && replicas.iter().all(|replica| replica.current && !replica.offline))
    })
    .await
    .unwrap();
    let leaving = at(connected.port());
    leaving.lame_duck().unwrap();
    let (began, mut longest, mut number) = (Instant::now(), Duration::ZERO, 10);
    while !leaving.has_ended().unwrap() {
        assert!(began.elapsed() < seconds(60), "it does not leave");
        longest = longest.max(connected.recovers(number).await);
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(longest < seconds(10), "{longest:?} while a server left");
    connected.recovers(number).await;
    assert_ne!(connected.port(), leaving.address().port());
}

#[tokio::test]
async fn a_server_that_joins_later_is_known_when_it_is_needed() {
    let cluster = NatsCluster::start().await.unwrap();
    let servers = Servers::new(&Nats { url: cluster.servers[0].url(), ..Nats::default() }).unwrap();
    let stop = CancellationToken::new();
    let client = async_nats::connect(cluster.servers[0].url()).await.unwrap();
    let joined = cluster.join().await.unwrap();
    let knows = async |port: u16| {
        let pool = client.server_pool().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        anyhow::Ok(pool.iter().any(|server| server.addr.port() == port))
    };
    assert!(!knows(joined.address().port()).await.unwrap(), "the library learns of it by itself now");
    tokio::spawn(cluster::follow(client.clone(), servers, stop.clone()));
    eventually(seconds(40), async || knows(joined.address().port()).await).await.unwrap();
    stop.cancel();
}

#[tokio::test]
async fn a_server_that_does_not_sync_is_refused() {
    let monitors = [nepto_testkit::Port::reserve().unwrap(), nepto_testkit::Port::reserve().unwrap()];
    let http = |port: &nepto_testkit::Port| format!("http: \"{}\"", port.address());
    let durable = Server::start_with(&http(&monitors[0])).await.unwrap();
    let lazy = format!("{}\njetstream {{ store_dir: $NEPTO_NATS_STORE, sync_interval: \"2m\" }}", http(&monitors[1]));
    let lazy = Server::start_with(&lazy).await.unwrap();
    let ask = async |server: &Server, monitors: &[&nepto_testkit::Port]| {
        let monitors = monitors.iter().map(|port| format!("http://{}/", port.address())).collect();
        let config = Nats { url: server.url(), monitors, ..Nats::default() };
        let connected = connect(&config, "test", &Health::default(), CancellationToken::new()).await;
        connected.map(drop).map_err(|error| format!("{error:#}"))
    };
    let [of_durable, of_lazy] = &monitors;
    ask(&durable, &[of_durable]).await.unwrap();
    let error = ask(&durable, &[of_durable, of_lazy]).await.unwrap_err();
    assert!(error.contains("sync_interval: always"), "{error}");
    // one that is away keeps nobody from starting
    drop(lazy);
    ask(&durable, &[of_durable, of_lazy]).await.unwrap();
    let error = ask(&durable, &[of_lazy]).await.unwrap_err();
    assert!(error.contains("nats.monitors http://127.0.0.1"), "{error}");
}
