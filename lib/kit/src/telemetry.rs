//! Logs and metrics of a process. Nothing here or anywhere logs a token, a key, an address book or a message body.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

pub use metrics_exporter_prometheus::PrometheusHandle;

use crate::Ctx;
use crate::config::{Log, LogFormat};

/// Starts logging to standard error and collecting metrics. Call it once, first.
pub fn start(log: &Log) -> anyhow::Result<PrometheusHandle> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr.with_max_level(tracing::Level::TRACE));
    match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logging can't start: {error}"))?;
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), LATENCY_SECONDS)?
        .install_recorder()?;
    Ok(metrics)
}

/// Sums up samples in their buckets, which otherwise only a visit to `/metrics` does: without one they would pile up.
pub async fn keep_up(ctx: Ctx, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let mut due = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            _ = due.tick() => metrics.run_upkeep(),
        }
    }
}

/// Bucket bounds of every latency: from a tenth of a millisecond to ten seconds.
const LATENCY_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
