//! `cargo xtask up`: NATS, Redis, a chain and Nepto on this machine, until Ctrl-C.
//!
//! Everything it writes lies in one folder, and the next start finds it there. Everything it started ends with it.

mod chain;
pub mod child;
mod config;
pub mod demo;
mod lock;
mod port;
mod probe;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cargo::{self, Targets};
use crate::paths::{Paths, short};
use crate::tools::Tools;
use chain::{Chain, Dev};
use child::{Child, Launch};
use lock::Lock;

/// What is run of this checkout.
pub const PROGRAMS: [&str; 2] = ["nepto-server", "nepto"];

/// Where `nepto admin` looks, unless it is told otherwise.
const ADMIN_PORT: u16 = 9464;
const LOOK_EVERY: Duration = Duration::from_millis(100);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What to run, and where.
#[derive(Debug, Args)]
pub struct Options {
    /// Port of Nepto: HTTP and sockets
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Port of Nepto's health and metrics
    #[arg(long, default_value_t = ADMIN_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: u16,
    /// Port of NATS; not the usual one, which a NATS of yours may have
    #[arg(long, default_value_t = 14222, value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: u16,
    /// Port of Redis; not the usual one, which a Redis of yours may have
    #[arg(long, default_value_t = 16379, value_parser = clap::value_parser!(u16).range(1..))]
    redis_port: u16,
    #[command(flatten)]
    chain: chain::Options,
    /// Folder for messages, accounts, keys, blocks and logs [default: .nepto in the checkout]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Let two people sign in and talk, and show it
    #[arg(long)]
    demo: bool,
}

impl Options {
    fn data(&self, paths: &Paths) -> Result<PathBuf> {
        Ok(match &self.data {
            Some(data) => std::path::absolute(data)?,
            None => paths.root.join(".nepto"),
        })
    }

    fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }
}

/// Runs until it is told to stop or something it started ends.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let data = options.data(paths)?;
    // accounts, keys and logs are nobody else's business on this machine
    nepto_files::private_folder(&data.join("logs"))?;
    // Held until this process ends, however it ends.
    let mut lock = Lock::take(&data, &options.url())?;
    let typed: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    for (port, flag) in [
        (options.port, "--port"),
        (options.admin_port, "--admin-port"),
        (options.nats_port, "--nats-port"),
        (options.redis_port, "--redis-port"),
    ] {
        port::must_be_free(port, flag, &typed)?;
    }
    if options.chain.is_dev() {
        port::must_be_free(options.chain.chain_port, "--chain-port", &typed)?;
    }
    let tools = Tools::find_or_install(paths)?;
    let real = options.chain.real()?;
    let dev = Dev::new(paths, &tools.foundry, &data, options.chain.chain_port);
    cargo::build(paths, Targets::Programs(&PROGRAMS))?;

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one ends us at once; the children's watchdogs see to the rest.
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone())?;
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    // The order in which they start; they stop in the opposite one.
    let mut children = Vec::new();
    let scene = Scene { paths, options, data: &data, tools: &tools, dev: &dev, interrupted: &interrupted };
    let outcome = scene
        .start(real, &mut children)
        .and_then(|()| lock.runs(&options.url()))
        .and_then(|()| if options.demo { scene.play_demo() } else { Ok(()) })
        .and_then(|()| watch(&mut children, &interrupted));
    let stopped = stop(children);
    outcome?;
    eprintln!("Stopped. What was stored lies in {} for the next start.", short(&data));
    Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Stops them in the opposite order of their start; whether all ended as they should.
fn stop(mut children: Vec<Child>) -> bool {
    let spinner = spinner("stopping");
    let mut all_well = true;
    while let Some(child) = children.pop() {
        spinner.set_message(format!("stopping {}", child.name()));
        if let Some(problem) = child.stop() {
            spinner.suspend(|| eprintln!("{problem}"));
            all_well = false;
        }
    }
    spinner.finish_and_clear();
    all_well
}

/// What everything that is started has to do with.
struct Scene<'a> {
    paths: &'a Paths,
    options: &'a Options,
    data: &'a Path,
    tools: &'a Tools,
    dev: &'a Dev,
    interrupted: &'a AtomicBool,
}

