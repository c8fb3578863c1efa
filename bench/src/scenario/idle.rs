//! What an idle socket costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use nepto_testkit::resident_bytes;
use tokio::time::sleep;

use super::Outcome;
use crate::crowd::{Crowd, Participant};
use crate::figures::{self, Figures, round};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::people::Town;
use crate::proc::{Cpu, Group};
use crate::show;

/// Sockets that are open before memory is looked at: the first ones also pay for what all share.
const FIRST: usize = 64;
/// From the last socket until memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);

/// Opens the sockets and leaves them alone.
pub async fn run(ground: &Ground, town: &Town, conns: usize, secs: u64) -> Result<Outcome> {
    ground.has_room_for(conns)?;
    let people = town.settle(conns.max(2)).await?;
    let participants: Vec<Participant<'_>> = people.iter().map(|person| (person, None)).collect();
    let (first, rest) = participants.split_at(FIRST.min(participants.len() / 2));
    let ledger = Arc::new(Ledger::open()?);
    let mut crowd = Crowd::new(town, ledger.clone());
    crowd.connect(town, first, 0).await?;
    sleep(SETTLE).await;
    let before = Memory::now(ground);
    crowd.connect(town, rest, 0).await?;
    sleep(SETTLE).await;
    let settled = Memory::now(ground);
    let cpu = Cpu::now();
    let bar = show::progress("idle", secs);
    for _ in 0..secs {
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let cpu = Cpu::now().since(cpu);
    let after = Memory::now(ground);
    let held = crowd.len();
    crowd.leave().await;
    let counts = ledger.counts();
    if counts.broken > 0 {
        bail!("{} sockets broke: {}", counts.broken, counts.complaint.as_deref().unwrap_or("nobody said why"));
    }

    let growth = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
    let each = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / rest.len().max(1) as f64);
    let text = |bytes: Option<u64>| {
        each(bytes).map_or_else(|| "?".to_owned(), |bytes| format!("{:.1} KB a socket", bytes / 1_000.0))
    };
    let percent = |ms: u64| ms as f64 / (secs.max(1) as f64 * 10.0);
    let figures = Figures {
        scenario: "idle",
        commit: figures::commit(),
        conns: held as u64,
        rss_bytes_per_socket: each(growth(after.gateway, before.gateway)).map(round),
        ..Figures::default()
    };
    let notes = vec![
        ("gateway, settled", text(growth(settled.gateway, before.gateway))),
        ("gateway, after idling", text(growth(after.gateway, before.gateway))),
        ("NATS grew by", text(growth(after.nats, before.nats))),
        ("Redis grew by", text(growth(after.redis, before.redis))),
        (
            "CPU while idle",
            format!(
                "server {:.1} %, NATS {:.1} %, Redis {:.1} %, load {:.1} % of a core",
                percent(cpu.server),
                percent(cpu.nats),
                percent(cpu.redis),
                percent(cpu.load)
            ),
        ),
    ];
    Ok(Outcome { figures, notes, latency: None, seconds: Vec::new() })
}

/// Resident memory in bytes; `None`: no such process.
struct Memory {
    gateway: Option<u64>,
    nats: Option<u64>,
    redis: Option<u64>,
}

impl Memory {
    fn now(ground: &Ground) -> Self {
        Self {
            gateway: ground.gateway_pid().and_then(resident_bytes),
            nats: ground.rss_of(Group::Nats),
            redis: ground.rss_of(Group::Redis),
        }
    }
}
