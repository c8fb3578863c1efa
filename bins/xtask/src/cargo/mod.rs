//! Cargo, always with the same folder, profile and selection of packages.
//!
//! The features of a shared dependency follow from the packages that are built together. One selection for every task
//! means that the database is compiled once. What a task builds of these packages is another matter: programs alone are had in
//! a fraction of the time that tests take.

pub mod checkout;
mod progress;

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use progress::Progress;

/// The one selection.
pub const BUILD: [&str; 2] = ["build", "--workspace"];

/// What is built of it.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// These programs, and what they are made of.
    Programs(&'a [&'a str]),
    /// Programs, tests and benches.
    All,
}

impl Targets<'_> {
    /// As cargo takes them.
    pub fn arguments(self) -> Vec<String> {
        match self {
            Self::Programs(names) => names.iter().flat_map(|name| ["--bin".into(), (*name).into()]).collect(),
            Self::All => vec!["--all-targets".into()],
        }
    }
}

/// Cargo in the checkout, as if called from a shell.
pub fn command(paths: &Paths) -> Command {
    command_of(paths, std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The same with the cargo of another toolchain.
pub fn command_of(paths: &Paths, cargo: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if set_by_cargo_run(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.current_dir(&paths.root).env("CARGO_TARGET_DIR", &paths.target);
    command
}

/// Variables that `cargo run` set for this process. Some build scripts watch them, and would run again, and everything
/// after them be compiled again, whenever a build from a shell follows one from here.
fn set_by_cargo_run(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

/// Runs cargo to its end; its success is ours.
pub fn run(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().context("cargo can't be started")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether `cargo nextest` is installed.
pub fn has_nextest(paths: &Paths) -> bool {
    let asked = command(paths).args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Builds: with a progress bar in a terminal, with cargo's own lines elsewhere.
pub fn build(paths: &Paths, targets: Targets<'_>) -> Result<()> {
    checkout::claim(&paths.root, &paths.target)?;
    let mut cargo = command(paths);
    cargo.args(BUILD).args(targets.arguments());
    let status = match Progress::new() {
        None => cargo.status().context("cargo can't be started")?,
        Some(progress) => progress.watch(&mut cargo)?,
    };
    if !status.success() {
        bail!("the build failed");
    }
    Ok(())
}
