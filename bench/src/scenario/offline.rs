//! Messages for devices that are away.

use std::sync::Arc;

use anyhow::Result;

use super::{Outcome, figures, notes};
use crate::crowd::{Crowd, Participant};
use crate::device::{Command, Loop};
use crate::figures::{CpuFigures, Figures, round};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::people::Town;
use crate::proc::Cpu;
use crate::show;
use crate::stamp::Phase;

/// What is stored for whom.
pub struct Plan {
    /// Messages in all.
    pub count: u32,
    /// Bytes of a ciphertext.
    pub size: usize,
    /// Devices that are away, and as many that write to them.
    pub devices: usize,
    /// Messages of one sender that may wait for `stored`.
    pub window: u32,
}

/// Half of the people write to the other half, who come later.
pub async fn run(ground: &Ground, town: &Town, plan: &Plan) -> Result<Outcome> {
    let devices = plan.devices.max(1);
    let people = town.settle(2 * devices).await?;
    town.introduce(&people).await?;
    let pairs = || people.chunks_exact(2);
    let writers: Vec<Participant<'_>> = pairs().map(|pair| (&pair[0], Some(&pair[1]))).collect();
    let readers: Vec<Participant<'_>> = pairs().map(|pair| (&pair[1], None)).collect();
    let ledger = Arc::new(Ledger::open()?);
    let mut crowd = Crowd::new(town, ledger.clone());
    crowd.connect(town, &writers, plan.size).await?;
    crowd.greet(devices, false).await?;

    let before = Cpu::now();
    let storing_us = ledger.now_us();
    let count = plan.count.div_ceil(devices as u32);
    let all = Loop { phase: Phase::Measured, window: plan.window, count, until_us: u64::MAX };
    crowd.command(devices, Command::Loop(all));
    crowd.settle(Phase::Measured, "storing", false).await?;
    let storing = Cpu::now().since(before);
    let stored = ledger.counts().clone();
    let stored_in_s = seconds(stored.last_stored_us, storing_us);
    let stored_count = stored.stored[Phase::Measured as usize];

    let before = Cpu::now();
    let draining_us = ledger.begin();
    let watch = show::watch(ledger.clone(), stored.sent[Phase::Measured as usize]);
    crowd.connect(town, &readers, plan.size).await?;
    watch.stop().await;
    crowd.settle(Phase::Measured, "fetching", true).await?;
    let draining = Cpu::now().since(before);
    let counts = ledger.counts().clone();
    crowd.leave().await;

    let delivered = counts.delivered[Phase::Measured as usize];
    let drained_in_s = seconds(counts.last_delivery_us, draining_us);
    let cpu = |cpu: Cpu| {
        let each = CpuFigures::new(cpu, delivered, ground.is_ours());
        let text = |ms: Option<f64>| ms.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0}"));
        let (server, nats, redis, load) = (text(each.server), text(each.nats), text(each.redis), text(each.load));
        format!("server {server}, NATS {nats}, Redis {redis}, load {load} ms for 1,000")
    };
    let mut notes = notes(&counts);
    notes.push(("stored a second", format!("{:.0}", stored_count as f64 / stored_in_s)));
    notes.push(("fetched a second", format!("{:.0}", delivered as f64 / drained_in_s)));
    notes.push(("CPU of storing", cpu(storing)));
    notes.push(("CPU of fetching", cpu(draining)));
    let figures = Figures {
        conns: people.len() as u64,
        size: Some(plan.size as u64),
        delivered_per_s: Some(round(delivered as f64 / drained_in_s)),
        cpu_ms_per_1000: CpuFigures::new(storing.plus(draining), delivered, ground.is_ours()),
        ..figures("offline", &counts)
    };
    Ok(Outcome { figures, notes, latency: None, seconds: counts.seconds })
}

fn seconds(end_us: u64, begin_us: u64) -> f64 {
    (end_us.saturating_sub(begin_us).max(1)) as f64 / 1_000_000.0
}
