//! What others wrote who have a part in the programs: their licences ask that whoever passes a program on passes their words on.
//!
//! The words are those in the crates, each text once, with the names of the crates that have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::sbom::{Crate, Part};

/// What it is called in the archive, in the package and in the image.
pub const NAME: &str = "LICENCES-OF-CRATES";
/// How the names of such files begin.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The text of that file.
pub fn text(parts: &BTreeMap<Crate, Part>) -> Result<String> {
    let others = || parts.iter().filter(|(_, part)| !part.is_ours);
    let mut text = "The programs of Nepto contain these crates, under these licences:\n\n".to_owned();
    for ((name, version), part) in others() {
        writeln!(text, "  {name} {version}: {}", part.licence)?;
    }
    let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ((name, version), part) in others() {
        for file in files(part)? {
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            let read = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            words.entry(read.trim().to_owned()).or_default().insert(format!("{name} {version}"));
        }
    }
    for (read, of) in words {
        let of = of.into_iter().collect::<Vec<_>>().join(", ");
        write!(text, "\n{}\nIn {of}:\n\n{read}\n", "-".repeat(80))?;
    }
    Ok(text)
}

/// The files of a crate that are about its licence.
fn files(part: &Part) -> Result<BTreeSet<PathBuf>> {
    let mut files: BTreeSet<PathBuf> = part.licence_file.iter().cloned().collect();
    for entry in fs::read_dir(&part.folder).with_context(|| part.folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() && is_about_licences(&entry.path()) {
            files.insert(entry.path());
        }
    }
    Ok(files)
}

fn is_about_licences(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    NAMES.iter().any(|beginning| name.starts_with(beginning)) && !name.ends_with(".RS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_stands_there_once_with_all_who_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let part = |name: &str, file: &str, words: &str, is_ours| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(file), words).unwrap();
            fs::write(folder.join("README.md"), "not about licences").unwrap();
            let part = Part { licence: "MIT".to_owned(), folder, licence_file: None, is_ours };
            ((name.to_owned(), "1.0.0".to_owned()), part)
        };
        let parts = BTreeMap::from([
            part("one", "LICENSE-MIT", "(c) One\r\nDo as you like.\r\n", false),
            part("other", "license.txt", "(c) One\nDo as you like.", false),
            part("third", "COPYING", "(c) Third", false),
            part("nepto", "LICENSE", "(c) us", true),
        ]);
        let text = text(&parts).unwrap();
        assert!(text.contains("In one 1.0.0, other 1.0.0:\n\n(c) One\nDo as you like.\n"), "{text}");
        assert!(text.contains("In third 1.0.0:\n\n(c) Third\n"), "{text}");
        assert!(text.contains("  third 1.0.0: MIT\n"), "{text}");
        assert_eq!(text.matches("(c) One").count(), 1);
        for absent in ["(c) us", "not about licences", "nepto 1.0.0"] {
            assert!(!text.contains(absent), "{text}");
        }
    }
}
