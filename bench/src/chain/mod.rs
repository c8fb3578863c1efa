//! `chain`: how fast events become holdings, from an anvil of its own to the last balance; how long a reorganization takes, and the answer to a webhook; and
//! the same events through another indexer, in the same run.

mod hooks;
mod peer;
pub mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use nepto_proto::subject::CHAIN_STREAM;
use nepto_sdk::Env;
use nepto_testkit::{Stack, WatchedChain};
use serde::Serialize;

use tokio::time::Instant;

use crate::figures::{self, round};
use crate::proc::Cpu;
use crate::show;
use world::World;

/// Blocks that the peer does not count as final, and a few more.
const PEER_HOLDS_BACK: u64 = 40;
/// Longer than the collector ever takes.
const PAUSED_FOR: Duration = Duration::from_secs(3_600);

/// What to measure.
#[derive(Args)]
pub struct ChainArgs {
    /// ERC-20 transfers that are mined, and then collected
    #[arg(long, default_value_t = 50_000)]
    events: u64,
    /// Distinct holders, of whom a few are in most transfers
    #[arg(long, default_value_t = 5_000)]
    holders: usize,
    /// Transfers of one transaction, which is a block
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=400))]
    per_block: u64,
    /// Also let Ponder (bench/peers/ponder) index the same chain
    #[arg(long)]
    peer: bool,
    /// Repeat, and print the median of each figure
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured. The names are those of the file.
#[derive(Debug, Clone, Default, Serialize)]
struct ChainFigures {
    scenario: &'static str,
    commit: Option<String>,
    /// Transfers that were logged.
    events: u64,
    /// Blocks that hold them.
    blocks: u64,
    /// From the start of the server's process until every event was taken.
    backfill_s: f64,
    backfill_events_per_s: f64,
    /// From what the collector has to holdings: decoded, folded, committed.
    sink_events_per_s: f64,
    /// CPU time for a thousand events of the backfill.
    server_cpu_ms_per_1000: f64,
    nats_cpu_ms_per_1000: f64,
    /// From a reorganization of 64 blocks until everything is as the new blocks say.
    reorg_events: u64,
    reorg_ms: f64,
    hooks: hooks::HookFigures,
    peer: Option<peer::PeerFigures>,
}

