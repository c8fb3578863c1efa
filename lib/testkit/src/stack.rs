//! NATS, Redis and Nepto together, as one process or as many.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use toml::Value;

use crate::first_start::{self, DATABASE, KEYS};
use crate::guard::{Guard, Guarded};
use crate::server::{DATABASE_PASSWORD, run, run_after, write};
use crate::{FaultProxy, Nats, Port, Redis, Role, Server, Settings, WatchedChain, folder};

/// Everything a test of the whole needs. Parts can be killed, paused and restarted one by one.
///
/// The fields are dropped in this order: the servers go before what they are connected to.
#[derive(Debug)]
pub struct Stack {
    /// Serves the HTTP API.
    pub api: Arc<Server>,
    /// Serve sockets; at least one.
    pub gateways: Vec<Arc<Server>>,
    /// Works the queues.
    pub worker: Arc<Server>,
    /// The database server, if the stack is split.
    pub database: Option<Server>,
    /// The Redis of this stack alone.
    pub redis: Redis,
    /// The NATS server of this stack alone, with JetStream.
    pub nats: Nats,
    /// Between clients and each gateway, in their order, if asked for: the addresses that clients are told.
    pub socket_proxies: Vec<FaultProxy>,
    /// Between Nepto and NATS, if asked for.
    pub nats_proxy: Option<FaultProxy>,
    /// Between Nepto and Redis, if asked for.
    pub redis_proxy: Option<FaultProxy>,
    settings: Settings,
    started: AtomicUsize,
    folder: TempDir,
}

impl Stack {
    /// Defaults that differ from production's only in their addresses and folders, and in that acknowledged messages are
    /// purged soon: tests look whether mailboxes are empty. So a retry is known for a second only.
    pub fn builder() -> Builder {
        Self::as_shipped().set("mailbox.purge_every_ms", 500).set("mailbox.duplicate_window_s", 1)
    }

    /// Defaults that differ from production's only in their addresses and folders.
    pub fn as_shipped() -> Builder {
        Builder::default()
    }

    /// NATS, Redis and one process with every role.
    pub async fn all() -> Result<Self> {
        Self::builder().all().await
    }

    /// NATS, Redis, and a process each for the database, the API, the worker and every gateway.
    pub async fn split(gateways: usize) -> Result<Self> {
        Self::builder().split(gateways).await
    }

    /// Base of the HTTP API, and the URI of sign-in messages.
    pub fn url(&self) -> String {
        self.api.url()
    }

    /// The authority of sign-in messages.
    pub fn domain(&self) -> String {
        self.api.address().to_string()
    }

    /// The socket addresses that clients are told: of the gateways, or of the proxies before them.
    pub fn sockets(&self) -> Vec<String> {
        let sockets = self.settings.get("public.sockets").and_then(Value::as_array).into_iter().flatten();
        sockets.filter_map(|socket| Some(socket.as_str()?.to_owned())).collect()
    }

    /// One more process beside those that run. Clients are not told of its socket.
    pub async fn start(&self, role: Role, settings: &Settings) -> Result<Server> {
        let name = format!("{}-extra-{}", role.name(), self.started.fetch_add(1, Ordering::Relaxed));
        Server::start(role, &name, Port::reserve()?, self.folder.path(), &self.settings.clone().and(settings)).await
    }

    /// A process that starts under limits of its shell, like `ulimit -Sn 1024`. It has a listener of its own.
    pub async fn start_limited(&self, limits: &str, role: Role, settings: &Settings) -> Result<Server> {
        let name = format!("{}-limited-{}", role.name(), self.started.fetch_add(1, Ordering::Relaxed));
        let settings = self.settings.clone().and(settings);
        Server::start_limited(limits, role, &name, Port::reserve()?, self.folder.path(), &settings).await
    }

    /// `nepto-server provision` once more: creates streams and consumers that are missing.
    pub async fn provision(&self) -> Result<()> {
        self.run(&["provision"]).await.map(drop)
    }

