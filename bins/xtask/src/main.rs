//! The developer's one door: start Nepto, test it, measure it.

mod cargo;
mod deploy;
mod dist;
mod memory;
mod paths;
#[cfg(test)]
mod sight;
#[cfg(test)]
mod tidy;
mod tools;
#[cfg(test)]
mod units;
mod up;
mod wasm;

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cargo::Targets;
use crate::paths::Paths;
use crate::tools::Tools;

/// Starts, tests and measures Nepto.
///
/// Everything is built into one folder outside the checkout ($CARGO_TARGET_DIR, or nepto/target in the user's cache), so
/// that a fresh clone reuses the compiled database.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Build and run NATS, Redis, a chain and Nepto on this machine until Ctrl-C
    Up(up::Options),
    /// Build and run all tests, or those whose names contain a filter
    Test {
        /// Parts of test names; or, after `--`, arguments of the test runner
        filters: Vec<String>,
    },
    /// Build and run a load scenario; without one, list them
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed to nepto-bench as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check that the code is formatted
    Fmt {
        /// Format it, instead of saying what is not formatted
        #[arg(long)]
        fix: bool,
    },
    /// Run clippy over everything; warnings are errors
    Lint,
    /// Build the client's core for browsers and run it in Node
    Wasm,
    /// Make what others install: programs, an archive, a Debian package, an image, a bill of materials, checksums
    Dist(dist::Options),
    /// Install what `dist` makes as others would, and break it on purpose
    TestDeploy(deploy::Options),
    /// Find or install what the other tasks need: NATS, Redis, the protobuf compiler, a chain with our contracts, Prometheus
    Tools,
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match task {
        Task::Up(options) => up::run(&paths, &options),
        Task::Test { filters } => test(&paths, &filters),
        Task::Bench { arguments } => bench(&paths, &arguments),
        Task::Fmt { fix } => {
            let check: &[&str] = if fix { &[] } else { &["--check"] };
            cargo::run(cargo::command(&paths).args(["fmt", "--all"]).args(check))
        }
        Task::Lint => {
            tools::protoc()?;
            let lint = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
            cargo::run(cargo::command(&paths).args(lint))
        }
        Task::Wasm => wasm::run(&paths),
        Task::Dist(options) => dist::run(&paths, &options),
        Task::TestDeploy(options) => deploy::run(&paths, &options),
        Task::Tools => {
            let tools = Tools::find_or_install(&paths)?;
            println!("NATS   {}\nRedis  {}\nprotoc {}", tools.nats.display(), tools.redis.display(), tools.protoc);
            println!("anvil  {}\nforge  {}", tools.foundry.anvil.display(), tools.foundry.forge.display());
            let prometheus = tools::prometheus::find_or_install(&paths)?;
            println!("Prometheus {}\npromtool   {}", prometheus.server.display(), prometheus.promtool.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What suits tests, whose processes live for seconds. Benches measure what is shipped, and have none of it.
const FOR_TESTS: [(&str, &str); 3] = [
    // where the system lets it choose, mimalloc takes huge pages, and the first touch of each clears 2 MiB
    ("MIMALLOC_ALLOW_THP", "0"),
    // a panic still prints its backtrace, if RUST_BACKTRACE says so; errors, of which the database makes many, take none
    ("RUST_LIB_BACKTRACE", "0"),
    // the runner would start itself once more before each test, in case that somebody types Ctrl-Z in just that moment
    ("NEXTEST_DOUBLE_SPAWN", "0"),
];

/// Builds, then leaves the rest and the last word to the test runner.
fn test(paths: &Paths, filters: &[String]) -> Result<ExitCode> {
    let tools = Tools::find_or_install(paths)?;
    tools::systemd()?;
    tools::faketime()?;
    tools::prometheus::find_or_install(paths)?;
    cargo::build(paths, Targets::All)?;
    let mut command = cargo::command(paths);
    if cargo::has_nextest(paths) {
        command.args(["nextest", "run", "--workspace"]).args(filters);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast", "--"]).args(filters);
    }
    if let Some(folder) = memory::folder() {
        command.env("TMPDIR", folder);
    }
    cargo::run(command.envs(tools.environment(paths)).envs(FOR_TESTS))
}

/// Becomes the load generator.
fn bench(paths: &Paths, arguments: &[String]) -> Result<ExitCode> {
    let tools = Tools::find_or_install(paths)?;
    cargo::build(paths, Targets::Programs(&["nepto-bench", "nepto-server"]))?;
    let program = paths.binaries().join("nepto-bench");
    let error = std::process::Command::new(&program).args(arguments).envs(tools.environment(paths)).exec();
    Err(error).with_context(|| format!("{} can't be started", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Task as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn what_belongs_to_others_is_passed_through() {
        let Task::Bench { arguments } = Task::parse_from(["xtask", "bench", "dm", "--rate", "5", "--help"]) else {
            panic!("not bench");
        };
        assert_eq!(arguments, ["dm", "--rate", "5", "--help"]);
        let Task::Test { filters } = Task::parse_from(["xtask", "test", "one", "--", "--no-capture"]) else {
            panic!("not test");
        };
        assert_eq!(filters, ["one", "--no-capture"]);
    }
}
