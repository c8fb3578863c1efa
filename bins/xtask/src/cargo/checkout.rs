//! Several checkouts that build into one folder.
//!
//! Cargo knows the packages of a workspace by their names, and compares times: what another checkout built last, from other
//! sources, would pass for built if the sources here are older.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use nepto_files::Readers;

/// In the target folder: the checkout that built last.
const LAST: &str = "nepto-checkout";
/// Where the packages are.
const PACKAGES: [&str; 3] = ["bins", "lib", "bench"];

/// Makes this checkout's sources newer than what another one built into this folder. What comes from elsewhere stays as it is.
pub fn claim(root: &Path, target: &Path) -> Result<()> {
    let (mark, name) = (target.join(LAST), root.to_string_lossy());
    if fs::read_to_string(&mark).is_ok_and(|last| last == name) {
        return Ok(());
    }
    #[allow(clippy::disallowed_methods, reason = "as an editor would")]
    let now = SystemTime::now();
    for package in PACKAGES {
        touch(&root.join(package), now)?;
    }
    fs::create_dir_all(target)?;
    Ok(nepto_files::write(&mark, name.as_bytes(), Readers::Owner)?)
}

fn touch(folder: &Path, now: SystemTime) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && entry.file_name() != "node_modules" {
            touch(&path, now)?;
        } else if kind.is_file() {
            let touched = File::open(&path).and_then(|file| file.set_modified(now));
            touched.with_context(|| format!("the time of {} can't be set", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_builds_after_another_has_newer_sources() {
        let folder = tempfile::tempdir().unwrap();
        let checkout = |name: &str| {
            let root = folder.path().join(name);
            for package in PACKAGES {
                fs::create_dir_all(root.join(package).join("a/src")).unwrap();
            }
            let source = root.join("lib/a/src/lib.rs");
            fs::write(&source, "").unwrap();
            File::open(&source).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            (root, source)
        };
        let is_old = |source: &Path| fs::metadata(source).unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH;
        let ((one, source_of_one), (other, source_of_other)) = (checkout("one"), checkout("other"));
        let target = folder.path().join("target");
        let claim = |root: &Path| super::claim(root, &target);
        claim(&one).unwrap();
        assert!(!is_old(&source_of_one));
        File::open(&source_of_one).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        claim(&one).unwrap();
        assert!(is_old(&source_of_one), "it was the last to build, and builds what changed");
        claim(&other).unwrap();
        assert!(!is_old(&source_of_other));
        claim(&one).unwrap();
        assert!(!is_old(&source_of_one));
    }
}
