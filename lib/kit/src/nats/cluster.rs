//! The servers of a cluster: those that are configured, and those that they name.
//!
//! A server names the others when it greets a client, and again whenever one comes or goes. The client library listens to the
//! first of that alone: of servers that join later it never hears, and when the one that it knows is gone it has nowhere to go.
//! So a greeting is looked at from time to time, and the library is told whom it names.
//!
//! A greeting comes before TLS begins, so somebody on the way could name servers of his own, with certificates that are good
//! for their names, and be told our password. Where `nats.url` says `tls://`, only its own servers count.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{bail, ensure};
use async_nats::{Client, ServerAddr, ServerInfo};
use bytes::BytesMut;
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::config::Nats;
use crate::subscriptions::wire::{self, ServerOp};

/// How often a greeting is looked at.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// A server greets within this time.
const GREETED_WITHIN: Duration = Duration::from_secs(2);
/// A cluster has at most so many servers: what one of them names beyond that is left aside.
const SERVERS_MAX: usize = 64;

/// Whom to connect to. Clones share what was learned.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    configured: Arc<[ServerAddr]>,
    learned: Arc<RwLock<Vec<ServerAddr>>>,
}

impl Servers {
    /// The servers of `nats.url`.
    pub(crate) fn new(config: &Nats) -> anyhow::Result<Self> {
        let configured = config.url.split(',').map(|url| url.trim().parse::<ServerAddr>());
        let configured: Vec<_> =
            configured.collect::<Result<_, _>>().map_err(|error| anyhow::anyhow!("nats.url is not valid: {error}"))?;
        Ok(Self { configured: configured.into(), learned: Arc::default() })
    }

    /// Those that are configured.
    pub(crate) fn configured(&self) -> &[ServerAddr] {
        &self.configured
    }

    /// All of them, the configured ones first.
    pub(crate) fn all(&self) -> Vec<ServerAddr> {
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        self.configured.iter().chain(&*learned).cloned().collect()
    }

    /// Whether servers may name others.
    pub(crate) fn may_grow(&self) -> bool {
        !self.configured.iter().any(ServerAddr::tls_required)
    }

    /// Notes whom a server names; whether that is news. One that names nobody is no cluster, or is about to leave it.
    pub(crate) fn learn(&self, info: &ServerInfo) -> bool {
        if !self.may_grow() {
            return false;
        }
        let is_known = |server: &ServerAddr| self.configured.iter().any(|known| same(known, server));
        let named = info.connect_urls.iter().filter_map(|url| url.parse::<ServerAddr>().ok());
        let mut named: Vec<_> = named.filter(|server| !is_known(server)).collect();
        // they are named in any order
        named.sort_by_key(|server| (server.host().to_owned(), server.port()));
        named.truncate(SERVERS_MAX);
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if info.connect_urls.is_empty() || *learned == named {
            return false;
        }
        *learned = named;
        true
    }

    /// Looks at the greeting of any of them.
    async fn ask(&self) -> anyhow::Result<ServerInfo> {
        let mut failed = anyhow::anyhow!("no server of NATS is named");
        for server in self.all() {
            match tokio::time::timeout(GREETED_WITHIN, greeting(&server)).await {
                Ok(Ok(info)) => return Ok(info),
                Ok(Err(error)) => failed = error,
                Err(elapsed) => failed = elapsed.into(),
            }
        }
        Err(failed)
    }
}

/// Whether two addresses are one, whoever signs in there.
fn same(one: &ServerAddr, other: &ServerAddr) -> bool {
    one.host() == other.host() && one.port() == other.port()
}

/// A server says who is there before anybody has said anything.
async fn greeting(server: &ServerAddr) -> anyhow::Result<ServerInfo> {
    let mut stream = TcpStream::connect((server.host(), server.port())).await?;
    match wire::next(&mut stream, &mut BytesMut::new()).await? {
        ServerOp::Info(info) => Ok(*info),
        _ => bail!("it does not introduce itself"),
    }
}

/// Tells a client whom the cluster consists of, until the process stops.
pub(crate) async fn follow(client: Client, servers: Servers, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        match servers.ask().await {
            Ok(info) if servers.learn(&info) => tell(&client, &servers).await,
            Ok(_) => {}
            Err(error) => tracing::debug!(error = format!("{error:#}"), "no server of NATS says who is there"),
        }
    }
}

