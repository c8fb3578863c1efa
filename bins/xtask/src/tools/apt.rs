//! Debian packages, for who may install them.

use std::process::Command;
use std::sync::Once;

use anyhow::{Result, bail};

use super::{on_path, run};

/// Whether a package is installed.
pub fn has(package: &str) -> bool {
    let mut asked = Command::new("dpkg-query");
    asked.args(["--show", "--showformat=${db:Status-Status}", package]);
    asked.output().is_ok_and(|output| output.stdout == b"installed")
}

/// Installs a package, or says how to.
pub fn install(package: &str, what: &str) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!("{what} is missing. Install it with your system's package manager (Debian calls it {package}).");
    }
    let command = format!("apt-get install -y --no-install-recommends {package}");
    if !rustix::process::geteuid().is_root() {
        bail!("{what} is missing. Install it with: sudo {command}");
    }
    eprintln!("Installing {what}: {command}");
    update()?;
    let install = ["-q", "install", "-y", "--no-install-recommends", package];
    run(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Reads the lists of packages again, once in a run.
pub fn update() -> Result<()> {
    static UPDATE: Once = Once::new();
    let mut updated = Ok(());
    UPDATE.call_once(|| updated = run(Command::new("apt-get").args(["-q", "update"])));
    updated
}
