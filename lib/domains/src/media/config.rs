//! What this domain reads of the configuration: where files are kept, and how many.

use std::path::{Path, PathBuf};

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use nepto_kit::fetch::Url;
use serde::Deserialize;

pub const SECTIONS: &[Declared] = &[Declared::of::<Media>()];

/// Limits are counted in KiB, by numbers of 32 bits.
const BYTES: std::ops::RangeInclusive<u64> = 1_024..=1_024 * u32::MAX as u64;
/// Ten years.
const VALUE_MAX: u64 = 10 * 366 * 86_400;

/// Files of messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Where files are kept, unless there is an endpoint. A folder of its own, best on a disk of its own; processes on one machine
    /// share it.
    pub folder: PathBuf,
    /// So much of its file system stays free: uploads are refused before it is full. Without an endpoint.
    pub free_bytes_min: u64,
    /// Where files are kept instead: `https://s3.example.org`, anything that speaks S3. Empty: in the folder.
    pub s3_endpoint: String,
    /// The bucket, which is there already.
    pub s3_bucket: String,
    /// Its region.
    pub s3_region: String,
    /// The file with the access key's id.
    pub s3_access_key_file: PathBuf,
    /// The file with its secret.
    pub s3_secret_key_file: PathBuf,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all files of one account, those of unfinished uploads included.
    pub bytes_per_account_max: u64,
    /// Unfinished uploads of one account.
    pub uploads_open_max: u32,
    /// Uploads that one account begins in a day.
    pub uploads_per_account_per_day: u32,
    /// An upload that is not finished then is forgotten.
    pub upload_expire_s: u64,
    /// A file of a direct message is deleted after so long.
    pub dm_expire_s: u64,
    /// An address is good for so long.
    pub address_ttl_s: u64,
    /// Addresses that one account asks for.
    pub addresses_per_account_per_minute: u32,
    /// Bytes of the files behind the addresses that one account asks for.
    pub address_bytes_per_account_per_day: u64,
    /// Downloads, and parts of them, that one address begins.
    pub downloads_per_address_per_minute: u32,
    /// Bytes that one address downloads.
    pub download_bytes_per_address_per_day: u64,
    /// Downloads under way at once.
    pub downloads_max: usize,
    /// Of them, those of one address.
    pub downloads_per_address_max: usize,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            folder: ".nepto/media".into(),
            free_bytes_min: 1_073_741_824,
            s3_endpoint: String::new(),
            s3_bucket: String::new(),
            s3_region: "us-east-1".to_owned(),
            s3_access_key_file: PathBuf::new(),
            s3_secret_key_file: PathBuf::new(),
            file_bytes_max: 104_857_600,
            bytes_per_account_max: 1_073_741_824,
            uploads_open_max: 16,
            uploads_per_account_per_day: 500,
            upload_expire_s: 86_400,
            dm_expire_s: 90 * 86_400,
            address_ttl_s: 300,
            addresses_per_account_per_minute: 120,
            address_bytes_per_account_per_day: 4_294_967_296,
            downloads_per_address_per_minute: 300,
            download_bytes_per_address_per_day: 17_179_869_184,
            downloads_max: 512,
            downloads_per_address_max: 16,
        }
    }
}

impl Media {
    /// Whether files are in the folder.
    pub const fn is_local(&self) -> bool {
        self.s3_endpoint.is_empty()
    }
}

impl Section for Media {
    const NAME: &'static str = "media";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if self.is_local() && self.folder.as_os_str().is_empty() {
            return bad("media.folder", "must be named, or an endpoint in its place");
        }
        let is_base = |url: Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
        if !self.is_local() && !self.s3_endpoint.parse::<Url>().is_ok_and(is_base) {
            return bad("media.s3_endpoint", "must be an address like https://s3.example.org, or empty");
        }
        let is_named = |file: &Path| !file.as_os_str().is_empty();
        for (field, named) in [
            ("media.s3_bucket", !self.s3_bucket.is_empty()),
            ("media.s3_region", !self.s3_region.is_empty()),
            ("media.s3_access_key_file", is_named(&self.s3_access_key_file)),
            ("media.s3_secret_key_file", is_named(&self.s3_secret_key_file)),
        ] {
            if !self.is_local() && !named {
                return bad(field, "must be named beside s3_endpoint");
            }
        }
        for (field, bytes) in [
            ("media.file_bytes_max", self.file_bytes_max),
            ("media.bytes_per_account_max", self.bytes_per_account_max),
            ("media.address_bytes_per_account_per_day", self.address_bytes_per_account_per_day),
            ("media.download_bytes_per_address_per_day", self.download_bytes_per_address_per_day),
        ] {
            if !BYTES.contains(&bytes) {
                return bad(field, "must be 1024 to 4398046510080");
            }
        }
        if self.file_bytes_max > self.bytes_per_account_max {
            return bad("media.file_bytes_max", "must not exceed bytes_per_account_max");
        }
        for (field, value) in [
            ("media.uploads_open_max", u64::from(self.uploads_open_max)),
            ("media.upload_expire_s", self.upload_expire_s),
            ("media.dm_expire_s", self.dm_expire_s),
            ("media.address_ttl_s", self.address_ttl_s),
            ("media.downloads_max", self.downloads_max as u64),
            ("media.downloads_per_address_max", self.downloads_per_address_max as u64),
        ] {
            if !(1..=VALUE_MAX).contains(&value) {
                return bad(field, "must be 1 to 316224000");
            }
        }
        Ok(())
    }
}
