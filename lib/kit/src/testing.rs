//! A process to test in, with real servers and an embedded database that keeps nothing.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nepto_proto::event::Event;
use nepto_testkit::{Nats, Redis};
use tempfile::TempDir;
use tracing::subscriber::DefaultGuard;

use crate::Ctx;
use crate::clock::Random;
use crate::config::{Config, Database};
use crate::db::{Databases, Db};
use crate::nats::{self, Bounds, ChannelBounds, Wanted};

/// The same as the server has: tests over databases in memory do little but allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Somebody's (RFC 8410, 10.1). No test checks a token.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

/// No chains, and mailboxes that nobody writes into.
pub const WANTED: Wanted = Wanted {
    sharded: Bounds {
        max_age: Duration::from_secs(3_600),
        duplicate_window: Duration::from_secs(120),
        messages_per_subject_max: 100,
        bytes_max: -1,
    },
    channels: ChannelBounds { max_age: Duration::from_secs(3_600), bytes_max: -1 },
    chains: Vec::new(),
};

/// Databases that are at this address (`mem://`).
pub fn databases(url: &str) -> Databases {
    nepto_testkit::quiet();
    Databases::new(&Database { url: url.to_owned(), ..Database::default() }, Random::default())
}

/// A connection to a Redis alone.
pub async fn redis(server: &Redis) -> crate::redis::Redis {
    let config = crate::config::Redis { url: server.url(), ..crate::config::Redis::default() };
    crate::redis::Redis::connect(&config).await.unwrap()
}

/// What a test stands on. The streams are provisioned.
pub struct Ground {
    pub ctx: Ctx,
    pub nats: Nats,
    pub redis: Redis,
    folder: TempDir,
}

impl Ground {
    pub async fn new() -> Self {
        let (nats, redis) = tokio::try_join!(Nats::start(), Redis::start()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens.pub.pem"), PUBLIC_KEY).unwrap();
        let ctx = process(&nats, &redis, &folder).await;
        nats::provision(&ctx.jetstream, &ctx.config.nats, &WANTED, false).await.unwrap();
        Self { ctx, nats, redis, folder }
    }

    /// Another process, with the same servers and the same database.
    pub async fn process(&self) -> Ctx {
        let mut ctx = process(&self.nats, &self.redis, &self.folder).await;
        ctx.databases = self.ctx.databases.clone();
        ctx
    }

    /// The database of a domain.
    pub async fn database(&self, domain: &str) -> Db {
        let db = self.ctx.databases.as_ref().unwrap().of(domain).await.unwrap();
        db.migrate(&[]).await.unwrap();
        db
    }

    /// Publishes an event as a relay does.
    pub async fn publish<E: Event>(&self, event: &E) {
        let body = serde_json::to_vec(event).unwrap();
        self.ctx.jetstream.publish(E::subject(), body.into()).await.unwrap().await.unwrap();
    }
}

async fn process(nats: &Nats, redis: &Redis, folder: &TempDir) -> Ctx {
    nepto_testkit::quiet();
    let key = folder.path().join("tokens.pub.pem");
    let settings = format!(
        "[nats]\nurl = {:?}\nshards = 1\ndead_letters_bytes_max = 1048576\n[redis]\nurl = {:?}\n[database]\nurl = \"mem://\"\n\
         [tokens]\nverifying_key_file = {:?}\n",
        nats.url(),
        redis.url(),
        key.display().to_string()
    );
    Ctx::connect(Config::parse(&settings, [], &[]).unwrap(), true).await.unwrap()
}

/// What is logged on this thread while it is held.
pub struct Logged {
    text: Text,
    _subscriber: DefaultGuard,
}

impl Logged {
    pub fn from_now_on() -> Self {
        let text = Text::default();
        let written = text.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
        Self { text, _subscriber: tracing::subscriber::set_default(lines) }
    }

    /// The lines that have this in them.
    pub fn with(&self, what: &str) -> Vec<String> {
        let text = String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
