//! The booted hosts of an inventory, and what Ansible calls in place of ssh.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::network::Network;
use super::packages;
use crate::deploy::booted::{self, Host, INTO, PATH};
use crate::paths::Paths;

/// What these machines would do by themselves one day, while we measure.
const MASKED: [&str; 3] = ["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"];

/// Booted hosts by name; off when dropped.
pub struct Machines<'a> {
    paths: &'a Paths,
    folder: PathBuf,
    packages: PathBuf,
    domain: (String, Ipv4Addr),
    network: Option<Network>,
    hosts: BTreeMap<String, Host>,
}

impl<'a> Machines<'a> {
    /// None yet. Each will have a folder below this one, and call the domain by this address.
    pub fn new(paths: &'a Paths, folder: PathBuf, packages: PathBuf, domain: (String, Ipv4Addr)) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        write_ssh(&folder)?;
        let network = Some(Network::new(&domain.0, domain.1)?);
        Ok(Self { paths, folder, packages, domain, network, hosts: BTreeMap::new() })
    }

    /// Boots hosts, all at once: as another run left them, or new ones.
    pub fn boot(&mut self, addresses: &BTreeMap<String, Ipv4Addr>) -> Result<()> {
        let mut booting = Vec::new();
        for (name, address) in addresses {
            let root = self.root(name);
            if !root.exists() {
                self.make_root(name, &root)?;
            }
            let network = self.network.as_mut().context("there is a network")?.add(*address)?;
            let bind = format!("--bind-ro={}:{}", self.packages.display(), packages::INSIDE);
            // without it, it could not set up its firewall
            let arguments = [bind, "--capability=CAP_NET_ADMIN".to_owned()];
            booting.push((name.clone(), Host::boot(name, &network, &root, &self.folder.join(name), &arguments)?));
        }
        for (name, mut host) in booting {
            host.wait().with_context(|| name.clone())?;
            fs::write(self.folder.join(&name).join("init"), host.init())?;
            host.run(&["apt-get", "-q", "update"])?;
            self.hosts.insert(name, host);
        }
        Ok(())
    }

    fn make_root(&self, name: &str, root: &Path) -> Result<()> {
        nepto_files::private_folder(&self.folder.join(name))?;
        let kept = self.paths.tools.join("debian-bookworm-host");
        booted::make_root(&kept, packages::OF_A_HOST, root)?;
        let (domain, address) = &self.domain;
        fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
        fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost {name}\n{address} {domain}\n"))?;
        fs::write(root.join("etc/apt/sources.list"), packages::source())?;
        // a journal that is still there when the host is off
        fs::create_dir_all(root.join("var/log/journal"))?;
        for unit in MASKED {
            std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system").join(unit))?;
        }
        Ok(())
    }

    /// The files of a host.
    pub fn root(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("root")
    }

    /// A host that is on.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.get(name).with_context(|| format!("{name} is off"))
    }

    /// Switches a host off as when its power fails: nobody hears of it. `boot` brings it back.
    pub fn cut(&mut self, name: &str, address: Ipv4Addr) -> Result<()> {
        self.network.as_ref().context("there is a network")?.cut(address)?;
        self.hosts.remove(name).with_context(|| format!("{name} is off"))?.kill()
    }

    /// Switches a host off, and throws it away.
    pub fn discard(&mut self, name: &str) -> Result<()> {
        drop(self.hosts.remove(name));
        Ok(fs::remove_dir_all(self.folder.join(name))?)
    }
}

impl Drop for Machines<'_> {
    /// All at once, as each takes some seconds; the network last.
    fn drop(&mut self) {
        let hosts = std::mem::take(&mut self.hosts);
        std::thread::scope(|scope| {
            for host in hosts.into_values() {
                scope.spawn(|| drop(host));
            }
        });
        drop(self.network.take());
    }
}

/// The program in place of ssh, in the folder of the hosts.
pub fn ssh(folder: &Path) -> PathBuf {
    folder.join("ssh")
}

/// Ansible calls it with options, a host, and a command for a shell there.
fn write_ssh(folder: &Path) -> Result<()> {
    let (into, folder_of_hosts) = (INTO.join(" "), folder.display());
    let text = format!(
        "#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\nexec nsenter --target \"$(cat '{folder_of_hosts}'/\"$1\"/init)\" {into} \
         env --ignore-environment PATH={PATH} HOME=/root /bin/sh -c \"$2\"\n"
    );
    fs::write(ssh(folder), text)?;
    Ok(fs::set_permissions(ssh(folder), fs::Permissions::from_mode(0o700))?)
}
