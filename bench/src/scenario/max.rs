//! The most messages a second.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{Outcome, figures, notes, pairs, with_latency};
use crate::cli;
use crate::device::{Command, Loop};
use crate::figures::{CpuFigures, Figures, round};
use crate::ground::Ground;
use crate::people::Town;
use crate::proc::Cpu;
use crate::show;
use crate::stamp::Phase;

/// The same load before the measured phase.
const WARM_UP: Duration = Duration::from_secs(3);

/// Every device writes to its neighbour and always has `window` messages under way.
pub async fn run(ground: &Ground, town: &Town, conns: usize, window: u32, phase: &cli::Phase) -> Result<Outcome> {
    let (crowd, people) = pairs(town, conns, phase.size).await?;
    let ledger = crowd.ledger.clone();
    let until = |lasts: Duration| ledger.now_us() + lasts.as_micros() as u64;
    let all = |phase: Phase, until_us: u64| Command::Loop(Loop { phase, window, count: u32::MAX, until_us });
    crowd.command(people.len(), all(Phase::WarmUp, until(WARM_UP)));
    sleep(WARM_UP).await;
    crowd.settle(Phase::WarmUp, "warming up", true).await?;
    crowd.check_warm(true)?;

    let lasts = Duration::from_secs(phase.secs);
    let watch = show::watch(ledger.clone(), 0);
    let before = Cpu::now();
    ledger.begin();
    crowd.command(people.len(), all(Phase::Measured, until(lasts)));
    sleep(lasts).await;
    let cpu = Cpu::now().since(before);
    let delivered = ledger.counts().delivered[Phase::Measured as usize];
    watch.stop().await;
    crowd.settle(Phase::Measured, "waiting for the last", true).await?;

    let counts = ledger.counts().clone();
    crowd.leave().await;
    let figures = Figures {
        conns: people.len() as u64,
        size: Some(phase.size as u64),
        delivered_per_s: Some(round(counts.delivered_within(phase.secs) as f64 / phase.secs.max(1) as f64)),
        cpu_ms_per_1000: CpuFigures::new(cpu, delivered, ground.is_ours()),
        ..with_latency(figures("max", &counts), &counts)
    };
    let mut notes = notes(&counts);
    notes.push(("window", window.to_string()));
    Ok(Outcome { figures, notes, latency: Some(counts.latency), seconds: counts.seconds })
}
