//! What this domain reads of the configuration.

mod gateway;
mod mailbox;

use nepto_kit::config::{Declared, Section};
use serde::Deserialize;

pub use gateway::Gateway;
pub use mailbox::Mailbox;

pub const SECTIONS: &[Declared] = &[Declared::of::<Mailbox>(), Declared::of::<Gateway>(), Declared::of::<Limits>()];

/// Rate limits of messages and sockets. Each counts within windows of the named length.
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
    /// Connections of one device.
    pub hellos_per_device_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sends_per_account_per_minute: 600,
            sends_per_pair_per_minute: 120,
            request_messages: 5,
            presence_accounts_per_minute: 30_000,
            hellos_per_device_per_minute: 300,
        }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
