//! The local store: everything a device knows, encrypted at rest.
//!
//! Work happens in a [`Txn`]: reads see its own writes, and [`Txn::commit`] applies all of them in one atomic batch. A
//! received message is one transaction: ratchet state, history, cursor, used prekeys and what is remembered of its envelope
//! change together or not at all.

pub mod backend;
pub(crate) mod history;
pub(crate) mod peers;
pub(crate) mod prekeys;
pub mod profile;
pub(crate) mod protocol;
pub(crate) mod queue;
pub(crate) mod resets;
pub mod seal;
pub(crate) mod taken_in;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Mutex;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use backend::{Backend, Batch, Durability, MemoryBackend};
use seal::{BLIND_BYTES, Cost, Header, Keys};

use crate::env::Env;

/// What can go wrong with the local store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is locked.
    #[error("another nepto uses this profile; close it first")]
    InUse,
    /// The data key could not be unwrapped.
    #[error("the passphrase of this profile is wrong")]
    Passphrase,
    /// A value does not open.
    #[error("the profile was changed by something else or is damaged; restore it, or sign in with a new profile")]
    Tampered,
    /// A value opens, but can't be read.
    #[error("the profile holds a record that this version can't read: {0}")]
    Record(String),
    /// The file is not what was written.
    #[error(
        "the profile {file} is damaged ({why}): put a copy of it back, or move it away and sign in again; then its history is \
         lost, your account is not"
    )]
    Damaged {
        /// The path of the file.
        file: String,
        /// What is wrong with it; English, for people.
        why: String,
    },
    /// The profile was written with another layout, of this version.
    #[error("the profile has version {0}, which this program does not know; update it")]
    Version(u32),
    /// The file system.
    #[error("the profile can't be read or written: {0}")]
    Io(String),
    /// Must not happen.
    #[error("the profile's encryption failed")]
    Crypto,
}

impl StoreError {
    /// The backend failed, for this reason.
    pub fn io(error: impl std::fmt::Display) -> Self {
        Self::Io(error.to_string())
    }
}

/// The first byte of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    Header = 0,
    Profile = 1,
    Session = 2,
    Peer = 3,
    EcPrekey = 4,
    SignedPrekey = 5,
    KyberPrekey = 6,
    KyberUsed = 7,
    Conversation = 8,
    Message = 9,
    MessageIndex = 10,
    Due = 11,
    Outbox = 12,
    Receipts = 13,
    Name = 14,
    OwedReset = 20,
    ResetMoments = 21,
    SentAgain = 22,
    TakenIn = 23,
    TakenInOrder = 24,
}

/// The store of a profile, opened with its key. Everything in it is sealed.
pub struct Store {
    backend: Box<dyn Backend>,
    keys: Keys,
    nonces: Mutex<StdRng>,
}

impl Store {
    /// In memory, gone with the process.
    pub fn in_memory(env: &Env) -> Result<Self, StoreError> {
        Self::open(Box::new(MemoryBackend::default()), "", Cost::LOW, env)
    }

    /// On a backend that must hold a store. `None`: there is no header in it.
    pub fn of_backend(backend: Box<dyn Backend>, passphrase: &str, env: &Env) -> Result<Option<Self>, StoreError> {
        let Some(header) = backend.get(&[Table::Header as u8])? else { return Ok(None) };
        let keys = Keys::open(passphrase, &from_json(&header)?)?;
        Ok(Some(Self::new(backend, keys, env)))
    }

    /// On any backend. The cost counts only for a new store.
    pub fn open(backend: Box<dyn Backend>, passphrase: &str, cost: Cost, env: &Env) -> Result<Self, StoreError> {
        if let Some(header) = backend.get(&[Table::Header as u8])? {
            let keys = Keys::open(passphrase, &from_json(&header)?)?;
            return Ok(Self::new(backend, keys, env));
        }
        let (keys, header) = Keys::create(passphrase, cost, &mut env.rng())?;
        write_header(&*backend, &header)?;
        Ok(Self::new(backend, keys, env))
    }

    fn new(backend: Box<dyn Backend>, keys: Keys, env: &Env) -> Self {
        Self { backend, keys, nonces: Mutex::new(StdRng::from_rng(&mut env.rng())) }
    }

    /// Puts the data key under another passphrase. Values are not touched.
    pub fn change_passphrase(&self, passphrase: &str, cost: Cost) -> Result<(), StoreError> {
        let header = self.keys.wrap(passphrase, cost, &mut self.nonces())?;
        write_header(&*self.backend, &header)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Txn<'_> {
        Txn { store: self, writes: RefCell::default() }
    }

