//! Who owns a backup that root makes: whoever owns the folder that it is made in. Else the next backup could not be written beside
//! the one that somebody made by hand.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

/// The user and group that something is given to. None if this process is not root's: then it can give nothing away, and what it
/// makes is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(Option<(u32, u32)>);

impl Owner {
    /// The owner of a path, or of the nearest folder above it that is there.
    pub fn of(path: &Path) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        is_root.then(|| Self::above(path)).transpose().map(Self)
    }

    /// Makes a folder with all above it that are missing, and gives them to the owner of what is there.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        let owner = Self::of(folder)?;
        for made in nepto_files::private_folder(folder)? {
            owner.give(&made)?;
        }
        Ok(owner)
    }

    fn above(path: &Path) -> io::Result<(u32, u32)> {
        // the folder of a file that is named without one
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let path = std::path::absolute(path)?;
        for path in path.ancestors() {
            match fs::metadata(path) {
                Ok(found) => return Ok((found.uid(), found.gid())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Gives a file or a folder, and nothing behind a link. What is in a folder stays whose it is.
    pub fn give(self, path: &Path) -> io::Result<()> {
        match self.0 {
            Some((user, group)) => lchown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_folder_that_is_there_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let mine = Owner::above(folder.path()).unwrap();
        assert_eq!(Owner::above(&folder.path().join("a/b/c")).unwrap(), mine);
        assert_eq!(Owner::above(Path::new("")).unwrap(), Owner::above(Path::new(".")).unwrap());
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), "x").unwrap();
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Owner::of(folder.path()).unwrap(), Owner(None));
            return;
        }
        let somebody = Owner(Some((4_711, 4_712)));
        for given in ["a", "a/b", "a/b/c"] {
            somebody.give(&folder.path().join(given)).unwrap();
        }
        assert_eq!(Owner::of(&folder.path().join("a/b/c")).unwrap(), somebody);
        assert_eq!(Owner::of(&folder.path().join("a/b/new/file")).unwrap(), somebody);
        assert_eq!(Owner::of_folder(&folder.path().join("a/b/made/within")).unwrap(), somebody);
        assert_eq!(Owner::above(&folder.path().join("a/b/made/within")).unwrap(), (4_711, 4_712));
        assert_eq!(Owner::of(folder.path()).unwrap(), Owner(Some(mine)));
    }
}
