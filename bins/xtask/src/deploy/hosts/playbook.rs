//! Playbooks, run as an administrator would from a machine in the network of the hosts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use nepto_files::Readers;
use serde_json::Value;

use super::inventory::Inventory;
use super::network::here;
use crate::deploy::engine::said;
use crate::paths::{Paths, short};
use crate::up::child::Launch;

/// Of what a playbook said when it failed.
const LINES_SHOWN: usize = 40;

/// Runs playbooks.
pub struct Administrator {
    /// The collection.
    collection: PathBuf,
    programs: PathBuf,
    folder: PathBuf,
    inventory: PathBuf,
    runs: usize,
}

/// What a playbook did.
pub struct Done {
    /// Tasks that changed something, by host.
    changed: BTreeMap<String, u64>,
    log: PathBuf,
}

impl Administrator {
    /// One who keeps logs, and the password of the vault, in this folder.
    pub fn new(paths: &Paths, programs: PathBuf, folder: PathBuf, inventory: &Inventory) -> Result<Self> {
        nepto_files::private_folder(&folder)?;
        let password = folder.join("vault-password");
        if !password.exists() {
            nepto_files::write(&password, "of a vault for show\n", Readers::Owner)?;
        }
        let collection = paths.root.join("ansible");
        Ok(Self { collection, programs, folder, inventory: inventory.folder.clone(), runs: 0 })
    }

    fn ansible(&self, program: &str) -> Command {
        let mut ansible = here(self.programs.join(program));
        let path = std::env::var("PATH").unwrap_or_default();
        ansible.arg("--inventory").arg(&self.inventory).current_dir(&self.collection);
        ansible.env("PATH", format!("{}:{path}", self.programs.display())).env("ANSIBLE_NOCOLOR", "1");
        ansible.env("ANSIBLE_HOME", self.folder.join("home"));
        ansible.env("ANSIBLE_VAULT_PASSWORD_FILE", self.folder.join("vault-password")).stdin(Stdio::null());
        ansible
    }

    /// Runs a playbook to its end, and says how long it took.
    pub fn play(&mut self, playbook: &str, arguments: &[&str]) -> Result<Done> {
        let log = loop {
            self.runs += 1;
            let log = self.folder.join(format!("{:02}-{playbook}.log", self.runs));
            if !log.exists() {
                break log;
            }
        };
        let shown = [&[playbook], arguments].concat().join(" ");
        println!("$ ansible-playbook playbooks/{shown}");
        let started = Instant::now();
        let mut command = self.ansible("ansible-playbook");
        command.arg(format!("playbooks/{playbook}.yml")).args(arguments);
        let status = Launch::of("Ansible", command, log.clone()).start()?.wait()?;
        let took = started.elapsed();
        println!("  {} min {} s, {}", took.as_secs() / 60, took.as_secs() % 60, short(&log));
        let text = fs::read_to_string(&log)?;
        if !status.success() {
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n  ");
            bail!("{playbook}.yml failed with {status}; the end of {}:\n  {end}", short(&log));
        }
        let changed = recap(&text);
        ensure!(!changed.is_empty(), "{} has no recap", short(&log));
        Ok(Done { changed, log })
    }

    /// Runs a playbook that must refuse, and returns what it said.
    pub fn is_refused(&mut self, playbook: &str, arguments: &[&str]) -> Result<String> {
        match self.play(playbook, arguments) {
            Ok(done) => bail!("{playbook}.yml {arguments:?} was not refused: {}", short(&done.log)),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// What the inventory says of a host, with what is in the vault.
    pub fn variables(&self, host: &str) -> Result<Value> {
        let listed = said(self.ansible("ansible-inventory").args(["--host", host]))?;
        Ok(serde_json::from_str(&listed)?)
    }
}

impl Done {
    /// Fails if anything was changed anywhere.
    pub fn changed_nothing(&self) -> Result<()> {
        let changed: Vec<_> = self.changed.iter().filter(|(_, changed)| **changed > 0).collect();
        ensure!(changed.is_empty(), "it changed something: {changed:?}; {}", short(&self.log));
        println!("  nothing was changed on {} hosts", self.changed.len());
        Ok(())
    }
}

/// How many tasks changed something, by host: the lines after `PLAY RECAP`.
fn recap(log: &str) -> BTreeMap<String, u64> {
    let lines = log.lines().skip_while(|line| !line.starts_with("PLAY RECAP")).skip(1);
    let of_host = |line: &str| {
        let (host, counts) = line.split_once(" : ")?;
        let changed = counts.split_whitespace().find_map(|count| count.strip_prefix("changed="))?;
        Some((host.trim().to_owned(), changed.parse().ok()?))
    };
    lines.filter_map(of_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recap_says_where_something_changed() {
        let log = "PLAY RECAP ****\nnats1    : ok=3   changed=0    unreachable=0\nchat.example.org : ok=1 changed=12 failed=0\n";
        assert_eq!(recap(log), BTreeMap::from([("nats1".to_owned(), 0), ("chat.example.org".to_owned(), 12)]));
        assert_eq!(recap("changed=1\n"), BTreeMap::new());
    }
}
