//! How a file comes: begun, appended to, finished, ended.

use std::time::Duration;

use axum::body::Body;
use bytes::BytesMut;
use futures_util::StreamExt;
use nepto_kit::Failure;
use nepto_kit::db::DbError;
use nepto_kit::limit::Limit;
use nepto_proto::{AccountId, ErrorCode, MediaId};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::model::{PIECE_BYTES, Piece, Refusal, Upload};
use super::ops::{Media, TRIES_MAX, TRY_AGAIN_AFTER, not_found};
use super::store::{Allowance, Known, NewFile};
use super::tus::Checksum;

/// Letters of a claim, and of the name of a piece.
const CLAIM_LETTERS: usize = 16;
/// A writer says so often that it is still there, if no piece says it.
const HEARD_EVERY: Duration = Duration::from_secs(8);

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub length: u64,
    pub received: u64,
    /// When it is forgotten; a finished one is none any more.
    pub expires_at_ms: Option<i64>,
}

impl Progress {
    fn of(upload: &Upload) -> Self {
        let Upload { length, received, expires_at_ms, .. } = *upload;
        Self { length, received, expires_at_ms: Some(expires_at_ms) }
    }

    const fn finished(length: u64) -> Self {
        Self { length, received: length, expires_at_ms: None }
    }
}

/// What comes of one request.
struct Incoming {
    media: MediaId,
    claim: String,
    at: u64,
    length: u64,
    /// Of all bytes of the request, if they have one.
    checksum: Option<Checksum>,
    digest: Sha256,
    /// Bytes that are in no piece yet, copied together: what crumbs come in would cost more than they do.
    held: BytesMut,
    /// Pieces that count once the checksum is right.
    unproven: Vec<Piece>,
    heard_at: Instant,
}

impl Media {
    /// Begins an upload.
    pub async fn begin(&self, account: AccountId, length: u64) -> Result<(MediaId, Progress), Failure> {
        let max = self.config.file_bytes_max;
        if length > max {
            return Err(Failure::new(ErrorCode::TooLarge, format!("a file has at most {max} bytes")));
        }
        let day = Duration::from_secs(86_400);
        let limit = Limit { kind: "media_uploads", max: self.config.uploads_per_account_per_day, window: day };
        limit.take(&self.ctx.redis, &self.ctx.clock, &account.to_string(), 1).await?;
        // it is there twice while it is put together
        self.blobs.check_room(length.saturating_mul(2))?;
        let media = MediaId::new(self.ctx.random.uuid(&self.ctx.clock));
        let expires_at_ms = self.now_ms() + (self.config.upload_expire_s * 1_000).cast_signed();
        let upload = Upload { account, length, received: 0, pieces: Vec::new(), writer: None, expires_at_ms };
        let allowance =
            Allowance { bytes_max: self.config.bytes_per_account_max, uploads_max: self.config.uploads_open_max };
        self.store.begin(media, &upload, allowance).await?;
        metrics::counter!("nepto_media_uploads_total", "outcome" => "begun").increment(1);
        Ok((media, Progress::of(&upload)))
    }

    /// How far an own upload is. One that has all its bytes and was not finished is finished now.
    pub async fn progress(&self, account: AccountId, media: MediaId) -> Result<Progress, Failure> {
        let Some(known) = self.own_upload(account, media).await? else {
            return self.finished(account, media).await;
        };
        if known.upload.is_complete() && !known.upload.is_claimed(self.now_ms()) {
            return self.finish(media, &known.upload).await;
        }
        Ok(Progress::of(&known.upload))
    }

    /// Ends an own upload, finished or not.
    pub async fn end(&self, account: AccountId, media: MediaId) -> Result<(), Failure> {
        match self.own_upload(account, media).await? {
            Some(known) => self.drop_upload(media, &known.upload, "ended").await,
            None => self.delete(account, media).await,
        }
    }

    /// Takes an upload back, with all that has arrived of it.
    pub async fn drop_upload(&self, media: MediaId, upload: &Upload, outcome: &'static str) -> Result<(), Failure> {
        match self.store.drop_upload(media, upload).await {
            Ok(()) => metrics::counter!("nepto_media_uploads_total", "outcome" => outcome).increment(1),
            // somebody was faster
            Err(DbError::Stale) => {}
            Err(error) => return Err(error.into()),
        }
        self.blobs.delete_staged(media).await
    }

