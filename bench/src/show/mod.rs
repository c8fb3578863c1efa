//! What people see: progress while it works, a table and charts after it.

mod chart;
mod progress;
mod svg;

use std::fmt::Write;

use hdrhistogram::Histogram;

pub use progress::{progress, watch};
pub use svg::svg;

use crate::figures::Figures;
use crate::scenario::Outcome;

/// Columns of a table's names.
const NAME_COLUMNS: usize = 22;

/// Prints what a run yielded.
pub fn outcome(outcome: &Outcome, run: usize) {
    let mut text = table(&outcome.figures, &format!("run {run}"));
    for (name, value) in &outcome.notes {
        line(&mut text, name, value);
    }
    if let Some(latency) = &outcome.latency {
        text += &chart::latency(latency);
    }
    text += &chart::throughput(&outcome.seconds);
    println!("{text}");
}

/// Prints the medians of several runs.
pub fn median(figures: &Figures, runs: usize) {
    println!("{}", table(figures, &format!("median of {runs} runs")));
}

fn table(figures: &Figures, what: &str) -> String {
    let commit = figures.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {commit}"));
    let mut text = format!("\n{} ({what}{commit})\n", figures.scenario);
    line(&mut text, "devices", &figures.conns.to_string());
    let whole = |value: Option<u64>| value.map(|value| value.to_string());
    let ms = |value: Option<f64>| value.map(|value| format!("{value:.2} ms"));
    let cpu = &figures.cpu_ms_per_1000;
    let rows = [
        ("asked for", figures.rate.map(|rate| format!("{rate} messages/s"))),
        ("ciphertext", figures.size.map(|size| format!("{size} bytes"))),
        ("sent", whole(figures.sent)),
        ("delivered", whole(figures.delivered)),
        ("lost", whole(figures.lost)),
        ("duplicated", whole(figures.duplicated)),
        ("delivered a second", figures.delivered_per_s.map(|rate| format!("{rate:.0}"))),
        ("latency p50", ms(figures.p50_ms)),
        ("latency p95", ms(figures.p95_ms)),
        ("latency p99", ms(figures.p99_ms)),
        ("latency max", ms(figures.max_ms)),
        ("memory of a socket", figures.rss_bytes_per_socket.map(|bytes| format!("{:.1} KB", bytes / 1_000.0))),
        ("CPU for 1,000: server", ms(cpu.server)),
        ("CPU for 1,000: NATS", ms(cpu.nats)),
        ("CPU for 1,000: Redis", ms(cpu.redis)),
        ("CPU for 1,000: load", ms(cpu.load)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            line(&mut text, name, &value);
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // writing to a string does not fail
    let _ = writeln!(text, "  {name:<NAME_COLUMNS$} {value}");
}

/// The usual quantiles of a histogram of microseconds.
pub fn quantiles(histogram: &Histogram<u64>) -> String {
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    format!("p50 {:.2}, p95 {:.2}, p99 {:.2}, max {:.2} ms", ms(0.5), ms(0.95), ms(0.99), ms(1.0))
}
