//! Our contracts and the chain to try them on: packages from npm, of the versions in `contracts/package-lock.json`.
//!
//! Everything lies in `contracts/`, and is recreated only when what it is made of changed.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::{changed, npm, run, version};
use crate::paths::Paths;

/// What compiled contracts are made of, below `contracts/`.
const SOURCES: [&str; 6] = ["src", "script", "test", "foundry.toml", "package-lock.json", "solc"];
/// Written after contracts were compiled; as old as the build.
const STAMP: &str = "out/.built";

/// What the packages have.
#[derive(Debug)]
pub struct Foundry {
    /// The path of anvil, the chain of tests and of development.
    pub anvil: PathBuf,
    /// Builds, tests and deploys contracts.
    pub forge: PathBuf,
    /// The folder of the compiled contracts, which tests get as `NEPTO_CONTRACTS`.
    pub contracts: PathBuf,
}

/// The packages, and contracts compiled with them. `NEPTO_ANVIL` names another chain.
pub fn find_or_install(paths: &Paths) -> Result<Foundry> {
    let folder = paths.root.join("contracts");
    let _locked = lock(&folder)?;
    npm::install(&folder)?;
    let forge = executable(&folder, "forge")?;
    compile(&folder, &forge)?;
    let anvil = match std::env::var_os("NEPTO_ANVIL").map(PathBuf::from) {
        Some(named) if version(&named).is_some_and(|said| said.contains("anvil")) => named,
        Some(named) => bail!("NEPTO_ANVIL is not an anvil: {}", named.display()),
        None => executable(&folder, "anvil")?,
    };
    Ok(Foundry { anvil, forge, contracts: folder.join("out") })
}

/// Waits until nobody else works in `contracts/`, for who starts two tasks at once. It ends with the file.
pub fn lock(folder: &Path) -> Result<File> {
    let manifest = folder.join("package.json");
    let file = File::open(&manifest).with_context(|| format!("{} can't be read", manifest.display()))?;
    file.lock().context("contracts/ can't be locked")?;
    Ok(file)
}

/// The executable of this machine in a package. The package's own command is a script that starts it, and would stay
/// between it and our signals.
fn executable(folder: &Path, name: &str) -> Result<PathBuf> {
    let platform = platform(OS, ARCH).with_context(|| format!("there is no {name} for {OS} on {ARCH}"))?;
    let path = folder.join(format!("node_modules/@foundry-rs/{name}-{platform}/bin/{name}"));
    if !path.exists() {
        bail!("{} is missing; remove contracts/node_modules to install it again", path.display());
    }
    Ok(path)
}

/// What the packages call a platform.
fn platform(os: &str, arch: &str) -> Option<String> {
    let os = match os {
        "linux" => "linux",
        "macos" => "darwin",
        _ => return None,
    };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return None,
    };
    Some(format!("{os}-{arch}"))
}

/// `forge build`, if a source is newer than the last one. Tests of contracts are compiled when they run.
fn compile(folder: &Path, forge: &Path) -> Result<()> {
    let stamp = folder.join(STAMP);
    let newest = SOURCES.iter().map(|source| newest(&folder.join(source))).max().flatten();
    if changed(&stamp) > newest {
        return Ok(());
    }
    eprintln!("Compiling the contracts");
    run(Command::new(forge).args(["build", "--skip", "test"]).current_dir(folder))?;
    fs::write(&stamp, "").with_context(|| format!("{} can't be written", stamp.display()))
}

/// When anything at or below a path was changed last.
fn newest(path: &Path) -> Option<SystemTime> {
    let below = fs::read_dir(path).into_iter().flatten().flatten().filter_map(|entry| newest(&entry.path()));
    below.chain(changed(path)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_the_names_that_the_packages_have() {
        assert_eq!(platform("linux", "x86_64").as_deref(), Some("linux-amd64"));
        assert_eq!(platform("macos", "aarch64").as_deref(), Some("darwin-arm64"));
        assert_eq!(platform("linux", "riscv64"), None);
    }

    #[test]
    fn the_newest_file_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/deep")).unwrap();
        let before = newest(&folder.path().join("src"));
        let file = folder.path().join("src/deep/file");
        fs::write(&file, "").unwrap();
        let later = changed(&file).unwrap() + std::time::Duration::from_secs(60);
        File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert!(newest(&folder.path().join("src")) > before);
        assert_eq!(newest(&folder.path().join("src")), Some(later));
        assert_eq!(newest(&folder.path().join("nowhere")), None);
    }
}
