//! A NATS server with JetStream, configured by the file that is shipped.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions, jetstream};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use crate::{Launch, Port, Process, eventually, folder, seconds};

const CONFIGURATION: &str = include_str!("../../../nats/server.conf");

/// How it bounds the bytes of all streams.
const STORE_BOUND: &str = "max_file_store: 64GB";

/// A NATS server on a port and in a folder of its own.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Nats {
    /// Starts one and waits until it answers.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with more lines in its configuration: users, TLS. [`client`](Self::client) knows nothing of them.
    pub async fn start_with(more: &str) -> Result<Self> {
        Self::start_bounded(None, more).await
    }

    /// The same, where all streams together may have so many bytes.
    pub async fn start_bounded(store_bytes: Option<u64>, more: &str) -> Result<Self> {
        let folder = folder("nepto-nats-")?;
        let configuration = folder.path().join("server.conf");
        let shipped = match store_bytes {
            None => CONFIGURATION.to_owned(),
            Some(bytes) => {
                ensure!(CONFIGURATION.contains(STORE_BOUND), "the configuration has no {STORE_BOUND:?}");
                CONFIGURATION.replace(STORE_BOUND, &format!("max_file_store: {bytes}"))
            }
        };
        std::fs::write(&configuration, format!("{shipped}\n{more}"))?;
        let port = Port::reserve()?;
        let process = Process::start(Launch {
            name: "nats".into(),
            program: nats_program()?,
            arguments: vec![
                "-c".into(),
                configuration.into(),
                "-a".into(),
                "127.0.0.1".into(),
                "-p".into(),
                port.number().to_string().into(),
                "-n".into(),
                name(&port).into(),
            ],
            environment: vec![
                ("NEPTO_NATS_STORE".into(), folder.path().join("store").into()),
                // a server with little to do: threads that look for work, and collections, are a tenth of what it costs
                ("GOMAXPROCS".into(), "1".into()),
                ("GOGC".into(), "400".into()),
            ],
            folder: folder.path().to_owned(),
        })?;
        let nats = Self { process, port, _folder: folder };
        nats.ready().await?;
        Ok(nats)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it listens for clients: `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// A new connection. It reconnects by itself after [`kill9`](Self::kill9) and [`restart`](Self::restart).
    pub async fn client(&self) -> Result<Client> {
        let options = ConnectOptions::new().name("test").retry_on_initial_connect();
        options.connect(self.url()).await.context("NATS can't be reached")
    }

    /// JetStream over a new connection.
    pub async fn jetstream(&self) -> Result<jetstream::Context> {
        Ok(jetstream::new(self.client().await?))
    }

    /// `SIGKILL`. Everything acknowledged must be there after [`restart`](Self::restart).
    pub fn kill9(&self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops it cleanly if it runs, starts it with the same port and data, and waits until it answers.
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

    /// Lame duck mode: it leaves its cluster, moves its clients to the other servers, and ends.
    pub fn lame_duck(&self) -> Result<()> {
        self.process.usr2()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn ready(&self) -> Result<()> {
        let waiting = eventually(seconds(20), async || {
            let mut greeting = String::new();
            BufReader::new(TcpStream::connect(self.address()).await?).read_line(&mut greeting).await?;
            let greeting = greeting.strip_prefix("INFO ").context("not a NATS server")?;
            let greeting: serde_json::Value = serde_json::from_str(greeting)?;
            ensure!(greeting["server_name"] == *name(&self.port), "another NATS server has this port");
            Ok(greeting["jetstream"] == true)
        });
        self.process.or_ended(waiting).await
    }
}

fn name(port: &Port) -> String {
    format!("test-{}-{}", std::process::id(), port.number())
}

/// The server's program: `NEPTO_NATS_SERVER`, or where `cargo xtask` keeps it, or whatever is on the `PATH`.
pub fn nats_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NEPTO_NATS_SERVER") {
        return Ok(path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither HOME nor XDG_CACHE_HOME is set")?;
    let cached = cache.join("nepto/tools/nats-server");
    Ok(if cached.exists() { cached } else { "nats-server".into() })
}
