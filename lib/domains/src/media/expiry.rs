//! What goes by itself: uploads that nobody finished, files whose time is over, bytes that no row names.

use std::time::Duration;

use super::ops::Media;

/// Of each that is removed at once.
const BATCH: i64 = 200;
/// Of each that one run removes. The next one goes on.
const ROUNDS_MAX: u32 = 50;
/// Bytes that no upload names are left for so long beside the time that an upload has: they may be somebody's who writes.
const SPARED: Duration = Duration::from_secs(3_600);

impl Media {
    /// Forgets uploads whose time is over. How many.
    pub async fn expire_uploads(&self) -> anyhow::Result<u64> {
        let mut removed = 0;
        for _ in 0..ROUNDS_MAX {
            let expired = self.store.expired_uploads(self.now_ms(), BATCH).await?;
            if expired.is_empty() {
                break;
            }
            for media in expired {
                if let Some(known) = self.store.upload(media).await? {
                    self.drop_upload(media, &known.upload, "expired").await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Deletes files whose time is over, and bytes that were about to be deleted. How many files.
    pub async fn expire_files(&self) -> anyhow::Result<u64> {
        let mut removed = 0;
        for _ in 0..ROUNDS_MAX {
            let before = removed;
            for media in self.store.expired_files(self.now_ms(), BATCH).await? {
                // one that can't be read yet belongs to its upload, and goes with it
                if let Some(file) = self.store.file(media).await?.filter(|file| file.ready) {
                    self.remove(media, &file, "expired").await?;
                    removed += 1;
                }
            }
            if removed == before {
                break;
            }
        }
        for digest in self.store.doomed(BATCH).await? {
            self.remove_bytes(&digest).await?;
        }
        Ok(removed)
    }

    /// Deletes what killed processes and writers who were cut left behind. How many uploads and unfinished files.
    pub async fn sweep(&self) -> anyhow::Result<u64> {
        let age = Duration::from_secs(self.config.upload_expire_s) + SPARED;
        let before_ms = self.now_ms() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2);
        let mut swept = self.blobs.sweep_unfinished(age).await?;
        for media in self.blobs.staged_before(before_ms, BATCH.unsigned_abs() as usize).await? {
            if self.store.upload(media).await?.is_none() {
                self.blobs.delete_staged(media).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
