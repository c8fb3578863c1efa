//! What is read of the configuration: the store of channels, and what anybody may do there.

use nepto_kit::config::{Config, ConfigError, Section};
use nepto_proto::limits::FRAME_BYTES_MAX;
use serde::Deserialize;

/// Messages of channels: what they may be, how long the stream has them, and what a connection may follow.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// The stream keeps events for so long; the database has them for good.
    pub stream_age_s: u64,
    /// Bytes of the stream at most; -1 for no bound but the disk. Past it the oldest make room.
    pub stream_bytes_max: i64,
    /// Bytes of a message's text.
    pub text_bytes_max: usize,
    /// Accounts and roles that one message mentions; those behind them are not.
    pub mentions_max: usize,
    /// Kinds of reactions to a message.
    pub reactions_max: usize,
    /// Pinned messages of a channel.
    pub pins_max: usize,
    /// Channels that one connection follows.
    pub followed_max: usize,
    /// Events that are sent again to whoever was away; of more they are told to load the history.
    pub resume_max: usize,
    /// Messages of one account in all channels together.
    pub posts_per_account_per_minute: u32,
    /// Messages of all accounts in one channel.
    pub posts_per_channel_per_minute: u32,
    /// Edits, deletions, reactions, pins and markers of one account.
    pub changes_per_account_per_minute: u32,
    /// Pages of history, and questions about what is unread, of one account.
    pub reads_per_account_per_minute: u32,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            stream_age_s: 7 * 86_400,
            stream_bytes_max: 8 * 1024 * 1024 * 1024,
            text_bytes_max: 8 * 1024,
            mentions_max: 20,
            reactions_max: 20,
            pins_max: 50,
            followed_max: 100,
            resume_max: 500,
            posts_per_account_per_minute: 120,
            posts_per_channel_per_minute: 60_000,
            changes_per_account_per_minute: 240,
            reads_per_account_per_minute: 600,
        }
    }
}

impl Section for Channels {
    const NAME: &'static str = "channels";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let bad = |field, problem: &str| Err(ConfigError::value(field, problem));
        if self.stream_age_s < 3_600 {
            return bad("channels.stream_age_s", "must be at least 3600: the database gets events from the stream");
        }
        if self.stream_bytes_max < 1 && self.stream_bytes_max != -1 {
            return bad("channels.stream_bytes_max", "must be at least 1, or -1");
        }
        if !(1..=FRAME_BYTES_MAX / 8).contains(&self.text_bytes_max) {
            return bad("channels.text_bytes_max", "must be 1 to 32768");
        }
        for (field, number, most) in [
            ("channels.mentions_max", self.mentions_max, 100),
            ("channels.reactions_max", self.reactions_max, 100),
            ("channels.pins_max", self.pins_max, 200),
            ("channels.followed_max", self.followed_max, 100),
            ("channels.resume_max", self.resume_max, 5_000),
        ] {
            if !(1..=most).contains(&number) {
                return bad(field, &format!("must be 1 to {most}"));
            }
        }
        Ok(())
    }
}
