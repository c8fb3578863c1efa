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
    hosts: Vec<(Ipv4Addr, Namespace)>,
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

    /// Adds a host, or gives one that is there its cable back, and returns the name of its namespace.
    pub fn add(&mut self, address: Ipv4Addr) -> Result<String> {
        if let Ok(at) = self.find(address) {
            self.bridge.ip(&["link", "set", &link(at), "up"])?;
            return Ok(self.hosts[at].1.name().to_owned());
        }
        let at = self.hosts.len();
        let (link, number) = (link(at), at + 1);
        let host = Namespace::new(format!("{HERE}-{number}"))?;
        let name = host.name().to_owned();
        self.bridge.ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        self.bridge.ip(&["link", "set", &link, "master", "bridge", "up"])?;
        host.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        self.hosts.push((address, host));
        Ok(name)
    }

    /// Takes the cable of a host away: from then on nothing leaves it, not even the end of a connection.
    pub fn cut(&self, address: Ipv4Addr) -> Result<()> {
        self.bridge.ip(&["link", "set", &link(self.find(address)?), "down"]).map(drop)
    }

    fn find(&self, address: Ipv4Addr) -> Result<usize> {
        let found = self.hosts.iter().position(|(known, _)| *known == address);
        found.with_context(|| format!("no host has the address {address}"))
    }
}

/// The end of a host's cable that is in the bridge.
fn link(at: usize) -> String {
    format!("host{}", at + 1)
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
