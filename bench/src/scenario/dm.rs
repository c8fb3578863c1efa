//! Latency at a fixed rate.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{Outcome, at_rate, notes, pairs};
use crate::cli;
use crate::figures::{CpuFigures, Figures};
use crate::ground::Ground;
use crate::pacer;
use crate::people::Town;
use crate::proc::Cpu;
use crate::show;
use crate::stamp::Phase;

/// Before the measured phase, at the same rate.
const WARM_UP: Duration = Duration::from_secs(3);

/// Every device in turn writes to its neighbour, `rate` times a second over all of them.
pub async fn run(ground: &Ground, town: &Town, conns: usize, rate: u32, phase: &cli::Phase) -> Result<Outcome> {
    let (crowd, people) = pairs(town, conns, phase.size).await?;
    let ledger = crowd.ledger.clone();
    pacer::pace(crowd.commands(), ledger.clone(), Phase::WarmUp, rate, ledger.now_us(), WARM_UP).await?;
    crowd.settle(Phase::WarmUp, "warming up", true).await?;
    crowd.check_warm(true)?;

    let lasts = Duration::from_secs(phase.secs);
    let watch = show::watch(ledger.clone(), u64::from(rate) * phase.secs);
    let before = Cpu::now();
    let from_us = ledger.begin();
    pacer::pace(crowd.commands(), ledger.clone(), Phase::Measured, rate, from_us, lasts).await?;
    // the last messages are on their way, and acknowledgements are gathered for a moment
    sleep(Duration::from_millis(200)).await;
    let cpu = Cpu::now().since(before);
    watch.stop().await;
    crowd.settle(Phase::Measured, "waiting for the last", true).await?;

    let counts = ledger.counts().clone();
    crowd.leave().await;
    let mut notes = notes(&counts);
    notes.push(("generator late by", show::quantiles(&counts.late)));
    let figures = Figures {
        cpu_ms_per_1000: CpuFigures::new(cpu, counts.delivered[Phase::Measured as usize], ground.is_ours()),
        ..at_rate("dm", &counts, people.len(), rate, phase)
    };
    Ok(Outcome { figures, notes, latency: Some(counts.latency), seconds: counts.seconds })
}
