//! Where sealed bytes lie: ordered keys, atomic batches, nothing else.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use super::StoreError;
use crate::platform::{SendOutsideWasm, SyncOutsideWasm};

/// When a commit is safe from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the call returns.
    Now,
    /// With the next commit that is `Now`. For what the server would deliver again.
    Later,
}

/// Keys and values of a batch; a value of `None` deletes.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An ordered map on which batches are committed atomically.
pub trait Backend: SendOutsideWasm + SyncOutsideWasm {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` entries with `from <= key < to`, ascending or descending.
    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// All of the batch, or nothing.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Forgets everything with the process.
#[derive(Default)]
pub struct MemoryBackend {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Backend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let range = entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(if descending {
            range.rev().take(limit).map(owned).collect()
        } else {
            range.take(limit).map(owned).collect()
        })
    }

    fn commit(&self, batch: Batch, _: Durability) -> Result<(), StoreError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }
}
