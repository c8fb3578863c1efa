//! A child process that can be killed, paused and started again, and never outlives its owner.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Lines of a log that are printed when a test panics.
const LOG_LINES_SHOWN: usize = 40;

/// How to start a process, as often as needed.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What messages and the log file call it.
    pub name: String,
    /// The path of the executable.
    pub program: PathBuf,
    /// What follows the program's name.
    pub arguments: Vec<OsString>,
    /// Variables beside the inherited ones. Inherited `NEPTO_…` variables are removed, and `RUST_BACKTRACE`, which costs
    /// the database a fifth of its speed: a developer's own settings must not reach a test.
    pub environment: Vec<(String, OsString)>,
    /// Where it runs and logs; removed by the watchdog if this process is killed.
    pub folder: PathBuf,
}

/// A running (or killed, or paused) process.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Child,
}

impl Process {
    /// Starts it. Its output goes to `<folder>/<name>.log`.
    pub fn start(launch: Launch) -> Result<Self> {
        let process = Self { launch, running: Mutex::new(None) };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it again after [`kill9`](Self::kill9) or [`term`](Self::term); the log goes on.
    pub fn start_again(&self) -> Result<()> {
        self.start_again_with(&[])
    }

    /// The same, with more variables this one time.
    pub fn start_again_with(&self, environment: &[(&str, &str)]) -> Result<()> {
        let mut running = self.lock();
        if running.is_some() {
            bail!("{} runs already", self.launch.name);
        }
        let more = environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        let mut launch = self.launch.clone();
        launch.environment.extend(more);
        *running = Some(spawn(&launch)?);
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        let running = self.lock();
        Ok(running.as_ref().ok_or_else(|| self.not_running())?.child.id())
    }

    /// The exit status, if it ended by itself.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut running = self.lock();
        Ok(running.as_mut().ok_or_else(|| self.not_running())?.child.try_wait()?)
    }

    /// Waits until it is ready, but no longer than it lives. An error comes with the end of its log.
    pub async fn or_ended(&self, ready: impl Future<Output = Result<()>>) -> Result<()> {
        let ended = async {
            loop {
                match self.ended() {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Ok(Some(status)) => break anyhow!("it ended with {status}"),
                    Err(error) => break error,
                }
            }
        };
        let outcome = tokio::select! {
            error = ended => Err(error),
            ready = ready => ready,
        };
        outcome.with_context(|| format!("{} is not ready\n{}", self.launch.name, self.log_end()))
    }

    /// `SIGKILL`: no chance to write, close or say anything.
    pub fn kill9(&self) -> Result<()> {
        let mut running = self.lock().take().ok_or_else(|| self.not_running())?;
        running.end();
        Ok(())
    }

    /// `SIGTERM`, then waits for the exit status; kills it and fails if it takes longer than `within`.
    pub async fn term(&self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.ended()? {
                self.kill9()?;
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill9()?;
        bail!("{} did not end within {within:?} of SIGTERM\n{}", self.launch.name, self.log_end())
    }

    /// [`term`](Self::term), unless it was killed or ended by itself.
    pub async fn stop(&self, within: Duration) -> Result<()> {
        match self.pid() {
            Err(_) => Ok(()),
            Ok(_) if self.ended()?.is_some() => self.kill9(),
            Ok(_) => self.term(within).await.map(drop),
        }
    }

    /// `SIGSTOP`: connections stay open, and nobody answers. Every thread has stopped when this returns.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let running = self.lock();
        let child = &running.as_ref().ok_or_else(|| self.not_running())?.child;
        // Only looked at, so that an end is still there for who waits for it.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(child)), stopped)?;
        Ok(())
    }

