//! What a process holds: its configuration, its connections, its clock. Made once, cloned freely, passed in; no globals.

use std::sync::Arc;

use async_nats::jetstream;
use nepto_proto::svc::Operation;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Failure;
use crate::clock::{Clock, Random};
use crate::clock_check::ClockCheck;
use crate::config::Config;
use crate::db::Databases;
use crate::health::Health;
use crate::nats;
use crate::redis::Redis;
use crate::service;
use crate::token::Verifier;

/// The context of a process.
#[derive(Clone)]
pub struct Ctx {
    /// The configuration, checked when it was loaded.
    pub config: Arc<Config>,
    /// The only source of time; tests have one of their own.
    pub clock: Clock,
    /// What the clocks of others say of that of this machine.
    pub clock_check: Arc<ClockCheck>,
    /// The only source of randomness and ids; tests seed it.
    pub random: Random,
    /// The client of core NATS: live subjects, requests and replies.
    pub nats: async_nats::Client,
    /// Changes when the connection to NATS was made again.
    pub nats_connects: watch::Receiver<u64>,
    /// The client of JetStream, over the same connection.
    pub jetstream: jetstream::Context,
    /// Redis, reconnecting by itself.
    pub redis: Redis,
    /// SurrealDB, for roles that own data. A gateway has none.
    pub databases: Option<Arc<Databases>>,
    /// Checks access tokens.
    pub tokens: Arc<Verifier>,
    /// What `/readyz` asks.
    pub health: Health,
    /// Cancelled first when the process should stop: nobody new comes in. Who is inside is answered, which takes all the rest.
    pub closing: CancellationToken,
    /// Connections of the public listener, and sockets. When the last has ended, or its time is over, `stop` follows.
    pub visits: TaskTracker,
    /// Cancelled when everything else should stop, and then `closing` is as well.
    pub stop: CancellationToken,
    /// Other work that a stopping process waits for, within `node.drain_ms`.
    pub tasks: TaskTracker,
    /// The name of this process.
    pub node: Arc<str>,
}

impl Ctx {
    /// Connects to everything a role needs; `with_database` says whether its domains may connect to SurrealDB as well.
    pub async fn connect(config: Config, with_database: bool) -> anyhow::Result<Self> {
        let (clock, random, health) = (Clock::default(), Random::default(), Health::default());
        let stop = CancellationToken::new();
        let node: Arc<str> = match config.node.name.as_str() {
            "" => format!("node-{}", random.alphanumeric(8)).into(),
            name => name.into(),
        };
        let (client, nats_connects) = nats::connect(&config.nats, &node, &health, stop.clone()).await?;
        let redis = Redis::connect(&config.redis).await?;
        redis.register(&health, &node);
        let databases = with_database.then(|| Arc::new(Databases::new(&config.database, random.clone())));
        let tokens = Verifier::load(&config.tokens.verifying_key_file)?;
        let jetstream = nats::jetstream(&client);
        Ok(Self {
            clock_check: Arc::new(ClockCheck::new(clock.clone(), jetstream.clone(), redis.clone())),
            jetstream,
            nats: client,
            nats_connects,
            redis,
            databases,
            tokens: Arc::new(tokens),
            config: Arc::new(config),
            clock,
            random,
            health,
            closing: stop.child_token(),
            visits: TaskTracker::new(),
            stop,
            tasks: TaskTracker::new(),
            node,
        })
    }

    /// Asks the domain that owns an operation.
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<O::Reply, Failure> {
        service::call(&self.nats, &self.clock, operation).await
    }
}
