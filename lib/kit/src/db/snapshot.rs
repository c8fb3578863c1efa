//! A whole store as it was at one moment: read while it is in use, and written into one that is empty.
//!
//! The form is that of SurrealDB's own `POST /kvexport` (`surrealdb-server`, `ntw/kvexport.rs`), so a store of this process and
//! one of a server are kept in the same way: `SKVX`, the number of the form, what the store says about itself, then each key with
//! its value, and last the BLAKE3 digest of every byte before. All databases of the store are in it, at the same moment.
//!
//! What is filled is refused by the database until it is whole: the key that says which version wrote it is written last.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use surrealdb_core::kvs::Datastore;
use surrealdb_core::kvs::copy::{self, KeyRole, KeyspaceVersion};
use surrealdb_kvs::{Direction, Key, TransactionType};
use tokio::sync::{mpsc, oneshot};

use super::connection;

const MAGIC: &[u8; 4] = b"SKVX";
const FORM: u8 = 1;
/// Before each key.
const FRAME: u8 = 1;
/// Behind the last value, before the digest.
const END: u8 = 0;
/// Bytes that are handed over at once, and held for a reader that is slow: two of them.
const PART_BYTES: usize = 1 << 20;
const PARTS_WAITING: usize = 2;
/// Rows that the store reads at once.
const ROWS: u32 = 128;
/// A key or a value is not larger: no transaction is.
const VALUE_BYTES_MAX: usize = 64 << 20;
/// What one transaction writes into an empty store, well below what it may hold back.
const WRITE_BYTES: usize = 4 << 20;
const WRITE_ROWS: usize = 4_000;

/// Parts of a snapshot, in their order. An error ends it; so does the end, behind the digest.
pub type Parts = mpsc::Receiver<anyhow::Result<Bytes>>;

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Opens a snapshot. When this returns, its moment is over: what is committed later is not in it. It stays open for as long as
/// somebody reads, and is given up when the receiver is dropped.
pub(super) async fn open(store: Arc<Datastore>) -> Parts {
    let (sender, parts) = mpsc::channel(PARTS_WAITING);
    let (opened, is_open) = oneshot::channel();
    tokio::spawn(async move {
        let mut out = Out { sender, buffer: BytesMut::new(), digest: blake3::Hasher::new() };
        if let Err(error) = write(&store, opened, &mut out).await {
            // whoever gave up reading knows
            drop(out.sender.send(Err(error)).await);
        }
    });
    // where it can't be opened, the error is the first part
    let _ = is_open.await;
    parts
}

