//! How full the store of all messages is, for all connections of a process: a question to JetStream every few seconds.
//!
//! What must hold: long before the store is full, those wait who have the least claim to it, new accounts and requests of
//! strangers, and the operator is told. Nobody else is refused for it while the disk takes messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::config::Mailbox;
use nepto_kit::Ctx;

/// How often it is looked. What everybody may send in that time is little of a store (docs/OPERATIONS.md).
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How full the mailboxes were when they were looked at last.
#[derive(Debug, Default)]
pub struct Fullness {
    used_bytes: AtomicU64,
    /// Of what the stream that is nearest to its own bound may take, if streams have one.
    stream_percent: AtomicU64,
}

impl Fullness {
    /// How full the fullest part is.
    fn percent(&self, config: &Mailbox) -> u64 {
        let used = self.used_bytes.load(Ordering::Relaxed);
        percent_of(used, config.store_bytes_max).max(self.stream_percent.load(Ordering::Relaxed))
    }

    /// Whether new accounts and requests wait.
    pub fn is_crowded(&self, config: &Mailbox) -> bool {
        self.percent(config) >= config.crowded_percent.into()
    }

    /// What `/readyz` says.
    pub fn check(&self, config: &Mailbox) -> Result<(), String> {
        let percent = self.percent(config);
        if percent < config.full_percent.into() {
            return Ok(());
        }
        Err(format!(
            "{percent} % full; make room, or raise max_file_store of NATS and mailbox.store_bytes_max (mailbox.shard_bytes_max)"
        ))
    }

    /// Notes how much a stream holds of what it may.
    pub fn note_streams(&self, config: &Mailbox, bytes: impl Iterator<Item = u64>) {
        let bound = u64::try_from(config.shard_bytes_max).unwrap_or(0);
        let fullest = if bound == 0 { 0 } else { percent_of(bytes.max().unwrap_or(0), bound) };
        self.stream_percent.store(fullest, Ordering::Relaxed);
    }

    fn note_store(&self, config: &Mailbox, bytes: u64) {
        self.used_bytes.store(bytes, Ordering::Relaxed);
        metrics::gauge!("nepto_store_used_ratio").set(self.percent(config) as f64 / 100.0);
    }

    /// Looks until the process stops. A look that fails leaves what was seen before.
    pub async fn watch(&self, ctx: &Ctx) {
        let mut due = tokio::time::interval(LOOK_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ctx.stop.cancelled() => return,
                _ = due.tick() => {}
            }
            match ctx.jetstream.query_account().await {
                Ok(account) => self.note_store(&ctx.config.section::<Mailbox>(), account.storage),
                Err(error) => tracing::warn!(%error, "how full the store is was not found out"),
            }
        }
    }
}

fn percent_of(used: u64, bound: u64) -> u64 {
    used.saturating_mul(100) / bound.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_wait_long_before_the_operator_is_told_that_it_is_full() {
        let (fullness, config) = (Fullness::default(), Mailbox { store_bytes_max: 1_000, ..Mailbox::default() });
        for (used, crowded, red) in [(699, false, false), (700, true, false), (849, true, false), (850, true, true)] {
            fullness.note_store(&config, used);
            assert_eq!((fullness.is_crowded(&config), fullness.check(&config).is_err()), (crowded, red), "{used}");
        }
    }

    #[test]
    fn one_stream_at_its_own_bound_counts_as_much_as_the_store() {
        let config = Mailbox { shard_bytes_max: 100, ..Mailbox::default() };
        let fullness = Fullness::default();
        fullness.note_streams(&config, [3, 86, 9].into_iter());
        assert!(fullness.check(&config).unwrap_err().contains("86 %"));
        fullness.note_streams(&Mailbox::default(), [3, 86, 9].into_iter());
        assert_eq!(fullness.check(&config), Ok(()), "streams without a bound of their own");
    }
}
