//! Debian's own tools for packages and hosts.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{apt, on_path};

/// The program `lintian`.
pub fn lintian() -> Result<PathBuf> {
    find_or_install("lintian", "lintian")
}

/// The program `systemd-nspawn`.
pub fn nspawn() -> Result<PathBuf> {
    find_or_install("systemd-nspawn", "systemd-container")
}

/// The program `dpkg-scanpackages`, which makes the index of a folder of packages.
pub fn scan_packages() -> Result<PathBuf> {
    find_or_install("dpkg-scanpackages", "dpkg-dev")
}

fn find_or_install(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(program) = on_path(program) {
        return Ok(program);
    }
    apt::install(package, program)?;
    on_path(program).with_context(|| format!("{package} is installed, but has no {program}"))
}
