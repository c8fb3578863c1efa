//! A store in one file, by redb. The file is locked while it is open.
//!
//! A file that is there is opened and never recreated, and all of it is checked: a damaged one must not pass for an empty one.

use std::path::Path;

use nepto_files::Readers;
use redb::{Builder, Database, ReadableDatabase, TableDefinition, TableError};

use super::backend::{Backend, Batch, Durability, Entry};
use super::seal::Cost;
use super::{Store, StoreError};
use crate::env::Env;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("nepto");

/// Of a store that is made: what it costs people to guess would be most of what these tests cost.
const COST: Cost = if cfg!(test) { Cost::LOW } else { Cost::PERSON };

/// A store in a file, which is made if it isn't there. One that is there and holds no store is an error, and stays as it is.
pub fn in_file(path: &Path, passphrase: &str, env: &Env) -> Result<Store, StoreError> {
    match path.try_exists().map_err(StoreError::io)? {
        true => of_file(path, passphrase, env),
        false => create(path, passphrase, COST, env),
    }
}

/// A store in a file that is there.
pub fn of_file(path: &Path, passphrase: &str, env: &Env) -> Result<Store, StoreError> {
    let store = Store::of_backend(Box::new(FileBackend::open(path)?), passphrase, env)?;
    store.ok_or_else(|| StoreError::Damaged {
        file: path.display().to_string(),
        why: "it holds no header, or another kind of data".to_owned(),
    })
}

/// A store in a file that must not be there yet, of which a guess at the passphrase costs so much. The file has its name only
/// once there is a store in it.
pub fn create(path: &Path, passphrase: &str, cost: Cost, env: &Env) -> Result<Store, StoreError> {
    let unfinished = nepto_files::unfinished(path).map_err(StoreError::io)?;
    let backend = Box::new(FileBackend::create(&unfinished)?);
    let made = Store::open(backend, passphrase, cost, env).and_then(|store| {
        match nepto_files::publish(&unfinished, path, Readers::Owner) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(StoreError::InUse),
            published => published.map(|()| store).map_err(StoreError::io),
        }
    });
    if made.is_err() {
        // nobody knows its name
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

/// A store's bytes in one file, a redb database, which one process may have open at a time.
pub struct FileBackend {
    database: Database,
}

impl FileBackend {
    /// Opens a file that is there. A second process is refused with [`StoreError::InUse`], a damaged file with
    /// [`StoreError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let damaged = |why: String| StoreError::Damaged { file: path.display().to_string(), why };
        let size = std::fs::metadata(path).map_err(StoreError::io)?.len();
        if size == 0 {
            return Err(damaged("it is empty".to_owned()));
        }
        match Builder::new().set_check_integrity_on_open(true).open(path).map_err(redb::Error::from) {
            Ok(database) => Ok(Self { database }),
            Err(redb::Error::DatabaseAlreadyOpen) => Err(StoreError::InUse),
            Err(redb::Error::Corrupted(why)) => Err(damaged(why)),
            Err(redb::Error::Io(error)) if is_about_content(error.kind()) => Err(damaged(error.to_string())),
            Err(error @ redb::Error::UpgradeRequired(_)) => Err(damaged(error.to_string())),
            Err(other) => Err(StoreError::io(other)),
        }
    }

    /// Makes a file, readable by its owner alone. It must not be there yet.
    fn create(path: &Path) -> Result<Self, StoreError> {
        nepto_files::write(path, [], Readers::Owner).map_err(StoreError::io)?;
        Ok(Self { database: Database::create(path).map_err(failed)? })
    }
}

/// What is wrong with the bytes of a file, and not with the way to them.
const fn is_about_content(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

/// The file was whole when it was opened.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(_) => StoreError::Tampered,
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
        other => StoreError::io(other),
    }
}

impl Backend for FileBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let reading = self.database.begin_read().map_err(failed)?;
        match reading.open_table(TABLE) {
            Ok(table) => Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let reading = self.database.begin_read().map_err(failed)?;
        let table = match reading.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(other) => return Err(failed(other)),
        };
        let mut range = table.range(from..to).map_err(failed)?;
        let mut entries = Vec::new();
        while entries.len() < limit {
            let next = if descending { range.next_back() } else { range.next() };
            let Some(entry) = next else { break };
            let (key, value) = entry.map_err(failed)?;
            entries.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(entries)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let mut writing = self.database.begin_write().map_err(failed)?;
        let durability = match durability {
            Durability::Now => redb::Durability::Immediate,
            Durability::Later => redb::Durability::None,
        };
        writing.set_durability(durability).map_err(failed)?;
        {
            let mut table = writing.open_table(TABLE).map_err(failed)?;
            for (key, value) in &batch {
                match value {
                    Some(value) => drop(table.insert(key.as_slice(), value.as_slice()).map_err(failed)?),
                    None => drop(table.remove(key.as_slice()).map_err(failed)?),
                }
            }
        }
        writing.commit().map_err(failed)
    }
}
