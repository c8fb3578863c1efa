//! Where bytes are: a folder, each file synced before it counts, or anything that speaks S3.
//!
//! `blobs/<two digits>/<SHA-256>` are files, `staging/<upload>/<piece>` what has arrived of unfinished ones. A name never gets other
//! bytes than it had: a blob's says what they are, and a piece's is drawn at random.

use std::error::Error as _;
use std::io::{self, ErrorKind, SeekFrom};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use nepto_kit::Failure;
use nepto_proto::{ErrorCode, MediaId};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::config::Media;
use super::model::Piece;
use super::ops::not_found;

/// Bytes of a file that wait for a client's connection.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is written at once of a large file; S3 takes no less than 5 MiB.
const WRITE_BYTES: usize = 8 * 1024 * 1024;
/// Of them, those under way.
const WRITES_MAX: usize = 2;
/// What the library calls a file that it has not finished, before a number.
const UNFINISHED: char = '#';

/// The store of bytes.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder, if it is one, and how much of its file system stays free.
    local: Option<(PathBuf, u64)>,
}

fn blob(digest: &str) -> Path {
    Path::from(format!("blobs/{}/{digest}", digest.get(..2).unwrap_or_default()))
}

fn staging(upload: MediaId) -> Path {
    Path::from(format!("staging/{upload}"))
}

fn piece_of(upload: MediaId, name: &str) -> Path {
    Path::from(format!("staging/{upload}/{name}"))
}

