//! The Debian package, by cargo-deb. What is in it stands in `bins/nepto-server/Cargo.toml`, its scripts in `packaging/deb/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{PROGRAMS, Release, archive, empty, licences};
use crate::cargo;
use crate::tools;

/// Reads `[package.metadata.deb]`; a newer one may read it in another way.
const VERSION: &str = "3.8.0";

/// How much time a package takes, and how much room.
#[derive(Debug, Clone, Copy)]
pub enum Packed {
    /// As others get it.
    Small,
    /// To be installed here, once.
    Quickly,
}

impl Packed {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Small => &[],
            // a lower level of xz; its gzip, as cargo-deb is built here, takes longer than any of them
            Self::Quickly => &["--fast"],
        }
    }
}

/// Writes `nepto_<version>-<revision>_<architecture>.deb`.
pub fn write(release: &Release<'_>, revision: &str, packed: Packed) -> Result<PathBuf> {
    let program = find_or_install(release)?;
    // cargo-deb takes programs from target/release alone: here they may be of any profile
    let stage = release.output.join("deb");
    empty(&stage)?;
    let programs = stage.join("release");
    fs::create_dir_all(&programs)?;
    for name in PROGRAMS {
        archive::strip(&release.programs.join(name), &programs.join(name))?;
    }
    fs::write(programs.join(licences::NAME), licences::text(&release.parts)?)?;
    let packages = stage.join("packages");
    fs::create_dir_all(&packages)?;
    let mut deb = Command::new(program);
    deb.current_dir(&release.paths.root)
        .args(["--no-build", "--no-strip", "--locked", "--quiet", "--deb-revision", revision])
        .args(packed.arguments())
        .arg("--manifest-path=bins/nepto-server/Cargo.toml")
        .arg("--output")
        .arg(&packages)
        .env("CARGO_TARGET_DIR", &stage)
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    tools::run(&mut deb)?;
    let made = fs::read_dir(&packages)?.next().context("cargo-deb made no package")??.path();
    let package = release.output.join(made.file_name().context("a package has a name")?);
    fs::rename(&made, &package)?;
    fs::remove_dir_all(&stage)?;
    Ok(package)
}

fn find_or_install(release: &Release<'_>) -> Result<PathBuf> {
    let folder = release.paths.tools.join(format!("cargo-deb-{VERSION}"));
    let program = folder.join("bin/cargo-deb");
    if !program.exists() {
        eprintln!("Installing cargo-deb {VERSION}");
        let mut install = cargo::command(release.paths);
        install.args(["install", "cargo-deb", "--locked", "--version", VERSION, "--root"]).arg(&folder);
        install.env("CARGO_TARGET_DIR", folder.join("target"));
        if !install.status()?.success() {
            bail!("cargo-deb {VERSION} could not be installed");
        }
        fs::remove_dir_all(folder.join("target"))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn every_unit_is_in_the_package() {
        let root = Paths::find().unwrap().root;
        let manifest = fs::read_to_string(root.join("bins/nepto-server/Cargo.toml")).unwrap();
        let mut git = Command::new("git");
        let listed = git.current_dir(&root).args(["ls-files", "systemd"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.lines().count() > 10, "{listed}");
        for unit in listed.lines() {
            let (folder, name) = unit.rsplit_once('/').unwrap();
            let (_, ending) = name.rsplit_once('.').unwrap();
            let asset = [name.to_owned(), format!("*.{ending}")].map(|name| format!("[\"../../{folder}/{name}\", "));
            assert!(asset.iter().any(|asset| manifest.contains(asset)), "the package lacks {unit}");
        }
    }
}
