//! Direct-message mailboxes: how long and how much they hold, and what anybody may take of them.

use nepto_kit::config::{Config, ConfigError, Section};
use nepto_proto::limits::FRAME_BYTES_MAX;
use serde::Deserialize;

/// Acknowledgements are noted once a second: the router must not ask before.
const GRACE_MS_MIN: u64 = 1_500;

/// The mailboxes of devices: what they hold, for how long, and how they are looked after.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailbox {
    /// A message that nobody fetched expires after this.
    pub expire_after_s: u64,
    /// Messages that wait for one device at most.
    pub messages_max: i64,
    /// Bytes of one shard's stream at most; -1 for no bound but the disk.
    pub shard_bytes_max: i64,
    /// A retry within this time stores nothing twice. So long acknowledged messages stay, too.
    pub duplicate_window_s: u64,
    /// How long acknowledged messages of a device are collected for one purge.
    pub purge_every_ms: u64,
    /// How long a delivered message may stay unacknowledged before the router looks after it.
    pub grace_ms: u64,
    /// Of `messages_max`: a mailbox that holds more takes no requests, so strangers never have more than this. Those with new
    /// accounts have half of it.
    pub requests_percent: u8,
    /// Bytes of one device's ciphertext in a request.
    pub request_bytes_max: u32,
    /// Bytes that all strangers together send to one account; those with new accounts at most half of it.
    pub request_bytes_per_recipient_per_day: u32,
    /// Bytes that one account sends, its own devices included. A message counts for at least 4 KiB, here and below. Receipts have
    /// half as much for themselves.
    pub bytes_per_account_per_day: u32,
    /// The same, while the account is new.
    pub bytes_per_new_account_per_day: u32,
    /// How long an account is new.
    pub new_account_for_s: u64,
    /// Bytes of one account for one other.
    pub bytes_per_pair_per_day: u32,
    /// Bytes for one account, of everybody it has accepted.
    pub bytes_per_recipient_per_day: u32,
    /// What all streams may take: `max_file_store` of NATS.
    pub store_bytes_max: u64,
    /// From here on new accounts and requests wait.
    pub crowded_percent: u8,
    /// From here on `/readyz` is red.
    pub full_percent: u8,
}

impl Default for Mailbox {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            expire_after_s: 90 * 86_400,
            messages_max: 10_000,
            shard_bytes_max: -1,
            duplicate_window_s: 120,
            purge_every_ms: 60_000,
            grace_ms: 5_000,
            requests_percent: 20,
            request_bytes_max: 8 * 1024,
            request_bytes_per_recipient_per_day: 4 * MIB,
            bytes_per_account_per_day: 100 * MIB,
            bytes_per_new_account_per_day: 8 * MIB,
            new_account_for_s: 86_400,
            bytes_per_pair_per_day: 16 * MIB,
            bytes_per_recipient_per_day: 256 * MIB,
            store_bytes_max: 64 * 1024 * u64::from(MIB),
            crowded_percent: 70,
            full_percent: 85,
        }
    }
}

impl Mailbox {
    /// A mailbox with so many messages takes no more requests. An empty one takes one, however small the share.
    pub fn requests_below(&self) -> u64 {
        let messages_max = self.messages_max.unsigned_abs();
        messages_max.saturating_mul(self.requests_percent.into()).div_ceil(100)
    }
}

impl Section for Mailbox {
    const NAME: &'static str = "mailbox";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if self.messages_max < 1 {
            return bad("mailbox.messages_max", "must be at least 1");
        }
        if self.expire_after_s < self.duplicate_window_s {
            return bad("mailbox.duplicate_window_s", "must not exceed mailbox.expire_after_s");
        }
        if self.purge_every_ms == 0 {
            return bad("mailbox.purge_every_ms", "must be at least 1");
        }
        if self.grace_ms < GRACE_MS_MIN {
            return bad("mailbox.grace_ms", "must be at least 1500");
        }
        if !(1..=100).contains(&self.requests_percent) {
            return bad("mailbox.requests_percent", "must be 1 to 100");
        }
        let smallest = FRAME_BYTES_MAX as u32;
        for (field, bytes) in [
            ("mailbox.request_bytes_per_recipient_per_day", self.request_bytes_per_recipient_per_day),
            ("mailbox.bytes_per_account_per_day", self.bytes_per_account_per_day),
            ("mailbox.bytes_per_new_account_per_day", self.bytes_per_new_account_per_day),
            ("mailbox.bytes_per_pair_per_day", self.bytes_per_pair_per_day),
            ("mailbox.bytes_per_recipient_per_day", self.bytes_per_recipient_per_day),
        ] {
            if bytes < smallest {
                return bad(field, "must be at least 262144, or the largest message could never be sent");
            }
        }
        if self.store_bytes_max == 0 {
            return bad("mailbox.store_bytes_max", "must be what max_file_store of NATS is");
        }
        if self.crowded_percent >= self.full_percent || self.full_percent > 100 {
            return bad("mailbox.crowded_percent", "must be below full_percent, and that at most 100");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_strangers_is_a_part_of_the_mailbox_and_never_nothing() {
        let of = |messages_max, requests_percent| Mailbox { messages_max, requests_percent, ..Mailbox::default() };
        assert_eq!(Mailbox::default().requests_below(), 2_000);
        assert_eq!(of(4, 20).requests_below(), 1);
        assert_eq!(of(i64::MAX, 100).requests_below(), u64::MAX.div_ceil(100));
    }

    #[test]
    fn the_store_is_as_large_as_the_shipped_configuration_of_nats_says() {
        let nats = include_str!("../../../../../nats/server.conf");
        let line = nats.lines().find_map(|line| line.trim().strip_prefix("max_file_store: ")).unwrap();
        let gib: u64 = line.strip_suffix("GB").unwrap().parse().unwrap();
        assert_eq!(Mailbox::default().store_bytes_max, gib << 30);
    }
}
