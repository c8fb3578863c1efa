//! Debian hosts that boot: containers of systemd-nspawn, each in a network that its caller made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engine::said;
use crate::tools;
use crate::up::child::{Child, Launch};

const BOOTED_WITHIN: Duration = Duration::from_secs(60);
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where control groups are, by the versions of them that a system may have mounted.
const GROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
/// Joins the groups that stand in `GROUPS`, and becomes its arguments.
const JOIN: &str = r#"for group in $GROUPS; do echo $$ > "$group/cgroup.procs" || exit; done; exec "$@""#;

/// Copies a Debian with these packages, which is kept at `kept` and made there if it is missing, to `root`.
pub fn make_root(kept: &Path, packages: &str, root: &Path) -> Result<()> {
    if !kept.exists() {
        eprintln!("Making a Debian that boots");
        let half_made = kept.with_extension("new");
        let _ = fs::remove_dir_all(&half_made);
        let mut debootstrap = Command::new(tools::docker::debootstrap()?);
        debootstrap.args(["--variant=minbase", &format!("--include={packages}"), "bookworm"]).arg(&half_made);
        tools::run(&mut debootstrap)?;
        fs::rename(half_made, kept)?;
    }
    tools::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(kept).arg(root))
}

/// A booted Debian; off when dropped.
pub struct Host {
    process: Option<Child>,
    /// Its first process, as this machine counts.
    init: String,
    _groups: Groups,
}

impl Host {
    /// Boots `root`, in the network namespace of this name. What it says at the console is in `logs`.
    pub fn boot(name: &str, network: &str, root: &Path, logs: &Path, arguments: &[String]) -> Result<Self> {
        let program = tools::debian::nspawn()?;
        let groups = Groups::make(name)?;
        let process = Launch::new("host", Path::new("/bin/sh"), logs)
            .variable("GROUPS", groups.paths().into())
            .arguments(["-c", JOIN, "sh"])
            .arguments([program])
            .arguments(["--quiet", "--boot", "--register=no", "--console=pipe"])
            // where systemd runs, it makes a scope for the host; where it does not, there is nobody to ask
            .arguments(if groups.0.is_empty() { None } else { Some("--keep-unit") })
            .arguments([format!("--network-namespace-path=/run/netns/{network}"), format!("--machine={name}")])
            .arguments(arguments)
            .arguments(["--directory".as_ref(), root.as_os_str()])
            .start()?;
        Ok(Self { process: Some(process), init: String::new(), _groups: groups })
    }

    /// Waits until it has booted.
    pub fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let process = self.process.as_mut().context("it is off")?;
            if process.ended()?.is_some() || started.elapsed() > BOOTED_WITHIN {
                bail!("the host does not boot\n{}", process.log_end());
            }
            // its first process is a child of nspawn's, which is a child of ours
            let init = said(Command::new("pgrep").args(["--parent", &process.id().to_string()]));
            self.init = init.ok().and_then(|pids| pids.lines().next().map(str::to_owned)).unwrap_or_default();
            // "degraded": this is no real machine, and something that needs one failed
            let state = self.command(&["systemctl", "is-system-running"]).output()?;
            if matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded") {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The number of its first process.
    pub fn init(&self) -> &str {
        &self.init
    }

    /// Ends everything in it at once.
    pub fn kill(self) -> Result<()> {
        said(Command::new("kill").args(["-KILL", &self.init])).map(drop)
    }

    /// A command in it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init]).args(INTO).args(words).env_clear();
        command.env("PATH", PATH).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// What a command in it says.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        said(&mut self.command(words))
    }

    /// The process of a unit that runs; of one that starts, once it does.
    pub fn pid(&self, unit: &str) -> Result<String> {
        let asked = Instant::now();
        loop {
            let state = self.command(&["systemctl", "is-active", unit]).output()?;
            match String::from_utf8_lossy(&state.stdout).trim() {
                "active" => return self.run(&["systemctl", "show", "--property=MainPID", "--value", unit]),
                "activating" if asked.elapsed() < STARTS_WITHIN => std::thread::sleep(LOOK_EVERY),
                state => bail!("{unit} is {state}"),
            }
        }
    }
}

/// How `nsenter` goes into a host.
pub const INTO: [&str; 7] = ["--mount", "--uts", "--ipc", "--pid", "--net", "--root", "--wdns=/"];
/// Where a host has programs.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(problem) = self.process.take().and_then(Child::stop) {
            eprintln!("{problem}");
        }
    }
}

/// Control groups of one host. Its systemd takes those that it finds itself in for its own, and two of them would end each other's processes.
/// None where systemd runs on this machine, which makes them.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn make(host: &str) -> Result<Self> {
        if Path::new("/run/systemd/system").is_dir() {
            return Ok(Self(Vec::new()));
        }
        let mounted = GROUPS.map(PathBuf::from).into_iter().filter(|group| group.join("cgroup.procs").exists());
        let groups = Self(mounted.map(|group| group.join(format!("nepto-{host}"))).collect());
        groups.remove();
        for group in &groups.0 {
            fs::create_dir_all(group).with_context(|| format!("{} can't be made", group.display()))?;
        }
        Ok(groups)
    }

    fn paths(&self) -> String {
        self.0.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Also what another run left; that there is none is no failure.
    fn remove(&self) {
        for group in &self.0 {
            let _ =
                Command::new("find").arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).output();
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.remove();
    }
}
