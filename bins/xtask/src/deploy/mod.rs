//! `cargo xtask test-deploy`: what is made for others, installed as they would, with everything killed that can be.

mod booted;
mod debian;
mod docker;
mod engine;
mod hosts;
mod netns;
mod outside;
mod stand_ins;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::paths::Paths;

/// A public key of age, for backups that are tried.
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// What is tried.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// compose/ in a Docker engine: two people talk, containers die, nothing is lost, one port is open. Needs root
    Docker(docker::Options),
    /// The Debian package on a booted Debian: installed, upgraded, gone back from, removed, purged. Needs root
    Debian(debian::Options),
    /// The playbooks of ansible/ on booted Debians, one and many: converge, run again, upgrade, grow, shrink, rotate. Needs root
    Hosts(hosts::Options),
    /// Print the ports of an address that somebody listens on
    #[command(hide = true)]
    Scan(outside::Scan),
}

/// Tries it.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Docker(options) => docker::run(paths, options)?,
        What::Debian(options) => debian::run(paths, options)?,
        What::Hosts(options) => hosts::run(paths, options)?,
        What::Scan(scan) => scan.run(),
    }
    Ok(ExitCode::SUCCESS)
}