async fn write(store: &Datastore, opened: oneshot::Sender<()>, out: &mut Out) -> anyhow::Result<()> {
    let transaction = store.transaction(TransactionType::Read).await?;
    let written = async {
        out.head(&KeyspaceVersion::read(&transaction).await?)?;
        let _ = opened.send(());
        let mut cursor = transaction.open_vals_cursor_raw(copy::keyspace(), Direction::Forward, 0, None).await?;
        loop {
            let (mut visited, mut failed) = (0_u32, None);
            let mut visit = |key: &[u8], value: &[u8]| -> surrealdb_kvs::Result<ControlFlow<()>> {
                visited += 1;
                if copy::key_role(key) == KeyRole::Data
                    && let Err(error) = out.frame(key, value)
                {
                    failed = Some(error);
                    return Ok(ControlFlow::Break(()));
                }
                Ok(if out.buffer.len() >= PART_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            cursor.for_each(ROWS, &mut visit).await?;
            if let Some(error) = failed {
                return Err(error);
            }
            if visited == 0 {
                break;
            }
            if out.buffer.len() >= PART_BYTES {
                out.flush().await?;
            }
        }
        if let Some(value) = transaction.get(Key::from(copy::VERSION_KEY), None).await? {
            out.frame(copy::VERSION_KEY, &value)?;
        }
        out.finish().await
    };
    let written = written.await;
    transaction.cancel().await?;
    written
}

/// Encodes a snapshot and hands it over.
struct Out {
    sender: mpsc::Sender<anyhow::Result<Bytes>>,
    buffer: BytesMut,
    digest: blake3::Hasher,
}

impl Out {
    fn head(&mut self, version: &KeyspaceVersion) -> anyhow::Result<()> {
        let version = serde_json::to_vec(version)?;
        self.buffer.put_slice(MAGIC);
        self.buffer.put_u8(FORM);
        self.buffer.put_u32_le(u32::try_from(version.len())?);
        self.buffer.put_slice(&version);
        Ok(())
    }

    fn frame(&mut self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let (key_length, value_length) = (u32::try_from(key.len())?, u32::try_from(value.len())?);
        self.buffer.put_u8(FRAME);
        self.buffer.put_u32_le(key_length);
        self.buffer.put_slice(key);
        self.buffer.put_u32_le(value_length);
        self.buffer.put_slice(value);
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let part = self.buffer.split().freeze();
        self.digest.update(&part);
        self.sender.send(Ok(part)).await.context("nobody reads the snapshot any more")
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        self.buffer.put_u8(END);
        self.flush().await?;
        let digest = Bytes::copy_from_slice(self.digest.finalize().as_bytes());
        self.sender.send(Ok(digest)).await.context("nobody reads the snapshot any more")
    }
}

/// Watches the bytes of a snapshot pass by, and knows at their end whether they are all of them.
#[derive(Default)]
pub struct Watch {
    digest: blake3::Hasher,
    /// The last bytes, which are the digest of those before if they are the last of all.
    tail: Vec<u8>,
}

impl Watch {
    /// The next bytes.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let known = self.tail.len().saturating_sub(blake3::OUT_LEN);
        self.digest.update(&self.tail[..known]);
        self.tail.drain(..known);
    }

    /// Whether what passed ends with its digest.
    pub fn is_whole(&self) -> bool {
        self.digest.finalize().as_bytes()[..] == self.tail[..]
    }
}

/// A snapshot that is read back. It is whole only once [`next`](Frames::next) has returned nothing.
struct Frames<R> {
    source: R,
    digest: blake3::Hasher,
}

impl<R: Read> Frames<R> {
    /// Reads its head. One that this version of the database could not open is refused.
    fn new(source: R) -> anyhow::Result<Self> {
        let mut frames = Self { source, digest: blake3::Hasher::new() };
        ensure!(frames.array::<4>()? == *MAGIC, "this is no snapshot of a database");
        let [form] = frames.array()?;
        ensure!(form == FORM, "this snapshot has the form {form}; this version reads {FORM}");
        let version: KeyspaceVersion = serde_json::from_slice(&frames.value()?)?;
        version.check().context("another version of the database wrote this snapshot")?;
        Ok(frames)
    }

    /// The next key with its value; nothing behind the last, after the digest was compared.
    fn next(&mut self) -> anyhow::Result<Option<(Vec<u8>, Vec<u8>)>> {
        match self.array()? {
            [FRAME] => Ok(Some((self.value()?, self.value()?))),
            [END] => {
                let computed = self.digest.finalize();
                let mut digest = [0; blake3::OUT_LEN];
                self.source.read_exact(&mut digest).context("the snapshot was cut short")?;
                ensure!(computed == digest, "the digest of the snapshot is another one: it was changed");
                ensure!(self.source.read(&mut [0])? == 0, "something follows behind the snapshot");
                Ok(None)
            }
            [other] => bail!("the snapshot is broken: there is no frame of the kind {other}"),
        }
    }

    fn value(&mut self) -> anyhow::Result<Vec<u8>> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        ensure!(length <= VALUE_BYTES_MAX, "the snapshot is broken: {length} bytes for one value");
        let mut value = vec![0; length];
        self.read(&mut value)?;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let mut array = [0; N];
        self.read(&mut array)?;
        Ok(array)
    }

    fn read(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        self.source.read_exact(bytes).context("the snapshot was cut short")?;
        self.digest.update(bytes);
        Ok(())
    }
}

/// Reads a snapshot to its end and writes nothing: whether it is whole, and could be opened by this version.
pub fn check(source: impl Read) -> anyhow::Result<Size> {
    let mut frames = Frames::new(source)?;
    let (mut size, mut last) = (Size::default(), Vec::new());
    while let Some((key, value)) = frames.next()? {
        size.keys += 1;
        size.bytes += (key.len() + value.len()) as u64;
        last = key;
    }
    ensure!(last == copy::VERSION_KEY, "the snapshot says of no version of the database that it wrote it");
    Ok(size)
}

/// Writes a snapshot into the store of this URL, which must be empty, and closes it.
pub async fn fill(url: &str, source: impl Read, mut progress: impl FnMut(Size)) -> anyhow::Result<Size> {
    let mut frames = Frames::new(source)?;
    let store = connection::build(url).await?;
    let filled = async {
        let transaction = store.transaction(TransactionType::Read).await?;
        let there = transaction.keys_raw(copy::keyspace(), 1, 0, None).await;
        transaction.cancel().await?;
        ensure!(there?.is_empty(), "there is something in this database already");
        let (mut size, mut version) = (Size::default(), None);
        let (mut rows, mut waiting) = (Vec::new(), 0);
        while let Some((key, value)) = frames.next()? {
            size.keys += 1;
            size.bytes += (key.len() + value.len()) as u64;
            match copy::key_role(&key) {
                KeyRole::Data => {
                    waiting += key.len() + value.len();
                    rows.push((key, value));
                }
                KeyRole::Version => version = Some((key, value)),
                KeyRole::Skipped => {}
            }
            if waiting >= WRITE_BYTES || rows.len() >= WRITE_ROWS {
                put(&store, rows.drain(..)).await?;
                waiting = 0;
                progress(size);
            }
        }
        let version = version.context("the snapshot says of no version of the database that it wrote it")?;
        put(&store, rows.into_iter()).await?;
        // only now does the database take it for whole
        put(&store, std::iter::once(version)).await?;
        progress(size);
        Ok(size)
    };
    let filled = filled.await;
    store.shutdown().await?;
    filled
}