impl Blobs {
    /// As configured. The folder is made if it is not there.
    pub fn open(config: &Media) -> anyhow::Result<Self> {
        if config.is_local() {
            let folder = &config.folder;
            let problem = |error: &dyn std::fmt::Display| anyhow::anyhow!("media.folder {}: {error}", folder.display());
            nepto_files::private_folder(folder).map_err(|error| problem(&error))?;
            let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| problem(&error))?;
            let store = store.with_fsync(true).with_automatic_cleanup(true);
            return Ok(Self { store: Arc::new(store), local: Some((folder.clone(), config.free_bytes_min)) });
        }
        let read = |field: &str, file: &FilePath| {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| anyhow::anyhow!("media.{field} {}: {error}", file.display()))?;
            anyhow::Ok(text.trim().to_owned())
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(&config.s3_endpoint)
            .with_allow_http(config.s3_endpoint.starts_with("http://"))
            .with_bucket_name(&config.s3_bucket)
            .with_region(&config.s3_region)
            .with_access_key_id(read("s3_access_key_file", &config.s3_access_key_file)?)
            .with_secret_access_key(read("s3_secret_key_file", &config.s3_secret_key_file)?)
            .build()
            .map_err(|error| anyhow::anyhow!("media.s3_endpoint: {error}"))?;
        Ok(Self { store: Arc::new(store), local: None })
    }

    /// Refuses `more` bytes that would leave less free than must be.
    pub fn check_room(&self, more: u64) -> Result<(), Failure> {
        let Some((folder, free_min)) = &self.local else { return Ok(()) };
        let system =
            rustix::fs::statvfs(folder.as_path()).map_err(|error| Failure::internal(io::Error::from(error)))?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        if free < free_min.saturating_add(more) { Err(full()) } else { Ok(()) }
    }

    /// Stores a piece of an upload. It is on the disk when this returns.
    pub async fn put_piece(&self, upload: MediaId, name: &str, bytes: Bytes) -> Result<(), Failure> {
        self.check_room(bytes.len() as u64)?;
        let payload = PutPayload::from(bytes);
        let put = self.store.put_opts(&piece_of(upload, name), payload, PutOptions::default()).await;
        put.map(drop).map_err(failure)
    }

    /// SHA-256 of all pieces, hexadecimal.
    pub async fn digest(&self, upload: MediaId, pieces: &[Piece]) -> Result<String, Failure> {
        let mut digest = Sha256::new();
        for piece in pieces {
            let mut bytes = self.read(&piece_of(upload, &piece.name), None).await.map_err(failure)?;
            while let Some(chunk) = bytes.try_next().await.map_err(failure)? {
                digest.update(&chunk);
            }
        }
        Ok(alloy_primitives::hex::encode(digest.finalize()))
    }

    /// Stores all pieces as one blob. It is on the disk when this returns; to do it twice is to do it once.
    pub async fn assemble(&self, upload: MediaId, pieces: &[Piece], digest: &str) -> Result<(), Failure> {
        self.check_room(pieces.iter().map(|piece| piece.bytes).sum())?;
        let (store, to) = (&self.store, blob(digest));
        let begun = store.put_multipart_opts(&to, PutMultipartOptions::default()).await.map_err(failure)?;
        let mut written = WriteMultipart::new_with_chunk_size(begun, WRITE_BYTES);
        match self.copy(upload, pieces, &mut written).await {
            Ok(()) => written.finish().await.map(drop).map_err(failure),
            Err(error) => {
                if let Err(error) = written.abort().await {
                    tracing::warn!(%error, "what was written of a file stays until it is swept");
                }
                Err(failure(error))
            }
        }
    }

    async fn copy(&self, upload: MediaId, pieces: &[Piece], to: &mut WriteMultipart) -> Result<(), Error> {
        for piece in pieces {
            let mut bytes = self.read(&piece_of(upload, &piece.name), None).await?;
            while let Some(chunk) = bytes.try_next().await? {
                to.wait_for_capacity(WRITES_MAX).await?;
                to.put(chunk);
            }
        }
        Ok(())
    }

    /// Some bytes of a file.
    pub async fn file(
        &self,
        digest: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Failure> {
        self.read(&blob(digest), Some(range)).await.map_err(|error| match error {
            // after a restore of the database alone
            Error::NotFound { .. } => {
                tracing::error!(digest, "the bytes of a file are not there");
                not_found()
            }
            error => failure(error),
        })
    }

    async fn read(
        &self,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(path, options).await?;
        let range = found.range.clone();
        match found.payload {
            GetResultPayload::File(file, _) => {
                // in larger chunks than the library's own
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(range.start)).await.map_err(generic)?;
                let bytes = file.take(range.end - range.start);
                Ok(ReaderStream::with_capacity(bytes, CHUNK_BYTES).map_err(generic).boxed())
            }
            GetResultPayload::Stream(stream) => Ok(stream),
        }
    }

    /// Deletes the bytes of a file; there may be none.
    pub async fn delete_blob(&self, digest: &str) -> Result<(), Failure> {
        self.delete(&blob(digest)).await
    }

    /// Deletes some pieces of an upload.
    pub async fn delete_pieces(&self, upload: MediaId, pieces: &[Piece]) -> Result<(), Failure> {
        for piece in pieces {
            self.delete(&piece_of(upload, &piece.name)).await?;
        }
        Ok(())
    }

    /// Deletes whatever has arrived of an upload, named by its row or not.
    pub async fn delete_staged(&self, upload: MediaId) -> Result<(), Failure> {
        let staged: Vec<ObjectMeta> = self.store.list(Some(&staging(upload))).try_collect().await.map_err(failure)?;
        for piece in staged {
            self.delete(&piece.location).await?;
        }
        Ok(())
    }

    async fn delete(&self, path: &Path) -> Result<(), Failure> {
        match self.store.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    /// The uploads of which something is stored that was written before then, milliseconds since 1970; some at once.
    pub async fn staged_before(&self, before_ms: i64, limit: usize) -> Result<Vec<MediaId>, Failure> {
        let mut staged = self.store.list(Some(&Path::from("staging")));
        let mut found = Vec::new();
        while let Some(piece) = staged.try_next().await.map_err(failure)? {
            let upload: Option<MediaId> = piece.location.parts().nth(1).and_then(|part| part.as_ref().parse().ok());
            let is_old = piece.last_modified.timestamp_millis() < before_ms;
            if let Some(upload) = upload.filter(|upload| is_old && !found.contains(upload)) {
                found.push(upload);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Deletes files that a process which was killed did not finish, if they are so old. How many.
    pub async fn sweep_unfinished(&self, age: Duration) -> Result<u64, Failure> {
        let Some((folder, _)) = self.local.clone() else { return Ok(0) };
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, age, 3)).await;
        swept.map_err(Failure::internal)?.map_err(Failure::internal)
    }
}

/// Looks through a folder, so many levels deep.
fn sweep(folder: &FilePath, age: Duration, levels: u32) -> io::Result<u64> {
    let mut swept = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // others delete meanwhile
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && levels > 0 {
            swept += sweep(&entry.path(), age, levels - 1).or_else(is_gone)?;
        } else if entry.file_name().to_string_lossy().contains(UNFINISHED)
            && about.modified()?.elapsed().is_ok_and(|since| since > age)
        {
            std::fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn is_gone(error: io::Error) -> io::Result<u64> {
    if error.kind() == ErrorKind::NotFound { Ok(0) } else { Err(error) }
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: "file", source: Box::new(error) }
}

fn full() -> Failure {
    metrics::counter!("nepto_media_full_total").increment(1);
    Failure::new(ErrorCode::MediaFull, "")
}

/// What the caller can help is `media_full` alone; a store that is out of reach comes back.
fn failure(error: Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return full();
        }
        cause = inner.source();
    }
    match error {
        Error::NotFound { .. } => Failure::internal(error),
        error => Failure::unavailable("the store of files", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn blobs(folder: &FilePath, free_bytes_min: u64) -> Blobs {
        Blobs::open(&Media { folder: folder.to_owned(), free_bytes_min, ..Media::default() }).unwrap()
    }

    async fn all(mut stream: BoxStream<'static, Result<Bytes, Error>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }

    #[tokio::test]
    async fn pieces_become_a_blob_of_which_parts_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (blobs, upload) = (blobs(folder.path(), 0), MediaId::new(Uuid::from_u128(7)));
        let mut pieces = Vec::new();
        for (name, text) in [("0-a", "hello, "), ("7-b", "world")] {
            blobs.put_piece(upload, name, Bytes::from_static(text.as_bytes())).await.unwrap();
            pieces.push(Piece { name: name.to_owned(), bytes: text.len() as u64 });
        }
        let digest = blobs.digest(upload, &pieces).await.unwrap();
        assert_eq!(digest, alloy_primitives::hex::encode(Sha256::digest("hello, world")));
        // twice: a process was killed in between
        for _ in 0..2 {
            blobs.assemble(upload, &pieces, &digest).await.unwrap();
        }
        assert_eq!(all(blobs.file(&digest, 0..12).await.unwrap()).await, b"hello, world");
        assert_eq!(all(blobs.file(&digest, 3..9).await.unwrap()).await, b"lo, wo");
        assert_eq!(blobs.staged_before(i64::MAX, 10).await.unwrap(), [upload]);
        assert!(blobs.staged_before(0, 10).await.unwrap().is_empty());
        blobs.delete_staged(upload).await.unwrap();
        assert!(blobs.staged_before(i64::MAX, 10).await.unwrap().is_empty());
        for _ in 0..2 {
            blobs.delete_blob(&digest).await.unwrap();
        }
        assert!(blobs.file(&digest, 0..12).await.is_err());
    }

    #[tokio::test]
    async fn a_disk_that_must_stay_free_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs(folder.path(), u64::MAX / 2);
        let refused = blobs.put_piece(MediaId::new(Uuid::nil()), "0-a", Bytes::from_static(b"x")).await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::MediaFull);
        let error = Error::Generic { store: "file", source: Box::new(io::Error::from(ErrorKind::StorageFull)) };
        assert_eq!(failure(error).code, ErrorCode::MediaFull, "also where somebody else was faster");
    }

    #[tokio::test]
    async fn what_was_not_finished_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (blobs, deep) = (blobs(folder.path(), 0), folder.path().join("blobs/ab"));
        std::fs::create_dir_all(&deep).unwrap();
        for name in ["abcd", "abcd#1"] {
            std::fs::write(deep.join(name), "x").unwrap();
        }
        assert_eq!(blobs.sweep_unfinished(Duration::from_secs(3_600)).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(blobs.sweep_unfinished(Duration::from_millis(1)).await.unwrap(), 1);
        assert!(deep.join("abcd").exists() && !deep.join("abcd#1").exists());
    }
}
