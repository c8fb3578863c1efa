//! A Docker engine of our own: its images are kept, its containers end with us, and another engine of this machine is left alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::paths::Paths;
use crate::tools;
use crate::up::child::{Child, Launch};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running engine.
pub struct Engine {
    /// `None` once it is stopped.
    process: Option<Child>,
    socket: PathBuf,
    compose: Vec<PathBuf>,
}

impl Engine {
    /// Starts it. Images lie in the user's cache, everything else in `work`.
    pub fn start(paths: &Paths, work: &Path) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a Docker engine needs root");
        let program = tools::docker::engine()?;
        let compose = tools::docker::compose(paths)?;
        let socket = work.join("docker.sock");
        let mut host = std::ffi::OsString::from("unix://");
        host.push(&socket);
        let process = Launch::new("dockerd", &program, work)
            .arguments(["--host".as_ref(), host.as_os_str()])
            .arguments(["--data-root".as_ref(), paths.tools.join("docker").as_os_str()])
            .arguments(["--exec-root".as_ref(), work.join("docker-run").as_os_str()])
            .arguments(["--pidfile".as_ref(), work.join("docker.pid").as_os_str()])
            // another engine has its own, and the addresses that are used most often
            .arguments(["--bridge=none", "--default-address-pool", "base=10.231.16.0/20,size=24"])
            .start()?;
        let mut engine = Self { process: Some(process), socket, compose };
        engine.wait()?;
        Ok(engine)
    }

    fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.docker().arg("info").output().is_ok_and(|output| output.status.success()) {
            let process = self.process.as_mut().context("it was stopped")?;
            if process.ended()?.is_some() || started.elapsed() > READY_WITHIN {
                bail!("the Docker engine does not start\n{}", process.log_end());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// `docker`, asking this engine.
    pub fn docker(&self) -> Command {
        self.asking(Command::new("docker"))
    }

    /// Compose, asking this engine.
    pub fn compose(&self) -> Command {
        let mut words = self.compose.iter();
        let mut command = Command::new(words.next().map(PathBuf::as_path).unwrap_or(Path::new("docker-compose")));
        command.args(words);
        self.asking(command)
    }

    fn asking(&self, mut command: Command) -> Command {
        let mut host = std::ffi::OsString::from("unix://");
        host.push(&self.socket);
        command.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT");
        // there is no other builder where this must run
        command.env("DOCKER_BUILDKIT", "0");
        command
    }

    /// What `docker` says.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        said(self.docker().args(arguments))
    }
}

impl Drop for Engine {
    /// In order, so that nothing of it stays behind.
    fn drop(&mut self) {
        if let Some(problem) = self.process.take().and_then(Child::stop) {
            eprintln!("{problem}");
        }
    }
}

/// What a command says, or what is wrong with it.
pub fn said(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("{command:?} can't be started"))?;
    ensure!(status.success(), "{command:?} failed with {status}:\n{}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}
