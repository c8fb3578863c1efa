//! What a backup says: how it goes, and to Prometheus how it went.

use std::io;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nepto_files::Readers;
use nepto_kit::config::Backup;

use super::Made;

/// A line for an entry that is under way, on a terminal; and one for each that is done.
pub struct Progress {
    bar: ProgressBar,
    title: String,
}

impl Progress {
    /// Begins.
    pub fn new(title: String) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}  {bytes}  {bytes_per_sec}");
        let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(title.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, title }
    }

    /// So many bytes more.
    pub fn add(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// So many bytes in all.
    pub fn set(&mut self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// It is done.
    pub fn done(self) {
        let bytes = self.bar.position();
        self.bar.finish_and_clear();
        println!("{}: {bytes} bytes", self.title);
    }
}

const LAST_SUCCESS: &str = "nepto_backup_last_success_timestamp_seconds";
const LAST_BYTES: &str = "nepto_backup_last_success_bytes";
const FAILED: &str = "nepto_backup_failed";

/// Writes the file for the textfile collector, if one is wanted. After a failure the last success is still told.
pub fn write_metrics(config: &Backup, made: Option<&Made>, now_ms: i64) -> io::Result<()> {
    let Some(file) = &config.metrics_file else { return Ok(()) };
    let last = match made {
        Some(made) => Some((now_ms.unsigned_abs() / 1_000, made.bytes)),
        None => last_told(file),
    };
    nepto_files::write(file, text(last, made.is_none()), Readers::Everybody)
}

/// That this will work, before hours are spent on what nobody would hear of. Says the same as before.
pub fn can_be_told(config: &Backup) -> io::Result<()> {
    let Some(file) = &config.metrics_file else { return Ok(()) };
    let before = std::fs::read_to_string(file).unwrap_or_default();
    nepto_files::write(file, before, Readers::Everybody)
}

fn text(last: Option<(u64, u64)>, failed: bool) -> String {
    let sample =
        |name: &str, help: &str, value: u64| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    let mut text = sample(FAILED, "Whether the last attempt at a backup failed.", u64::from(failed));
    if let Some((at, bytes)) = last {
        text.push_str(&sample(LAST_SUCCESS, "When the last backup was finished.", at));
        text.push_str(&sample(LAST_BYTES, "Bytes of the last backup.", bytes));
    }
    text
}

/// What the file says of the last success.
fn last_told(file: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse::<u64>().ok()
    };
    Some((value(LAST_SUCCESS)?, value(LAST_BYTES)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_and_the_last_success_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nepto_backup.prom");
        let config = Backup { metrics_file: Some(file.clone()), ..Backup::default() };
        can_be_told(&config).unwrap();
        write_metrics(&config, None, 1_000).unwrap();
        let said = std::fs::read_to_string(&file).unwrap();
        assert!(said.contains("nepto_backup_failed 1\n") && !said.contains(LAST_SUCCESS), "{said}");
        let made = Made { path: "x".into(), bytes: 77, digest: String::new() };
        for (made, now_ms, failed) in [(Some(&made), 2_500_000, 0), (None, 9_000_000, 1), (None, 9_900_000, 1)] {
            write_metrics(&config, made, now_ms).unwrap();
            can_be_told(&config).unwrap();
            let said = std::fs::read_to_string(&file).unwrap();
            let wanted = [format!("{FAILED} {failed}"), format!("{LAST_SUCCESS} 2500"), format!("{LAST_BYTES} 77")];
            assert!(wanted.iter().all(|line| said.contains(&format!("\n{line}\n"))), "{said}");
        }
        let nowhere = Backup { metrics_file: Some(folder.path().join("not/there.prom")), ..Backup::default() };
        can_be_told(&nowhere).unwrap_err();
    }
}
