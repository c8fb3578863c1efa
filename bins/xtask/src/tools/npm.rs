//! Packages from npm, of the versions in a folder's `package-lock.json`. npm's own scripts never run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{apt, changed, on_path, run};

/// `npm ci`, if the packages are missing or older than the list of their versions.
pub fn install(folder: &Path) -> Result<()> {
    // npm writes this one last
    let installed = changed(&folder.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= changed(&folder.join("package-lock.json")) {
        return Ok(());
    }
    if on_path("node").is_none() {
        apt::install("nodejs", "Node.js")?;
    }
    if on_path("npm").is_none() {
        apt::install("npm", "Node's package installer `npm`")?;
    }
    eprintln!("Installing the packages of {}", folder.display());
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    run(Command::new("npm").args(npm).current_dir(folder)).with_context(|| {
        format!("the packages could not be installed; try `npm ci --ignore-scripts` in {}", folder.display())
    })
}
