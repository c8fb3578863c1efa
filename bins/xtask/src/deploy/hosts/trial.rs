//! One inventory with its hosts, and what is tried of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::inventory::Inventory;
use super::load::{Load, Noticed};
use super::machines::{self, Machines};
use super::network::here;
use super::packages::{INSIDE, NATS};
use super::playbook::{Administrator, Done};
use super::{Shipped, Step};
use crate::deploy::RECIPIENT;
use crate::deploy::engine::said;
use crate::paths::Paths;
use crate::tools;

/// The gateway that comes and goes.
const NEWCOMER: (&str, Ipv4Addr) = ("gw3", Ipv4Addr::new(10, 0, 0, 53));
/// Limits that the people of a load meet, who all have one address.
const LIMITS: [(&str, &[&str]); 3] = [
    ("limits", &["sends_per_account_per_minute", "sends_per_pair_per_minute", "sign_ins_per_address_per_minute"]),
    ("mailbox", &["bytes_per_account_per_day", "bytes_per_new_account_per_day", "bytes_per_pair_per_day"]),
    (
        "sign_up",
        &[
            "accounts_per_address_per_hour",
            "accounts_per_address_per_day",
            "accounts_per_prefix_per_hour",
            "accounts_per_prefix_per_day",
        ],
    ),
];
/// What a host of ours may listen on, SSH and the proxy besides.
const INNER_PORTS: [u16; 22] = [
    4222, 6222, 6379, 8000, 8080, 8081, 8222, 8402, 9090, 9093, 9094, 9100, 9115, 9121, 9464, 9465, 9466, 9467, 9468,
    18080, 18081, 26379,
];

/// Hosts with an inventory, and somebody who runs playbooks.
pub struct Trial<'a> {
    paths: &'a Paths,
    shipped: Shipped,
    folder: PathBuf,
    packages: &'a [PathBuf; 2],
    pub(super) administrator: Administrator,
    pub(super) inventory: Inventory,
    pub(super) machines: Machines<'a>,
    loads: usize,
}

impl<'a> Trial<'a> {
    /// Boots the hosts, new or as they were left.
    pub fn begin(
        paths: &'a Paths,
        shipped: Shipped,
        folder: PathBuf,
        work: &Path,
        packages: &'a [PathBuf; 2],
    ) -> Result<Self> {
        nepto_files::private_folder(&folder)?;
        let hosts = folder.join("hosts");
        let (own, ssh) = (folder.join("inventory"), machines::ssh(&hosts));
        let ansible = tools::ansible::find_or_install(paths)?;
        let is_new = !own.exists();
        let inventory = if is_new {
            let theirs = paths.root.join("ansible/inventories").join(shipped.name());
            Inventory::derive(&theirs, own, &ansible, ssh)?
        } else {
            Inventory::open(own, ssh)?
        };
        let proxy = inventory.group("proxy").first().context("no host is in the group proxy")?;
        let domain = ("chat.example.org".to_owned(), inventory.addresses[proxy]);
        let mut machines = Machines::new(paths, hosts, work.join("packages"), domain)?;
        machines.boot(&inventory.addresses)?;
        let mut administrator = Administrator::new(paths, ansible, folder.join("playbooks"), &inventory)?;
        if !is_new {
            // all of them have just been switched on
            administrator.play("self_check", &[])?;
        }
        Ok(Self { paths, shipped, folder, packages, administrator, inventory, machines, loads: 0 })
    }