    /// `nepto-server` with these arguments and the stack's settings, to its end; what it said.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        run(self.folder.path(), &self.settings, arguments).await
    }

    /// The same by a shell that does something `first`, like `ulimit -f 64`: how it ended, and what it said.
    pub async fn run_after(&self, first: &str, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        run_after(first, self.folder.path(), &self.settings, arguments).await
    }

    /// A configuration file with the stack's settings and these, for a process that is started in another way.
    pub fn configuration(&self, name: &str, settings: &Settings) -> Result<PathBuf> {
        write(self.folder.path(), name, &self.settings.clone().and(settings))
    }

    /// Every process of Nepto but the database, each once.
    pub fn servers(&self) -> Vec<&Server> {
        let mut servers: Vec<&Server> = Vec::new();
        for server in [&self.api, &self.worker].into_iter().chain(&self.gateways) {
            if !servers.iter().any(|known| std::ptr::eq(*known, server.as_ref())) {
                servers.push(server);
            }
        }
        servers
    }
}

/// What a [`Stack`] shall be like.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    settings: Settings,
    proxy_sockets: bool,
    proxy_nats: bool,
    proxy_redis: bool,
    guard: Option<Guard>,
    store_bytes: Option<u64>,
}

impl Builder {
    /// Sets `section.field` of every server's configuration.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings = self.settings.set(name, value);
        self
    }

    /// Watches a chain.
    #[must_use]
    pub fn chain(mut self, chain: &WatchedChain) -> Self {
        self.settings = self.settings.chain(chain);
        self
    }

    /// Raises every rate limit out of reach, and what one address may have.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.settings = self.settings.unlimited();
        self
    }

    /// Puts a proxy before each gateway.
    #[must_use]
    pub fn proxy_sockets(mut self) -> Self {
        self.proxy_sockets = true;
        self
    }

    /// Puts a proxy between Nepto and NATS.
    #[must_use]
    pub fn proxy_nats(mut self) -> Self {
        self.proxy_nats = true;
        self
    }

    /// Puts a proxy between Nepto and Redis.
    #[must_use]
    pub fn proxy_redis(mut self) -> Self {
        self.proxy_redis = true;
        self
    }

    /// NATS lets in only who shows this, over TLS. For [`all`](Self::all).
    #[must_use]
    pub fn guard_nats(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// All streams of NATS together may have so many bytes.
    #[must_use]
    pub fn store_bytes(mut self, bytes: u64) -> Self {
        self.store_bytes = Some(bytes);
        // JetStream sets the bytes of dead letters aside
        self.set("nats.dead_letters_bytes_max", 1024 * 1024).set("channels.stream_bytes_max", 1024 * 1024)
    }

    /// Starts NATS, Redis and one process with every role.
    pub async fn all(self) -> Result<Stack> {
        let ground = self.ground(1).await?;
        let path = ground.folder.path();
        let mut database = std::ffi::OsString::from("surrealkv://");
        database.push(path.join(DATABASE));
        let settings = ground.settings.set("database.url", text(&database)?).and(&self.settings);
        let [http] = <[Port; 1]>::try_from(ground.sockets).ok().context("one port for one process")?;
        let trusted = ground.guarded.as_ref().map(|guarded| guarded.certificate.as_path());
        let server = Arc::new(Server::start_trusting(trusted, Role::All, "all", http, path, &settings).await?);
        Ok(Stack {
            api: server.clone(),
            gateways: vec![server.clone()],
            worker: server,
            database: None,
            redis: ground.redis,
            nats: ground.nats,
            socket_proxies: ground.socket_proxies,
            nats_proxy: ground.nats_proxy,
            redis_proxy: ground.redis_proxy,
            settings,
            started: AtomicUsize::new(0),
            folder: ground.folder,
        })
    }

    /// Starts NATS, Redis, and a process each for the database, the API, the worker and every gateway.
    pub async fn split(self, gateways: usize) -> Result<Stack> {
        let ground = self.ground(gateways.max(1)).await?;
        let path = ground.folder.path();
        let password = path.join("database.password");
        std::fs::write(&password, DATABASE_PASSWORD)?;
        let api = Port::reserve()?;
        let database = Server::start(Role::Database, "database", Port::reserve()?, path, &Settings::new()).await?;
        let settings = ground
            .settings
            .set("database.url", format!("ws://{}", database.address()))
            .set("database.password_file", text(password.as_os_str())?)
            .and(&public(&api, &ground.public_sockets))
            .and(&self.settings);
        run(path, &settings, &["provision"]).await?;
        // none of them needs another one to start
        let gateways = ground.sockets.into_iter().enumerate().map(|(number, http)| {
            let (name, settings) = (format!("gateway-{number}"), &settings);
            async move { Server::start(Role::Gateway, &name, http, path, settings).await.map(Arc::new) }
        });
        let worker = Port::reserve()?;
        let (worker, api, gateways) = tokio::try_join!(
            Server::start(Role::Worker, "worker", worker, path, &settings),
            Server::start(Role::Api(Vec::new()), "api", api, path, &settings),
            try_join_all(gateways),
        )?;
        Ok(Stack {
            api: Arc::new(api),
            gateways,
            worker: Arc::new(worker),
            database: Some(database),
            redis: ground.redis,
            nats: ground.nats,
            socket_proxies: ground.socket_proxies,
            nats_proxy: ground.nats_proxy,
            redis_proxy: ground.redis_proxy,
            settings,
            started: AtomicUsize::new(0),
            folder: ground.folder,
        })
    }

    /// All that stands before the first process of Nepto starts.
    async fn ground(&self, gateways: usize) -> Result<Ground> {
        let folder = folder("nepto-stack-")?;
        let guarded = match self.guard {
            Some(guard) => Some(Guarded::new(guard, folder.path())?),
            None => None,
        };
        let more = guarded.as_ref().map_or("", |guarded| guarded.configuration.as_str());
        let (nats, redis) = tokio::try_join!(Nats::start_bounded(self.store_bytes, more), Redis::start())?;
        let nats_proxy = if self.proxy_nats { Some(FaultProxy::start(nats.address()).await?) } else { None };
        let redis_proxy = if self.proxy_redis { Some(FaultProxy::start(redis.address()).await?) } else { None };
        let sockets: Vec<Port> = (0..gateways).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let mut socket_proxies = Vec::new();
        if self.proxy_sockets {
            for socket in &sockets {
                socket_proxies.push(FaultProxy::start(socket.address()).await?);
            }
        }
        let public_sockets: Vec<String> = match socket_proxies.as_slice() {
            [] => sockets.iter().map(|port| format!("ws://{}/v1/socket", port.address())).collect(),
            proxies => proxies.iter().map(|proxy| format!("ws://{}/v1/socket", proxy.address())).collect(),
        };
        let nats_address = nats_proxy.as_ref().map_or(nats.address(), FaultProxy::address);
        let redis_address = redis_proxy.as_ref().map_or(redis.address(), FaultProxy::address);
        first_start::copy_into(folder.path()).await?;
        let settings = Settings::new()
            .set("nats.url", format!("nats://{nats_address}"))
            .set("redis.url", format!("redis://{redis_address}"))
            .set("log.format", "text")
            .and(&first_start::token_keys(&folder.path().join(KEYS)))
            .and(&public(&sockets[0], &public_sockets));
        let settings = match &guarded {
            Some(guarded) => settings.and(&guarded.settings(nats_address.port())),
            None => settings,
        };
        Ok(Ground {
            guarded,
            folder,
            nats,
            redis,
            nats_proxy,
            redis_proxy,
            sockets,
            socket_proxies,
            public_sockets,
            settings,
        })
    }
}

struct Ground {
    guarded: Option<Guarded>,
    nats: Nats,
    redis: Redis,
    nats_proxy: Option<FaultProxy>,
    redis_proxy: Option<FaultProxy>,
    /// One for each gateway.
    sockets: Vec<Port>,
    socket_proxies: Vec<FaultProxy>,
    public_sockets: Vec<String>,
    settings: Settings,
    folder: TempDir,
}

/// What clients are told, and sign.
fn public(api: &Port, sockets: &[String]) -> Settings {
    let sockets: Vec<Value> = sockets.iter().map(|socket| socket.as_str().into()).collect();
    Settings::new()
        .set("public.domain", api.address().to_string())
        .set("public.uri", format!("http://{}", api.address()))
        .set("public.sockets", sockets)
}

fn text(path: &std::ffi::OsStr) -> Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", Path::new(path).display()))?.to_owned())
}