    /// Makes everything durable that was committed before.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.backend.commit(Batch::new(), Durability::Now)
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn write_header(backend: &dyn Backend, header: &Header) -> Result<(), StoreError> {
    let entry = (vec![Table::Header as u8], Some(to_json(header)?));
    backend.commit(Batch::from([entry]), Durability::Now)
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Record(error.to_string()))
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Record(error.to_string()))
}

/// Reads, and writes that are not committed yet. Dropped without a commit, nothing happened.
pub(crate) struct Txn<'s> {
    store: &'s Store,
    writes: RefCell<Batch>,
}

/// A place in a table: the parts of its key.
pub(crate) type Key = Vec<u8>;

impl Txn<'_> {
    /// A part of a key that says nothing about what it names.
    pub fn blind(&self, table: Table, parts: &[&[u8]]) -> Result<[u8; BLIND_BYTES], StoreError> {
        let label = [table as u8];
        let labelled: Vec<&[u8]> = std::iter::once(label.as_slice()).chain(parts.iter().copied()).collect();
        self.store.keys.blind(&labelled)
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let place = place(table, key);
        if let Some(written) = self.writes.borrow().get(&place) {
            return Ok(written.clone());
        }
        let sealed = self.store.backend.get(&place)?;
        sealed.map(|sealed| self.store.keys.unseal(&place, &sealed)).transpose()
    }

    pub fn put(&self, table: Table, key: &[u8], value: Vec<u8>) {
        self.writes.borrow_mut().insert(place(table, key), Some(value));
    }

    pub fn delete(&self, table: Table, key: &[u8]) {
        self.writes.borrow_mut().insert(place(table, key), None);
    }

    pub fn get_json<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(table, key)?.map(|bytes| from_json(&bytes)).transpose()
    }

    pub fn put_json(&self, table: Table, key: &[u8], value: &impl Serialize) -> Result<(), StoreError> {
        self.put(table, key, to_json(value)?);
        Ok(())
    }

    /// Up to `limit` entries of a table whose key begins with `prefix` and lies in `from <= rest < to` beyond it.
    pub fn scan(&self, table: Table, range: Range<'_>) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let from = place(table, &[range.prefix, range.from].concat());
        let to = match range.to {
            Some(to) => place(table, &[range.prefix, to].concat()),
            None => after(place(table, range.prefix)),
        };
        if from >= to {
            return Ok(Vec::new());
        }
        let writes = self.writes.borrow();
        let mine: Vec<_> = writes.range(from.clone()..to.clone()).collect();
        let stored = self.store.backend.scan(&from, &to, range.descending, range.limit.saturating_add(mine.len()))?;
        let mut merged = std::collections::BTreeMap::new();
        for (place, sealed) in stored {
            if !writes.contains_key(&place) {
                let value = self.store.keys.unseal(&place, &sealed)?;
                merged.insert(place, value);
            }
        }
        merged.extend(mine.into_iter().filter_map(|(place, value)| Some((place.clone(), value.clone()?))));
        let key_only = |(place, value): (Vec<u8>, Vec<u8>)| (place[1..].to_vec(), value);
        Ok(if range.descending {
            merged.into_iter().rev().take(range.limit).map(key_only).collect()
        } else {
            merged.into_iter().take(range.limit).map(key_only).collect()
        })
    }

    /// Applies all writes in one atomic batch.
    pub fn commit(self, durability: Durability) -> Result<(), StoreError> {
        let Self { store, writes } = self;
        let writes = writes.into_inner();
        if writes.is_empty() && durability == Durability::Later {
            return Ok(());
        }
        let mut nonces = store.nonces();
        let sealed = writes.into_iter().map(|(place, value)| {
            let value = value.map(|value| store.keys.seal(&place, &value, &mut nonces)).transpose()?;
            Ok((place, value))
        });
        let batch = sealed.collect::<Result<Batch, StoreError>>()?;
        drop(nonces);
        store.backend.commit(batch, durability)
    }
}

/// A range of a table.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    pub prefix: &'a [u8],
    pub from: &'a [u8],
    pub to: Option<&'a [u8]>,
    pub descending: bool,
    pub limit: usize,
}

impl<'a> Range<'a> {
    /// Everything under a prefix.
    pub const fn all(prefix: &'a [u8], limit: usize) -> Self {
        Self { prefix, from: &[], to: None, descending: false, limit }
    }
}

fn place(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table as u8], key].concat()
}

/// The first key beyond all that begin with this prefix. Tables are few, so the prefix is never all 0xff.
fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}
