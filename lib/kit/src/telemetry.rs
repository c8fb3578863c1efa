//! Logs, metrics and traces of a process. Nothing here or anywhere logs a token, a key, an address book or a message body.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use metrics_exporter_prometheus::PrometheusHandle;

use crate::Ctx;
use crate::config::{Log, LogFormat};
use crate::metric::{Kind, Metric, OWN};
use crate::traces::{self, Exporter};

/// Starts logging to standard error, collecting metrics, and tracing if there is something to send traces with. Call it once,
/// first. `declared` are the metrics of all domains.
pub fn start(
    log: &Log,
    exporter: Option<&Exporter>,
    role: &'static str,
    declared: &[Metric],
) -> anyhow::Result<PrometheusHandle> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr.with_max_level(tracing::Level::TRACE));
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let spans = exporter.map(|exporter| {
        // what is logged, and how much of it, changes nothing about traces, and no line of the log gets into them
        let traced = filter_fn(|metadata| metadata.is_span() && traces::SPANS.contains(&metadata.name()));
        tracing_opentelemetry::layer()
            .with_tracer(exporter.tracer())
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(traced.with_max_level_hint(LevelFilter::INFO))
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging can't start: {error}"))?;
    let mut recorder = PrometheusBuilder::new();
    for metric in OWN.iter().chain(declared) {
        if let Kind::Histogram(buckets) = metric.kind {
            recorder = recorder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let prometheus = recorder.install_recorder()?;
    OWN.iter().chain(declared).for_each(Metric::describe);
    metrics::gauge!("nepto_build_info", "version" => env!("CARGO_PKG_VERSION"), "role" => role).set(1.0);
    Ok(prometheus)
}

/// Sums up samples in their buckets, which otherwise only a visit to `/metrics` does: without one they would pile up. Says what
/// `/readyz` says, for alerts.
pub async fn keep_up(ctx: Ctx, prometheus: PrometheusHandle) -> anyhow::Result<()> {
    let (mut due, mut look) = (tokio::time::interval(UPKEEP_EVERY), tokio::time::interval(READY_EVERY));
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            _ = due.tick() => prometheus.run_upkeep(),
            _ = look.tick() => {
                for check in ctx.health.readiness().await.checks {
                    let passes = f64::from(u8::from(check.error.is_none()));
                    metrics::gauge!("nepto_ready", "check" => check.name).set(passes);
                }
            }
        }
    }
}

/// Between two sums.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the checks, each of which writes to everything that a process needs.
const READY_EVERY: Duration = Duration::from_secs(15);
