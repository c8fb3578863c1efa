//! The archive: programs with the licences of what is in them, units, configuration, documents, `compose/` and `observability/`, in the places that they have in the repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{PROGRAMS, Release, empty, licences};
use crate::tools;

/// What goes in beside the programs.
const CONTENTS: [&str; 8] =
    ["README.md", "LICENSE", "docs", "nats", "systemd", "compose", "observability", "packaging"];

/// Writes `nepto-<version>-<platform>.tar.gz`.
pub fn write(release: &Release<'_>) -> Result<PathBuf> {
    let name = format!("nepto-{}-{}-linux", release.version, std::env::consts::ARCH);
    let stage = release.output.join("stage");
    empty(&stage)?;
    let folder = stage.join(&name);
    fs::create_dir_all(folder.join("bin"))?;
    for program in PROGRAMS {
        strip(&release.programs.join(program), &folder.join("bin").join(program))?;
    }
    for file in tracked(&release.paths.root)? {
        let to = folder.join(&file);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(release.paths.root.join(&file), &to).with_context(|| file.display().to_string())?;
        // git knows one bit; what else this machine makes of it is its own
        let is_program = fs::metadata(&to)?.permissions().mode() & 0o100 != 0;
        fs::set_permissions(&to, fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
    }
    fs::write(folder.join(licences::NAME), licences::text(&release.parts)?)?;
    let archive = release.output.join(format!("{name}.tar.gz"));
    pack(&stage, &name, &archive, &release.epoch)?;
    fs::remove_dir_all(&stage)?;
    Ok(archive)
}

/// The program without symbols, which are most of it.
pub fn strip(from: &Path, to: &Path) -> Result<()> {
    tools::run(Command::new("strip").arg("-o").arg(to).arg(from))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// Files that belong to the repository, and nothing that merely lies there.
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    let output = git.current_dir(root).args(["ls-files", "-z", "--"]).args(CONTENTS).output()?;
    anyhow::ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).context("names of files are UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

/// The same bytes for the same files.
fn pack(stage: &Path, name: &str, archive: &Path, epoch: &str) -> Result<()> {
    let tar = archive.with_extension("");
    tools::run(
        Command::new("tar")
            .args(["--create", "--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .arg("--mode=go+u,go-w")
            .arg(format!("--mtime=@{epoch}"))
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(stage)
            .arg(name),
    )?;
    tools::run(Command::new("gzip").args(["--force", "--no-name", "-9"]).arg(&tar))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_archive() {
        let folder = tempfile::tempdir().unwrap();
        let archives = ["a", "b"].map(|who| {
            let stage = folder.path().join(who);
            fs::create_dir_all(stage.join("nepto/bin")).unwrap();
            // made in another order and at another time
            let mut names = ["nepto/README.md", "nepto/bin/nepto", "nepto/LICENSE"];
            if who == "b" {
                names.reverse();
                std::thread::sleep(std::time::Duration::from_millis(1_100));
            }
            for name in names {
                fs::write(stage.join(name), name).unwrap();
            }
            let archive = folder.path().join(format!("{who}.tar.gz"));
            pack(&stage, "nepto", &archive, "1700000000").unwrap();
            fs::read(archive).unwrap()
        });
        assert!(!archives[0].is_empty());
        assert!(archives[0] == archives[1], "two archives of the same files differ");
    }
}
