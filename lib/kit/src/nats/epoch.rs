//! The epoch of a stream's sequences, which a restored stream begins anew.

use async_nats::jetstream::stream::{Config as StreamConfig, Info};

use crate::clock::Clock;
use crate::config::Nats;

/// How often a stream was restored from a backup; part of its epoch.
const RESTORED: &str = "nepto_restored";

/// The epoch of a stream's sequences: another one means that a sequence of before says nothing any more.
pub fn stream_epoch(info: &Info) -> u64 {
    (info.created.unix_timestamp_nanos() / 1_000) as u64 + restorations(&info.config)
}

/// The same in milliseconds, in which each restore counts as one at least: it has 48 bits, for a long time.
pub fn stream_epoch_ms(info: &Info) -> u64 {
    stream_epoch(info) / 1_000
}

/// What a restore adds to an epoch: a millisecond, so that both units show it.
const RESTORED_US: u64 = 1_000;

fn restorations(config: &StreamConfig) -> u64 {
    config.metadata.get(RESTORED).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// How a stream of a backup is configured where it is restored: with as many copies as there are servers for here, and in a new
/// epoch, which it never had before, however often the same backup is restored.
pub fn restored_config(config: &mut serde_json::Value, here: &Nats, clock: &Clock) {
    let now_us = clock.now().unix_timestamp_nanos() / 1_000;
    config["num_replicas"] = here.replicas.into();
    config["metadata"][RESTORED] = now_us.to_string().into();
    if let Some(config) = config.as_object_mut() {
        config.remove("placement");
    }
}

/// A stream that is provisioned again keeps its epoch, unless it was `restored`.
pub(super) fn carry_over(known: Option<&Info>, made: &mut StreamConfig, restored: bool) {
    let before = known.map_or(0, |known| restorations(&known.config));
    made.metadata.insert(RESTORED.to_owned(), (before + u64::from(restored) * RESTORED_US).to_string());
}
