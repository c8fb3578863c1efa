//! Members of a community, who may not be one, and what was changed by whom.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::kinds::kinds;
use crate::{AccountId, RoleId};

/// Somebody who belongs to a community.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// The account's id, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// Since when (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub joined_at: OffsetDateTime,
    /// The roles that were granted, without `everyone`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub roles: Vec<RoleId>,
    /// Until then only reading is allowed.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub timed_out_until: Option<OffsetDateTime>,
}

/// A page of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Members {
    /// By their ids, which is the order in which the accounts were made.
    pub members: Vec<Member>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub next: Option<AccountId>,
}

/// Keeps a member from everything but reading for some time, also if they leave and come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TimeOut {
    /// For so many seconds, at most 28 days.
    pub for_s: u64,
    /// Why, up to 512 characters, for the audit log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Throws an account out of a community, and keeps it out. It need not be a member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// For so many seconds; for good without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Why, up to 512 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Somebody who may not join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ban {
    /// Who.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
    /// Who decided so.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub by: AccountId,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Until when; for good if it is absent.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub until: Option<OffsetDateTime>,
}

/// A page of bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bans {
    /// By account.
    pub bans: Vec<Ban>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub next: Option<AccountId>,
}

kinds! {
    /// What was done.
    AuditAction {
        /// The community was made.
        CommunityCreated = "community_created",
        /// Its name, description or visibility changed.
        CommunityEdited = "community_edited",
        /// It has another owner.
        CommunityTransferred = "community_transferred",
        /// Its owner deleted it.
        CommunityDeleted = "community_deleted",
        /// Its owner restored it.
        CommunityRestored = "community_restored",
        /// A channel was made.
        ChannelCreated = "channel_created",
        /// A channel changed.
        ChannelEdited = "channel_edited",
        /// Channels stand elsewhere.
        ChannelsMoved = "channels_moved",
        /// A channel was deleted.
        ChannelDeleted = "channel_deleted",
        /// An override of a channel was set or removed.
        OverrideSet = "override_set",
        /// A role was made.
        RoleCreated = "role_created",
        /// A role changed.
        RoleEdited = "role_edited",
        /// Roles have another order.
        RolesSorted = "roles_sorted",
        /// A role was deleted.
        RoleDeleted = "role_deleted",
        /// A member got a role.
        RoleGranted = "role_granted",
        /// A member lost a role.
        RoleTaken = "role_taken",
        /// An invite was made.
        InviteCreated = "invite_created",
        /// An invite was revoked.
        InviteRevoked = "invite_revoked",
        /// A member was thrown out.
        MemberKicked = "member_kicked",
        /// Somebody was banned.
        MemberBanned = "member_banned",
        /// A ban was lifted.
        MemberUnbanned = "member_unbanned",
        /// A member may only read for some time.
        MemberTimedOut = "member_timed_out",
        /// A time-out was lifted.
        TimeOutLifted = "time_out_lifted",
    }
}

/// What somebody changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its id, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub entry: uuid::Uuid,
    /// When (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub by: AccountId,
    /// What.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "role_edited"))]
    pub action: AuditAction,
    /// The id of the channel, role or account that it was done to, or the code of the invite; absent if it is the community.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What was there before, as this API writes it; absent if there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// What was there afterwards; absent if there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLog {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub next: Option<uuid::Uuid>,
}
