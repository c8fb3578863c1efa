//! Files.

use serde::{Deserialize, Serialize};

/// Where a file can be downloaded from for some minutes, by whoever has the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MediaAddress {
    /// Path and query, below the base of the API.
    pub address: String,
    /// Until when it is good, milliseconds since 1970 by the server's clock.
    pub expires_at_ms: u64,
    /// Of the file, as it is stored.
    pub bytes: u64,
}
