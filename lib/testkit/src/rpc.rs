//! Asking a JSON-RPC server over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Some orders to a chain, like mining thousands of blocks, take their time.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A server of this machine. Every request has a connection of its own, so that none outlives a restart.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl Rpc {
    pub fn new(url: String) -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(ANSWER_WITHIN);
        // it speaks no TLS, and the system's certificates take long to load
        let client = client.tls_certs_only([]);
        Ok(Self { http: client.build()?, url })
    }

    /// The result; an error says what the server said.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let mut answer = self.exchange(method, params).await?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => bail!("{method}: {}", answer.get("error").unwrap_or(&answer)),
        }
    }

    /// The whole answer, with its result or error.
    pub async fn exchange(&self, method: &str, params: Value) -> Result<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&self.url).json(&request).send().await;
        answer.with_context(|| format!("{method} has no answer"))?.json().await.context("the answer is not JSON")
    }
}

/// A number as JSON-RPC writes it.
pub(crate) fn quantity(number: u64) -> Value {
    format!("{number:#x}").into()
}

/// The number that JSON-RPC wrote; `None` for anything else.
pub(crate) fn number(quantity: &Value) -> Option<u64> {
    u64::from_str_radix(quantity.as_str()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_they_are_written() {
        for value in [0, 1, 255, u64::MAX] {
            assert_eq!(number(&quantity(value)), Some(value));
        }
        assert_eq!(quantity(255), json!("0xff"));
        for other in [json!("latest"), json!(7), json!("0x"), Value::Null] {
            assert_eq!(number(&other), None, "{other}");
        }
    }
}
