//! What a domain gives to the roles: facets, each a function of what the domain is opened with.
//!
//! A process opens a domain once and mounts the facets that its role needs; the others are never built. What a facet needs
//! is known before anything is opened, so a process connects to no database that none of its facets has.

use futures_util::future::BoxFuture;
use utoipa_axum::router::OpenApiRouter;

use crate::Ctx;
use crate::config::Declared;
use crate::consumer::Consumer;
use crate::db::{Db, Migration};
use crate::job::Job;
use crate::outbox::Outbox;
use crate::service::Service;

/// Makes a facet. Nothing runs yet.
pub type Mount<T> = fn(&Parts) -> anyhow::Result<T>;

/// A domain. It names what it has, and leaves the rest to [`Domain::NONE`].
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its name: the database, the Redis prefix, the subject token, the `--domains` argument.
    pub name: &'static str,
    /// Its tables. A domain without any has no database.
    pub schema: &'static [Migration],
    /// What it reads of the configuration.
    pub sections: &'static [Declared],
    /// What it answers to clients and to other domains.
    pub api: Option<Mount<Api>>,
    /// The durable consumers that its workers serve, as `nats/streams.toml` and `--queues` name them.
    pub queues: &'static [&'static str],
    /// Its queue workers, one for each of `queues`.
    pub workers: Option<Mount<Vec<Consumer>>>,
    /// Its background jobs.
    pub jobs: Option<Mount<Vec<Job>>>,
    /// What it watches outside.
    pub watchers: Option<Mount<Vec<Watcher>>>,
    /// Routes of the operator's listener, wherever the domain is open.
    pub operators: Option<Mount<axum::Router>>,
}

/// What a domain is made from, opened once in a process. Clones share it.
#[derive(Clone)]
pub struct Parts {
    /// The process.
    pub ctx: Ctx,
    tables: Option<(Db, Outbox)>,
}

/// What a domain answers.
#[derive(Default)]
pub struct Api {
    /// To clients, over HTTP.
    pub routes: OpenApiRouter,
    /// To other domains.
    pub services: Vec<Service>,
}

/// Something outside that a domain watches until the process stops.
pub struct Watcher {
    /// What, for people.
    pub name: String,
    /// Watches.
    pub watch: BoxFuture<'static, anyhow::Result<()>>,
}

impl Domain {
    /// A domain that has nothing.
    pub const NONE: Self = Self {
        name: "",
        schema: &[],
        sections: &[],
        api: None,
        queues: &[],
        workers: None,
        jobs: None,
        watchers: None,
        operators: None,
    };

    /// Whether it has a database.
    pub const fn has_tables(&self) -> bool {
        !self.schema.is_empty()
    }

    /// Opens its database, if it has one.
    pub async fn open(&self, ctx: &Ctx) -> anyhow::Result<Parts> {
        if !self.has_tables() {
            return Ok(Parts { ctx: ctx.clone(), tables: None });
        }
        let databases = ctx.databases.as_ref().ok_or_else(|| anyhow::anyhow!("this role runs without a database"))?;
        let db = databases.of(self.name).await?;
        db.register(self.name, &ctx.health);
        Ok(Parts::new(ctx, db))
    }

    /// Its queue workers. That their names are those of `queues` is checked, because `--queues` chooses by them.
    pub fn consumers(&self, parts: &Parts) -> anyhow::Result<Vec<Consumer>> {
        let consumers = self.workers.map_or(Ok(Vec::new()), |workers| workers(parts))?;
        let (mut made, mut named) = (consumers.iter().map(|one| one.name).collect::<Vec<_>>(), self.queues.to_vec());
        made.sort_unstable();
        named.sort_unstable();
        anyhow::ensure!(made == named, "{} names the queues {named:?} and has workers for {made:?}", self.name);
        Ok(consumers)
    }
}

impl Parts {
    /// Of a domain with this database.
    pub fn new(ctx: &Ctx, db: Db) -> Self {
        Self { ctx: ctx.clone(), tables: Some((db.clone(), Outbox::new(ctx, &db))) }
    }

    /// The domain's own database.
    pub fn db(&self) -> anyhow::Result<&Db> {
        self.tables().map(|(db, _)| db)
    }

    /// The domain's events, to be published. One for the whole process: whoever writes an event wakes the relay beside it.
    pub fn outbox(&self) -> anyhow::Result<&Outbox> {
        self.tables().map(|(_, outbox)| outbox)
    }

    fn tables(&self) -> anyhow::Result<&(Db, Outbox)> {
        self.tables.as_ref().ok_or_else(|| anyhow::anyhow!("this domain has no tables"))
    }
}
