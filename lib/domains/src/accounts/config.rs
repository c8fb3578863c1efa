//! What this domain reads of the configuration.

use nepto_kit::config::{Declared, Section};
use serde::Deserialize;

pub const SECTIONS: &[Declared] = &[Declared::of::<Limits>()];

/// Rate limits of people and their names.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// New people that an account writes to or decides about; who wrote to it first is nobody new.
    pub new_contacts_per_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { new_contacts_per_day: 200 }
    }
}

impl Section for Limits {
    const NAME: &'static str = "limits";
}
