//! What this domain reads of the configuration.

use nepto_kit::config::{Config, ConfigError, Section};
use serde::Deserialize;

/// The bounds of communities.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Communities that an account owns.
    pub owned_per_account_max: u32,
    /// Communities that an account belongs to.
    pub joined_per_account_max: u32,
    /// Communities that an account makes in a day.
    pub made_per_account_per_day: u32,
    /// Communities that an account joins in an hour, and looks at by an invite.
    pub joins_per_account_per_hour: u32,
    /// Invites that an account makes in an hour.
    pub invites_per_account_per_hour: u32,
    /// Other changes that an account makes in a minute.
    pub changes_per_account_per_minute: u32,
    /// Members of a community.
    pub members_max: u64,
    /// Channels of a community, categories included.
    pub channels_max: usize,
    /// Roles of a community.
    pub roles_max: usize,
    /// Roles of a member.
    pub roles_per_member_max: usize,
    /// Overrides of a channel.
    pub overrides_per_channel_max: usize,
    /// Invites of a community.
    pub invites_max: u32,
    /// How long an invite works at most.
    pub invite_expires_after_s_max: u64,
    /// Accounts that a community bans.
    pub bans_max: u32,
    /// Characters of what a community says of itself.
    pub description_chars_max: usize,
    /// Characters of what a channel says of itself.
    pub topic_chars_max: usize,
    /// The slowest slow mode.
    pub slow_mode_s_max: u32,
    /// The owner can restore a deleted community for so long.
    pub restorable_for_s: u64,
    /// How long the audit log is kept.
    pub audit_kept_s: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            owned_per_account_max: 10,
            joined_per_account_max: 200,
            made_per_account_per_day: 5,
            joins_per_account_per_hour: 30,
            invites_per_account_per_hour: 30,
            changes_per_account_per_minute: 60,
            members_max: 100_000,
            channels_max: 200,
            roles_max: 100,
            roles_per_member_max: 50,
            overrides_per_channel_max: 100,
            invites_max: 500,
            invite_expires_after_s_max: 365 * 86_400,
            bans_max: 10_000,
            description_chars_max: 1_000,
            topic_chars_max: 1_000,
            slow_mode_s_max: 21_600,
            restorable_for_s: 7 * 86_400,
            audit_kept_s: 365 * 86_400,
        }
    }
}

/// What is read with every decision: it must stay little.
const CHANNELS_MOST: usize = 1_000;
const ROLES_MOST: usize = 500;

impl Section for Bounds {
    const NAME: &'static str = "communities";

    fn check(&self, _: &Config) -> Result<(), ConfigError> {
        let refuse = |field: &'static str, why: &'static str| Err(ConfigError::value(field, why));
        match self {
            Self { channels_max, .. } if !(1..=CHANNELS_MOST).contains(channels_max) => {
                refuse("communities.channels_max", "must be 1 to 1000")
            }
            Self { roles_max, .. } if !(1..=ROLES_MOST).contains(roles_max) => {
                refuse("communities.roles_max", "must be 1 to 500")
            }
            Self { overrides_per_channel_max, .. } if !(1..=500).contains(overrides_per_channel_max) => {
                refuse("communities.overrides_per_channel_max", "must be 1 to 500")
            }
            Self { members_max: 0, .. } => refuse("communities.members_max", "must be at least 1"),
            Self { invite_expires_after_s_max, .. }
                if !(60..=10 * 365 * 86_400).contains(invite_expires_after_s_max) =>
            {
                refuse("communities.invite_expires_after_s_max", "must be 60 to 315360000, which is ten years")
            }
            Self { restorable_for_s, .. } if *restorable_for_s > 365 * 86_400 => {
                refuse("communities.restorable_for_s", "must be at most 31536000, which is a year")
            }
            Self { audit_kept_s, .. } if !(86_400..=10 * 365 * 86_400).contains(audit_kept_s) => {
                refuse("communities.audit_kept_s", "must be 86400 to 315360000: a day to ten years")
            }
            _ => Ok(()),
        }
    }
}
