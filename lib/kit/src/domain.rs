//! What a domain gives to the roles.

use utoipa_axum::router::OpenApiRouter;

use crate::Ctx;
use crate::consumer::Consumer;
use crate::db::{Db, Migration};
use crate::job::Job;
use crate::service::Service;

/// What a domain's parts are made from.
#[derive(Clone)]
pub struct Parts {
    /// The process.
    pub ctx: Ctx,
    /// The domain's own database.
    pub db: Db,
}

/// A domain, by its facets. Each role mounts one facet of every domain.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its name: the database, the Redis prefix, the subject token, the `--domains` argument.
    pub name: &'static str,
    /// Its tables.
    pub schema: &'static [Migration],
    /// Its HTTP API.
    pub routes: fn(&Parts) -> OpenApiRouter,
    /// What it answers to other domains.
    pub services: fn(&Parts) -> Vec<Service>,
    /// Its queue workers.
    pub consumers: fn(&Parts) -> Vec<Consumer>,
    /// Its background jobs.
    pub jobs: fn(&Parts) -> Vec<Job>,
}

impl Domain {
    /// Opens the domain's database and applies its schema.
    pub async fn parts(&self, ctx: &Ctx) -> anyhow::Result<Parts> {
        let databases = ctx.databases.as_ref().ok_or_else(|| anyhow::anyhow!("this role runs without a database"))?;
        Ok(Parts { ctx: ctx.clone(), db: databases.of(self.name).await? })
    }
}
