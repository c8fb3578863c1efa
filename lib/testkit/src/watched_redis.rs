//! A Redis with a replica, and three Sentinels that promote it when the primary is gone.

use std::fs;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Launch, Port, Process, Redis, eventually, folder, redis::executable, seconds};

/// What the Sentinels call the primary.
const NAME: &str = "nepto";
/// How many of them must miss the primary.
const QUORUM: usize = 2;

/// Two Redis servers, of which the first is the primary at first, and the Sentinels that watch over them.
#[derive(Debug)]
pub struct WatchedRedis {
    /// The primary first.
    pub servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl WatchedRedis {
    /// Starts all of them and waits until each Sentinel knows the others and the replica.
    pub async fn start() -> Result<Self> {
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let primary = Redis::start_with(&at_once).await?;
        let (host, port) = (primary.address().ip().to_string(), primary.address().port().to_string());
        let replica = Redis::start_with(&[&at_once[..], &["--replicaof", &host, &port]].concat()).await?;
        let sentinels = (0..3).map(|_| Sentinel::start(&primary)).collect::<Result<_>>()?;
        let watched = Self { servers: [primary, replica], sentinels };
        for sentinel in &watched.sentinels {
            sentinel.process.or_ended(eventually(seconds(30), async || sentinel.knows_all().await)).await?;
        }
        Ok(watched)
    }

    /// Where the Sentinels listen: `redis://127.0.0.1:<port>`.
    pub fn sentinels(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("redis://{}", sentinel.port.address())).collect()
    }

    /// The second server knows everything until now, and hears nothing from now on: it has stopped, and the connection to it is
    /// cut. It goes on from there when it is resumed.
    pub async fn cut_off(&self) -> Result<()> {
        let [first, second] = &self.servers;
        let mut operator = first.client().await?;
        let caught_up = eventually(seconds(10), async || {
            let copies: u32 = redis::cmd("WAIT").arg(1).arg(1_000).query_async(&mut operator).await?;
            Ok(copies == 1)
        });
        caught_up.await.context("the replica does not catch up")?;
        second.pause()?;
        first.tell(&["CLIENT", "KILL", "TYPE", "replica"]).await
    }

    /// `SIGKILL` for one of the Sentinels.
    pub fn kill9_sentinel(&self, which: usize) -> Result<()> {
        self.sentinels.get(which).context("there are three")?.process.kill9()
    }
}

impl Sentinel {
    fn start(primary: &Redis) -> Result<Self> {
        let (folder, port, watched) = (folder("nepto-sentinel-")?, Port::reserve()?, primary.address());
        let configuration = folder.path().join("sentinel.conf");
        let settings = [
            format!("bind 127.0.0.1\nport {}", port.number()),
            format!("sentinel monitor {NAME} {} {} {QUORUM}", watched.ip(), watched.port()),
            format!("sentinel down-after-milliseconds {NAME} 1000"),
            format!("sentinel failover-timeout {NAME} 4000"),
        ];
        // it writes down there what it learns
        fs::write(&configuration, settings.join("\n") + "\n")?;
        let process = Process::start(Launch {
            name: "sentinel".into(),
            program: executable(),
            arguments: vec![configuration.into(), "--sentinel".into()],
            environment: Vec::new(),
            folder: folder.path().to_owned(),
        })?;
        Ok(Self { process, port, _folder: folder })
    }

    async fn knows_all(&self) -> Result<bool> {
        let client = redis::Client::open(format!("redis://{}", self.port.address()))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let told: String = redis::cmd("INFO").arg("sentinel").query_async(&mut connection).await?;
        ensure!(told.contains("status=ok"), "the primary is not well: {told}");
        Ok(told.contains("slaves=1,sentinels=3"))
    }
}
