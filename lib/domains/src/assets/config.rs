//! What this domain reads of the configuration: what is shown of tokens, their descriptions and images.

use std::path::PathBuf;

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use nepto_kit::fetch::Url;
use serde::Deserialize;

pub const SECTIONS: &[Declared] = &[Declared::of::<Assets>(), Declared::of::<Limits>()];

/// Bytes of one description: it is kept in the database.
const METADATA_BYTES: std::ops::RangeInclusive<usize> = 1_024..=4 * 1_024 * 1_024;

/// What is shown of tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assets {
    /// Fetch descriptions and images of tokens: this server then asks whomever the watched contracts name.
    pub metadata: bool,
    /// Where `ipfs://` is fetched: `https://ipfs.example.org`, or a node of your own. Empty: it is not fetched.
    pub ipfs_gateway: String,
    /// The same for `ar://`.
    pub arweave_gateway: String,
    /// Bytes of one description.
    pub metadata_bytes_max: usize,
    /// A description that is older is fetched again when somebody asks for it.
    pub metadata_refresh_after_s: u64,
    /// Where images are kept. Processes on one machine may share it.
    pub image_cache_folder: PathBuf,
    /// Bytes of all images; the least recently used ones make room.
    pub image_cache_bytes_max: u64,
    /// Bytes of one image.
    pub image_bytes_max: usize,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            metadata: true,
            ipfs_gateway: String::new(),
            arweave_gateway: String::new(),
            metadata_bytes_max: 512 * 1_024,
            metadata_refresh_after_s: 7 * 86_400,
            image_cache_folder: ".nepto/images".into(),
            image_cache_bytes_max: 1_024 * 1_024 * 1_024,
            image_bytes_max: 8 * 1_024 * 1_024,
        }
    }
}

impl Section for Assets {
    const NAME: &'static str = "assets";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        for (field, gateway) in
            [("assets.ipfs_gateway", &self.ipfs_gateway), ("assets.arweave_gateway", &self.arweave_gateway)]
        {
            let url = gateway.parse::<Url>();
            let is_base = url.is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && (url.username(), url.password()) == ("", None)
                    && (url.query(), url.fragment()) == (None, None)
            });
            if !gateway.is_empty() && !is_base {
                return bad(field, "must be an address like https://gateway.example.org, or empty");
            }
        }
        if !METADATA_BYTES.contains(&self.metadata_bytes_max) {
            return bad("assets.metadata_bytes_max", "must be 1024 to 4194304");
        }
        if self.metadata_refresh_after_s == 0 {
            return bad("assets.metadata_refresh_after_s", "must be at least 1");
        }
        if self.image_bytes_max == 0 || self.image_bytes_max as u64 > self.image_cache_bytes_max {
            return bad("assets.image_bytes_max", "must be at least 1 and not exceed image_cache_bytes_max");
        }
        Ok(())
    }
}

/// Rate limits of what an account makes this server fetch.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Descriptions and images of tokens that are fetched for one account.
    pub token_fetches_per_account_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { token_fetches_per_account_per_minute: 300 }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