async fn put(store: &Datastore, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> anyhow::Result<()> {
    let transaction = store.transaction(TransactionType::Write).await?;
    for (key, value) in rows {
        if let Err(error) = transaction.set(Key::from(key), value).await {
            transaction.cancel().await?;
            return Err(error);
        }
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use surrealdb::types::vars;

    use super::*;
    use crate::db::{Databases, Db};
    use crate::testing::databases;

    /// More than one part, and more than one transaction when it is written.
    const ROWS_MADE: i64 = 9_000;

    async fn count(db: &Db, table: &str) -> i64 {
        db.run(&format!("RETURN array::len((SELECT VALUE id FROM {table}))"), vars! {}).await.unwrap()
    }

    async fn whole(mut parts: Parts) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(part) = parts.recv().await {
            bytes.extend_from_slice(&part.unwrap());
        }
        bytes
    }

    async fn filled_store(url: &str) -> (Databases, Db) {
        let databases = databases(url);
        let db = databases.of("things").await.unwrap();
        db.migrate(&[]).await.unwrap();
        db.execute("DEFINE TABLE thing SCHEMALESS", vars! {}).await.unwrap();
        db.execute("DEFINE INDEX thing_size ON thing FIELDS size", vars! {}).await.unwrap();
        let statement = "INSERT INTO thing (array::range($from..$to).map(|$n| {
            { id: [math::floor($n / 100), $n], size: $n % 7, text: string::repeat('text', 50) }
        })) RETURN NONE";
        for from in (0..ROWS_MADE).step_by(1_000) {
            db.execute(statement, vars! { from: from, to: from + 1_000 }).await.unwrap();
        }
        (databases, db)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_comes_back_as_it_was_at_the_moment_of_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let url = |name: &str| format!("surrealkv://{}", folder.path().join(name).display());
        let (databases, db) = filled_store(&url("used")).await;
        let parts = databases.snapshot().await.unwrap();
        // what comes later is not in it, whenever it is read
        db.execute("DELETE thing WHERE size = 3 RETURN NONE", vars! {}).await.unwrap();
        db.execute("CREATE late SET at = 1", vars! {}).await.unwrap();
        let snapshot = whole(parts).await;
        let size = check(&snapshot[..]).unwrap();
        assert!(size.keys > 2 * ROWS_MADE as u64, "{size:?}");

        let mut told = Vec::new();
        assert_eq!(fill(&url("new"), &snapshot[..], |size| told.push(size)).await.unwrap(), size);
        assert!(told.len() > 2 && told.last() == Some(&size), "{told:?}");
        let again = fill(&url("new"), &snapshot[..], drop).await.unwrap_err().to_string();
        assert!(again.contains("something in this database already"), "{again}");
        let restored = crate::testing::databases(&url("new")).of("things").await.unwrap();
        assert_eq!(count(&restored, "thing").await, ROWS_MADE);
        let late = restored.execute("SELECT * FROM late", vars! {}).await.unwrap_err().to_string();
        assert!(late.contains("does not exist"), "{late}");
        let indexed: i64 =
            restored.run("RETURN array::len((SELECT VALUE id FROM thing WHERE size = 3))", vars! {}).await.unwrap();
        assert_eq!(indexed, (0..ROWS_MADE).filter(|number| number % 7 == 3).count() as i64);
        assert!(restored.is_migrated(&[]).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_cut_or_flipped_is_refused_and_no_database_is_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = |name: &str| format!("surrealkv://{}", folder.path().join(name).display());
        let databases = databases("mem://");
        let db = databases.of("things").await.unwrap();
        db.migrate(&[]).await.unwrap();
        let snapshot = whole(databases.snapshot().await.unwrap()).await;
        check(&snapshot[..]).unwrap();
        for part in [1, 31, 32, 33, 1_000] {
            let (mut whole, mut cut) = (Watch::default(), Watch::default());
            snapshot.chunks(part).for_each(|bytes| whole.pass(bytes));
            snapshot[..snapshot.len() - 1].chunks(part).for_each(|bytes| cut.pass(bytes));
            assert!(whole.is_whole() && !cut.is_whole(), "in parts of {part} bytes");
        }
        for cut in [0, 3, 5, 40, snapshot.len() / 2, snapshot.len() - 33, snapshot.len() - 1] {
            assert!(check(&snapshot[..cut]).is_err(), "cut behind {cut} of {} bytes", snapshot.len());
        }
        for at in (0..snapshot.len()).step_by(97) {
            let mut flipped = snapshot.clone();
            flipped[at] ^= 4;
            assert!(check(&flipped[..]).is_err(), "flipped at {at}");
        }
        let longer = [&snapshot[..], b"x"].concat();
        assert!(check(&longer[..]).unwrap_err().to_string().contains("something follows"));
        // one that breaks off while it is written is refused by the database, not opened without what is missing
        let (used, _) = filled_store(&url("used")).await;
        let snapshot = whole(used.snapshot().await.unwrap()).await;
        assert!(fill(&url("cut"), &snapshot[..snapshot.len() - 1], drop).await.is_err());
        let opened = crate::testing::databases(&url("cut")).of("things").await;
        assert!(opened.is_err(), "a part of a database was opened");
    }
}
