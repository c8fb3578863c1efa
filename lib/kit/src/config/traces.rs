//! Where traces go, and of how many requests there is one.

use serde::Deserialize;

use super::ConfigError;

/// Traces, over OTLP (gRPC).
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// `http://` or `https://` address of a collector. Empty: there are no traces.
    pub endpoint: String,
    /// Of so many HTTP requests there is a trace, 0 to 1. Nothing else begins one.
    pub sampled_ratio: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: String::new(), sampled_ratio: 0.01 }
    }
}

impl Traces {
    /// Whether there are any.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }
}

pub(super) fn check(traces: &Traces) -> Result<(), ConfigError> {
    let is_address = traces.endpoint.starts_with("http://") || traces.endpoint.starts_with("https://");
    if traces.is_on() && !is_address {
        return Err(ConfigError::value("traces.endpoint", "must be an address like http://127.0.0.1:4317, or empty"));
    }
    if !(0.0..=1.0).contains(&traces.sampled_ratio) {
        return Err(ConfigError::value("traces.sampled_ratio", "must be 0 to 1"));
    }
    Ok(())
}