    /// Tries one thing.
    pub fn try_step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Converge => self.converge(),
            Step::Second => self.site()?.changed_nothing(),
            Step::Check => self.administrator.play("site", &["--check"])?.changed_nothing(),
            Step::Copies => self.copies(),
            Step::Upgrade => self.upgrade(),
            Step::Add | Step::Remove if self.shipped == Shipped::Single => {
                println!("  One host is no cluster.");
                Ok(())
            }
            Step::Add => self.add(),
            Step::Remove => self.remove(),
            Step::Rotate => self.rotate(),
            Step::Kill => self.kill(),
        }
    }

    /// `site.yml`, as after each change of the inventory.
    pub(super) fn site(&mut self) -> Result<Done> {
        self.administrator.play("site", &[])
    }

    fn converge(&mut self) -> Result<()> {
        let mut settings = json!({});
        for (section, names) in LIMITS {
            names.iter().for_each(|name| settings[section][name] = json!(u32::MAX));
        }
        let (program, people, certificate) = (self.client(), self.people(), self.certificate()?);
        for (name, value) in [
            ("nepto_settings", settings),
            ("backup_recipients", json!([RECIPIENT])),
            ("proxy_tls", json!("self_signed")),
            ("proxy_connections_max", json!(connections_max())),
            ("nats_url", json!(release("nats-server-v{{ nats_version }}-linux-{{ nats_architecture }}.tar.gz"))),
            ("nats_checksum", json!(format!("sha256:{}", release("SHA256SUMS")))),
            ("self_check_program", json!(program)),
            ("self_check_folder", json!(people)),
            ("self_check_trusts", json!(certificate)),
        ] {
            self.inventory.set(name, value);
        }
        self.version(0)?;
        self.administrator.play("secrets", &[])?;
        self.site()?;
        self.only_what_is_public_answers()
    }

    /// The version of everything, from the next run on.
    fn version(&mut self, number: usize) -> Result<()> {
        self.inventory.set("package_deb", self.packages[number].to_string_lossy());
        self.inventory.set("nats_version", NATS[number]);
        self.inventory.write()
    }

    fn upgrade(&mut self) -> Result<()> {
        let before = self.processes()?;
        self.version(1)?;
        self.while_people_write(|trial| trial.administrator.play("upgrade", &[]))?;
        let after = self.processes()?;
        let kept: Vec<_> = before.iter().filter(|(unit, pid)| after.get(*unit) == Some(pid)).map(|it| it.0).collect();
        ensure!(kept.is_empty(), "the upgrade left these processes as they were: {kept:?}");
        let (gone, came) = (before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        ensure!(gone == came, "there were {gone:?}, and there are {came:?}");
        println!("  {} processes on {} hosts are others than before", after.len(), self.inventory.addresses.len());
        Ok(())
    }

    fn add(&mut self) -> Result<()> {
        let (name, address) = NEWCOMER;
        self.inventory.add(name, address, "nepto_gateway")?;
        self.inventory.write()?;
        self.machines.boot(&BTreeMap::from([(name.to_owned(), address)]))?;
        let node = format!("node={name}");
        self.while_people_write(|trial| trial.administrator.play("add_node", &["--extra-vars", &node]))?;
        // others connect now, and it has the fewest sockets
        self.while_people_write(|_| Ok(()))?;
        let sockets = self.sockets_of(&format!("{name}-8081"))?;
        ensure!(sockets > 0, "nobody is sent to {name}");
        println!("  {name} has had {sockets} sockets");
        ensure!(self.who_knows(address)?.contains("nats1"), "the firewall of nats1 does not let {name} in");
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        for staying in ["nats1", "db1", "proxy1"] {
            let why = self.administrator.is_refused("remove_node", &["--extra-vars", &format!("node={staying}")])?;
            ensure!(why.contains(&format!("{staying} can't go")), "{why}");
        }
        let (name, address) = NEWCOMER;
        let node = format!("node={name}");
        self.while_people_write(|trial| {
            trial.administrator.play("remove_node", &["--extra-vars", &node])?;
            let left = trial.machines.host(name)?.run(&[
                "find",
                "/etc/nepto",
                "-name",
                "*.toml",
                "-o",
                "-path",
                "*secrets/*",
            ])?;
            ensure!(left.is_empty(), "{name} still has {left}");
            trial.inventory.remove(name);
            trial.inventory.write()?;
            trial.site()
        })?;
        let knowing = self.who_knows(address)?;
        ensure!(knowing.is_empty(), "these hosts still know {name}: {knowing:?}");
        self.machines.discard(name)
    }

    /// Does something while people write to each other and sign in; none of their messages may be lost or come twice, and nobody
    /// may be refused.
    pub(super) fn while_people_write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (done, noticed) = self.what_people_notice(work)?;
        match noticed.refused {
            None => Ok(done),
            Some(refused) => bail!("somebody could not sign in: {refused}"),
        }
    }

    /// The same, but some may be refused.
    pub(super) fn what_people_notice<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<(T, Noticed)> {
        self.loads += 1;
        let log = self.folder.join(format!("people-{}.log", self.loads));
        let bench = self.paths.binaries().join("nepto-bench");
        let load = Load::begin(&bench, "https://chat.example.org", &self.certificate()?, log)?;
        let done = work(self)?;
        Ok((done, load.end()?))
    }

    pub(super) fn is_split(&self) -> bool {
        self.shipped == Shipped::Cluster
    }

    /// Where a host listens.
    pub(super) fn address(&self, host: &str) -> String {
        if self.is_split() { self.inventory.addresses[host].to_string() } else { "127.0.0.1".to_owned() }
    }

    /// `curl`, in the network of a host.
    pub(super) fn curl_at(&self, host: &str) -> Result<Command> {
        let mut curl = Command::new("nsenter");
        curl.args(["--target", self.machines.host(host)?.init(), "--net", "curl", "--silent", "--max-time", "5"]);
        Ok(curl)
    }

    /// The folder of the two people whom the playbooks let talk.
    pub(super) fn people(&self) -> PathBuf {
        self.folder.join("people")
    }

    /// The program that they talk with.
    pub(super) fn client(&self) -> PathBuf {
        self.paths.binaries().join("nepto")
    }

    fn proxy(&self) -> Result<&str> {
        Ok(self.inventory.group("proxy").first().context("no host is in the group proxy")?)
    }

    /// The certificate that the proxy made for itself.
    pub(super) fn certificate(&self) -> Result<PathBuf> {
        Ok(self.machines.root(self.proxy()?).join("etc/haproxy/nepto.pem"))
    }

    /// Processes of Nepto and of NATS by host and unit.
    fn processes(&self) -> Result<BTreeMap<String, String>> {
        let mut processes = BTreeMap::new();
        for name in self.inventory.addresses.keys() {
            let host = self.machines.host(name)?;
            let units = ["systemctl", "list-units", "--plain", "--no-legend", "--state=running", "nepto-*.service"];
            for unit in host.run(&units)?.lines().filter_map(|line| line.split_whitespace().next()) {
                processes.insert(format!("{name} {unit}"), host.pid(unit)?);
            }
        }
        Ok(processes)
    }

    /// How many sockets the proxy has ever sent to a gateway that is up.
    fn sockets_of(&self, server: &str) -> Result<u64> {
        let show = ["sh", "-c", "echo show stat | socat stdio /run/haproxy/admin.sock"];
        let table = self.machines.host(self.proxy()?)?.run(&show)?;
        let mut rows = table.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let names = rows.next().context("the proxy says nothing")?;
        let row = rows.find(|row| row.starts_with(&["gateways", server])).with_context(|| format!("no {server}"))?;
        let field = |name| names.iter().position(|known| *known == name).and_then(|at| row.get(at)).copied();
        ensure!(field("status") == Some("UP"), "{server} is {:?}", field("status"));
        Ok(field("stot").context("the proxy does not count sockets")?.parse()?)
    }

    /// Hosts whose firewall or proxy names an address.
    fn who_knows(&self, address: Ipv4Addr) -> Result<BTreeSet<String>> {
        let address = address.to_string();
        let mut knowing = BTreeSet::new();
        for name in self.inventory.addresses.keys() {
            let places = ["/etc/nftables.conf", "/etc/haproxy/haproxy.cfg", "/etc/prometheus/targets"];
            let found = self.machines.host(name)?.command(&["grep", "-rwFl", &address]).args(places).output()?;
            if !found.stdout.is_empty() {
                knowing.insert(name.clone());
            }
        }
        Ok(knowing)
    }

    /// From an address that is no host of the inventory: SSH, and of the proxy its two ports.
    fn only_what_is_public_answers(&self) -> Result<()> {
        for (name, address) in &self.inventory.addresses {
            let ports = [22, 80, 443].into_iter().chain(INNER_PORTS).map(|port| port.to_string());
            let mut scan = here(std::env::current_exe()?);
            let open = said(scan.args(["test-deploy", "scan"]).arg(address.to_string()).args(ports))?;
            let expected = if name == self.proxy()? { "22\n80\n443" } else { "22" };
            ensure!(open == expected, "{name} answers on {open:?}, and should on {expected:?}");
        }
        println!("  from elsewhere only SSH and the proxy can be reached");
        Ok(())
    }
}

/// What the proxy takes where this machine lets nobody open more files: two for each, and what systemd's unit has for itself.
fn connections_max() -> u64 {
    const SHIPPED: u64 = 40_000;
    getrlimit(Resource::Nofile).maximum.map_or(SHIPPED, |files| (files.saturating_sub(2_000) / 2).min(SHIPPED))
}

/// Where a file of a release of NATS is, for a host.
fn release(file: &str) -> String {
    format!("file://{INSIDE}/nats-{{{{ nats_version }}}}/{file}")
}