impl Scene<'_> {
    /// Starts one after the other, each when what it needs is ready. `real` is the chain, if none is to be started.
    fn start(&self, real: Option<Chain>, children: &mut Vec<Child>) -> Result<()> {
        let Self { paths, options, data, dev, .. } = self;
        let spinner = spinner("starting");
        let mut start = |launch: Launch, ready: &dyn Fn() -> bool| {
            spinner.set_message(format!("starting {}", launch.name()));
            children.push(launch.start()?);
            wait_until(READY_WITHIN, children, self.interrupted, ready)
        };
        start(self.nats(), &|| probe::nats(options.nats_port))?;
        start(self.redis()?, &|| probe::redis(options.redis_port))?;
        let mut chain = match real {
            Some(chain) => chain,
            None => {
                start(dev.launch(&self.logs())?, &|| dev.is_ready())?;
                if self.interrupted.load(Ordering::SeqCst) {
                    return Ok(());
                }
                spinner.set_message("deploying contracts");
                dev.chain()?
            }
        };
        chain.contracts.extend_from_slice(&options.chain.more);
        let configuration = config::write(data, options, &chain)?;
        start(self.server(&configuration), &|| probe::server(options.admin_port))?;
        spinner.finish_and_clear();
        link(&paths.binaries().join("nepto"), &data.join("nepto"))?;
        if !self.interrupted.load(Ordering::SeqCst) {
            println!("{}", next_steps(options, data, &chain));
        }
        Ok(())
    }

    fn nats(&self) -> Launch {
        let mut store = std::ffi::OsString::from("\"");
        store.push(self.data.join("nats"));
        store.push("\"");
        Launch::new("nats", &self.tools.nats, &self.logs())
            .arguments(["-c".as_ref(), self.paths.root.join("nats/server.conf").as_os_str()])
            .arguments(["-a", "127.0.0.1", "-p", &self.options.nats_port.to_string()])
            .variable("NEPTO_NATS_STORE", store)
    }

    fn redis(&self) -> Result<Launch> {
        let folder = self.data.join("redis");
        std::fs::create_dir_all(&folder)?;
        let launch = Launch::new("redis", &self.tools.redis, &self.logs())
            .arguments(["--bind", "127.0.0.1", "--port", &self.options.redis_port.to_string()])
            .arguments(["--save", "", "--appendonly", "no", "--dir"])
            .arguments([folder]);
        Ok(launch)
    }

    fn server(&self, configuration: &Path) -> Launch {
        let program = self.paths.binaries().join("nepto-server");
        let arguments = ["--config".as_ref(), configuration.as_os_str(), "all".as_ref()];
        Launch::new("server", &program, &self.logs()).arguments(arguments)
    }

    fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// An interrupted demo is no failure: whoever pressed Ctrl-C knows.
    fn play_demo(&self) -> Result<()> {
        let interrupted = || self.interrupted.load(Ordering::SeqCst);
        let stage = demo::Stage {
            program: &self.paths.binaries().join("nepto"),
            shown: short(&self.data.join("nepto")),
            folder: self.data.join("demo"),
            server: self.options.url(),
            chain: self.options.chain.is_dev().then_some(self.dev),
            interrupted: self.interrupted,
        };
        let played = if interrupted() { Ok(()) } else { demo::play(&stage) };
        if interrupted() { Ok(()) } else { played.context("the demo failed") }
    }
}

/// Waits until the last child is ready, unless any of them ends before or we are told to stop.
fn wait_until(
    within: Duration,
    children: &mut [Child],
    interrupted: &AtomicBool,
    ready: &dyn Fn() -> bool,
) -> Result<()> {
    let started = std::time::Instant::now();
    while !interrupted.load(Ordering::SeqCst) {
        all_must_run(children)?;
        if ready() {
            return Ok(());
        }
        if started.elapsed() > within {
            let child = children.last().context("nothing was started")?;
            bail!("{} is not ready after {} s\n{}", child.name(), within.as_secs(), child.log_end());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn watch(children: &mut [Child], interrupted: &AtomicBool) -> Result<()> {
    while !interrupted.load(Ordering::SeqCst) {
        all_must_run(children)?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn all_must_run(children: &mut [Child]) -> Result<()> {
    for child in children {
        if let Some(status) = child.ended()? {
            bail!("{} ended with {status}; the rest is stopped\n{}", child.name(), child.log_end());
        }
    }
    Ok(())
}

fn spinner(message: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(message);
    spinner.enable_steady_tick(LOOK_EVERY);
    spinner
}

/// A short way to the chat client, whose folder lies outside the checkout.
fn link(program: &Path, link: &Path) -> Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(std::os::unix::fs::symlink(program, link)?),
    }
}

fn next_steps(options: &Options, data: &Path, chain: &Chain) -> String {
    let (url, data, admin, chain) = (options.url(), short(data), options.admin_port, chain.summary());
    // elsewhere the client looks for nobody
    let operator = match admin {
        ADMIN_PORT => String::new(),
        _ => format!(" --operator http://127.0.0.1:{admin}"),
    };
    format!(
        "\n\
         Nepto runs at {url}\n\
         \n\
         health and metrics   http://localhost:{admin}/readyz  http://localhost:{admin}/metrics\n\
         logs                 {data}/logs\n\
         configuration        {data}/server.toml, made anew at each start; NEPTO_<SECTION>__<FIELD> in the environment wins\n\
         chain                {chain}\n\
         how the chain goes   {data}/nepto admin chain status{operator}\n\
         chat                 {data}/nepto --help\n\
         \n\
         Ctrl-C stops everything."
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use chain::Finality;

    #[derive(Parser)]
    struct Up {
        #[command(flatten)]
        options: Options,
    }

    /// As the command line has them after `up`.
    pub fn options(line: &[&str]) -> Options {
        Up::parse_from([&["up"], line].concat()).options
    }

    #[test]
    fn a_hint_names_the_operators_listener_where_it_is_not_the_usual_one() {
        let chain = Chain::new(1, "http://127.0.0.1:1", Finality::Finalized, Vec::new());
        let hints = |line: &[&str]| next_steps(&options(line), Path::new("/d"), &chain);
        assert!(hints(&[]).contains("/d/nepto admin chain status\n"));
        let elsewhere = hints(&["--admin-port", "9465"]);
        assert!(elsewhere.contains("/d/nepto admin chain status --operator http://127.0.0.1:9465\n"), "{elsewhere}");
    }
}
