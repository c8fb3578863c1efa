//! What hosts fetch from elsewhere, in a folder that they can read: Debian's packages, and releases of NATS. They have no other network.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::paths::Paths;
use crate::tools::{self, Tools};

/// Where hosts have it.
pub const INSIDE: &str = "/srv/packages";
/// What a host has before Ansible comes.
pub const OF_A_HOST: &str = "systemd,systemd-sysv,dbus,python3,python3-apt,openssh-server,ca-certificates,procps";
/// What the roles install.
const OF_ROLES: &str = "nftables,redis-server,redis-tools,redis-sentinel,haproxy,socat,openssl,openssh-client,rsync,prometheus,\
prometheus-node-exporter,prometheus-alertmanager,prometheus-blackbox-exporter,prometheus-redis-exporter";

/// The versions of NATS that there are: before an upgrade, and after it. There is one program, and as the second it is another file.
pub const NATS: [&str; 2] = ["2.15.1", "2.15.1-again"];

/// Makes the folder.
pub fn make(paths: &Paths, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let debian = debian(paths)?;
    tools::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(debian).arg(folder.join("debian")))?;
    let nats = Tools::find_or_install(paths)?.nats;
    for (number, version) in NATS.into_iter().enumerate() {
        release(&nats, version, number, folder)?;
    }
    Ok(())
}

/// What a host writes into its list of sources.
pub fn source() -> String {
    format!("deb [trusted=yes] file:{INSIDE}/debian ./\n")
}

/// Debian's packages with their index, kept in the user's cache.
fn debian(paths: &Paths) -> Result<PathBuf> {
    let kept = paths.tools.join("debian-bookworm-packages");
    if kept.exists() {
        return Ok(kept);
    }
    eprintln!("Fetching packages for hosts");
    let half_made = kept.with_extension("new");
    let _ = fs::remove_dir_all(&half_made);
    let mut debootstrap = Command::new(tools::docker::debootstrap()?);
    debootstrap.args(["--variant=minbase", "--download-only", &format!("--include={OF_ROLES}"), "bookworm"]);
    tools::run(debootstrap.arg(&half_made))?;
    let archives = half_made.join("var/cache/apt/archives");
    let mut scan = Command::new(tools::debian::scan_packages()?);
    let index = scan.arg(".").current_dir(&archives).stderr(Stdio::null()).output()?;
    ensure!(index.status.success(), "dpkg-scanpackages failed with {}", index.status);
    fs::write(archives.join("Packages"), index.stdout)?;
    fs::rename(archives, &kept)?;
    fs::remove_dir_all(half_made)?;
    Ok(kept)
}

/// A release of NATS as its makers publish it: an archive with a folder in it, and checksums.
fn release(program: &Path, version: &str, other: usize, folder: &Path) -> Result<()> {
    let release = folder.join(format!("nats-{version}"));
    let inside = format!("nats-server-v{version}-linux-amd64");
    let unpacked = release.join(&inside);
    fs::create_dir_all(&unpacked)?;
    let copy = unpacked.join("nats-server");
    fs::copy(program, &copy)?;
    // what follows a program's end is not loaded
    fs::OpenOptions::new().append(true).open(&copy)?.write_all(&vec![0; other])?;
    let archive = format!("{inside}.tar.gz");
    let mut tar = Command::new("tar");
    tools::run(tar.current_dir(&release).args(["--create", "--gzip", "--file", &archive, "--remove-files", &inside]))?;
    let sums = Command::new("sha256sum").current_dir(&release).arg(&archive).output().context("no sha256sum")?;
    ensure!(sums.status.success(), "sha256sum failed with {}", sums.status);
    Ok(fs::write(release.join("SHA256SUMS"), sums.stdout)?)
}