async fn tell(client: &Client, servers: &Servers) {
    let all = servers.all();
    let count = all.len();
    match client.set_server_pool(all).await {
        Ok(()) => tracing::info!(servers = count, "the servers of the NATS cluster are known"),
        Err(error) => tracing::warn!(%error, "the client of NATS does not take its servers"),
    }
}

/// That each server syncs what it stores before it says so, which no client is told: asked at `/jsz` of the monitors that are
/// configured. Without it a power cut loses messages whose senders were told that they are stored. A server that is away is no
/// reason not to start; that nobody can be asked is a mistake in the configuration.
pub(crate) async fn check_durable(config: &Nats) -> anyhow::Result<()> {
    if config.monitors.is_empty() {
        return Ok(());
    }
    let http = reqwest::Client::builder().timeout(GREETED_WITHIN).build()?;
    let answers = join_all(config.monitors.iter().map(|monitor| syncs_always(&http, monitor))).await;
    let (mut asked, mut failed) = (0, None);
    for (monitor, answer) in config.monitors.iter().zip(answers) {
        match answer {
            Ok(always) => {
                asked += 1;
                ensure!(
                    always,
                    "the NATS server with the monitor {monitor} may lose acknowledged messages when the power fails: set \
                     `sync_interval: always` in the section jetstream of its configuration, and restart it"
                );
            }
            Err(error) => {
                let error = error.context(format!("nats.monitors {monitor} can't be asked"));
                tracing::warn!(error = format!("{error:#}"), "nobody knows whether this NATS server syncs");
                failed = Some(error);
            }
        }
    }
    failed.filter(|_| asked == 0).map_or(Ok(()), Err)
}

async fn syncs_always(http: &reqwest::Client, monitor: &str) -> anyhow::Result<bool> {
    let url = format!("{}/jsz?config=1", monitor.trim_end_matches('/'));
    let answer: serde_json::Value = http.get(url).send().await?.error_for_status()?.json().await?;
    ensure!(answer["config"]["store_dir"].is_string(), "it has no JetStream");
    // what is false is left out
    Ok(answer["config"]["sync_always"] == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(urls: &[&str]) -> ServerInfo {
        let urls: Vec<_> = urls.iter().map(ToString::to_string).collect();
        ServerInfo { connect_urls: urls, ..ServerInfo::default() }
    }

    fn named(servers: &Servers) -> Vec<String> {
        servers.all().iter().map(|server| format!("{}:{}", server.host(), server.port())).collect()
    }

    #[test]
    fn the_newest_greeting_counts_beside_what_is_configured() {
        let config = Nats { url: "nats://nepto:secret@10.0.0.1:4222".into(), ..Nats::default() };
        let servers = Servers::new(&config).unwrap();
        assert!(servers.learn(&info(&["10.0.0.1:4222", "10.0.0.2:4222", "10.0.0.3:4222"])));
        assert_eq!(named(&servers), ["10.0.0.1:4222", "10.0.0.2:4222", "10.0.0.3:4222"]);
        assert!(!servers.learn(&info(&["10.0.0.3:4222", "10.0.0.2:4222", "10.0.0.1:4222"])), "no news");
        assert!(!servers.learn(&info(&[])), "who names nobody takes nobody away");
        assert!(servers.learn(&info(&["10.0.0.3:4222", "not an address"])));
        assert_eq!(named(&servers), ["10.0.0.1:4222", "10.0.0.3:4222"]);
        let many: Vec<_> = (0..1_000).map(|number| format!("10.1.0.1:{number}")).collect();
        servers.learn(&info(&many.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(named(&servers).len(), 1 + SERVERS_MAX);
    }

    #[test]
    fn nobody_is_believed_before_tls_has_begun() {
        let servers =
            Servers::new(&Nats { url: "tls://nepto:secret@a:4222,tls://b:4222".into(), ..Nats::default() }).unwrap();
        assert!(!servers.learn(&info(&["evil.example.org:4222"])));
        assert_eq!(named(&servers), ["a:4222", "b:4222"]);
    }
}
