//! The life of a process: start, run, stop in order.
//!
//! It stops from outside to inside: the public door closes, and whoever is inside is answered and sent elsewhere, while all that an
//! answer may need still runs here. Then services, consumers, jobs and relays finish what they began, and connections are closed.

use std::path::Path;
use std::time::Duration;

use nepto_kit::config::{Log, LogFormat};
use nepto_kit::telemetry::{self, PrometheusHandle};
use nepto_kit::traces::Exporter;
use nepto_kit::{Config, Ctx, http, job, roll_call, seal, stream_levels};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::facets::Facets;
use crate::{Role, backfill, backup, databases, open_files, provision, service_manager};

/// Of the time that a process has to stop, requests and sockets may take so much. Of the five seconds by default that is more than a
/// call to another service may take, and what is behind them has a second left.
const VISITS_SHARE: f64 = 0.75;

/// Runs a role until it is told to stop or a part of it fails. `file` is where the configuration was read from.
pub fn run(role: Role, config: Config, file: Option<&Path>) -> anyhow::Result<()> {
    surrealdb_server::tls::install_default_crypto_provider()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // SurrealDB's parser and executor recurse deeply
        .thread_stack_size(10 * 1024 * 1024)
        .build()?;
    let in_runtime = runtime.enter();
    let exporter = Exporter::new(&config.traces, role.name(), &config.node.name)?;
    drop(in_runtime);
    let metrics =
        telemetry::start(&logged(&role, &config.log), exporter.as_ref(), role.name(), &nepto_domains::metrics())?;
    if let Role::CheckConfig = role {
        println!("the configuration is valid");
        return Ok(());
    }
    let ended = runtime.block_on(async move {
        // these need no context: what that would connect to may not be there
        match &role {
            Role::DatabaseUsers(users) => return users.make(&config).await,
            Role::MoveDatabase { domain, from } => return databases::move_one(&config, domain, from.as_deref()).await,
            Role::Backup(arguments) => return backup::run(&config, file, arguments).await,
            Role::Restore(arguments) => return backup::restore::run(&config, arguments).await,
            _ => {}
        }
        let (facets, domains) = (role.facets(), role.domains());
        facets.check()?;
        if let Role::All | Role::Provision { .. } = role {
            provision::keys(&config)?;
        }
        if facets.listens() {
            open_files::check(&config)?;
        }
        let with_database = domains.iter().any(|domain| domain.needs_database(facets.jobs));
        let ctx = Ctx::connect(config, with_database).await?;
        let span = tracing::info_span!("node", node = %ctx.node);
        let _entered = span.enter();
        match role {
            Role::All => provision::stores(&ctx, &domains, false).await?,
            Role::Provision { restored } => provision::stores(&ctx, &domains, restored).await?,
            _ => provision::check(&ctx, &domains, facets.jobs).await?,
        }
        match &role {
            Role::Provision { .. } => Ok(()),
            Role::ForgetChain { chain } => forget_chain(&ctx, *chain).await,
            Role::Watcher { backfill: Some(range), chain } => backfill::run(&ctx, *chain, range).await,
            _ => serve(&ctx, role.name(), &facets, metrics).await,
        }
    });
    if let Some(exporter) = exporter {
        exporter.end();
    }
    ended
}

/// What is logged. A command says what it does by itself and returns what fails: beside that only warnings, unless the configuration
/// asks for something else, and nothing of a store that is closed while its own tasks still run.
fn logged(role: &Role, configured: &Log) -> Log {
    match role {
        Role::Backup(_) | Role::Restore(_) | Role::MoveDatabase { .. } | Role::DatabaseUsers(_)
            if configured.filter == Log::default().filter =>
        {
            Log {
                filter: "warn,nepto_server=off,surrealdb_core::kvs=off,surrealkv::lsm=error".to_owned(),
                format: LogFormat::Text,
            }
        }
        _ => configured.clone(),
    }
}

async fn forget_chain(ctx: &Ctx, chain: u64) -> anyhow::Result<()> {
    let rows = nepto_domains::forget_chain(ctx, chain).await?;
    println!("Forgot {rows} rows of chain {chain}. The next start reads it from the beginning.");
    Ok(())
}

/// Runs facets until the process is told to stop.
async fn serve(ctx: &Ctx, role: &'static str, facets: &Facets<'_>, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let mut running = Running::default();
    // before whatever goes by the clock
    ctx.clock_check.register(&ctx.health);
    let operators = facets.start(ctx, &mut running).await?.merge(job::routes(ctx, &nepto_domains::all()));
    let operators = operators.merge(seal::routes(ctx));
    running.start("roll call".to_owned(), roll_call::answer(ctx.clone(), role));
    running.start("metrics".to_owned(), telemetry::keep_up(ctx.clone(), metrics.clone()));
    if facets.jobs {
        running.start("stream levels".to_owned(), stream_levels::watch(ctx.clone()));
    }
    let (admin_ctx, admin) = (ctx.clone(), http::admin(ctx, metrics, operators));
    let listener = http::listen("admin listener", ctx.config.admin.listen)?;
    running.start("admin listener".to_owned(), async move {
        http::serve(&admin_ctx, "admin listener", listener, http::Door::operators(), admin).await
    });
    if let Some(pause) = service_manager::watchdog_pause() {
        running.start("watchdog".to_owned(), service_manager::keep_watchdog(ctx.clone(), pause));
    }
    service_manager::ready();
    let ended = running.until_stop().await;
    stop(ctx, running).await;
    ended
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
    async fn until_stop(&mut self) -> anyhow::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tracing::info!("running");
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(ended) = self.0.join_next() => match ended {
                Ok((name, Ok(()))) => Err(anyhow::anyhow!("{name} ended by itself")),
                Ok((name, Err(error))) => Err(error.context(name)),
                Err(panic) => Err(panic.into()),
            },
        }
    }
}

/// Lets everything finish what it began, for as long as the configuration allows.
async fn stop(ctx: &Ctx, mut running: Running) {
    tracing::info!("stopping");
    service_manager::stopping();
    let (drain, began) = (Duration::from_millis(ctx.config.node.drain_ms), Instant::now());
    ctx.closing.cancel();
    ctx.visits.close();
    if timeout(drain.mul_f64(VISITS_SHARE), ctx.visits.wait()).await.is_err() {
        tracing::warn!("not every request and socket ended in time");
    }
    ctx.stop.cancel();
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
    if timeout_at(began + drain, finish).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    tracing::info!("stopped");
}