/// Runs as often as asked for, and prints medians.
pub async fn run(args: &ChainArgs) -> Result<()> {
    let mut runs = Vec::new();
    for number in 1..=args.runs.max(1) {
        let figures = once(args).await?;
        print(&figures, &format!("run {number}"));
        runs.push(figures);
    }
    let median = median(&runs).context("nothing was measured")?;
    if runs.len() > 1 {
        print(&median, &format!("median of {} runs", runs.len()));
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&median)?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

async fn once(args: &ChainArgs) -> Result<ChainFigures> {
    let world = World::with_transfers(args.events, args.holders, args.per_block).await?;
    let mut figures = ChainFigures {
        scenario: "chain",
        commit: figures::commit(),
        events: world.events,
        blocks: world.blocks,
        ..ChainFigures::default()
    };
    backfill(&world, &mut figures).await?;
    sink(&world, &mut figures).await?;
    figures.hooks = hooks::measure(&world).await?;
    if args.peer {
        // it holds back what the newest blocks hold
        world.anvil.mine(PEER_HOLDS_BACK).await?;
        figures.peer = Some(peer::measure(&world).await?);
    }
    reorg(&mut figures).await?;
    Ok(figures)
}

fn as_shipped(chain: &WatchedChain) -> nepto_testkit::Builder {
    Stack::as_shipped().unlimited().set("log.filter", "warn").chain(chain)
}

/// Everything at once, as a self-hoster has it: `nepto-server all` beside NATS, Redis and the node.
async fn backfill(world: &World, figures: &mut ChainFigures) -> Result<()> {
    let (started, cpu) = (Instant::now(), Cpu::now());
    let stack = as_shipped(&world.chain()).all().await?;
    world.until_taken(&stack.api, "backfill").await?;
    let took = started.elapsed();
    let cpu = Cpu::now().since(cpu);
    figures.backfill_s = round(took.as_secs_f64());
    figures.backfill_events_per_s = (world.events as f64 / took.as_secs_f64()).round();
    let per_1000 = |ms: u64| round(ms as f64 * 1_000.0 / world.events as f64);
    (figures.server_cpu_ms_per_1000, figures.nats_cpu_ms_per_1000) = (per_1000(cpu.server), per_1000(cpu.nats));
    Ok(())
}

/// The pipeline is paused until the collector has everything; then it begins.
async fn sink(world: &World, figures: &mut ChainFigures) -> Result<()> {
    let stack = as_shipped(&world.chain()).all().await?;
    let jetstream = stack.nats.jetstream().await?;
    let stream = jetstream.get_stream(CHAIN_STREAM).await?;
    let pipeline = format!("erc20-{}", world.anvil.chain_id());
    stream.pause_consumer(&pipeline, Env::system().date_time() + PAUSED_FOR).await?;
    world.until_collected(&stack.api).await?;
    let before = world.taken(&stack.api).await?;
    let started = Instant::now();
    stream.resume_consumer(&pipeline).await?;
    world.until_taken(&stack.api, "sink").await?;
    figures.sink_events_per_s = ((world.events - before) as f64 / started.elapsed().as_secs_f64()).round();
    Ok(())
}

/// 64 blocks with a thousand events are replaced by others with the same events.
async fn reorg(figures: &mut ChainFigures) -> Result<()> {
    const BLOCKS: u64 = 64;
    let world = World::with_transfers(BLOCKS * 16, 500, 15).await?;
    let stack = as_shipped(&world.chain()).all().await?;
    world.until_taken(&stack.api, "before the fork").await?;
    let again = world.transactions_of_last(BLOCKS).await?;
    world.anvil.reorg(BLOCKS, again).await?;
    let replaced = Instant::now();
    world.anvil.mine(1).await?;
    world.until_settled(&stack.api).await?;
    figures.reorg_ms = round(replaced.elapsed().as_secs_f64() * 1_000.0);
    figures.reorg_events = BLOCKS * 16;
    Ok(())
}

fn print(figures: &ChainFigures, what: &str) {
    let commit = figures.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {commit}"));
    println!("\nchain ({what}{commit})");
    let line = |name: &str, value: String| println!("  {name:<24} {value}");
    line("events", format!("{} in {} blocks", figures.events, figures.blocks));
    line("backfill, end to end", format!("{:.2} s, {:.0} events/s", figures.backfill_s, figures.backfill_events_per_s));
    line("sink", format!("{:.0} events/s", figures.sink_events_per_s));
    line(
        "CPU for 1,000 events",
        format!("server {:.1} ms, NATS {:.1} ms", figures.server_cpu_ms_per_1000, figures.nats_cpu_ms_per_1000),
    );
    if let Some(peer) = &figures.peer {
        let ratio = figures.backfill_events_per_s / peer.events_per_second.max(f64::MIN_POSITIVE);
        line(&peer.peer, format!("{:.2} s, {:.0} events/s: 1/{ratio:.1}", peer.seconds, peer.events_per_second));
    }
    let hooks = &figures.hooks;
    line(
        "answer to a webhook",
        format!(
            "p50 {:.1}, p99 {:.1}, at most {:.1} ms of {}",
            hooks.p50_ms, hooks.p99_ms, hooks.max_ms, hooks.deliveries
        ),
    );
    line("reorg of 64 blocks", format!("{:.0} ms for {} events", figures.reorg_ms, figures.reorg_events));
}

fn median(runs: &[ChainFigures]) -> Option<ChainFigures> {
    let of = |get: fn(&ChainFigures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        values.get((values.len() - 1) / 2).copied().unwrap_or_default()
    };
    let first = runs.first()?.clone();
    let mut peers: Vec<&peer::PeerFigures> = runs.iter().filter_map(|run| run.peer.as_ref()).collect();
    peers.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Some(ChainFigures {
        backfill_s: of(|run| run.backfill_s),
        backfill_events_per_s: of(|run| run.backfill_events_per_s),
        sink_events_per_s: of(|run| run.sink_events_per_s),
        server_cpu_ms_per_1000: of(|run| run.server_cpu_ms_per_1000),
        nats_cpu_ms_per_1000: of(|run| run.nats_cpu_ms_per_1000),
        reorg_ms: of(|run| run.reorg_ms),
        hooks: hooks::HookFigures {
            deliveries: first.hooks.deliveries,
            p50_ms: of(|run| run.hooks.p50_ms),
            p99_ms: of(|run| run.hooks.p99_ms),
            max_ms: of(|run| run.hooks.max_ms),
        },
        peer: peers.get(peers.len().saturating_sub(1) / 2).map(|peer| (*peer).clone()),
        ..first
    })
}

/// Progress of something that is looked at again and again.
fn bar(what: &'static str, length: u64) -> indicatif::ProgressBar {
    let bar = show::progress(what, length);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
