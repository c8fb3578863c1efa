//! Who owns what root makes: whoever owns the folder that it is made in. Else the server could not read what was restored, and the
//! next backup not write beside the one that somebody made by hand.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

/// The user and group that something is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// The owner of a path, or of the nearest folder above it that is there. Nobody if this process is not root's: then it can give
    /// nothing away, and what it makes is its own.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        match rustix::process::geteuid().is_root() {
            true => Self::above(path).map(Some),
            false => Ok(None),
        }
    }

    fn above(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        for path in path.ancestors() {
            match fs::metadata(path) {
                Ok(found) => return Ok(Self { user: found.uid(), group: found.gid() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Gives a file, or a folder with all that is in it.
    pub fn give(self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.user), Some(self.group))?;
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
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
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), "x").unwrap();
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Owner::of(folder.path()).unwrap(), None);
            return;
        }
        let somebody = Owner { user: 4_711, group: 4_712 };
        somebody.give(&folder.path().join("a")).unwrap();
        assert_eq!(Owner::of(&folder.path().join("a/b/c")).unwrap(), Some(somebody));
        assert_eq!(Owner::of(&folder.path().join("a/b/new/file")).unwrap(), Some(somebody));
        assert_eq!(Owner::of(folder.path()).unwrap(), Some(mine));
    }
}
