//! Use-cases: what routes and jobs call, and what calls the tables and the store of bytes. Uploads, downloads and what goes by
//! itself have files of their own.

use std::sync::Arc;
use std::time::Duration;

use nepto_kit::db::DbError;
use nepto_kit::domain::Parts;
use nepto_kit::http::{Bounds, Shares};
use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::{AccountId, ErrorCode, MediaId};
use tokio::sync::OnceCell;

use super::address::Key;
use super::blobs::Blobs;
use super::config;
use super::store::{File, Store};

/// Tries of a change that others may make at the same moment.
pub const TRIES_MAX: u32 = 50;
/// Between two of them.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Files, and how they come and go.
#[derive(Clone)]
pub struct Media {
    pub ctx: Ctx,
    pub store: Store,
    pub blobs: Blobs,
    pub config: Arc<config::Media>,
    /// Downloads under way.
    pub downloads: Shares,
    key: Arc<OnceCell<Key>>,
}

impl Media {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        let config: Arc<config::Media> = ctx.config.section();
        let per_address = config.downloads_per_address_max;
        // a prefix is several addresses
        let bounds = Bounds { all: config.downloads_max, network: per_address, prefix: per_address.saturating_mul(4) };
        Ok(Self {
            store: Store::new(parts.db()?.clone()),
            blobs: Blobs::open(&config)?,
            downloads: Shares::new("downloads", bounds),
            key: Arc::default(),
            config,
            ctx,
        })
    }

    pub fn now_ms(&self) -> i64 {
        self.ctx.clock.now_ms()
    }

    /// What signs addresses. All processes have the same, which the first of them drew.
    pub async fn key(&self) -> Result<&Key, Failure> {
        let drawn =
            || async { Ok::<_, Failure>(Key::new(self.store.secret("addresses", self.ctx.random.bytes()).await?)) };
        self.key.get_or_try_init(drawn).await
    }

    /// Takes bytes from an allowance, in whole KiB.
    pub async fn take_bytes(&self, kind: &'static str, max: u64, subject: &str, bytes: u64) -> Result<(), Failure> {
        let kib = |bytes: u64| u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let limit = Limit { kind, max: kib(max), window: Duration::from_secs(86_400) };
        limit.take(&self.ctx.redis, &self.ctx.clock, subject, kib(bytes)).await
    }

    /// A file that can be read.
    pub async fn readable(&self, media: MediaId) -> Result<File, Failure> {
        let now_ms = self.now_ms();
        let file = self.store.file(media).await?.filter(|file| file.ready && file.expires_at_ms > now_ms);
        file.ok_or_else(not_found)
    }

    /// Deletes an own file.
    pub async fn delete(&self, account: AccountId, media: MediaId) -> Result<(), Failure> {
        let file = self.store.file(media).await?.filter(|file| file.ready && file.account.0 == account);
        let file = file.ok_or_else(not_found)?;
        self.remove(media, &file, "owner").await
    }

    /// Takes a file away, and its bytes unless another names them. Whoever was faster did the same.
    pub async fn remove(&self, media: MediaId, file: &File, reason: &'static str) -> Result<(), Failure> {
        match self.store.drop_file(media, file).await {
            Ok(is_last) => {
                metrics::counter!("nepto_media_deleted_total", "reason" => reason).increment(1);
                if is_last { self.remove_bytes(&file.digest).await } else { Ok(()) }
            }
            Err(DbError::Stale) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes bytes that no file names. If it does not come to that, they are doomed, and the job comes by.
    pub async fn remove_bytes(&self, digest: &str) -> Result<(), Failure> {
        self.blobs.delete_blob(digest).await?;
        Ok(self.store.forget_blob(digest).await?)
    }
}

/// What is not there, and what is somebody else's: both look the same.
pub fn not_found() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is no such file, or not any more")
}
