//! Somebody on another machine: a network namespace with one link to this one.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::engine::said;
use super::netns::{self, Namespace};

/// This machine's end of the link.
const LINK: &str = "nepto-link";
/// This machine, as the other one sees it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 231, 7, 1);
const OTHER: &str = "10.231.7.2/30";
/// Connections at once.
const THREADS: usize = 64;
/// A firewall that answers nothing takes so long for each port.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// Looks for ports that somebody listens on.
#[derive(Debug, Args)]
pub struct Scan {
    address: IpAddr,
    /// All without
    ports: Vec<u16>,
}

impl Scan {
    /// Prints them.
    pub fn run(&self) {
        let ports: Vec<u16> = if self.ports.is_empty() { (1..=u16::MAX).collect() } else { self.ports.clone() };
        let (next, open) = (AtomicU32::new(0), Mutex::new(BTreeSet::new()));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(port) = ports.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let address = SocketAddr::new(self.address, *port);
                        if TcpStream::connect_timeout(&address, ANSWER_WITHIN).is_ok() {
                            open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*port);
                        }
                    }
                });
            }
        });
        for port in open.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            println!("{port}");
        }
    }
}

/// The other machine, until it is dropped.
pub struct Outside(Namespace);

impl Outside {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let outside = Self(Namespace::new("nepto-outside")?);
        let (host, gateway) = (format!("{HOST}/30"), HOST.to_string());
        for line in [
            &["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", outside.0.name()][..],
            &["address", "add", &host, "dev", LINK],
            &["link", "set", LINK, "up"],
        ] {
            netns::ip(line)?;
        }
        for line in [
            &["address", "add", OTHER, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["route", "add", "default", "via", &gateway],
        ] {
            outside.0.ip(line)?;
        }
        Ok(outside)
    }

    /// A program that runs there, where a domain leads to this machine and `authority`, a file, speaks for its certificate. Returns
    /// the command that calls it.
    pub fn client(&self, folder: &Path, program: &Path, domain: &str, authority: &str) -> Result<PathBuf> {
        let (hosts, command) = (folder.join("hosts-outside"), folder.join("client-outside"));
        fs::write(&hosts, format!("127.0.0.1 localhost\n{HOST} {domain}\n"))?;
        // `ip netns exec` has a mount namespace of its own
        let bind = format!("mount --bind {} /etc/hosts", hosts.display());
        let call = format!("env SSL_CERT_FILE={authority} {}", program.display());
        self.0.write_script(&command, &format!("sh -c '{bind} && exec \"$@\"' sh {call}"))?;
        Ok(command)
    }

    /// The ports of an address that can be reached from there; all without `ports`.
    pub fn open_ports(&self, address: IpAddr, ports: &[u16]) -> Result<BTreeSet<u16>> {
        let mut scan = netns::within(self.0.name(), std::env::current_exe()?);
        scan.args(["test-deploy", "scan"]).arg(address.to_string()).args(ports.iter().map(u16::to_string));
        said(&mut scan)?.lines().map(|line| line.parse().context("a scan prints ports")).collect()
    }
}