    /// Appends what comes, as far as it comes. The work goes on where the connection breaks, so that what arrived counts.
    pub async fn append(
        &self,
        account: AccountId,
        media: MediaId,
        offset: u64,
        checksum: Option<Checksum>,
        body: Body,
    ) -> Result<Progress, Failure> {
        let known = self.own_upload(account, media).await?.ok_or_else(not_found)?;
        let claim = self.ctx.random.alphanumeric(CLAIM_LETTERS);
        let now_ms = self.now_ms();
        let upload = self.change(media, Some(known), |upload| upload.claim(offset, &claim, now_ms)).await?;
        let incoming = Incoming {
            media,
            claim,
            at: offset,
            length: upload.length,
            checksum,
            digest: Sha256::new(),
            held: BytesMut::new(),
            unproven: Vec::new(),
            heard_at: Instant::now(),
        };
        let media = self.clone();
        let work = self.ctx.tasks.spawn(async move { media.take_in(incoming, body).await });
        work.await.map_err(Failure::internal)?
    }

    async fn take_in(&self, mut incoming: Incoming, body: Body) -> Result<Progress, Failure> {
        let taken = self.read(&mut incoming, body).await;
        let kept = self.settle(&mut incoming, taken.is_ok()).await;
        let progress = match taken.and(kept) {
            Ok(upload) if upload.is_complete() => self.finish(incoming.media, &upload).await,
            Ok(upload) => Ok(Progress::of(&upload)),
            Err(failure) => Err(failure),
        };
        // a finished upload is not there any more, and one that somebody took over is theirs
        let released = self.change(incoming.media, None, |upload| {
            upload.release(&incoming.claim);
            Ok(())
        });
        if let Err(failure) = released.await
            && failure.code != ErrorCode::NotFound
        {
            tracing::info!(media = %incoming.media, %failure, "a claim to an upload stays until it is over");
        }
        progress
    }

    /// Reads the body to its end, or until it breaks.
    async fn read(&self, incoming: &mut Incoming, body: Body) -> Result<(), Failure> {
        let mut body = body.into_data_stream();
        while let Some(bytes) = body.next().await {
            let broken = |error: axum::Error| Failure::new(ErrorCode::Timeout, format!("the body broke off: {error}"));
            let bytes = bytes.map_err(broken)?;
            if bytes.len() as u64 > incoming.length - incoming.at {
                return Err(Failure::new(Refusal::TooLong.code(), Refusal::TooLong.detail()));
            }
            incoming.at += bytes.len() as u64;
            if incoming.checksum.is_some() {
                incoming.digest.update(&bytes);
            }
            incoming.held.extend_from_slice(&bytes);
            if incoming.held.len() >= PIECE_BYTES {
                self.store_held(incoming).await?;
            } else if incoming.heard_at.elapsed() >= HEARD_EVERY {
                self.count(incoming, &[]).await?;
            }
        }
        Ok(())
    }

    /// Stores what is held as a piece. Without a checksum it counts at once.
    async fn store_held(&self, incoming: &mut Incoming) -> Result<(), Failure> {
        let held = std::mem::take(&mut incoming.held).freeze();
        if held.is_empty() {
            return Ok(());
        }
        let bytes = held.len() as u64;
        let name = format!("{:015}-{}", incoming.at - bytes, self.ctx.random.alphanumeric(CLAIM_LETTERS));
        self.blobs.put_piece(incoming.media, &name, held).await?;
        let piece = Piece { name, bytes };
        match incoming.checksum {
            Some(_) => {
                incoming.unproven.push(piece);
                self.count(incoming, &[]).await.map(drop)
            }
            None => self.count(incoming, &[piece]).await.map(drop),
        }
    }

    /// The row names these pieces from now on, and knows that somebody still writes.
    async fn count(&self, incoming: &mut Incoming, pieces: &[Piece]) -> Result<Upload, Failure> {
        let (claim, now_ms) = (incoming.claim.clone(), self.now_ms());
        let upload = self.change(incoming.media, None, |upload| upload.append(&claim, pieces, now_ms)).await?;
        incoming.heard_at = Instant::now();
        let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        metrics::counter!("nepto_media_received_bytes_total").increment(bytes);
        Ok(upload)
    }

