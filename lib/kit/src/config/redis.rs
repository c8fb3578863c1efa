//! Where Redis is, or who says where.

use redis::IntoConnectionInfo;
use serde::Deserialize;

use super::ConfigError;

/// Where Redis is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://` or `unix://` address. With Sentinels only its user, password and database count.
    pub url: String,
    /// Addresses of the Sentinels that say where the primary is; none if it stays where it is.
    pub sentinels: Vec<String>,
    /// What the Sentinels call it.
    pub master: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: "redis://127.0.0.1:6379".into(), sentinels: Vec::new(), master: "nepto".into() }
    }
}

pub(super) fn check(redis: &Redis) -> Result<(), ConfigError> {
    let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
    if let Err(error) = redis.url.as_str().into_connection_info() {
        let problem = format!("must be an address like redis://10.0.0.5:6379/1, or unix:///run/redis.sock: {error}");
        return bad("redis.url", &problem);
    }
    if redis.sentinels.iter().any(|url| !url.starts_with("redis://")) {
        return bad("redis.sentinels", "must be addresses like redis://10.0.0.1:26379");
    }
    if !redis.sentinels.is_empty() && redis.master.is_empty() {
        return bad(
            "redis.master",
            "must be what `sentinel monitor` of the Sentinels' configuration calls the primary",
        );
    }
    Ok(())
}
