//! The Debian package on a booted Debian: installed, edited, upgraded, gone back from, removed, purged, while two people talk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use super::booted::{self, Host};
use super::engine::said;
use super::netns::Namespace;
use crate::cargo::{self, Targets};
use crate::dist;
use crate::paths::Paths;
use crate::tools::{self, Tools};
use crate::up::demo::{self, ALICE, BOB, Stage};

/// The network of the booted host: nothing but itself.
const NETWORK: &str = "nepto-debian";
/// What a host has before the package comes.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,redis-server,ca-certificates,procps";
const CONFIGURATION: &str = "/etc/nepto/nepto.toml";
const EDIT: &str = "\n[log]\nformat = \"text\"\n";

/// What is tried of it.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for the host, logs and the two people, emptied first [default: test-deploy-debian in the folder of builds]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Profile of the programs in the package. Any but `dev` must have been built already: `cargo xtask dist`
    #[arg(long, value_name = "PROFILE", default_value = "dev")]
    profile: String,
}

/// Tries it.
pub fn run(paths: &Paths, options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "a booted Debian needs root");
    let work = match &options.work {
        Some(work) => std::path::absolute(work)?,
        None => paths.target.join("test-deploy-debian"),
    };
    let _ = fs::remove_dir_all(&work);
    nepto_files::private_folder(&work)?;
    // the two people outside have the developers' program
    cargo::build(paths, Targets::Programs(&dist::PROGRAMS))?;
    let packages = ["1", "2"].map(|revision| dist::package(paths, &options.profile, &work.join(revision), revision));
    let [first, second] = packages;
    let (first, second) = (first?, second?);
    lint(&first)?;

    let root = work.join("host");
    make_root(paths, &root)?;
    for package in [&first, &second] {
        fs::copy(package, root.join(package.file_name().context("a package has a name")?))?;
    }
    let inside = |package: &Path| format!("/{}", package.file_name().unwrap_or_default().to_string_lossy());
    let network = Namespace::new(NETWORK)?;
    let mut host = Host::boot("debian", network.name(), &root, &work, &[])?;
    host.wait()?;
    let interrupted = AtomicBool::new(false);
    let program = client(paths, &network, &work)?;
    let people = Stage {
        program: &program,
        shown: "nepto".to_owned(),
        folder: work.join("people"),
        server: "http://localhost:8080".to_owned(),
        chain: None,
        interrupted: &interrupted,
    };

    println!("\n== install, edit\n");
    host.run(&["dpkg", "--install", &inside(&first)])?;
    ensure!(host.pid("nepto-all").is_err(), "the package started the server by itself");
    let configuration = root.join(CONFIGURATION.trim_start_matches('/'));
    let mode = fs::metadata(&configuration)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{CONFIGURATION} has mode {mode:o}");
    let edited = fs::read_to_string(&configuration)? + EDIT;
    fs::write(&configuration, &edited)?;
    host.run(&["systemctl", "enable", "--now", "nepto-nats", "redis-server", "nepto-all"])?;
    demo::play(&people)?;

    for (what, package) in [("upgrade", &second), ("going back", &first)] {
        println!("\n== {what}, while somebody writes\n");
        let before = host.pid("nepto-all")?;
        let sent = write_during(&people, what, || host.run(&["dpkg", "--install", &inside(package)]))?;
        ensure!(host.pid("nepto-all")? != before, "{what} left the old process");
        ensure!(fs::read_to_string(&configuration)? == edited, "{what} changed the configuration");
        people.hears_all(BOB, &sent)?;
    }

    println!("\n== an upgrade that does not take the configuration\n");
    let before = host.pid("nepto-all")?;
    fs::write(&configuration, format!("{edited}\n[natz]\n"))?;
    let refusal = host.run(&["dpkg", "--install", &inside(&second)]).err().context("a bad configuration was taken")?;
    let refusal = format!("{refusal:#}");
    ensure!(refusal.contains("nothing was restarted") && refusal.contains("[natz]"), "{refusal}");
    ensure!(host.pid("nepto-all")? == before, "the process was restarted with a bad configuration");
    people.says(ALICE, BOB, "sent meanwhile")?;
    fs::write(&configuration, &edited)?;
    host.run(&["dpkg", "--configure", "nepto"])?;
    ensure!(host.pid("nepto-all")? != before, "the mended upgrade left the old process");
    people.hears(BOB, "sent meanwhile")?;

    println!("\n== remove, purge\n");
    host.run(&["dpkg", "--remove", "nepto"])?;
    ensure!(host.pid("nepto-all").is_err() && host.pid("nepto-nats").is_err(), "something still runs");
    for kept in [CONFIGURATION, "/var/lib/nepto/database", "/var/lib/nepto-nats"] {
        ensure!(root.join(kept.trim_start_matches('/')).exists(), "removing took {kept}");
    }
    host.run(&["dpkg", "--purge", "nepto"])?;
    for gone in ["etc/nepto", "var/lib/nepto", "var/lib/nepto-nats", "usr/bin/nepto-server"] {
        ensure!(!root.join(gone).exists(), "purging left /{gone}");
    }
    let left = said(Command::new("find").arg(root.join("etc/systemd")).args(["-name", "nepto*"]))?;
    ensure!(left.is_empty(), "purging left {left}");
    println!("\nEverything held.");
    Ok(())
}

/// One message after the other for as long as `work` takes, none of which may fail. Returns what was sent.
fn write_during(people: &Stage<'_>, what: &str, work: impl FnOnce() -> Result<String>) -> Result<Vec<String>> {
    let done = AtomicBool::new(false);
    let write = || -> Result<(Vec<String>, Duration)> {
        let (mut sent, mut longest) = (Vec::new(), Duration::ZERO);
        loop {
            let (last, started) = (done.load(Ordering::SeqCst), Instant::now());
            let text = format!("{what}, message {}.", sent.len() + 1);
            people.says(ALICE, BOB, &text)?;
            sent.push(text);
            longest = longest.max(started.elapsed());
            if last {
                return Ok((sent, longest));
            }
        }
    };
    let (worked, wrote) = std::thread::scope(|scope| {
        let writer = scope.spawn(write);
        let worked = work();
        done.store(true, Ordering::SeqCst);
        (worked, writer.join())
    });
    worked?;
    let (sent, longest) = wrote.map_err(|_| anyhow!("the writer panicked"))??;
    println!("  {} messages, of which one took {:.1} s.\n", sent.len(), longest.as_secs_f64());
    Ok(sent)
}

/// Debian's own checker, which must find nothing.
fn lint(package: &Path) -> Result<()> {
    tools::debian::lintian()?;
    let lintian = ["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"];
    tools::run(Command::new("lintian").args(lintian).arg(package))
}

/// A Debian that boots, with NATS where the package expects it.
fn make_root(paths: &Paths, root: &Path) -> Result<()> {
    booted::make_root(&paths.tools.join("debian-bookworm-booted"), PACKAGES, root)?;
    fs::copy(Tools::find_or_install(paths)?.nats, root.join("usr/bin/nats-server"))?;
    Ok(())
}

/// The client, in the network of the host.
fn client(paths: &Paths, network: &Namespace, work: &Path) -> Result<PathBuf> {
    let program = work.join("nepto");
    network.write_script(&program, &paths.binaries().join("nepto").display().to_string())?;
    Ok(program)
}
