//! People who write to each other through the proxy for as long as something else takes, and what they notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::network::here;
use crate::paths::short;
use crate::up::child::{Child, Launch};

/// How many, and how much they write in a second: what two cores do beside everything else.
const PEOPLE: &str = "20";
const RATE: &str = "50";
/// Longer than anything takes; it is ended before.
const SECS: &str = "14400";
const BEGINS_WITHIN: Duration = Duration::from_secs(120);
/// Until all of it is stored, and all of that has arrived.
const SETTLES_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `nepto-bench outages`; killed when dropped, and ended when this process is.
pub struct Load {
    process: Child,
    log: PathBuf,
}

impl Load {
    /// Begins, and returns when everybody writes.
    pub fn begin(program: &Path, url: &str, certificate: &Path, log: PathBuf) -> Result<Self> {
        let mut bench = here(program);
        bench.args(["outages", "--url", url, "--conns", PEOPLE, "--rate", RATE, "--secs", SECS]);
        bench.env("SSL_CERT_FILE", certificate);
        let process = Launch::of("nepto-bench", bench, log.clone()).start()?;
        let mut load = Self { process, log };
        let began = Instant::now();
        while !fs::read_to_string(&load.log)?.contains(" devices write ") {
            let ended = load.process.ended()?;
            ensure!(ended.is_none() && began.elapsed() < BEGINS_WITHIN, "nobody writes: {}", load.said()?);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(load)
    }

    /// Ends it. Fails if a message was lost, or came twice.
    pub fn end(mut self) -> Result<Noticed> {
        self.process.ask_to_end()?;
        let asked = Instant::now();
        let status = loop {
            match self.process.ended()? {
                Some(status) => break status,
                None => ensure!(asked.elapsed() < SETTLES_WITHIN, "it does not end: {}", self.said()?),
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let said = self.said()?;
        ensure!(status.success(), "what was sent did not arrive once and only once ({status}):\n{said}");
        // pauses, and the figures; charts follow them
        for line in said.lines().filter(|line| line.contains(" UTC ") || is_figure(line)) {
            println!("  {}", line.trim());
        }
        println!("  {}", short(&self.log));
        Noticed::read(&said).with_context(|| format!("{} has no figures", short(&self.log)))
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

/// What people noticed.
#[derive(Debug, PartialEq)]
pub struct Noticed {
    /// How many messages they sent.
    pub sent: u64,
    /// The longest that one of them took.
    pub longest_ms: f64,
    /// What those heard who could not sign in, and how many they were.
    pub refused: Option<String>,
}

impl Noticed {
    fn read(said: &str) -> Option<Self> {
        let value = |name| said.lines().find_map(|line| line.trim_start().strip_prefix(name)).map(str::trim);
        Some(Self {
            sent: value("sent ")?.parse().ok()?,
            longest_ms: value("latency max")?.strip_suffix(" ms")?.parse().ok()?,
            refused: value("signed in ")?.split_once("; ").map(|(_, refused)| refused.to_owned()),
        })
    }
}

fn is_figure(line: &str) -> bool {
    ["sent ", "lost ", "duplicated ", "latency p95", "latency max", "pauses ", "signed in "]
        .iter()
        .any(|name| line.trim_start().starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_what_people_noticed() {
        let said = "outages (run 1)\n  sent              1500\n  latency max       5512.12 ms\n  signed in         29 in at most 3.2 s";
        let mut noticed = Noticed { sent: 1500, longest_ms: 5512.12, refused: None };
        assert_eq!(Noticed::read(said), Some(noticed));
        noticed = Noticed { sent: 1500, longest_ms: 5512.12, refused: Some("2 refused: unavailable".to_owned()) };
        assert_eq!(Noticed::read(&format!("{said}; 2 refused: unavailable\n")), Some(noticed));
        assert_eq!(Noticed::read("nobody writes"), None);
    }
}
