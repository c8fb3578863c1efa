//! How a file goes out: an address for whoever is signed in, and bytes for whoever has the address.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use nepto_kit::Failure;
use nepto_kit::http::Share;
use nepto_kit::limit::Limit;
use nepto_proto::api::endpoint::Endpoint;
use nepto_proto::api::endpoints::media::{GetContent, MediaPath, SignedAddress};
use nepto_proto::api::media::MediaAddress;
use nepto_proto::{AccountId, ErrorCode, MediaId};
use tokio::time::Instant;

use super::ops::Media;
use super::store::File;

/// A download may take so long beside what its bytes take at the least rate.
const GRACE: Duration = Duration::from_secs(60);

/// Bytes that are handed out, and what ends that.
struct Outgoing {
    bytes: BoxStream<'static, Result<Bytes, object_store::Error>>,
    begun: Instant,
    sent: u64,
    bytes_per_second_min: u64,
    /// Held until the last byte.
    _share: Share,
}

/// Why the rest of a file does not come.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it is taken too slowly")]
    Slow,
    #[error("the store of files: {0}")]
    Store(#[from] object_store::Error),
}

impl Media {
    /// An address of a file, whoever stored it: its id is known to nobody who was not told.
    pub async fn address(&self, account: AccountId, media: MediaId) -> Result<MediaAddress, Failure> {
        let (config, subject) = (&self.config, account.to_string());
        let per_minute = config.addresses_per_account_per_minute;
        let limit = Limit { kind: "media_addresses", max: per_minute, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, &subject, 1).await?;
        let file = self.readable(media).await?;
        self.take_bytes("media_account_kib", config.address_bytes_per_account_per_day, &subject, file.length).await?;
        let expires_at_ms = self.now_ms().unsigned_abs().saturating_add(config.address_ttl_s * 1_000);
        let signature = URL_SAFE_NO_PAD.encode(self.key().await?.sign(media, expires_at_ms));
        let path = GetContent::path(&MediaPath { media }).map_err(Failure::internal)?;
        let address = format!("{path}?expires={expires_at_ms}&signature={signature}");
        Ok(MediaAddress { address, expires_at_ms, bytes: file.length })
    }

    /// The file of an address that is good. Who has another one learns nothing about files.
    pub async fn addressed(&self, media: MediaId, given: &SignedAddress) -> Result<File, Failure> {
        let signature = given.signature.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let (Some(expires), Some(signature)) = (given.expires, signature) else {
            return Err(Failure::new(ErrorCode::AddressInvalid, ""));
        };
        if !self.key().await?.is_good(media, expires, &signature, self.now_ms()) {
            return Err(Failure::new(ErrorCode::AddressInvalid, ""));
        }
        self.readable(media).await
    }

    /// Some bytes of a file, for a client's address.
    pub async fn content(&self, file: &File, range: Range<u64>, address: &str) -> Result<Body, Failure> {
        let (config, bytes) = (&self.config, range.end - range.start);
        let per_minute = config.downloads_per_address_per_minute;
        let limit = Limit { kind: "media_downloads", max: per_minute, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, address, 1).await?;
        self.take_bytes("media_address_kib", config.download_bytes_per_address_per_day, address, bytes).await?;
        let origin = address.parse::<IpAddr>().ok().map(Into::into);
        let share = self.downloads.take(origin).map_err(|full| match full.is_theirs() {
            true => Failure::rate_limited(Duration::from_secs(1), "too many downloads to your address are under way"),
            false => Failure::unavailable("the store of files", anyhow::anyhow!("as many downloads as may be")),
        })?;
        let outgoing = Outgoing {
            bytes: self.blobs.file(&file.digest, range).await?,
            begun: Instant::now(),
            sent: 0,
            bytes_per_second_min: self.ctx.config.http.body_bytes_per_second_min.max(1),
            _share: share,
        };
        Ok(Body::from_stream(stream::try_unfold(outgoing, next)))
    }
}

async fn next(mut outgoing: Outgoing) -> Result<Option<(Bytes, Outgoing)>, Broken> {
    let earned = Duration::from_millis(outgoing.sent.saturating_mul(1_000) / outgoing.bytes_per_second_min);
    if outgoing.begun.elapsed() > GRACE + earned {
        return Err(Broken::Slow);
    }
    let Some(bytes) = outgoing.bytes.next().await.transpose()? else { return Ok(None) };
    outgoing.sent += bytes.len() as u64;
    metrics::counter!("nepto_media_sent_bytes_total").increment(bytes.len() as u64);
    Ok(Some((bytes, outgoing)))
}
