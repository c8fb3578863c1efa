//! Which folder the databases of a store are put into.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nepto_kit::config::Database;
use nepto_kit::crash;
use nepto_kit::db::restoring;

use super::account;
use crate::backup::named::Named;

/// Where the databases of a store belong.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    pub domains: Vec<String>,
}

impl Folder {
    pub fn has(&self, domain: &str) -> bool {
        self.domains.iter().any(|name| name == domain)
    }

    /// What is in it of databases: not what a restore itself keeps there.
    pub fn contents(&self) -> anyhow::Result<Vec<OsString>> {
        let mut names = names_in(&self.path)?;
        names.retain(|name| {
            let name = name.to_string_lossy();
            ![LOCK, STAGING, MAILBOXES].contains(&&*name) && !name.starts_with(ASIDE)
        });
        Ok(names)
    }

    /// Takes the lock of the database itself, which is refused while somebody has it open.
    pub fn lock(&self) -> anyhow::Result<File> {
        let path = self.path.join(LOCK);
        account::refuse_link(&path)?;
        let mut options = File::options();
        options.create(true).read(true).append(true).custom_flags(nix::libc::O_NOFOLLOW);
        let lock = options.open(&path).with_context(|| format!("{} can't be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the databases in {} are open: stop what has them, a server of databases too",
                    self.path.display()
                )
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Whether a restore has begun and not ended.
    pub fn is_staged(&self) -> bool {
        restoring::refuse_half_restored(&self.path).is_err()
    }

    /// An empty folder in which databases are made ready. From now on nobody opens what is in this one: one that is there stays,
    /// and only what is in it goes.
    pub fn new_staging(&self) -> anyhow::Result<PathBuf> {
        let staging = restoring::staging(&self.path);
        account::refuse_link(&staging)?;
        nepto_files::private_folder(&staging)?;
        for name in names_in(&staging)? {
            let left = staging.join(name);
            let is_folder = fs::symlink_metadata(&left).is_ok_and(|left| left.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.with_context(|| format!("{} can't be removed", left.display()))?;
        }
        Ok(staging)
    }

    /// Gives up what was made ready.
    pub fn forget_staging(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(restoring::staging(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The last step: what was made ready takes the place of what is there, which is moved aside. What is staged goes last, so that
    /// nobody opens a half; whoever is killed in between begins again. A folder that is a mount stays one.
    pub fn swap(&self, now_ms: i64) -> anyhow::Result<()> {
        let staging = restoring::staging(&self.path);
        account::refuse_link(&staging)?;
        let old = self.contents()?;
        if !old.is_empty() {
            let aside = self.path.join(format!("{ASIDE}{now_ms}"));
            account::refuse_link(&aside)?;
            nepto_files::private_folder(&aside)?;
            move_all(&self.path, &aside, old)?;
            println!("Moved the databases that were in {} to {}.", self.path.display(), aside.display());
        }
        crash::at("restore", "moved aside");
        let mut new = names_in(&staging)?;
        new.retain(|name| name != LOCK);
        move_all(&staging, &self.path, new)?;
        crash::at("restore", "moved in");
        for marker in [self.path.join(MAILBOXES), staging.join(LOCK)] {
            match fs::remove_file(&marker) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{} can't be removed", marker.display()));
                }
                _ => {}
            }
        }
        fs::remove_dir(&staging).with_context(|| format!("{} can't be removed", staging.display()))?;
        sync(&self.path)
    }
}

/// The lock of SurrealKV, in the folder of a store.
const LOCK: &str = "LOCK";
/// What [`restoring::staging`] is called.
const STAGING: &str = "restoring";
/// Says, in the first of the folders, that mailboxes are being replaced.
pub const MAILBOXES: &str = "restoring-mailboxes";
/// Begins the name of a folder with databases that were replaced.
const ASIDE: &str = "before-";

fn names_in(folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let names = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    names.with_context(|| format!("{} can't be read", folder.display()))
}

fn move_all(from: &Path, to: &Path, names: Vec<OsString>) -> anyhow::Result<()> {
    for name in names {
        let (from, to) = (from.join(&name), to.join(&name));
        fs::rename(&from, &to).with_context(|| format!("{} can't be moved to {}", from.display(), to.display()))?;
    }
    sync(to)?;
    sync(from)
}

/// A name is safe once its folder is.
fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| folder.display().to_string())
}

/// The folder of each store of a backup, as the configuration has them or as somebody named them.
pub fn folders(config: &Database, named: &[Named], stores: &[Vec<String>]) -> anyhow::Result<Vec<Folder>> {
    ensure!(!stores.is_empty(), "there are no databases in this backup");
    Named::check(named, stores.iter().map(Vec::as_slice))?;
    let mut folders: Vec<Folder> = Vec::new();
    for domains in stores {
        let path = folder(config, named, domains)?;
        if let Some(other) = folders.iter().find(|folder| folder.path == path) {
            bail!(
                "the backup has the databases of {} and of {} in stores of their own, and both would be in {}: configure servers \
                 for them as they were (--files-to shows how), and restore to those with --databases-to; `nepto-server \
                 move-database` brings them together afterwards",
                other.domains.join(", "),
                domains.join(", "),
                path.display()
            );
        }
        folders.push(Folder { path, domains: domains.clone() });
    }
    Ok(folders)
}

fn folder(config: &Database, named: &[Named], domains: &[String]) -> anyhow::Result<PathBuf> {
    let first = domains.first().context("a store without databases")?;
    let place = config.of(first);
    if let Some(other) = domains.iter().find(|domain| config.of(domain).url != place.url) {
        bail!(
            "the backup has the databases of {first} and {other} in one store, and the configuration in two: restore with both at \
             one place, as they were (--files-to shows how); `nepto-server move-database` parts them afterwards"
        );
    }
    let named = Named::for_store(named, domains, place.url == config.url);
    match (named, place.url.strip_prefix("surrealkv://")) {
        (Some(folder), _) => Ok(folder.clone()),
        (None, Some(folder)) => Ok(PathBuf::from(folder)),
        (None, None) => bail!(
            "the databases of {} are those of a server: while it does not run, say with --databases-to {}FOLDER which folder it is \
             started on. If that is on another machine, name a new one here and carry it there",
            domains.join(", "),
            if place.url == config.url { String::new() } else { format!("{first}=") }
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nepto_kit::config::Elsewhere;

    use super::*;

    fn stores(stores: &[&[&str]]) -> Vec<Vec<String>> {
        stores.iter().map(|domains| domains.iter().map(|name| (*name).to_owned()).collect()).collect()
    }

    fn paths(config: &Database, named: &[&str], in_backup: &[&[&str]]) -> Result<Vec<String>, String> {
        let named: Vec<Named> = named.iter().map(|text| Named::parse(text).unwrap()).collect();
        let folders = folders(config, &named, &stores(in_backup)).map_err(|error| error.to_string())?;
        Ok(folders.into_iter().map(|folder| folder.path.display().to_string()).collect())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            names_in(folder).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_ready_takes_the_place_of_what_was_there_even_in_a_second_try() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder { path: root.path().to_owned(), domains: Vec::new() };
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        let lock = folder.lock().unwrap();
        assert!(folder.lock().unwrap_err().to_string().contains("are open"));
        assert_eq!(folder.contents().unwrap(), [] as [OsString; 0]);
        assert!(!folder.is_staged());
        for (name, text) in [("wal", "old"), ("manifest", "old"), (MAILBOXES, "")] {
            write(name, text);
        }
        let staging = folder.new_staging().unwrap();
        fs::create_dir_all(staging.join("left over/in a folder")).unwrap();
        assert_eq!(folder.new_staging().unwrap(), staging);
        assert!(folder.is_staged() && names(&staging).is_empty());
        restoring::refuse_half_restored(root.path()).unwrap_err();
        for name in ["wal", "sstables", LOCK] {
            fs::write(staging.join(name), "new").unwrap();
        }
        // as if the first try had been killed while it moved what was ready
        fs::rename(staging.join("sstables"), root.path().join("sstables")).unwrap();
        restoring::refuse_half_restored(root.path()).unwrap_err();
        for name in ["wal", "sstables", LOCK] {
            fs::write(staging.join(name), "new").unwrap();
        }
        folder.swap(77).unwrap();
        restoring::refuse_half_restored(root.path()).unwrap();
        assert_eq!(names(root.path()), [LOCK, "before-77", "sstables", "wal"]);
        assert_eq!(names(&root.path().join("before-77")), ["manifest", "sstables", "wal"]);
        assert_eq!(fs::read_to_string(root.path().join("wal")).unwrap(), "new");
        drop(lock);
    }

    #[test]
    fn what_lies_behind_a_link_is_neither_made_nor_emptied() {
        let [root, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let folder = Folder { path: root.path().to_owned(), domains: Vec::new() };
        let refused = |refused: anyhow::Error| assert!(refused.to_string().contains("is a symbolic link"), "{refused}");
        let lock = root.path().join(LOCK);
        symlink(elsewhere.path().join("nologin"), &lock).unwrap();
        refused(folder.lock().unwrap_err());
        assert_eq!(names(elsewhere.path()), [] as [&str; 0]);
        fs::remove_file(&lock).unwrap();
        let _lock = folder.lock().unwrap();

        fs::create_dir(elsewhere.path().join("sub")).unwrap();
        fs::write(elsewhere.path().join("sub/file"), "kept").unwrap();
        let staging = restoring::staging(root.path());
        symlink(elsewhere.path(), &staging).unwrap();
        assert!(folder.is_staged());
        refused(folder.new_staging().unwrap_err());
        refused(folder.swap(77).unwrap_err());
        folder.forget_staging().unwrap();
        assert!(!folder.is_staged());

        // one inside goes, and not what it leads to
        let staging = folder.new_staging().unwrap();
        symlink(elsewhere.path().join("sub"), staging.join("left over")).unwrap();
        folder.new_staging().unwrap();
        assert_eq!(names(&staging), [] as [&str; 0]);
        fs::write(root.path().join("wal"), "old").unwrap();
        symlink(elsewhere.path(), root.path().join("before-77")).unwrap();
        refused(folder.swap(77).unwrap_err());
        assert_eq!(names(elsewhere.path()), ["sub"]);
        assert_eq!(fs::read_to_string(elsewhere.path().join("sub/file")).unwrap(), "kept");
    }

    #[test]
    fn each_store_has_a_folder_of_its_own() {
        let embedded = Database { url: "surrealkv:///nepto/database".to_owned(), ..Database::default() };
        let one: &[&[&str]] = &[&["auth", "keys"]];
        assert_eq!(paths(&embedded, &[], one).unwrap(), ["/nepto/database"]);
        assert_eq!(paths(&embedded, &["/a=b/c"], one).unwrap(), ["/a=b/c"]);
        let other = Elsewhere { url: Some("ws://10.0.0.3:8000".to_owned()), ..Elsewhere::default() };
        let mut two = embedded.clone();
        two.domains.insert("keys".to_owned(), other);
        let apart: &[&[&str]] = &[&["auth"], &["keys"]];
        assert_eq!(paths(&two, &["keys=/keys"], apart).unwrap(), ["/nepto/database", "/keys"]);
        two.url = "ws://10.0.0.2:8000".to_owned();
        assert_eq!(paths(&two, &["/all", "keys=/keys"], apart).unwrap(), ["/all", "/keys"]);
        for (config, named, in_backup, said) in [
            (&two, &["/all"][..], apart, "--databases-to keys=FOLDER"),
            (&two, &["keys=/keys"], apart, "--databases-to FOLDER"),
            (&two, &["/all"], one, "in one store, and the configuration in two"),
            (&embedded, &[], apart, "in stores of their own"),
            (&two, &["/all", "keys=/all"], apart, "in stores of their own"),
            (&two, &["/all", "key=/keys"], apart, "\"key\""),
            (&embedded, &[], &[], "no databases"),
        ] {
            let refused = paths(config, named, in_backup).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
