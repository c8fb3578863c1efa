//! The life of a process: start, run, stop in order.

use std::time::Duration;

use nepto_kit::{Config, Ctx, http, job, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::facets::{self, Only};
use crate::{Role, backfill, open_files, provision};

/// Runs a role until it is told to stop or a part of it fails.
pub fn run(role: Role, config: Config) -> anyhow::Result<()> {
    let metrics = telemetry::start(&config.log)?;
    surrealdb_server::tls::install_default_crypto_provider()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // SurrealDB's parser and executor recurse deeply
        .thread_stack_size(10 * 1024 * 1024)
        .build()?;
    runtime.block_on(async move {
        if matches!(role, Role::All | Role::Provision { .. }) {
            provision::keys(&config)?;
        }
        if matches!(role, Role::CheckConfig) {
            println!("the configuration is valid");
            return Ok(());
        }
        if role.is_public() {
            open_files::check(&config)?;
        }
        let with_database = !matches!(role, Role::Gateway);
        let ctx = Ctx::connect(config, with_database).await?;
        let span = tracing::info_span!("node", node = %ctx.node);
        let _entered = span.enter();
        match role {
            Role::All | Role::Provision { .. } => {
                provision::stores(&ctx, matches!(role, Role::Provision { restored: true })).await?;
            }
            _ if with_database => provision::check(&ctx).await?,
            _ => {}
        }
        if let Role::Watcher { backfill: Some(range), chain } = &role {
            return backfill::run(&ctx, *chain, range).await;
        }
        if let Role::ForgetChain { chain } = role {
            let rows = nepto_domains::forget_chain(&ctx, chain).await?;
            println!("Forgot {rows} rows of chain {chain}. The next start reads it from the beginning.");
            return Ok(());
        }
        let mut running = Running::default();
        let domains = nepto_domains::all().iter().map(|domain| domain.name).collect();
        let operators = start(&role, &ctx, &mut running).await?.merge(job::routes(&ctx, domains));
        if matches!(role, Role::Provision { .. }) {
            return Ok(());
        }
        running.start("metrics".to_owned(), telemetry::keep_up(ctx.clone(), metrics.clone()));
        let (admin_ctx, admin) = (ctx.clone(), http::admin(&ctx, metrics, operators));
        running.start("admin listener".to_owned(), async move {
            let address = admin_ctx.config.admin.listen;
            http::serve(&admin_ctx, "admin listener", address, http::Door::operators(), admin).await
        });
        let ended = running.until_stop(&ctx).await;
        stop(&ctx, running).await;
        ended
    })
}

/// Starts the parts of a role, and returns the routes of the operator's listener.
async fn start(role: &Role, ctx: &Ctx, running: &mut Running) -> anyhow::Result<axum::Router> {
    let mut admin = axum::Router::new();
    match role {
        Role::All => {
            let routes = facets::api(ctx, running, Only(&[])).await?;
            facets::workers(ctx, running, Only(&[])).await?;
            facets::jobs(ctx, running).await?;
            // its routes are those of the API
            drop(facets::watchers(ctx, running).await?);
            let sockets = facets::gateway(ctx, running).await?;
            facets::listen(ctx, running, routes.public.merge(sockets));
            admin = routes.admin;
        }
        Role::Api { domains } => {
            let routes = facets::api(ctx, running, Only(domains)).await?;
            facets::listen(ctx, running, routes.public);
            admin = routes.admin;
        }
        Role::Gateway => {
            let sockets = facets::gateway(ctx, running).await?;
            facets::listen(ctx, running, sockets);
        }
        Role::Worker { queues } => facets::workers(ctx, running, Only(queues)).await?,
        Role::Watcher { .. } => admin = facets::watchers(ctx, running).await?,
        Role::Cron => facets::jobs(ctx, running).await?,
        Role::Provision { .. } | Role::ForgetChain { .. } | Role::CheckConfig | Role::Database { .. } => {}
    }
    Ok(admin)
}

/// The parts of a process, each of which must run for as long as the process does.
#[derive(Default)]
pub struct Running(JoinSet<(String, anyhow::Result<()>)>);

impl Running {
    /// Starts a part.
    pub fn start(&mut self, name: String, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.0.spawn(async move { (name, part.await) });
    }

    /// Waits for SIGTERM or SIGINT, or for a part that ends although it should not.
    async fn until_stop(&mut self, ctx: &Ctx) -> anyhow::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tracing::info!("running");
        let ended = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(ended) = self.0.join_next() => match ended {
                Ok((name, Ok(()))) => Err(anyhow::anyhow!("{name} ended by itself")),
                Ok((name, Err(error))) => Err(error.context(name)),
                Err(panic) => Err(panic.into()),
            },
        };
        tracing::info!("stopping");
        ctx.stop.cancel();
        ended
    }
}

/// Lets everything finish what it began, for as long as the configuration allows.
async fn stop(ctx: &Ctx, mut running: Running) {
    ctx.tasks.close();
    let finish = async {
        while running.0.join_next().await.is_some() {}
        ctx.tasks.wait().await;
        // the last answers must be written before the connection closes
        let flushed = ctx.nats.flush().await.map_err(anyhow::Error::from);
        if let Err(error) = flushed.and(ctx.nats.drain().await.map_err(anyhow::Error::from)) {
            tracing::debug!(%error, "the connection to NATS was gone already");
        }
    };
    if tokio::time::timeout(Duration::from_millis(ctx.config.node.drain_ms), finish).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    tracing::info!("stopped");
}
