//! A store whose restore has not ended is opened by nobody: it has the databases of before, or none, beside streams of the backup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In the folder of a store: what a restore makes ready, until it has its place.
pub fn staging(store: &Path) -> PathBuf {
    store.join("restoring")
}

/// Refuses a folder in which a restore has begun and not ended.
pub fn refuse_half_restored(store: &Path) -> io::Result<()> {
    // whatever it is: a link that leads nowhere too
    match fs::symlink_metadata(staging(store)) {
        Ok(_) => Err(io::Error::other(format!(
            "a restore into {} has begun and not ended: run `nepto-server restore` again, with --replace, before anything is started",
            store.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Random;
    use crate::config::Database;
    use crate::db::Databases;

    #[tokio::test]
    async fn a_store_is_not_opened_before_its_restore_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(staging(folder.path())).unwrap();
        let url = format!("surrealkv://{}", folder.path().display());
        let open = async || {
            Databases::new(&Database { url: url.clone(), ..Database::default() }, Random::default()).of("things").await
        };
        let Err(refused) = open().await else { panic!("it was opened") };
        assert!(format!("{refused:#}").contains("restore"), "{refused:#}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "and nothing was made in it");
        std::fs::remove_dir(staging(folder.path())).unwrap();
        std::os::unix::fs::symlink("nowhere", staging(folder.path())).unwrap();
        refuse_half_restored(folder.path()).unwrap_err();
        std::fs::remove_file(staging(folder.path())).unwrap();
        open().await.unwrap();
    }
}
