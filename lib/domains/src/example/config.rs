//! What this domain reads of the configuration.

use nepto_kit::config::{Config, ConfigError, Declared, Section};
use serde::Deserialize;

pub const SECTIONS: &[Declared] = &[Declared::of::<Notes>()];

/// The bounds of notes.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notes {
    /// Characters of one at most.
    pub characters_max: usize,
    /// How long they are kept.
    pub keep_for_s: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self { characters_max: 100, keep_for_s: 3_600 }
    }
}

impl Section for Notes {
    const NAME: &'static str = "example";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        match self.characters_max {
            0 => Err(ConfigError::value("example.characters_max", "must be at least 1")),
            _ => Ok(()),
        }
    }
}
