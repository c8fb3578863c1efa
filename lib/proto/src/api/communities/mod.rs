//! Communities: what they are, who finds them, and invite links. Channels, roles and members are beside this file.

pub mod channels;
pub mod members;
pub mod roles;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::kinds::kinds;
use crate::permissions::Permissions;
use crate::{AccountId, CommunityId, RoleId};

kinds! {
    /// Who finds a community, and who may join it.
    Visibility {
        /// Everybody finds it and may join.
        Public = "public",
        /// Whoever knows its id may join; it stands in no list.
        Unlisted = "unlisted",
        /// Only who has an invite may join; for everybody else it does not exist.
        Private = "private",
    }
}

/// A community, as its members see it, and as everybody sees it who may join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Community {
    /// Its id, a UUID. The role that every member has, `everyone`, has the same one.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub community: CommunityId,
    /// One line.
    #[cfg_attr(feature = "openapi", schema(example = "Gardeners"))]
    pub name: String,
    /// What it is about; may have several lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who finds it and may join.
    pub visibility: Visibility,
    /// Who owns it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub owner: AccountId,
    /// How many members it has.
    pub members: u64,
    /// When it was made (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Its owner deleted it, and may restore it until then; nobody else sees it any more.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub restorable_until: Option<OffsetDateTime>,
    /// What the asker is in it; absent for who is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnMembership>,
}

/// What the asker is in a community.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnMembership {
    /// Since when (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub joined_at: OffsetDateTime,
    /// The roles that were granted, without `everyone`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub roles: Vec<RoleId>,
    /// What all of them allow together, before the overrides of channels.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["view_channel"])))]
    pub permissions: Permissions,
    /// Until then only reading is allowed.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub timed_out_until: Option<OffsetDateTime>,
}

/// Makes a community, with one channel for a start. Who makes it owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCommunity {
    /// One line, up to 64 characters, all of which show.
    #[cfg_attr(feature = "openapi", schema(example = "Gardeners"))]
    pub name: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who finds it and may join.
    pub visibility: Visibility,
}

/// Changes a community. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditCommunity {
    /// One line, up to 64 characters, all of which show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about; an empty text removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who finds it and may join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
}

/// A page of communities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Communities {
    /// One's own in the order of their ids, which is that in which they were made; others by name.
    pub communities: Vec<Community>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Gives a community to one of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TransferTo {
    /// The member who owns it afterwards. The owner of before stays a member.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub account: AccountId,
}

/// Makes an invite link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// So many may join with it, no matter how many try at once; without it any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// It works for so many seconds; a week without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_s: Option<u64>,
    /// A role that who joins with it gets, if who made it may grant it, then and when somebody joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub role: Option<RoleId>,
}

/// An invite link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invite {
    /// What stands in the link. Whoever knows it may join.
    #[cfg_attr(feature = "openapi", schema(example = "abcdefghjkmnpqrs"))]
    pub code: String,
    /// Where it leads to.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub community: CommunityId,
    /// Who made it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub by: AccountId,
    /// So many may still join with it; absent if any number may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// So many have joined with it.
    pub used: u32,
    /// What who joins with it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub role: Option<RoleId>,
    /// When it was made (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when it works (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A page of invite links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invites {
    /// By their codes.
    pub invites: Vec<Invite>,
    /// Pass it as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an invite link leads to, for who has not joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvitePreview {
    /// The community.
    pub community: Community,
    /// Who made the invite.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub by: AccountId,
    /// The name of the role that who joins with it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Until when it works (RFC 3339, UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}
