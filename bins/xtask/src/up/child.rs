//! A child process with a log file, that never outlives us.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::paths::short;

/// A server may take its configured drain time, and a little more.
const STOP_WITHIN: Duration = Duration::from_secs(15);
const LOG_LINES_SHOWN: usize = 20;

/// How to start a child.
#[derive(Debug)]
pub struct Launch {
    name: &'static str,
    command: Command,
    log: PathBuf,
}

impl Launch {
    /// A program that logs to `<logs>/<name>.log`.
    pub fn new(name: &'static str, program: &Path, logs: &Path) -> Self {
        Self::of(name, Command::new(program), logs.join(name).with_extension("log"))
    }

    /// A command that logs to this file.
    pub fn of(name: &'static str, command: Command, log: PathBuf) -> Self {
        Self { name, command, log }
    }

    /// Adds arguments behind those it has.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn variable(mut self, name: &str, value: OsString) -> Self {
        self.command.env(name, value);
        self
    }

    /// What messages call it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Starts it with an empty log, in a process group of its own: a Ctrl-C in the terminal reaches only us, and we
    /// stop the children in order.
    pub fn start(mut self) -> Result<Child> {
        let log = File::create(&self.log).with_context(|| format!("{} can't be written", short(&self.log)))?;
        self.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let program = self.command.get_program().to_string_lossy().into_owned();
        let process = self.command.spawn().with_context(|| format!("{program} can't be started"))?;
        let mut child = Child { name: self.name, process, watchdog: None, log: self.log };
        child.watchdog = Some(watchdog(child.process.id())?);
        Ok(child)
    }
}

/// A running child; killed when dropped, if it was not stopped.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    process: process::Child,
    watchdog: Option<process::Child>,
    log: PathBuf,
}

impl Child {
    /// What messages call it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait()?)
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.process), Signal::TERM)?)
    }

    /// The end of its log, with where to find the rest.
    pub fn log_end(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n    ");
        format!("  the end of {}:\n    {shown}", short(&self.log))
    }

    /// Asks it to end, and waits; kills it if it does not. What was unusual about that, in words.
    pub fn stop(mut self) -> Option<String> {
        if let Ok(Some(_)) = self.process.try_wait() {
            return None;
        }
        if let Err(error) = self.ask_to_end() {
            return Some(format!("{} can't be stopped: {error}", self.name));
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_WITHIN {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Ok(Some(status)) if status.success() || self.name != "server" => return None,
                Ok(Some(status)) => return Some(format!("{} ended with {status}\n{}", self.name, self.log_end())),
                Err(error) => return Some(format!("{} is lost: {error}", self.name)),
            }
        }
        Some(format!("{} did not end within {} s of being asked to, and was killed", self.name, STOP_WITHIN.as_secs()))
    }
}

impl Drop for Child {
    /// Kills and reaps it, then dismisses its watchdog. Either may have ended already, which is as good.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(mut watchdog) = self.watchdog.take() {
            if let Some(mut stdin) = watchdog.stdin.take() {
                let _ = stdin.write_all(b"dismissed\n");
            }
            let _ = watchdog.wait();
        }
    }
}

/// A shell that waits for the end of its input: our end of that pipe closes when we die, even by `kill -9`. It then
/// stops the child.
fn watchdog(pid: u32) -> Result<process::Child> {
    Command::new("sh")
        .arg("-c")
        .arg(
            r#"read -r dismissed && exit
kill -TERM "$1"
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do kill -0 "$1" || exit; sleep 1; done
kill -KILL "$1""#,
        )
        .arg("watchdog")
        .arg(pid.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("no shell to watch over child processes")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_child_ends_when_we_die() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut child = Launch::of("sleep", command, folder.path().join("sleep.log")).start().unwrap();
        // what the system does to our end of the pipe then
        drop(child.watchdog.as_mut().unwrap().stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }
}
