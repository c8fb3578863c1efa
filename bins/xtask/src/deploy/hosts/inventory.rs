//! An inventory for hosts of this machine, derived from one of those that `ansible/` ships: its groups and variables, fewer hosts.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::deploy::engine::said;
use crate::tools;

/// What machines of their own do in the inventory that is shipped, others do here as well: these, for those.
const SHARED: [(&str, &str); 6] = [
    ("redis1", "nats1"),
    ("redis2", "nats2"),
    ("redis3", "nats3"),
    ("gw1", "app1"),
    ("gw2", "app2"),
    ("sight1", "proxy1"),
];
/// The address of a host that its inventory says nothing of: there it meets itself alone.
const ALONE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Hosts and groups, as JSON, which is YAML.
const HOSTS: &str = "hosts.yml";
/// Variables that are ours, beside those of the inventory; read after `main.yml`, and before the vault.
const OURS: &str = "group_vars/all/tried.yml";

/// An inventory, and where it is written.
pub struct Inventory {
    /// Its folder.
    pub folder: PathBuf,
    /// Hosts, by group.
    groups: BTreeMap<String, Vec<String>>,
    /// Addresses in the network, by host.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// Variables of all hosts that win over the inventory's.
    variables: Map<String, Value>,
    /// What is called in place of ssh.
    ssh: PathBuf,
}

impl Inventory {
    /// Derives it; nothing is written yet.
    pub fn derive(shipped: &Path, folder: PathBuf, ansible: &Path, ssh: PathBuf) -> Result<Self> {
        let mut list = Command::new(ansible.join("ansible-inventory"));
        let listed = said(list.arg("--inventory").arg(shipped).arg("--list").env("ANSIBLE_NOCOLOR", "1"))?;
        let listed: Value = serde_json::from_str(&listed)?;
        let names = listed["all"]["children"].as_array().context("an inventory has groups")?;
        let (mut groups, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        for name in names.iter().filter_map(Value::as_str).filter(|name| *name != "ungrouped") {
            let mut hosts = Vec::new();
            for host in listed[name]["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let ours = SHARED.iter().find(|(theirs, _)| *theirs == host).map_or(host, |(_, ours)| ours).to_owned();
                let address: Ipv4Addr = listed["_meta"]["hostvars"][&ours]["nepto_address"]
                    .as_str()
                    .with_context(|| format!("{ours} has no nepto_address"))?
                    .parse()?;
                addresses.insert(ours.clone(), if address.is_loopback() { ALONE } else { address });
                if !hosts.contains(&ours) {
                    hosts.push(ours);
                }
            }
            groups.insert(name.to_owned(), hosts);
        }
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        tools::run(Command::new("cp").arg("-r").arg(shipped.join("group_vars")).arg(&folder))?;
        Ok(Self { folder, groups, addresses, variables: Map::new(), ssh })
    }

    /// The one that an earlier run has written.
    pub fn open(folder: PathBuf, ssh: PathBuf) -> Result<Self> {
        let written: Value = serde_json::from_slice(&fs::read(folder.join(HOSTS))?)?;
        let entries = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let mut addresses = BTreeMap::new();
        for (name, variables) in entries(&written["all"]["hosts"]) {
            let address = variables["nepto_address"].as_str().map_or(Ok(ALONE), str::parse)?;
            addresses.insert(name, address);
        }
        let of_group = |group: Value| entries(&group["hosts"]).into_iter().map(|(host, _)| host).collect();
        let groups = entries(&written["all"]["children"]).into_iter().map(|(name, group)| (name, of_group(group)));
        let variables = serde_json::from_slice(&fs::read(folder.join(OURS))?)?;
        Ok(Self { groups: groups.collect(), addresses, variables, ssh, folder })
    }

    /// The hosts of a group.
    pub fn group(&self, name: &str) -> &[String] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    /// Sets a variable of all hosts.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Adds a host to a group.
    pub fn add(&mut self, host: &str, address: Ipv4Addr, group: &str) -> Result<()> {
        ensure!(!self.addresses.contains_key(host), "there is a {host} already");
        self.addresses.insert(host.to_owned(), address);
        self.groups.entry(group.to_owned()).or_default().push(host.to_owned());
        Ok(())
    }

    /// Takes a host out.
    pub fn remove(&mut self, host: &str) {
        self.addresses.remove(host);
        self.groups.values_mut().for_each(|hosts| hosts.retain(|known| known != host));
    }

    /// Writes it down.
    pub fn write(&self) -> Result<()> {
        let is_alone = self.addresses.len() == 1;
        let of_host = |(name, address): (&String, &Ipv4Addr)| {
            let mut variables = json!({
                "ansible_user": "root",
                "ansible_ssh_executable": self.ssh,
                "ansible_ssh_args": "",
                "ansible_ssh_transfer_method": "piped",
            });
            if !is_alone {
                variables["nepto_address"] = json!(address);
            }
            (name.clone(), variables)
        };
        let hosts: Map<String, Value> = self.addresses.iter().map(of_host).collect();
        let of_group = |(name, hosts): (&String, &Vec<String>)| {
            let hosts: Map<String, Value> = hosts.iter().map(|host| (host.clone(), json!({}))).collect();
            (name.clone(), json!({ "hosts": hosts }))
        };
        let groups: Map<String, Value> = self.groups.iter().map(of_group).collect();
        let inventory = json!({ "all": { "hosts": hosts, "children": groups } });
        fs::write(self.folder.join(HOSTS), serde_json::to_string_pretty(&inventory)?)?;
        Ok(fs::write(self.folder.join(OURS), serde_json::to_string_pretty(&self.variables)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("group_vars/all")).unwrap();
        let mut inventory = Inventory {
            folder: folder.path().to_owned(),
            groups: BTreeMap::from([("sentinel".to_owned(), Vec::new())]),
            addresses: BTreeMap::new(),
            variables: Map::new(),
            ssh: PathBuf::from("ssh"),
        };
        let address = Ipv4Addr::new(10, 0, 0, 51);
        inventory.add("gw1", address, "nepto_gateway").unwrap();
        inventory.set("proxy_tls", "self_signed");
        // of one host alone its inventory says where it is
        for second in [None, Some("gw2")] {
            if let Some(name) = second {
                inventory.add(name, Ipv4Addr::new(10, 0, 0, 52), "nepto_gateway").unwrap();
            }
            inventory.write().unwrap();
            let read = Inventory::open(folder.path().to_owned(), PathBuf::from("ssh")).unwrap();
            assert_eq!((&read.groups, &read.variables), (&inventory.groups, &inventory.variables));
            assert_eq!(read.addresses["gw1"], if second.is_some() { address } else { ALONE });
        }
        assert!(inventory.add("gw1", address, "nepto_api").is_err());
        inventory.remove("gw1");
        assert_eq!(inventory.group("nepto_gateway"), ["gw2"]);
    }
}
