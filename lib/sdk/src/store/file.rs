//! A store in one file, by redb. The file is locked while it is open.

use std::path::Path;

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};

use super::StoreError;
use super::backend::{Backend, Batch, Durability, Entry};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("nepto");

/// One file.
pub struct FileBackend {
    database: Database,
}

impl FileBackend {
    /// Opens the file, or makes it. A second process is refused with [`StoreError::InUse`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        restrict(path)?;
        match Database::create(path) {
            Ok(database) => Ok(Self { database }),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::InUse),
            Err(other) => Err(StoreError::io(other)),
        }
    }
}

/// Makes the file readable by its owner alone before anything is in it.
fn restrict(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io(error)),
    }
}

impl Backend for FileBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let reading = self.database.begin_read().map_err(StoreError::io)?;
        match reading.open_table(TABLE) {
            Ok(table) => Ok(table.get(key).map_err(StoreError::io)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(StoreError::io(other)),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let reading = self.database.begin_read().map_err(StoreError::io)?;
        let table = match reading.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(other) => return Err(StoreError::io(other)),
        };
        let mut range = table.range(from..to).map_err(StoreError::io)?;
        let mut entries = Vec::new();
        while entries.len() < limit {
            let next = if descending { range.next_back() } else { range.next() };
            let Some(entry) = next else { break };
            let (key, value) = entry.map_err(StoreError::io)?;
            entries.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(entries)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let mut writing = self.database.begin_write().map_err(StoreError::io)?;
        let durability = match durability {
            Durability::Now => redb::Durability::Immediate,
            Durability::Later => redb::Durability::None,
        };
        writing.set_durability(durability).map_err(StoreError::io)?;
        {
            let mut table = writing.open_table(TABLE).map_err(StoreError::io)?;
            for (key, value) in &batch {
                match value {
                    Some(value) => drop(table.insert(key.as_slice(), value.as_slice()).map_err(StoreError::io)?),
                    None => drop(table.remove(key.as_slice()).map_err(StoreError::io)?),
                }
            }
        }
        writing.commit().map_err(StoreError::io)
    }
}
