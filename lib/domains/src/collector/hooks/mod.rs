//! Webhooks of providers: fast hints that something happened. What a hint says is noted and compared, never believed: it
//! only makes the watcher look at once.
//!
//! A provider loses hints, doubles, reorders and delays them, and whoever has its key can invent them. So a hint changes no
//! update and no holding; it is one row with what the watcher saw of the same log, which shows who was first, and by how much.

mod alchemy;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use aws_lc_rs::hmac;
use nepto_kit::Failure;
use nepto_proto::{ErrorCode, subject};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::ops::Collector;
use crate::chains::{Chains, HookProvider};

pub use routes::routes;

/// A delivery that was taken is remembered for so long: providers retry for an hour at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Hints of one delivery that are noted; a block does not hold more logs of watched contracts as a rule.
const HINTS_MAX: usize = 2_000;

/// Deliveries that are being noted at once.
const NOTES_MAX: usize = 64;

/// The webhooks of the configuration, by their ids.
pub struct Hooks {
    by_id: HashMap<String, Hook>,
    notes: Arc<Semaphore>,
}

struct Hook {
    chain: u64,
    provider: HookProvider,
    key: hmac::Key,
}

/// A log that a provider told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    pub block: u64,
    pub hash: B256,
    pub log: u32,
    pub contract: Address,
    /// The provider says that its block was orphaned.
    pub is_removed: bool,
}

impl Hooks {
    /// Reads the signing keys of all webhooks. Fails if a file can't be read, or is empty.
    pub fn load(chains: &Chains) -> anyhow::Result<Self> {
        let mut hooks = HashMap::new();
        for chain in chains.iter() {
            for hook in &chain.hooks {
                let file = &hook.signing_key_file;
                let key = std::fs::read_to_string(file)
                    .map_err(|error| anyhow::anyhow!("signing_key_file {}: {error}", file.display()))?;
                anyhow::ensure!(!key.trim().is_empty(), "signing_key_file {} is empty", file.display());
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.trim().as_bytes());
                hooks.insert(hook.id.clone(), Hook { chain: chain.id, provider: hook.provider, key });
            }
        }
        Ok(Self { by_id: hooks, notes: Arc::new(Semaphore::new(NOTES_MAX)) })
    }

    fn find(&self, id: &str) -> Result<&Hook, Failure> {
        self.by_id.get(id).ok_or_else(|| Failure::new(ErrorCode::NotFound, "there is no such webhook here"))
    }
}

impl Hook {
    /// Checks the signature of a body: hexadecimal HMAC-SHA256, compared in constant time.
    fn check(&self, body: &[u8], signature: &str) -> Result<(), Failure> {
        let refused = || Failure::new(ErrorCode::HookSignature, "the body is not signed with this webhook's key");
        let bytes = alloy_primitives::hex::decode(signature.trim()).map_err(|_| refused())?;
        hmac::verify(&self.key, body, &bytes).map_err(|_| refused())
    }

    fn read(&self, body: &[u8]) -> Result<Vec<Hint>, Failure> {
        let hints = match self.provider {
            HookProvider::Alchemy => alchemy::read(body),
        };
        let mut hints = hints.map_err(|error| Failure::new(ErrorCode::Malformed, error))?;
        if hints.len() > HINTS_MAX {
            tracing::warn!(chain = self.chain, hints = hints.len(), "more hints than are noted; the watcher finds all");
            hints.truncate(HINTS_MAX);
        }
        Ok(hints)
    }
}

impl Collector {
    /// Takes a delivery: checks, wakes the watcher, and notes the hints behind the answer, because a provider that waits pauses
    /// its webhook. How many hints are noted; a delivery that was taken before counts nothing.
    pub async fn hinted(&self, hooks: &Hooks, id: &str, signature: &str, body: &[u8]) -> Result<usize, Failure> {
        let hook = hooks.find(id)?;
        hook.check(body, signature)?;
        let hints = hook.read(body)?;
        if !self.is_new(id, body).await {
            metrics::counter!("nepto_hook_deliveries_total", "outcome" => "repeated").increment(1);
            return Ok(0);
        }
        if let Err(error) = self.ctx.nats.publish(subject::chain_hint(hook.chain), bytes::Bytes::new()).await {
            tracing::warn!(%error, "the watcher was not woken; it looks by itself");
        }
        let Ok(turn) = hooks.notes.clone().try_acquire_owned() else {
            metrics::counter!("nepto_hook_deliveries_total", "outcome" => "dropped").increment(1);
            tracing::warn!(chain = hook.chain, "too many deliveries are being noted; this one is not");
            return Ok(0);
        };
        metrics::counter!("nepto_hook_deliveries_total", "outcome" => "taken").increment(1);
        let (count, store, chain, now_ms) = (hints.len(), self.store.clone(), hook.chain, self.ctx.clock.now_ms());
        tokio::spawn(async move {
            if let Err(error) = store.note_hints(chain, &hints, now_ms).await {
                tracing::warn!(chain, %error, "hints were not noted; the watcher finds all without them");
            }
            drop(turn);
        });
        Ok(count)
    }

    /// Remembers a delivery; whether it is a new one. While Redis is away every one is: hints may come twice.
    async fn is_new(&self, id: &str, body: &[u8]) -> bool {
        let taken: redis::RedisResult<Option<String>> = redis::cmd("SET")
            .arg(key(id, body))
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(REMEMBERED_FOR.as_secs())
            .query_async(&mut self.ctx.redis.clone())
            .await;
        !matches!(taken, Ok(None))
    }
}

fn key(id: &str, body: &[u8]) -> String {
    format!("hook:{id}:{}", alloy_primitives::hex::encode(Sha256::digest(body)))
}
