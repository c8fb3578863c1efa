//! Where NATS is, and what its streams may hold.

use std::path::PathBuf;

use async_nats::ServerAddr;
use nepto_proto::subject::Shards;
use serde::Deserialize;

use super::ConfigError;

/// Where NATS is, and what its streams may hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// One or more servers, comma-separated. The others of their cluster need not be named.
    pub url: String,
    /// Where the servers' monitors are, `http://<host>:8222`: each is asked at the start whether it syncs what it acknowledges.
    pub monitors: Vec<String>,
    /// A `.creds` file, if the servers ask for one.
    pub credentials_file: Option<PathBuf>,
    /// Copies of every stream: 1 on one machine, 3 in a cluster.
    pub replicas: usize,
    /// Streams that the mailboxes are spread over. Can't be changed once messages are stored.
    pub shards: Shards,
    /// Bytes of all dead letters together. JetStream sets them aside; past them consumers keep what they would dead-letter.
    pub dead_letters_bytes_max: i64,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            monitors: Vec::new(),
            credentials_file: None,
            replicas: 1,
            shards: Shards::DEFAULT,
            dead_letters_bytes_max: 256 * 1024 * 1024,
        }
    }
}

pub(super) fn check(nats: &Nats) -> Result<(), ConfigError> {
    let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
    if !nats.url.split(',').all(is_nats) {
        return bad(
            "nats.url",
            "must be addresses like nats://10.0.0.5:4222, or tls://nats.example.org:4222; several with a comma between",
        );
    }
    if !(1..=5).contains(&nats.replicas) {
        return bad("nats.replicas", "must be 1 to 5");
    }
    if nats.monitors.iter().any(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return bad("nats.monitors", "must be addresses like http://10.0.0.5:8222");
    }
    // room for two messages of the largest size, with their headers
    if nats.dead_letters_bytes_max < 1024 * 1024 {
        return bad("nats.dead_letters_bytes_max", "must be 1048576 (1 MiB) or more");
    }
    Ok(())
}

/// Whether it is the address of a NATS server. One without a scheme is as one with `nats://`.
fn is_nats(url: &str) -> bool {
    let url = url.trim();
    let speaks = url.split_once("://").is_none_or(|(scheme, _)| matches!(scheme, "nats" | "tls"));
    speaks && url.parse::<ServerAddr>().is_ok_and(|server| !server.host().is_empty())
}
