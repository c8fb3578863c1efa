//! Files that are written once and needed later: each is there as a whole or not at all, also after a power cut.
//!
//! What is written is made beside its place, synced, and renamed, and then the folder is synced: a rename alone may reach the
//! disk before the bytes, and leaves an empty file. Who reads such a file and finds it broken says which and what to do.

#[cfg(unix)]
use std::fs::File;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Who may read a file, beside its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Nobody: mode 0600.
    Owner,
    /// Everybody on the machine: mode 0644.
    Everybody,
}

impl Readers {
    #[cfg(unix)]
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Writes a file, in place of what was there. The folder must exist. An error names the file.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>, readers: Readers) -> io::Result<()> {
    let unfinished = unfinished(path)?;
    let written = write_new(&unfinished, bytes.as_ref(), readers).and_then(|()| rename(&unfinished, path));
    finish(written, &unfinished, path)
}

/// Gives a finished file its place, and its readers, in place of what was there. Both must lie on one file system.
pub fn keep(finished: &Path, path: &Path, readers: Readers) -> io::Result<()> {
    let kept = prepare(finished, readers).and_then(|()| rename(finished, path));
    kept.map_err(|error| name(error, path))
}

/// The same, if there is nothing at that place yet; else the error is `AlreadyExists`, and both files stay as they are.
pub fn publish(finished: &Path, path: &Path, readers: Readers) -> io::Result<()> {
    let published = prepare(finished, readers).and_then(|()| match fs::hard_link(finished, path) {
        Ok(()) => fs::remove_file(finished).and_then(|()| sync_folder(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // a file system without links
        Err(_) if path.try_exists()? => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => rename(finished, path),
    });
    published.map_err(|error| name(error, path))
}

/// Where a file is made before it gets its place: beside it, hidden, and nobody else's. What a process of the same number
/// left there is removed.
pub fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let file = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it is not the name of a file"));
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(file.map_err(|error| name(error, path))?);
    hidden.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(hidden);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(name(error, &unfinished)),
        _ => Ok(unfinished),
    }
}

/// Makes a folder with all above it that are missing, for its owner alone. Returns those that were made, the deepest first.
pub fn private_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<PathBuf> = folder.ancestors().take_while(is_missing).map(Path::to_owned).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| name(error, folder))?;
    Ok(missing)
}

fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, readers.mode());
    #[cfg(not(unix))]
    let _ = readers;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn prepare(finished: &Path, readers: Readers) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(finished, std::os::unix::fs::PermissionsExt::from_mode(readers.mode()))?;
    #[cfg(not(unix))]
    let _ = readers;
    // not only to read: some systems sync nothing else
    OpenOptions::new().read(true).write(true).open(finished)?.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to)
}

/// A name is safe once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // file systems that can't sync a folder keep its names in order by themselves
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {}
            other => other?,
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn finish(written: io::Result<()>, unfinished: &Path, path: &Path) -> io::Result<()> {
    written.map_err(|error| {
        // what can't be written may still be removed
        let _ = fs::remove_file(unfinished);
        name(error, path)
    })
}

fn name(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contracts.json");
        // what a process of the same number left behind when it was killed
        fs::write(unfinished(&path).unwrap(), "half").unwrap();
        for (text, readers) in [("one", Readers::Everybody), ("two", Readers::Owner)] {
            write(&path, text, readers).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            #[cfg(unix)]
            assert_eq!(mode(&path), readers.mode());
            assert_eq!(names(folder.path()), ["contracts.json"]);
        }
    }

    #[test]
    fn what_can_not_be_written_leaves_what_was_there_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("missing/file");
        let error = write(&nowhere, "x", Readers::Owner).unwrap_err().to_string();
        assert!(error.contains("missing/file can't be written"), "{error}");
        // a folder can't be replaced by a file
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();
        write(&path, "x", Readers::Owner).unwrap_err();
        assert_eq!((names(folder.path()), names(&path)), (vec!["folder".to_owned()], vec!["inside".to_owned()]));
        assert!(write(Path::new("/"), "x", Readers::Owner).is_err());
    }

    #[test]
    fn what_is_published_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, made) = (folder.path().join("wallet.json"), folder.path().join("made"));
        fs::write(&made, "first").unwrap();
        publish(&made, &wallet, Readers::Owner).unwrap();
        fs::write(&made, "second").unwrap();
        assert_eq!(publish(&made, &wallet, Readers::Owner).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&wallet).unwrap(), "first");
        keep(&made, &wallet, Readers::Owner).unwrap();
        assert_eq!(fs::read_to_string(&wallet).unwrap(), "second");
        assert_eq!(names(folder.path()), ["wallet.json"]);
    }

    #[test]
    fn a_folder_is_its_owners_and_what_was_made_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        assert_eq!(private_folder(&deep).unwrap(), [deep.clone(), folder.path().join("a")]);
        assert_eq!(private_folder(&deep).unwrap(), [] as [PathBuf; 0]);
        #[cfg(unix)]
        assert_eq!(mode(&deep), 0o700);
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(private_folder(&folder.path().join("file/c")).is_err());
    }
}
