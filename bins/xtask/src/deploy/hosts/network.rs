//! A network of hosts on this machine: a namespace with a bridge, where the administrator and people are, and one for each host.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::deploy::engine::said;

/// Where the bridge is.
pub const HERE: &str = "nepto-hosts";
/// What `ip netns exec` takes for `/etc/hosts`.
const NAMES: &str = "/etc/netns/nepto-hosts";
/// The address of the bridge: somebody who is no host of the inventory.
const OWN: &str = "10.0.0.1/24";

/// The network, until it is dropped.
pub struct Network {
    hosts: usize,
}

impl Network {
    /// A network without hosts, in which the domain is at this address.
    pub fn new(domain: &str, address: Ipv4Addr) -> Result<Self> {
        remove();
        let network = Self { hosts: 0 };
        fs::create_dir_all(NAMES).with_context(|| format!("{NAMES} can't be made"))?;
        fs::write(format!("{NAMES}/hosts"), format!("127.0.0.1 localhost\n{address} {domain}\n"))?;
        for line in [
            &["netns", "add", HERE][..],
            &["-n", HERE, "link", "set", "lo", "up"],
            &["-n", HERE, "link", "add", "bridge", "type", "bridge"],
            &["-n", HERE, "address", "add", OWN, "dev", "bridge"],
            &["-n", HERE, "link", "set", "bridge", "up"],
        ] {
            ip(line)?;
        }
        Ok(network)
    }

    /// Adds a host, and returns the name of its namespace.
    pub fn add(&mut self, address: Ipv4Addr) -> Result<String> {
        self.hosts += 1;
        let name = format!("{HERE}-{}", self.hosts);
        let link = format!("host{}", self.hosts);
        let address = format!("{address}/24");
        for line in [
            &["netns", "add", &name][..],
            &["-n", HERE, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name],
            &["-n", HERE, "link", "set", &link, "master", "bridge", "up"],
            &["-n", &name, "link", "set", "lo", "up"],
            &["-n", &name, "address", "add", &address, "dev", "eth0"],
            &["-n", &name, "link", "set", "eth0", "up"],
        ] {
            ip(line)?;
        }
        Ok(name)
    }
}

fn ip(line: &[&str]) -> Result<String> {
    said(Command::new("ip").args(line))
}

/// A program that runs where the bridge is.
pub fn here(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", HERE]).arg(program);
    command
}

impl Drop for Network {
    fn drop(&mut self) {
        remove();
    }
}

/// Also what another run left; that there is nothing is no failure. Links go with their namespaces.
fn remove() {
    let listed = ip(&["netns", "list"]).unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(HERE)) {
        let _ = ip(&["netns", "delete", name]);
    }
    let _ = fs::remove_dir_all(NAMES);
}
