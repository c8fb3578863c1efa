//! What this domain reads of the configuration.

use nepto_kit::config::{Declared, Section};
use serde::Deserialize;

pub const SECTIONS: &[Declared] = &[Declared::of::<Limits>(), Declared::of::<Mailbox>()];

/// Rate limits of prekeys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Prekey bundles of one account for one other.
    pub bundles_per_pair_per_10_minutes: u32,
    /// One-time prekeys of a device for somebody whom its owner has not accepted; past it bundles come without. An honest
    /// stranger needs one for each of their own devices.
    pub one_time_prekeys_per_stranger_per_day: u32,
    /// The same for somebody who was accepted, and for own devices.
    pub one_time_prekeys_per_contact_per_day: u32,
    /// One-time prekeys of a device for all strangers together.
    pub one_time_prekeys_to_strangers_per_10_minutes: u32,
    /// Uploads of keys of one device, taken in or not.
    pub key_uploads_per_device_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bundles_per_pair_per_10_minutes: 20,
            one_time_prekeys_per_stranger_per_day: 3,
            one_time_prekeys_per_contact_per_day: 20,
            one_time_prekeys_to_strangers_per_10_minutes: 50,
            key_uploads_per_device_per_minute: 12,
        }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}

/// Of the mailboxes, which are messaging's: how long a message for a device may be on its way. The sample of the
/// configuration holds both readers to one default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailbox {
    /// A message that nobody fetched expires after this.
    pub expire_after_s: u64,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { expire_after_s: 90 * 86_400 }
    }
}

impl Section for Mailbox {
    const NAME: &'static str = "mailbox";
}