    /// The body has ended, or broke. What arrived counts, if it need not be proven, or is.
    async fn settle(&self, incoming: &mut Incoming, is_whole: bool) -> Result<Upload, Failure> {
        let Some(checksum) = incoming.checksum else {
            self.store_held(incoming).await?;
            return self.count(incoming, &[]).await;
        };
        let digest: Checksum = std::mem::take(&mut incoming.digest).finalize().into();
        if is_whole && digest == checksum {
            self.store_held(incoming).await?;
            let pieces = std::mem::take(&mut incoming.unproven);
            return self.count(incoming, &pieces).await;
        }
        let pieces = std::mem::take(&mut incoming.unproven);
        // what stays is swept with the upload
        if let Err(failure) = self.blobs.delete_pieces(incoming.media, &pieces).await {
            tracing::info!(%failure, "pieces of an upload stay for now");
        }
        Err(Failure::new(ErrorCode::UploadChecksum, ""))
    }

    /// Makes a complete upload a file. To do it twice, or by two at once, is to do it once: the slower one finds no pieces any more.
    async fn finish(&self, media: MediaId, upload: &Upload) -> Result<Progress, Failure> {
        match self.put_together(media, upload).await {
            Ok(progress) => Ok(progress),
            Err(failure) => self.finished(upload.account, media).await.map_err(|_| failure),
        }
    }

    async fn put_together(&self, media: MediaId, upload: &Upload) -> Result<Progress, Failure> {
        let digest = self.blobs.digest(media, &upload.pieces).await?;
        let file = NewFile {
            account: upload.account,
            purpose: "dm",
            digest: &digest,
            length: upload.length,
            expires_at_ms: self.now_ms() + (self.config.dm_expire_s * 1_000).cast_signed(),
        };
        if !self.name(media, &file).await? {
            self.blobs.assemble(media, &upload.pieces, &digest).await?;
        }
        match self.store.finish(media, &file).await {
            Ok(()) => metrics::counter!("nepto_media_uploads_total", "outcome" => "stored").increment(1),
            // another one finished it, or it was ended
            Err(DbError::Stale) => return self.finished(upload.account, media).await,
            Err(error) => return Err(error.into()),
        }
        if let Err(failure) = self.blobs.delete_staged(media).await {
            tracing::info!(%media, %failure, "the pieces of a finished upload are left to the sweep");
        }
        Ok(Progress::finished(upload.length))
    }

    /// Names the bytes of an upload; waits while the same bytes are being deleted.
    async fn name(&self, media: MediaId, file: &NewFile<'_>) -> Result<bool, Failure> {
        for _ in 0..TRIES_MAX {
            match self.store.name(media, file).await {
                Err(DbError::Stale) => {}
                named => return Ok(named?),
            }
            if self.store.upload(media).await?.is_none() {
                return Err(not_found());
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
        Err(Failure::unavailable("the store of files", anyhow::anyhow!("its bytes are being deleted for too long")))
    }

    /// An own file, as the upload that it was.
    async fn finished(&self, account: AccountId, media: MediaId) -> Result<Progress, Failure> {
        let file = self.store.file(media).await?.filter(|file| file.ready && file.account.0 == account);
        file.map(|file| Progress::finished(file.length)).ok_or_else(not_found)
    }

    /// An own upload whose time is not over.
    async fn own_upload(&self, account: AccountId, media: MediaId) -> Result<Option<Known>, Failure> {
        let (known, now_ms) = (self.store.upload(media).await?, self.now_ms());
        Ok(known.filter(|known| known.upload.account == account && known.upload.expires_at_ms > now_ms))
    }

    /// Changes the row of an upload, or refuses and changes nothing. Whoever is slower looks again.
    async fn change(
        &self,
        media: MediaId,
        known: Option<Known>,
        change: impl Fn(&mut Upload) -> Result<(), Refusal> + Send,
    ) -> Result<Upload, Failure> {
        let mut known = known;
        for _ in 0..TRIES_MAX {
            let read = match known.take() {
                Some(read) => Some(read),
                None => self.store.upload(media).await?,
            };
            let Known { mut upload, revision } = read.ok_or_else(not_found)?;
            change(&mut upload).map_err(|refusal| Failure::new(refusal.code(), refusal.detail()))?;
            match self.store.change(media, revision, &upload).await {
                Ok(()) => return Ok(upload),
                Err(DbError::Stale) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::unavailable("the upload", anyhow::anyhow!("others changed it again and again")))
    }
}