    /// `SIGCONT`: goes on after [`pause`](Self::pause), with the connections that it had.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// `SIGUSR2`, which means something else to every program.
    pub fn usr2(&self) -> Result<()> {
        self.signal(Signal::USR2)
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where its output goes.
    pub fn log_file(&self) -> PathBuf {
        log_file(&self.launch)
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        format!("--- end of the log of {}\n{}\n---", self.launch.name, shown.join("\n"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.lock();
        let child = &running.as_ref().ok_or_else(|| self.not_running())?.child;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    fn not_running(&self) -> anyhow::Error {
        anyhow!("{} does not run", self.launch.name)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_end());
        }
        if let Some(mut running) = self.lock().take() {
            running.end();
        }
    }
}

impl Running {
    /// Kills and reaps the child, then dismisses the watchdog, which so never meets a reused process id. Both may have
    /// ended already, which is as good.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut stdin) = self.watchdog.stdin.take() {
            let _ = stdin.write_all(b"dismissed\n");
        }
        let _ = self.watchdog.wait();
    }
}

fn log_file(launch: &Launch) -> PathBuf {
    launch.folder.join(format!("{}.log", launch.name))
}

fn spawn(launch: &Launch) -> Result<Running> {
    fs::create_dir_all(&launch.folder)?;
    let log = File::options().create(true).append(true).open(log_file(launch))?;
    let mut command = Command::new(&launch.program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEPTO_") || name == "RUST_BACKTRACE" {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(&launch.arguments)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} could not be started ({})", launch.name, launch.program.display()))?;
    match watchdog(child.id(), &launch.folder) {
        Ok(watchdog) => Ok(Running { child, watchdog }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// A shell that waits for the end of its input. Our end of that pipe closes when this process dies, however it dies;
/// the shell then kills the child and removes its folder. It has a process group of its own, so that what kills this
/// whole group leaves it alive to do so.
fn watchdog(pid: u32, folder: &Path) -> Result<Child> {
    Command::new("sh")
        .arg("-c")
        .arg(r#"read -r dismissed || { kill -KILL "$1"; sleep 0.5; rm -rf -- "$2"; } 2>&-"#)
        .arg("watchdog")
        .arg(pid.to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("no shell to watch over child processes")
}

/// Resident bytes of a process, ours or not; `None` if there is none (proc_pid_status(5)).
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eventually, seconds};

    fn sleeper(folder: &Path, script: &str) -> Launch {
        Launch {
            name: "sleeper".into(),
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            folder: folder.to_owned(),
        }
    }

    fn exists(pid: u32) -> bool {
        // A zombie that somebody else has yet to reap counts as gone.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn it_is_killed_when_its_owner_panics() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(sleeper(folder.path(), "sleep 60")).unwrap();
        let pid = process.pid().unwrap();
        assert!(exists(pid));
        std::thread::spawn(move || {
            let _owned = process;
            panic!("on purpose");
        })
        .join()
        .unwrap_err();
        assert!(!exists(pid));
    }

    #[tokio::test]
    async fn the_watchdog_kills_what_a_killed_test_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(sleeper(folder.path(), "exec sleep 60")).unwrap();
        let pid = process.pid().unwrap();
        // What the system does to our end of the pipe when this process dies.
        drop(process.lock().as_mut().unwrap().watchdog.stdin.take());
        eventually(seconds(5), async || Ok(!exists(pid) && !folder.path().exists())).await.unwrap();
    }

    #[tokio::test]
    async fn a_paused_process_has_stopped_and_goes_on_when_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(sleeper(folder.path(), "while :; do echo alive; done")).unwrap();
        eventually(seconds(5), async || Ok(process.log().contains("alive"))).await.unwrap();
        for _ in 0..20 {
            process.pause().unwrap();
            let said = process.log().len();
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert_eq!(process.log().len(), said);
            process.resume().unwrap();
            eventually(seconds(5), async || Ok(process.log().len() > said)).await.unwrap();
        }
        process.pause().unwrap();
        process.kill9().unwrap();
    }

    #[tokio::test]
    async fn term_returns_the_exit_status_and_the_log_tells_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let process = Process::start(sleeper(folder.path(), script)).unwrap();
        eventually(seconds(5), async || Ok(process.log().contains("ready"))).await.unwrap();
        assert_eq!(process.term(seconds(5)).await.unwrap().code(), Some(7));
        assert!(process.log().contains("bye"));
        assert!(process.kill9().is_err());
        process.start_again().unwrap();
        process.pid().unwrap();
    }
}
