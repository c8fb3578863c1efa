//! Commands that go on: what they print meanwhile, and how they end.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::cli::PATIENCE;

/// The lines that a command prints while it goes on.
pub type Printed = Lines<BufReader<ChildStdout>>;

/// The next object with this event.
pub async fn event(lines: &mut Printed, name: &str) -> Result<Value> {
    let search = async {
        while let Some(line) = lines.next_line().await? {
            let value: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if value["event"] == name {
                return Ok(value);
            }
        }
        anyhow::bail!("it ended without {name}")
    };
    timeout(PATIENCE, search).await.with_context(|| format!("no {name}"))?
}

/// Ctrl-C, as a person ends a command that goes on: it ends well.
pub async fn interrupt(mut command: Child) -> Result<()> {
    let pid = command.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)).context("it ended")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = timeout(PATIENCE, command.wait()).await.context("it goes on")??;
    ensure!(status.success(), "{status}");
    Ok(())
}
