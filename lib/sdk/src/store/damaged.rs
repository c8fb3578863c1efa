//! Files that are not what was written: cut off, or with flipped bytes. None may pass for an empty profile.

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::backend::{Backend, Batch, Durability};
use super::file::{FileBackend, create, in_file, of_file};
use super::seal::{Cost, Keys};
use super::{StoreError, backend};
use crate::env::Env;

/// Commits, one row each.
const ROWS: u32 = 40;
/// A table of the store, and the one after it.
const TABLE: [u8; 1] = [9];
const NEXT_TABLE: [u8; 1] = [10];

fn row(n: u32) -> Vec<u8> {
    vec![n as u8; 700]
}

/// A store's file with its keys: rows go in and come out as the store itself seals them.
struct Rows {
    backend: FileBackend,
    keys: Keys,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let backend = FileBackend::open(path)?;
        let header = backend.get(&[0])?.expect("the store opened");
        let header = serde_json::from_slice(&header).map_err(|error| StoreError::Record(error.to_string()))?;
        Ok(Self { keys: Keys::open("secret", &header)?, backend })
    }

    fn put(&self, numbers: std::ops::Range<u32>, value: impl Fn(u32) -> Vec<u8>, durability: Durability) {
        let seal = |n: u32| {
            let place = [TABLE.as_slice(), &n.to_be_bytes()].concat();
            let sealed = self.keys.seal(&place, &value(n), &mut StdRng::seed_from_u64(n.into())).unwrap();
            (place, Some(sealed))
        };
        self.backend.commit(numbers.map(seal).collect::<Batch>(), durability).unwrap();
    }

    fn scan(&self, descending: bool, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let sealed = self.backend.scan(&TABLE, &NEXT_TABLE, descending, limit)?;
        sealed.iter().map(|(place, sealed): &backend::Entry| self.keys.unseal(place, sealed)).collect()
    }
}

/// A file with some rows, closed as a program that ends well closes it, or as one that is killed leaves it.
fn file(folder: &Path, killed: bool) -> Vec<u8> {
    let path = folder.join("whole.redb");
    drop(create(&path, "secret", Cost::LOW, &Env::system()).unwrap());
    let rows = Rows::open(&path).unwrap();
    for n in 0..ROWS {
        rows.put(n..n + 1, row, Durability::Now);
    }
    let while_open = std::fs::read(&path).unwrap();
    drop(rows);
    let closed = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    if killed { while_open } else { closed }
}

/// Opens a file with these bytes. Whatever opens holds what was committed; everything else is an error that says what to do.
/// Returns whether it opened.
fn is_opened(path: &Path, bytes: &[u8], what: &str) -> bool {
    std::fs::write(path, bytes).unwrap();
    let opened = of_file(path, "secret", &Env::system()).map(drop);
    let read = opened.and_then(|()| Rows::open(path)?.scan(false, usize::MAX));
    let rows = match read {
        Ok(rows) => rows,
        Err(error) => {
            let said = error.to_string();
            let is_clear = match error {
                StoreError::Damaged { .. } => said.contains(&*path.to_string_lossy()) && said.contains("copy"),
                // the header's own bytes, which only the passphrase can check
                StoreError::Passphrase | StoreError::Tampered | StoreError::Record(_) | StoreError::Version(_) => true,
                _ => false,
            };
            assert!(is_clear, "{what}: {said}");
            return false;
        }
    };
    // a damaged last commit may be given up for the one before, as after a power cut
    assert!(rows.len() + 1 >= ROWS as usize, "{what}: {} rows are left", rows.len());
    for (n, value) in rows.iter().enumerate() {
        assert_eq!(*value, row(n as u32), "{what}");
    }
    true
}

#[test]
fn a_file_that_was_cut_off_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for killed in [false, true] {
        let whole = file(folder.path(), killed);
        let path = folder.path().join("profile.redb");
        assert!(is_opened(&path, &whole, "the whole file"));
        let every = whole.len() / 60;
        let sizes = (0..whole.len()).step_by(every).chain([1, 63, 64, 320, 4095, 4096, whole.len() - 1]);
        for size in sizes {
            let what = format!("cut off after {size} of {} bytes", whole.len());
            assert!(!is_opened(&path, &whole[..size], &what), "{what}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), size as u64, "{what}, and was changed");
        }
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.redb");
    for killed in [false, true] {
        let whole = file(folder.path(), killed);
        let every = (whole.len() / 150).max(1) | 1;
        // the two commit slots lie in the first bytes
        let places = (0..400).chain((400..whole.len()).step_by(every));
        let mut noticed = 0;
        for at in places {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            noticed += usize::from(!is_opened(&path, &flipped, &format!("byte {at} flipped (killed: {killed})")));
        }
        assert!(noticed > 50, "only {noticed}");
    }
}

#[test]
fn what_is_no_store_is_never_made_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.redb");
    let zeros = vec![0; 100_000];
    for bytes in [b"".as_slice(), b"hello", &zeros] {
        std::fs::write(&path, bytes).unwrap();
        for open in [in_file, of_file] {
            let error = open(&path, "secret", &Env::system()).err().unwrap();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it stays as it is");
    }
    // a database of another program
    std::fs::remove_file(&path).unwrap();
    drop(redb::Database::create(&path).unwrap());
    let error = in_file(&path, "secret", &Env::system()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_store_that_is_made_has_its_name_once_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.redb");
    let env = Env::system();
    let store = create(&path, "secret", Cost::LOW, &env).unwrap();
    assert!(matches!(create(&path, "secret", Cost::LOW, &env), Err(StoreError::InUse)));
    assert!(matches!(of_file(&path, "secret", &env), Err(StoreError::InUse)), "it is locked under its name");
    drop(store);
    of_file(&path, "secret", &env).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_keeps_what_was_committed_and_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.nepto");
    let open = |passphrase| of_file(&path, passphrase, &Env::system());
    let store = create(&path, "secret", Cost::LOW, &Env::system()).unwrap();
    assert!(matches!(open("secret"), Err(StoreError::InUse)));
    drop(store);
    let rows = Rows::open(&path).unwrap();
    assert!(matches!(open("secret"), Err(StoreError::InUse)));
    rows.put(0..50, |n| vec![n as u8], Durability::Later);
    rows.backend.commit(Batch::new(), Durability::Now).unwrap();
    drop(rows);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "for its owner alone");
    }
    drop(open("secret").unwrap());
    let rows = Rows::open(&path).unwrap();
    assert_eq!(rows.scan(false, 100).unwrap().len(), 50);
    assert_eq!(rows.scan(true, 2).unwrap(), [[49], [48]]);
    drop(rows);
    assert!(matches!(open("guess"), Err(StoreError::Passphrase)));
}
