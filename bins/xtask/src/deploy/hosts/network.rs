//! A network of hosts on this machine: a namespace with a bridge, where the administrator and people are, and one for each host.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::deploy::netns::{self, Namespace};

/// Where the bridge is.
pub const HERE: &str = "nepto-hosts";
/// What `ip netns exec` takes for `/etc/hosts`.
const NAMES: &str = "/etc/netns/nepto-hosts";
/// The address of the bridge: somebody who is no host of the inventory.
const OWN: &str = "10.0.0.1/24";

/// The network, until it is dropped.
pub struct Network {
    bridge: Namespace,
    hosts: Vec<Namespace>,
}

impl Network {
    /// A network without hosts, in which the domain is at this address.
    pub fn new(domain: &str, address: Ipv4Addr) -> Result<Self> {
        let network = Self { bridge: Namespace::new(HERE)?, hosts: Vec::new() };
        fs::create_dir_all(NAMES).with_context(|| format!("{NAMES} can't be made"))?;
        fs::write(format!("{NAMES}/hosts"), format!("127.0.0.1 localhost\n{address} {domain}\n"))?;
        for line in [
            &["link", "add", "bridge", "type", "bridge"][..],
            &["address", "add", OWN, "dev", "bridge"],
            &["link", "set", "bridge", "up"],
        ] {
            network.bridge.ip(line)?;
        }
        Ok(network)
    }

    /// Adds a host, and returns the name of its namespace.
    pub fn add(&mut self, address: Ipv4Addr) -> Result<String> {
        let number = self.hosts.len() + 1;
        let (link, address) = (format!("host{number}"), format!("{address}/24"));
        let host = Namespace::new(format!("{HERE}-{number}"))?;
        let name = host.name().to_owned();
        self.bridge.ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        self.bridge.ip(&["link", "set", &link, "master", "bridge", "up"])?;
        host.ip(&["address", "add", &address, "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        self.hosts.push(host);
        Ok(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(NAMES);
    }
}

/// A program that runs where the bridge is.
pub fn here(program: impl AsRef<OsStr>) -> Command {
    netns::within(HERE, program)
}
