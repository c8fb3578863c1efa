//! The scenarios, and what each of them yields.

mod dm;
mod idle;
mod max;
mod offline;
mod outages;
mod siege;

use std::sync::Arc;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::cli::{self, Cli, Scenario};
use crate::crowd::Crowd;
use crate::figures::{self, Figures};
use crate::ground::Ground;
use crate::ledger::{Counts, Ledger};
use crate::people::{Person, Town};
use crate::show;

/// What a run yields.
pub struct Outcome {
    /// For the file.
    pub figures: Figures,
    /// For people: what the file has no name for.
    pub notes: Vec<(&'static str, String)>,
    /// From the intended time to arrival, microseconds.
    pub latency: Option<Histogram<u64>>,
    /// Arrivals in each second.
    pub seconds: Vec<u64>,
}

impl Outcome {
    /// Everything arrived, and once.
    pub fn is_clean(&self) -> bool {
        self.figures.lost.unwrap_or(0) == 0 && self.figures.duplicated.unwrap_or(0) == 0
    }
}

/// Runs the scenario that was asked for.
pub async fn run(cli: &Cli, ground: &Ground) -> Result<Outcome> {
    let town = Town::find(&ground.url).await?;
    match &cli.scenario {
        Scenario::Dm { conns, rate, phase, .. } => dm::run(ground, &town, *conns, *rate, phase).await,
        Scenario::Outages { conns, rate, phase, .. } => outages::run(ground, &town, *conns, *rate, phase).await,
        Scenario::Max { conns, window, phase, .. } => max::run(ground, &town, *conns, *window, phase).await,
        Scenario::Idle { conns, secs, .. } => idle::run(ground, &town, *conns, *secs).await,
        Scenario::Offline { count, size, devices, window, .. } => {
            let plan = offline::Plan { count: *count, size: *size, devices: *devices, window: *window };
            offline::run(ground, &town, &plan).await
        }
        Scenario::Siege { secs, floods, .. } => siege::run(ground, &town, *secs, floods).await,
        Scenario::Chain(_) | Scenario::Growth(_) => anyhow::bail!("it has no messages"),
    }
}

/// Pairs of people who accepted each other, all connected, everything warm.
async fn pairs(town: &Town, conns: usize, size: usize) -> Result<(Crowd, Vec<Person>)> {
    let people = town.settle(conns.max(2).next_multiple_of(2)).await?;
    town.introduce(&people).await?;
    let mut crowd = Crowd::new(town, Arc::new(Ledger::open()?));
    let places: Vec<_> = (0..people.len()).map(|index| (&people[index], Some(&people[index ^ 1]))).collect();
    crowd.connect(town, &places, size).await?;
    crowd.greet(people.len(), true).await?;
    Ok((crowd, people))
}

/// Figures that every scenario with messages has.
fn figures(scenario: &'static str, counts: &Counts) -> Figures {
    let [_, sent] = counts.sent;
    let [_, delivered] = counts.delivered;
    Figures {
        scenario,
        commit: figures::commit(),
        sent: Some(sent),
        delivered: Some(delivered),
        lost: Some(counts.lost()),
        duplicated: Some(counts.duplicated),
        ..Figures::default()
    }
}

/// The same with latencies.
fn with_latency(figures: Figures, counts: &Counts) -> Figures {
    let quantile = |q: f64| Some(figures::round(counts.latency.value_at_quantile(q) as f64 / 1_000.0));
    Figures { p50_ms: quantile(0.5), p95_ms: quantile(0.95), p99_ms: quantile(0.99), max_ms: quantile(1.0), ..figures }
}

/// The same of `conns` devices that wrote `rate` messages a second over all of them.
fn at_rate(scenario: &'static str, counts: &Counts, conns: usize, rate: u32, phase: &cli::Phase) -> Figures {
    let delivered_per_s = counts.delivered_within(phase.secs) as f64 / phase.secs.max(1) as f64;
    Figures {
        conns: conns as u64,
        rate: Some(f64::from(rate)),
        size: Some(phase.size as u64),
        delivered_per_s: Some(figures::round(delivered_per_s)),
        ..with_latency(figures(scenario, counts), counts)
    }
}

/// What went wrong, and how long `stored` took.
fn notes(counts: &Counts) -> Vec<(&'static str, String)> {
    let mut notes = vec![("until stored", show::quantiles(&counts.to_stored))];
    if counts.refused > 0 {
        notes.push(("refused", counts.refused.to_string()));
    }
    if counts.broken > 0 {
        notes.push(("sockets that broke", counts.broken.to_string()));
    }
    if let Some(complaint) = &counts.complaint {
        notes.push(("because", complaint.clone()));
    }
    notes
}
