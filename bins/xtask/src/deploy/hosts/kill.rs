//! One of each kind dies while people write: by `kill -9`, and with its whole host, of which nobody hears that it is off.
//!
//! What was sent arrives once all the same. How long it took is measured; who signs in meanwhile may be refused.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::load::Noticed;
use super::trial::Trial;
use crate::deploy::engine::said;

/// What is killed, by the group of its hosts.
const UNITS: [(&str, &str); 10] = [
    ("nats", "nepto-nats"),
    ("redis", "redis-server"),
    ("nepto_all", "nepto-all"),
    ("nepto_api", "nepto-api@8080"),
    ("nepto_gateway", "nepto-gateway@8081"),
    ("nepto_worker", "nepto-worker@9465"),
    ("nepto_watcher", "nepto-watcher@9466"),
    ("nepto_cron", "nepto-cron@9467"),
    ("database", "nepto-database"),
    ("proxy", "haproxy"),
];
/// Of these groups a host goes as a whole.
const HOSTS: [&str; 4] = ["nats", "redis", "nepto_gateway", "database"];
/// Where processes say whether they are well, by the group of their hosts.
const READY: [(&str, u16); 6] = [
    ("nepto_all", 9464),
    ("nepto_api", 18080),
    ("nepto_gateway", 18081),
    ("nepto_worker", 9465),
    ("nepto_watcher", 9466),
    ("nepto_cron", 9467),
];
/// Before something dies, and once everything is well again.
const QUIET: Duration = Duration::from_secs(5);
/// Longer than anything waits for an answer.
const OFF_FOR: Duration = Duration::from_secs(40);
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const WELL_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Trial<'_> {
    /// One after the other.
    pub fn kill(&mut self) -> Result<()> {
        let mut deaths: Vec<(String, Noticed)> = Vec::new();
        for (group, unit) in UNITS {
            let Some(host) = self.first_of(group)? else { continue };
            println!("kill -9 of {unit} on {host}");
            let ((), noticed) = self.what_people_notice(|trial| trial.kill_unit(&host, unit))?;
            deaths.push((format!("{unit} on {host}"), noticed));
        }
        // who is alone has nobody to go on without him
        for group in if self.is_split() { &HOSTS[..] } else { &[] } {
            let Some(host) = self.first_of(group)? else { continue };
            println!("{host} goes off, the first of {group}");
            let ((), noticed) = self.what_people_notice(|trial| trial.switch_off(&host))?;
            deaths.push((format!("{host} as a whole, the first of {group}"), noticed));
        }
        println!("\n  what died, and the longest that a message waited:");
        for (what, Noticed { longest_ms, sent, refused }) in deaths {
            let refused = refused.map_or_else(String::new, |refused| format!("; {refused}"));
            println!("  {:5.1} s  {what}; none of {sent} lost{refused}", longest_ms / 1_000.0);
        }
        Ok(())
    }

    /// Of NATS and Redis the host that leads; of others the first in the inventory. None where the group is empty.
    fn first_of(&self, group: &str) -> Result<Option<String>> {
        let Some(first) = self.inventory.group(group).first() else { return Ok(None) };
        if !self.is_split() {
            return Ok(Some(first.clone()));
        }
        let address = self.address(first);
        let leader = match group {
            "nats" => {
                let asked = said(self.curl_at(first)?.arg(format!("http://{address}:8222/jsz")))?;
                let jetstream: Value = serde_json::from_str(&asked)?;
                jetstream["meta_cluster"]["leader"].as_str().context("nobody leads NATS")?.to_owned()
            }
            "redis" => {
                let sentinel = ["redis-cli", "-h", &address, "-p", "26379", "sentinel"];
                let ask = [&sentinel[..], &["get-master-addr-by-name", "nepto"]].concat();
                let answer = self.machines.host(first)?.run(&ask)?;
                let leads = |(_, at): &(&String, &std::net::Ipv4Addr)| answer.lines().next() == Some(&at.to_string());
                self.inventory.addresses.iter().find(leads).context("nobody leads Redis")?.0.clone()
            }
            _ => first.clone(),
        };
        Ok(Some(leader))
    }

    fn kill_unit(&self, host: &str, unit: &str) -> Result<()> {
        let before = self.machines.host(host)?.pid(unit)?;
        sleep(QUIET);
        self.machines.host(host)?.run(&["systemctl", "kill", "--signal=KILL", unit])?;
        let killed = Instant::now();
        let show = ["systemctl", "show", "--property=ActiveState", "--property=MainPID", "--value", unit];
        loop {
            let shown = self.machines.host(host)?.run(&show)?;
            if shown.lines().any(|line| line == "active") && shown.lines().all(|line| line != before) {
                break;
            }
            ensure!(killed.elapsed() < STARTS_WITHIN, "{unit} does not come back: {shown}");
            sleep(LOOK_EVERY);
        }
        self.is_well_again(killed)
    }

    fn switch_off(&mut self, host: &str) -> Result<()> {
        let address = self.inventory.addresses[host];
        sleep(QUIET);
        self.machines.cut(host, address)?;
        sleep(OFF_FOR);
        self.machines.boot(&BTreeMap::from([(host.to_owned(), address)]))?;
        self.is_well_again(Instant::now())
    }

    /// Waits until every process says so of itself, and a while.
    fn is_well_again(&self, since: Instant) -> Result<()> {
        loop {
            let ill = self.ill()?;
            if ill.is_empty() {
                break;
            }
            ensure!(since.elapsed() < WELL_WITHIN, "these are not well: {ill:?}");
            sleep(LOOK_EVERY);
        }
        println!("  everything is well {:.0} s later", since.elapsed().as_secs_f64());
        sleep(QUIET);
        Ok(())
    }

    /// Processes that say of themselves that something is missing, or say nothing.
    fn ill(&self) -> Result<Vec<String>> {
        let mut ill = Vec::new();
        for (group, port) in READY {
            for host in self.inventory.group(group) {
                let at = format!("http://{}:{port}/readyz", self.address(host));
                let mut ask = self.curl_at(host)?;
                let answered = ask.args(["--fail", "--output", "/dev/null", &at]).status()?;
                if !answered.success() {
                    ill.push(format!("{group} on {host}"));
                }
            }
        }
        Ok(ill)
    }
}
