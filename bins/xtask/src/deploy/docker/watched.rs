//! Profile `observability`: Prometheus finds every process by itself, has the rules, and hears of backups.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Deployment, PROJECT};

/// Prometheus asks every 15 s, for names every 10 s.
const SEEN_WITHIN: Duration = Duration::from_secs(90);

impl Deployment {
    /// Everything that runs is asked, and what is said of a backup arrives.
    pub fn is_watched(&self, profile: &str) -> Result<()> {
        self.until("every process is up", "targets?state=active", |targets| {
            let targets = targets["activeTargets"].as_array().map(Vec::as_slice).unwrap_or_default();
            let jobs: BTreeSet<&str> = targets.iter().filter_map(|target| target["labels"]["job"].as_str()).collect();
            let is_up = targets.iter().all(|target| target["health"] == "up");
            is_up && jobs == BTreeSet::from(["backups", "nepto", "prometheus"])
        })?;
        self.back_up(profile)?;
        self.until("the backup is known", "query?query=nepto_backup_failed", |found| {
            found["result"][0]["value"][1] == "0"
        })?;
        let rules = self.prometheus("rules?type=alert")?;
        let groups = rules["groups"].as_array().context("Prometheus names no groups of rules")?;
        let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        ensure!(!rules.is_empty(), "Prometheus has no alerts");
        for rule in &rules {
            ensure!(rule["health"] == "ok", "an alert can't be worked out: {rule}");
        }
        println!("Prometheus asks everything that runs, and watches over it with {} alerts", rules.len());
        Ok(())
    }

    fn until(&self, what: &str, question: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.prometheus(question)?;
            if holds(&answer) {
                return Ok(());
            }
            if started.elapsed() > SEEN_WITHIN {
                bail!("not within {} s: {what}\n{answer:#}", SEEN_WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// What it answers, asked in its container: nobody else reaches it.
    fn prometheus(&self, question: &str) -> Result<Value> {
        let (name, address) = (format!("{PROJECT}-prometheus-1"), format!("http://127.0.0.1:9090/api/v1/{question}"));
        let said = self.engine.say(&["exec", &name, "wget", "-q", "-O", "-", &address])?;
        let mut answer: Value = serde_json::from_str(&said).context("what Prometheus says")?;
        Ok(answer["data"].take())
    }
}
