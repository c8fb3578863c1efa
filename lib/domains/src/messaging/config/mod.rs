//! What this domain reads of the configuration.

mod mailbox;

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use serde::Deserialize;

pub use mailbox::Mailbox;

pub const SECTIONS: &[Declared] = &[Declared::of::<Mailbox>(), Declared::of::<Batches>(), Declared::of::<Limits>()];

/// How a gateway stores messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batches {
    /// Messages of one group commit at most.
    pub batch_max: usize,
}

impl Default for Batches {
    fn default() -> Self {
        Self { batch_max: 500 }
    }
}

impl Section for Batches {
    const NAME: &'static str = "gateway";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        match self.batch_max {
            1..=1_000 => Ok(()),
            _ => Err(ConfigError::value(
                "gateway.batch_max",
                "must be 1 to 1000 (the bound of JetStream's atomic batches)",
            )),
        }
    }
}

/// Rate limits of messages. Each counts within windows of the named length.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Direct messages of one account.
    pub sends_per_account_per_minute: u32,
    /// Direct messages of one account to one other.
    pub sends_per_pair_per_minute: u32,
    /// Messages to somebody who has not accepted the sender yet, in all. A repetition is not another one.
    pub request_messages: u32,
    /// Accounts whose presence one account may ask for.
    pub presence_accounts_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sends_per_account_per_minute: 600,
            sends_per_pair_per_minute: 120,
            request_messages: 5,
            presence_accounts_per_minute: 30_000,
        }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
