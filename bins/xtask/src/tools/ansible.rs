//! Ansible, in a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{apt, on_path, run};
use crate::paths::Paths;

/// The oldest that `ansible/` says it needs, at its last patch. What it depends on is pip's choice.
const VERSION: &str = "2.19.14";

/// The folder of its programs.
pub fn find_or_install(paths: &Paths) -> Result<PathBuf> {
    let folder = paths.tools.join(format!("ansible-{VERSION}"));
    if !folder.exists() {
        eprintln!("Installing ansible-core {VERSION}");
        if on_path("python3").is_none() {
            apt::install("python3", "Python")?;
        }
        let half_made = folder.with_extension("new");
        let _ = std::fs::remove_dir_all(&half_made);
        let make = || run(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(&half_made));
        if make().is_err() {
            apt::install("python3-venv", "Python's module `venv`")?;
            make()?;
        }
        // the programs name the folder that they were installed into
        std::fs::rename(half_made, &folder)?;
        let pip = ["-m", "pip", "--python"];
        let packages = ["install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
        let mut install = Command::new("python3");
        install.args(pip).arg(folder.join("bin/python")).args(packages).arg(format!("ansible-core=={VERSION}"));
        let installed = run(&mut install);
        if installed.is_err() {
            let _ = std::fs::remove_dir_all(&folder);
        }
        installed.context("ansible-core could not be installed")?;
    }
    Ok(folder.join("bin"))
}
