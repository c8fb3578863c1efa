//! Fetching from untrusted hosts.

use std::net::IpAddr;

use serde::Deserialize;

use super::ConfigError;

/// Fetching from untrusted hosts: files that a contract's `tokenURI` leads to, for example.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Over `http://` as well, where anybody on the way can read and change what comes.
    pub http: bool,
    /// Ports that are asked beside those of the schemes: 443, and 80 with `http`.
    pub ports: Vec<u16>,
    /// Addresses that are asked although they don't lie in the open internet. Anybody can then make this server ask them
    /// too.
    pub addresses: Vec<IpAddr>,
    /// A connection must stand in this time.
    pub connect_timeout_ms: u64,
    /// Everything must be there in this time, redirects included.
    pub timeout_ms: u64,
    /// Files that are fetched at once.
    pub concurrency_max: usize,
    /// Of them from one host.
    pub concurrency_per_host_max: usize,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            http: false,
            ports: Vec::new(),
            addresses: Vec::new(),
            connect_timeout_ms: 3_000,
            timeout_ms: 10_000,
            concurrency_max: 16,
            concurrency_per_host_max: 2,
        }
    }
}

pub(super) fn check(fetch: &Fetch) -> Result<(), ConfigError> {
    let bad = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
    if fetch.connect_timeout_ms == 0 || fetch.timeout_ms == 0 {
        return bad("fetch.timeout_ms", "must not be 0, and neither must connect_timeout_ms");
    }
    if fetch.concurrency_max == 0 || fetch.concurrency_per_host_max == 0 {
        return bad("fetch.concurrency_max", "must not be 0, and neither must concurrency_per_host_max");
    }
    Ok(())
}
