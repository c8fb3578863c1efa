//! What a domain gives to the roles: facets, each a function of what the domain is opened with.
//!
//! A process opens a domain once and mounts the facets that its role needs; the others are never built. What a facet needs
//! is known before anything is opened, so a process connects to no database that none of its facets has.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::Ctx;
use crate::config::Declared;
use crate::consumer::Consumer;
use crate::db::{Db, DbError, Migration};
use crate::frames::MountFrames;
use crate::http::Routes;
use crate::job::Job;
use crate::metric::Metric;
use crate::outbox::Outbox;
use crate::service::Service;

/// Makes a facet. Nothing runs yet.
pub type Mount<T> = fn(&Parts) -> anyhow::Result<T>;

/// A domain. It names what it has, and leaves the rest to [`Domain::NONE`].
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its name: the database, the Redis prefix, the subject token, the `--domains` argument.
    pub name: &'static str,
    /// Its tables. A domain without any has a database only for the due times of its jobs.
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
    /// What it counts and measures.
    pub metrics: &'static [Metric],
    /// What it has to do with sockets. A process of sockets opens no domain.
    pub frames: Option<MountFrames>,
    /// What must not come back from a backup, taken out of the domain's database before anybody sees it.
    pub restored: Option<Restored>,
}

/// Takes out of a restored database what was used up, handed out or taken back since the backup may have been. It is told the time,
/// in milliseconds since 1970.
pub type Restored = fn(Db, i64) -> BoxFuture<'static, Result<Vec<Undone>, DbError>>;

/// What was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// What, and what became of it, for people.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}

/// What a domain is made from, opened once in a process. Clones share it.
#[derive(Clone)]
pub struct Parts {
    /// What all domains of the process share.
    pub ctx: Ctx,
    tables: Option<(Db, Outbox)>,
    made: Arc<Mutex<Vec<Box<dyn Any + Send + Sync>>>>,
}

/// What a domain answers.
#[derive(Default)]
pub struct Api {
    /// To clients, over HTTP.
    pub routes: Routes,
    /// To other domains.
    pub services: Vec<Service>,
}

/// Something outside that a domain watches until the process stops.
pub struct Watcher {
    /// What, for people.
    pub name: String,
    /// Runs until the process stops. An error ends the process.
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
        metrics: &[],
        frames: None,
        restored: None,
    };

    /// Whether it has tables of its own.
    pub const fn has_tables(&self) -> bool {
        !self.schema.is_empty()
    }

    /// Whether it needs a database: for its tables, or for the due times of its jobs in a process that runs them.
    pub const fn needs_database(&self, runs_jobs: bool) -> bool {
        self.has_tables() || (runs_jobs && self.jobs.is_some())
    }

    /// Its database, opened and signed in. An error if the role runs without one.
    pub async fn database(&self, ctx: &Ctx) -> anyhow::Result<Db> {
        let databases = ctx.databases.as_ref().ok_or_else(|| anyhow::anyhow!("this role runs without a database"))?;
        databases.of(self.name).await
    }

    /// Opens it, with its tables if it has any.
    pub async fn open(&self, ctx: &Ctx) -> anyhow::Result<Parts> {
        if !self.has_tables() {
            return Ok(Parts { ctx: ctx.clone(), tables: None, made: Arc::default() });
        }
        let db = self.database(ctx).await?;
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
        Self { ctx: ctx.clone(), tables: Some((db.clone(), Outbox::new(ctx, &db))), made: Arc::default() }
    }

    /// What several facets are made of, a domain's use-cases above all: made by the first that asks, and given to the others.
    pub fn shared<T: Clone + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made().iter().find_map(|one| one.downcast_ref::<T>().cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let new = make(self)?;
        made().push(Box::new(new.clone()));
        Ok(new)
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

#[cfg(test)]
mod tests {
    use nepto_testkit::{Nats, Redis};

    use super::*;
    use crate::Config;

    /// RFC 8410, 10.1: no token is looked at here.
    const TOKEN_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    const DOMAIN: Domain = Domain {
        name: "doors",
        queues: &["doors-opened"],
        workers: Some(|_| Ok(vec![Consumer::new("doors-closed", |_| async { Ok(()) })])),
        ..Domain::NONE
    };

    #[tokio::test]
    async fn what_facets_share_is_made_once_and_a_queue_has_one_name() {
        let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
        let (nats, redis, folder) = (nats.unwrap(), redis.unwrap(), tempfile::tempdir().unwrap());
        let mut config = Config::default();
        config.nats.url = nats.url();
        config.redis.url = redis.url();
        config.tokens.verifying_key_file = folder.path().join("tokens.pub.pem");
        std::fs::write(&config.tokens.verifying_key_file, TOKEN_KEY).unwrap();
        let ctx = Ctx::connect(config, false).await.unwrap();
        let parts = DOMAIN.open(&ctx).await.unwrap();
        let first = parts.shared(|_| Ok(Arc::new("made"))).unwrap();
        let again = parts.clone().shared(|_| anyhow::bail!("it is there")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(parts.shared(|_| Ok(7)).unwrap(), 7, "something else");
        assert!(parts.db().is_err() && parts.outbox().is_err(), "it has no tables");
        let error = DOMAIN.consumers(&parts).err().unwrap().to_string();
        assert!(error.contains("doors-opened") && error.contains("doors-closed"), "{error}");
    }
}
