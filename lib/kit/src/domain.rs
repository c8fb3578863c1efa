//! What a domain gives to the roles.

use futures_util::future::BoxFuture;
use utoipa_axum::router::OpenApiRouter;

use crate::Ctx;
use crate::consumer::Consumer;
use crate::db::{Db, Migration};
use crate::frames::MountFrames;
use crate::job::Job;
use crate::outbox::Outbox;
use crate::service::Service;

/// A domain: its schema and how to mount it.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its name: the database, the Redis prefix, the subject token, the `--domains` argument.
    pub name: &'static str,
    /// Its tables.
    pub schema: &'static [Migration],
    /// Makes its facets. Nothing runs yet.
    pub mount: fn(&Parts) -> anyhow::Result<Facets>,
    /// What it has to do with sockets, if anything.
    pub frames: Option<MountFrames>,
}

/// What a domain is made from.
#[derive(Clone)]
pub struct Parts {
    /// The process.
    pub ctx: Ctx,
    /// The domain's own database.
    pub db: Db,
    /// Its events, to be published.
    pub outbox: Outbox,
}

/// What a domain is made of. Each role runs one facet of every domain.
#[derive(Default)]
pub struct Facets {
    /// Its HTTP API.
    pub routes: OpenApiRouter,
    /// What it answers to other domains.
    pub services: Vec<Service>,
    /// Its queue workers.
    pub consumers: Vec<Consumer>,
    /// Its background jobs.
    pub jobs: Vec<Job>,
    /// What it watches outside.
    pub watchers: Vec<Watcher>,
    /// Routes for the operator's listener.
    pub admin: axum::Router,
}

/// Something outside that a domain watches until the process stops.
pub struct Watcher {
    /// What, for people.
    pub name: String,
    /// Watches.
    pub watch: BoxFuture<'static, anyhow::Result<()>>,
}

impl Domain {
    /// Opens the domain's database.
    pub async fn parts(&self, ctx: &Ctx) -> anyhow::Result<Parts> {
        let databases = ctx.databases.as_ref().ok_or_else(|| anyhow::anyhow!("this role runs without a database"))?;
        let db = databases.of(self.name).await?;
        if !self.schema.is_empty() {
            db.register(self.name, &ctx.health);
        }
        Ok(Parts { ctx: ctx.clone(), outbox: Outbox::new(ctx, &db), db })
    }
}
