//! Prometheus with its test of alerts, and its exporter, without the services that come with Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, on_path, run, version};
use crate::paths::Paths;

/// Two programs of one package.
#[derive(Debug)]
pub struct Prometheus {
    /// The server.
    pub server: PathBuf,
    /// Checks configurations, and tries rules.
    pub promtool: PathBuf,
}

/// Those of the `PATH` or of the cache; else new ones in the cache, taken out of a package that is not installed.
pub fn find_or_install(paths: &Paths) -> Result<Prometheus> {
    if let Some(found) = find(paths) {
        return Ok(found);
    }
    take_out(paths, "prometheus", &["prometheus", "promtool"])?;
    find(paths).context("Prometheus of Debian's package does not run")
}

/// The program that serves what is in files, `prometheus-node-exporter`.
pub fn node_exporter(paths: &Paths) -> Result<PathBuf> {
    let name = "prometheus-node-exporter";
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    let program = paths.tools.join(name);
    if !program.exists() {
        take_out(paths, name, &[name])?;
    }
    Ok(program)
}

/// Programs that are there already.
pub fn find(paths: &Paths) -> Option<Prometheus> {
    let program = |name: &str| {
        let mut known = on_path(name).into_iter().chain([paths.tools.join(name)]);
        known.find(|program| version(program).is_some())
    };
    Some(Prometheus { server: program("prometheus")?, promtool: program("promtool")? })
}

/// Programs of a Debian package, which is not installed, into the cache.
fn take_out(paths: &Paths, package: &str, programs: &[&str]) -> Result<()> {
    let folder = paths.tools.join(format!("{package}-{}", std::process::id()));
    let taken = download(&folder, package, programs, &paths.tools);
    let _ = fs::remove_dir_all(&folder);
    taken.with_context(|| {
        format!("{package} is missing. Install it (Debian calls it so), or put its programs on the PATH.")
    })
}

fn download(folder: &Path, package: &str, programs: &[&str], to: &Path) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!("this system has no Debian packages");
    }
    eprintln!("Downloading Debian's package {package}");
    fs::create_dir_all(folder)?;
    let download = || run(Command::new("apt-get").args(["-q", "download", package]).current_dir(folder));
    if download().is_err() {
        // the lists of packages may be old
        apt::update()?;
        download()?;
    }
    let file = fs::read_dir(folder)?.find_map(|entry| {
        let path = entry.ok()?.path();
        (path.extension()? == "deb").then_some(path)
    });
    let file = file.context("apt-get downloaded nothing")?;
    let whole = folder.join("whole");
    run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&whole))?;
    for program in programs {
        fs::rename(whole.join("usr/bin").join(program), to.join(program))?;
    }
    Ok(())
}
