//! `growth`: what a few things cost with few accounts in the stores, and with a million.

mod stores;

use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use clap::Args;
use futures_util::StreamExt;
use nepto_proto::event::{Event, OwnershipChanged};
use nepto_sdk::Wallet;
use nepto_testkit::contracts::Contracts;
use nepto_testkit::{Anvil, Role, Server, Settings, Stack, WatchedChain, resident_bytes};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::chain::world::{status, taken};
use crate::figures::{self, median, round};
use crate::people::{Person, Town};
use crate::proc::Cpu;
use crate::show;

/// Accounts of the run that others are compared with.
const FEW: u64 = 1_000;
/// How often each thing is done; of the times, the median counts.
const SIGN_INS: usize = 40;
const LINKS: usize = 40;
const BLOCKS: u64 = 15;
const ANSWERS: usize = 100;
/// Transfers to wallets of accounts, in one block.
const TRANSFERS: u64 = 300;
/// Entries of a page of holders.
const PAGE: usize = 200;
/// Links that are one second apart, to see what one costs everybody.
const LINKS_APART: u64 = 10;
/// A change of an account's wallet is told in this time.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Servers rest when they use less than this share of one core, over this time.
const AT_REST: f64 = 0.25;
const LOOK_AT_REST: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Args)]
pub struct GrowthArgs {
    /// Accounts in the stores, each with a wallet, a device and a holding
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    wallets: u64,
    /// Repeat, and print the median of each figure
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured, milliseconds if nothing else is said. The names are those of the file.
#[derive(Debug, Clone, Default, Serialize)]
struct GrowthFigures {
    scenario: &'static str,
    commit: Option<String>,
    wallets: u64,
    sign_in_ms: f64,
    link_ms: f64,
    /// Until its transfers are taken.
    block_ms: f64,
    mine_ms: f64,
    holders_first_ms: f64,
    holders_last_ms: f64,
    /// CPU time of all servers while ten wallets are linked, one a second.
    ten_links_cpu_ms: f64,
    /// Resident, of the process that works the queues.
    worker_mb: f64,
}

/// A figure: what it is called, and where it stands.
type Named = (&'static str, fn(&GrowthFigures) -> f64);

const TABLE: [Named; 8] = [
    ("sign-in, ms", |figures| figures.sign_in_ms),
    ("link, ms", |figures| figures.link_ms),
    ("block of 300, ms", |figures| figures.block_ms),
    ("mine, ms", |figures| figures.mine_ms),
    ("holders, first page, ms", |figures| figures.holders_first_ms),
    ("holders, last page, ms", |figures| figures.holders_last_ms),
    ("CPU, ten links, ms", |figures| figures.ten_links_cpu_ms),
    ("worker, MB", |figures| figures.worker_mb),
];

/// With few accounts and with many, as often as asked for; prints medians side by side.
pub async fn run(args: &GrowthArgs) -> Result<()> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..args.runs.max(1) {
        few.push(once(FEW).await?);
        many.push(once(args.wallets).await?);
    }
    let (few, many) = (medians(&few)?, medians(&many)?);
    let commit = many.commit.as_deref().map_or_else(String::new, |commit| format!(" (commit {commit})"));
    println!("\ngrowth{commit}\n  {:<24} {:>12} {:>12} {:>8}", "wallets", few.wallets, many.wallets, "ratio");
    for (name, of) in TABLE {
        let ratio = of(&many) / of(&few).max(f64::MIN_POSITIVE);
        println!("  {name:<24} {:>12.2} {:>12.2} {ratio:>8.2}", of(&few), of(&many));
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&[few, many])?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

fn medians(runs: &[GrowthFigures]) -> Result<GrowthFigures> {
    let of = |of: fn(&GrowthFigures) -> f64| median(runs.iter().map(of).collect()).unwrap_or_default();
    let first = runs.first().context("nothing was measured")?.clone();
    Ok(GrowthFigures {
        sign_in_ms: of(|run| run.sign_in_ms),
        link_ms: of(|run| run.link_ms),
        block_ms: of(|run| run.block_ms),
        mine_ms: of(|run| run.mine_ms),
        holders_first_ms: of(|run| run.holders_first_ms),
        holders_last_ms: of(|run| run.holders_last_ms),
        ten_links_cpu_ms: of(|run| run.ten_links_cpu_ms),
        worker_mb: of(|run| run.worker_mb),
        ..first
    })
}

/// A process for each role, with a database that has so many accounts before anything is measured.
async fn once(wallets: u64) -> Result<GrowthFigures> {
    let anvil = Anvil::builder().hardfork("cancun").start().await?;
    let contracts = Contracts::deploy(&anvil).await?;
    let chain = WatchedChain::of(&anvil, 0)
        .set("finality", 64)
        .set("poll_ms", 100)
        .set("ws", vec![anvil.ws_url()])
        .contract("erc20", contracts.token.0, 1);
    let stack = Stack::as_shipped().unlimited().set("log.filter", "warn").set("tokens.access_ttl_s", 24 * 3_600);
    let stack = stack.chain(&chain).split(1).await?;
    let _watcher = stack.start(Role::Watcher, &Settings::new()).await?;
    let world = World { anvil, contracts, stack };
    world.prepare(wallets).await?;
    let figures = world.measure(wallets).await;
    figures.map_err(|error| {
        let logs = world.stack.servers().into_iter().map(|server| server.log()).collect::<Vec<_>>().join("\n");
        error.context(format!("the servers said:\n{logs}"))
    })
}

struct World {
    anvil: Anvil,
    contracts: Contracts,
    stack: Stack,
}

impl World {
    /// Makes the accounts, and waits until their wallets are known to whoever follows the chain.
    async fn prepare(&self, wallets: u64) -> Result<()> {
        let Contracts { owner, token, multisender, .. } = self.contracts;
        let database = self.stack.database.as_ref().context("there is no database server")?;
        stores::fill(database, wallets, self.anvil.chain_id(), token.0).await?;
        self.anvil.send(&token.approve(owner, multisender.0, u128::MAX)).await?;
        let mut events = self.stack.nats.client().await?.subscribe(OwnershipChanged::subject()).await?;
        let last = stores::wallet(wallets - 1);
        let started = Instant::now();
        let bar = show::progress("until all wallets are known", 1);
        loop {
            self.block(&[last]).await?;
            let told = timeout(TOLD_WITHIN, events.next()).await;
            if told.is_ok_and(|told| told.is_some()) {
                bar.finish_and_clear();
                break;
            }
            ensure!(started.elapsed() < PATIENCE, "nothing is told of the wallets of accounts");
        }
        settle().await
    }

    async fn measure(&self, wallets: u64) -> Result<GrowthFigures> {
        let town = Town::find(&self.stack.url()).await?;
        let mut people = Vec::new();
        let sign_in_ms = median_ms(SIGN_INS, async || {
            people.push(town.sign_in().await?);
            Ok(())
        })
        .await?;
        let someone = people.first().context("nobody signed in")?;
        let mut linking = people.iter().cycle();
        let link_ms = median_ms(LINKS, async || link(&town, linking.next()).await).await?;
        let mut block = 0;
        let block_ms = median_ms(BLOCKS as usize, async || {
            block += 1;
            let first = block * TRANSFERS % wallets.saturating_sub(TRANSFERS).max(1);
            let mut to: Vec<Address> = (first..first + TRANSFERS - 1).map(stores::wallet).collect();
            to.push(someone.wallet.address());
            self.block(&to).await
        })
        .await?;
        let answers = async |path: &str| median_ms(ANSWERS, async || town.get(someone, path).await).await;
        let mine_ms = answers("/v1/assets/mine").await?;
        let of = format!("/v1/assets/{}/contracts/{}/holders", self.anvil.chain_id(), self.contracts.token.0);
        let mut sorted: Vec<Address> = (0..wallets).map(stores::wallet).collect();
        sorted.sort_unstable();
        let before_last = sorted[sorted.len().saturating_sub(PAGE + 1)];
        let holders_first_ms = answers(&format!("{of}?limit={PAGE}")).await?;
        let holders_last_ms = answers(&format!("{of}?limit={PAGE}&after={before_last}")).await?;
        let cpu = Cpu::now();
        for _ in 0..LINKS_APART {
            link(&town, linking.next()).await?;
            sleep(Duration::from_secs(1)).await;
        }
        Ok(GrowthFigures {
            scenario: "growth",
            commit: figures::commit(),
            wallets,
            sign_in_ms,
            link_ms,
            block_ms,
            mine_ms,
            holders_first_ms,
            holders_last_ms,
            ten_links_cpu_ms: Cpu::now().since(cpu).server as f64,
            worker_mb: round(resident_bytes(self.stack.worker.pid()?).unwrap_or_default() as f64 / 1e6),
        })
    }

    /// Pays each of these one base unit, all in one block, and waits until that is taken.
    async fn block(&self, to: &[Address]) -> Result<()> {
        let Contracts { owner, token, multisender, .. } = self.contracts;
        let parts: Vec<(Address, u128)> = to.iter().map(|to| (*to, 1)).collect();
        let api: &Server = &self.stack.api;
        let before = taken(&status(api).await?);
        self.anvil.send(&multisender.send_token(owner, token, &parts, "").gas(16_000_000)).await?;
        let started = Instant::now();
        // one for each, and one for the sum
        while taken(&status(api).await?) < before + to.len() as u64 + 1 {
            ensure!(started.elapsed() < PATIENCE, "the block was not taken");
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// Waits until the servers rest: a store that was just filled goes on for a while, putting what it has in order.
async fn settle() -> Result<()> {
    let started = Instant::now();
    let bar = show::progress("until the servers rest", 1);
    loop {
        let before = Cpu::now();
        sleep(LOOK_AT_REST).await;
        if (Cpu::now().since(before).server as f64) < AT_REST * LOOK_AT_REST.as_millis() as f64 {
            bar.finish_and_clear();
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "the servers have no rest, although nobody asks them for anything");
    }
}

async fn link(town: &Town, person: Option<&Person>) -> Result<()> {
    town.link(person.context("nobody signed in")?, &Wallet::random(&town.env)?).await
}

/// The median time of something that is done so often, milliseconds.
async fn median_ms(times: usize, mut act: impl AsyncFnMut() -> Result<()>) -> Result<f64> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let started = Instant::now();
        act().await?;
        taken.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(round(median(taken).unwrap_or_default()))
}
