//! What must be there before a role starts. Everything here is idempotent and deletes nothing.

use nepto_domains::auth::make_token_keys;
use nepto_domains::streams;
use nepto_kit::domain::Domain;
use nepto_kit::{Config, Ctx, nats};

/// Token keys, which a context needs to start.
pub fn keys(config: &Config) -> anyhow::Result<()> {
    if let Some(file) = make_token_keys(config)? {
        tracing::info!(file = %file.display(), "token keys made");
    }
    Ok(())
}

/// Streams, consumers and schemas.
pub async fn stores(ctx: &Ctx, domains: &[Domain], restored: bool) -> anyhow::Result<()> {
    let mut databases = Vec::new();
    for domain in domains.iter().filter(|domain| domain.needs_database(true)) {
        let db = domain.database(ctx).await?;
        // all of them, before streams become those of an older version
        db.check_version().await?;
        databases.push((db, domain));
    }
    nats::provision(&ctx.jetstream, &ctx.config.nats, &streams(&ctx.config), restored).await?;
    for (db, domain) in databases {
        db.migrate(domain.schema).await.map_err(|error| error.context(domain.name))?;
    }
    tracing::info!("streams, consumers and schemas are in place");
    Ok(())
}

/// That the schemas of this version are there, for roles that make none.
pub async fn check(ctx: &Ctx, domains: &[Domain], runs_jobs: bool) -> anyhow::Result<()> {
    for domain in domains.iter().filter(|domain| domain.needs_database(runs_jobs)) {
        let migrated = domain.database(ctx).await?.is_migrated(domain.schema).await;
        anyhow::ensure!(
            migrated.map_err(|error| error.context(domain.name))?,
            "the database lacks the tables of {}; run `nepto-server provision`",
            domain.name
        );
    }
    Ok(())
}
