//! A Redis server that keeps nothing on disk.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::{Launch, Port, Process, eventually, folder, seconds};

/// A Redis server on a port of its own. What it holds is lost when it stops, as it may be in production.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments: settings of `redis.conf`, each after two dashes.
    pub async fn start_with(more: &[&str]) -> Result<Self> {
        let folder = folder("nepto-redis-")?;
        let port = Port::reserve()?;
        let number = port.number().to_string();
        // it looks round twice a second, not ten times, and does not time its commands: a test's has little to do
        let arguments = ["--bind", "127.0.0.1", "--port", &number, "--save", "", "--appendonly", "no"]
            .into_iter()
            .chain(["--hz", "2", "--latency-tracking", "no"]);
        let process = Process::start(Launch {
            name: "redis".into(),
            program: executable(),
            arguments: arguments.chain(more.iter().copied()).map(Into::into).collect(),
            environment: Vec::new(),
            folder: folder.path().to_owned(),
        })?;
        let redis = Self { process, port, _folder: folder };
        redis.ready().await?;
        Ok(redis)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it listens: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A new connection.
    pub async fn client(&self) -> Result<MultiplexedConnection> {
        Ok(redis::Client::open(self.url())?.get_multiplexed_async_connection().await?)
    }

    /// Forgets everything, as an operator's `FLUSHALL` does.
    pub async fn flush(&self) -> Result<()> {
        Ok(redis::cmd("FLUSHALL").exec_async(&mut self.client().await?).await?)
    }

    /// `SIGKILL`. Everything in it is gone.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops it if it runs, starts it empty with the same port, and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        self.process.stop(seconds(10)).await?;
        self.process.start_again()?;
        self.ready().await
    }

    /// `SIGSTOP`: connections stay open, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// `SIGCONT`: goes on after [`pause`](Self::pause), with the connections that it had.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Tells it something, as `redis-cli` does.
    pub async fn tell(&self, command: &[&str]) -> Result<()> {
        let (name, arguments) = command.split_first().context("no command")?;
        Ok(redis::cmd(name).arg(arguments).exec_async(&mut self.client().await?).await?)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn ready(&self) -> Result<()> {
        let waiting = eventually(seconds(20), async || {
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut self.client().await?).await?;
            let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).context("not a Redis server")?;
            ensure!(pid.trim() == self.process.pid()?.to_string(), "another Redis server has this port");
            Ok(true)
        });
        self.process.or_ended(waiting).await
    }
}

/// `NEPTO_REDIS_SERVER`, or whatever is on the `PATH`.
pub(crate) fn executable() -> PathBuf {
    std::env::var_os("NEPTO_REDIS_SERVER").map_or_else(|| "redis-server".into(), Into::into)
}
