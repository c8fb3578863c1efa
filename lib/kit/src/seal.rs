//! Backups are encrypted to the public keys of the operator (age, <https://age-encryption.org/v1>), from the first byte that
//! leaves a process. Nothing here can read them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;
use age::x25519::Recipient;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use nepto_proto::ErrorCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::db::snapshot::{Parts, Watch};
use crate::{Ctx, Failure};

/// Where the operator's listener hands out the databases of its process.
pub const DATABASES_PATH: &str = "/backup/databases";

/// What is asked for there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// `backup.recipients` of whoever asks. A process that has read another configuration would encrypt for somebody else.
    pub recipients: Vec<String>,
}

/// Encrypts what is written into it for these recipients. Without [`finish`](StreamWriter::finish) it is cut short, and whoever
/// decrypts it sees that.
pub fn writer<W: Write>(recipients: &[Recipient], output: W) -> anyhow::Result<StreamWriter<W>> {
    let encryptor = Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as &dyn age::Recipient))?;
    Ok(encryptor.wrap_output(output)?)
}

/// The operator's route that hands out all embedded databases, of one moment and encrypted for the operator. A process that has
/// none, because they are a server's, says so.
pub fn routes(ctx: &Ctx) -> Router {
    let one_at_a_time = Arc::new(Semaphore::new(1));
    Router::new().route(DATABASES_PATH, post(databases)).with_state((ctx.clone(), one_at_a_time))
}

async fn databases(
    State((ctx, places)): State<(Ctx, Arc<Semaphore>)>,
    Json(question): Json<Question>,
) -> Result<Response, Failure> {
    let recipients = ctx.config.backup.keys(ctx.config.file.as_deref());
    let recipients = recipients.map_err(|error| {
        // whoever asks has some, and may have another file
        let detail =
            format!("the process that has the databases was started without recipients: {error}; then restart it");
        Failure::new(ErrorCode::Malformed, detail)
    })?;
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    if sorted(&question.recipients) != sorted(&ctx.config.backup.recipients) {
        let detail = "this process encrypts for other recipients than those of the backup: restart it, so that it reads \
                      backup.recipients again";
        return Err(Failure::new(ErrorCode::Malformed, detail));
    }
    let place = places.try_acquire_owned();
    let place = place.map_err(|_| Failure::new(ErrorCode::Unavailable, "another backup is being made"))?;
    let databases = ctx.databases.as_ref();
    let databases =
        databases.ok_or_else(|| Failure::new(ErrorCode::NotFound, "this process has no database of its own"))?;
    let snapshot = databases.snapshot().await;
    let parts = snapshot.map_err(|error| Failure::new(ErrorCode::NotFound, error.to_string()))?;
    let sealed = Sealed::new(&recipients, parts, place).map_err(Failure::internal)?;
    let body = stream::unfold(Some(sealed), |sealed| async {
        match sealed?.next().await {
            Ok((bytes, rest)) => Some((Ok(bytes), rest)),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the databases were not handed out as a whole");
                Some((Err(error), None))
            }
        }
    });
    Ok(Body::from_stream(body).into_response())
}

/// A snapshot that is encrypted while it is read.
struct Sealed {
    parts: Parts,
    passed: Watch,
    writer: StreamWriter<Shared>,
    encrypted: Shared,
    _place: OwnedSemaphorePermit,
}

impl Sealed {
    fn new(recipients: &[Recipient], parts: Parts, place: OwnedSemaphorePermit) -> anyhow::Result<Self> {
        let encrypted = Shared::default();
        let writer = writer(recipients, encrypted.clone())?;
        Ok(Self { parts, passed: Watch::default(), writer, encrypted, _place: place })
    }

    /// The next bytes, and what comes after them if anything does.
    async fn next(mut self) -> anyhow::Result<(Bytes, Option<Self>)> {
        match self.parts.recv().await {
            Some(part) => {
                let part = part?;
                self.passed.pass(&part);
                self.writer.write_all(&part)?;
                Ok((self.encrypted.take(), Some(self)))
            }
            None => {
                // whoever read them may have died: that must not look like the end
                anyhow::ensure!(self.passed.is_whole(), "they were not read to their end");
                let Self { writer, encrypted, .. } = self;
                writer.finish()?;
                Ok((encrypted.take(), None))
            }
        }
    }
}

/// What was encrypted and is not taken yet.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use age::x25519::Identity;
    use tokio::sync::mpsc;

    use super::*;

    /// What is handed out of these parts.
    async fn sealed(owner: &Identity, parts: &[&[u8]]) -> anyhow::Result<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(8);
        for part in parts {
            sender.send(Ok(Bytes::copy_from_slice(part))).await?;
        }
        drop(sender);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await?;
        let mut sealed = Some(Sealed::new(&[owner.to_public()], receiver, place)?);
        let mut all = Vec::new();
        while let Some(rest) = sealed.take() {
            let (bytes, rest) = rest.next().await?;
            all.extend_from_slice(&bytes);
            sealed = rest;
        }
        Ok(all)
    }

    #[tokio::test]
    async fn what_broke_off_is_not_sealed_as_if_it_were_whole() {
        let owner = Identity::generate();
        let digest = blake3::hash(b"all of it");
        let whole = sealed(&owner, &[b"all ", b"of it", digest.as_bytes()]).await.unwrap();
        let mut read = Vec::new();
        let decryptor = age::Decryptor::new(&whole[..]).unwrap();
        decryptor.decrypt(std::iter::once(&owner as &dyn age::Identity)).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, [b"all of it", &digest.as_bytes()[..]].concat());
        let refused = sealed(&owner, &[b"all ", b"of"]).await.unwrap_err().to_string();
        assert!(refused.contains("not read to their end"), "{refused}");
    }
}
