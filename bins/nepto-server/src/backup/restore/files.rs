//! The files of a backup, put into a folder for whoever asks for them, or where the server reads them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nepto_files::Readers;
use nepto_kit::Config;

use super::whole::KeptFile;
use crate::backup::file as kept;

/// Puts files into a folder that has none of them.
pub fn extract(files: &[KeptFile], folder: &Path) -> anyhow::Result<()> {
    nepto_files::private_folder(folder)?;
    for KeptFile { name, contents } in files {
        ensure!(!name.contains('/') && name != "..", "{name:?} is not the name of a file");
        let path = folder.join(name);
        ensure!(!path.exists(), "{} is there already", path.display());
        nepto_files::write(&path, contents, Readers::Owner)?;
        println!("Wrote {}.", path.display());
    }
    Ok(())
}

/// Writes a file of the server's, into a folder that may not be there yet.
pub fn put(path: &Path, file: &KeptFile) -> anyhow::Result<()> {
    let readers = if file.name == kept::VERIFYING_KEY { Readers::Everybody } else { Readers::Owner };
    nepto_files::private_folder(folder_of(path))?;
    nepto_files::write(path, &file.contents, readers)?;
    println!("Wrote {}.", path.display());
    Ok(())
}

/// The folder that a file is put into.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Where the files of a backup belong that the server reads by itself, if they are not there. The others are for `--files-to`.
pub fn place(config: &Config, replace: bool, files: Vec<KeptFile>) -> anyhow::Result<Vec<(PathBuf, KeptFile)>> {
    let mut placed = Vec::new();
    for kept in files {
        let path = match kept.name.as_str() {
            kept::SIGNING_KEY => nepto_domains::auth::signing_key_file(config),
            kept::VERIFYING_KEY => config.tokens.verifying_key_file.clone(),
            _ => continue,
        };
        match std::fs::read(&path) {
            Ok(there) if there == kept.contents => continue,
            Ok(_) => ensure!(
                replace,
                "{} is another key than that of the backup; with --replace that one takes its place",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
        }
        placed.push((path, kept));
    }
    Ok(placed)
}
