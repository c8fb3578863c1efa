//! Load for Nepto: starts servers of its own, signs real accounts in, drives real sockets and counts every message.
//!
//! A scenario ends well only if nothing was lost and nothing arrived twice; the figures come after that.

mod chain;
mod cli;
mod crowd;
mod device;
mod figures;
mod ground;
mod growth;
mod ledger;
mod pacer;
mod people;
mod proc;
mod scenario;
mod show;
mod siege;
mod stamp;
mod wire;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cli::{Cli, Scenario};
use crate::figures::Figures;
use crate::ground::Ground;
use crate::scenario::Outcome;

/// Exit code of a run that could not be finished; 1 says that messages were lost or doubled.
const BROKEN: u8 = 2;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nepto-bench: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Whether every message arrived exactly once.
fn run(cli: &Cli) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.load_threads())
        .enable_all()
        .build()
        .context("no runtime")?;
    // TLS, for a server behind `https`; another choice before this one is as good
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    proc::raise_open_files();
    if let Scenario::Chain(args) = &cli.scenario {
        runtime.block_on(chain::run(args))?;
        runtime.shutdown_background();
        return Ok(true);
    }
    if let Scenario::Growth(args) = &cli.scenario {
        runtime.block_on(growth::run(args))?;
        runtime.shutdown_background();
        return Ok(true);
    }
    let outcomes = runtime.block_on(run_all(cli))?;
    runtime.shutdown_background();
    let figures = Figures::median(&outcomes.iter().map(|outcome| &outcome.figures).collect::<Vec<_>>());
    let Some(last) = outcomes.last() else { return Ok(false) };
    if outcomes.len() > 1 {
        show::median(&figures, outcomes.len());
    }
    let Some(common) = cli.common() else { return Ok(false) };
    if let Some(path) = &common.json {
        let json = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} can't be written", path.display()))?;
    }
    if let Some(path) = &common.svg {
        std::fs::write(path, show::svg(last)).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(outcomes.iter().all(Outcome::is_clean))
}

/// Each run has servers of its own, unless it was given one.
async fn run_all(cli: &Cli) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let runs = cli.common().map_or(1, |common| common.runs.max(1));
    for number in 1..=runs {
        let ground = Ground::start(cli).await?;
        let outcome = scenario::run(cli, &ground).await.map_err(|error| ground.explain(error))?;
        ground.stop().await;
        show::outcome(&outcome, number);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
