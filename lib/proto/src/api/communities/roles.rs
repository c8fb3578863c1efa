//! Roles of a community, in their order of rank.

use serde::{Deserialize, Serialize};

use crate::RoleId;
use crate::permissions::Permissions;

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Role {
    /// Its id, a UUID; that of `everyone` is the community's.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub role: RoleId,
    /// One line.
    #[cfg_attr(feature = "openapi", schema(example = "moderators"))]
    pub name: String,
    /// Red, green and blue, a byte each; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = 3_066_993))]
    pub color: Option<u32>,
    /// Greater is higher; no two have the same one, and `everyone` has 0.
    pub rank: u32,
    /// What it allows everywhere where no override says otherwise.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["view_channel"])))]
    pub permissions: Permissions,
    /// Whether members with this role are shown together in lists.
    pub hoisted: bool,
    /// Whether everybody may mention it.
    pub mentionable: bool,
}

/// All roles of a community.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Roles {
    /// The lowest first, which is `everyone`.
    pub roles: Vec<Role>,
}

/// Makes a role, the lowest but for `everyone`. It may allow what its maker may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// One line, up to 64 characters, all of which show.
    #[cfg_attr(feature = "openapi", schema(example = "moderators"))]
    pub name: String,
    /// Red, green and blue, a byte each; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<u32>,
    /// What it allows.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["manage_messages"])))]
    pub permissions: Permissions,
    /// Whether members with this role are shown together in lists.
    #[serde(default)]
    pub hoisted: bool,
    /// Whether everybody may mention it.
    #[serde(default)]
    pub mentionable: bool,
}

/// Changes a role. What is absent stays. Of `everyone` only the permissions change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditRole {
    /// One line, up to 64 characters, all of which show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Red, green and blue, a byte each; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<u32>,
    /// What it allows. What is added must be something that the asker may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub permissions: Option<Permissions>,
    /// Whether members with this role are shown together in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hoisted: Option<bool>,
    /// Whether everybody may mention it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentionable: Option<bool>,
}

/// Sorts all roles at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SortRoles {
    /// Every role but `everyone`, the lowest first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub roles: Vec<RoleId>,
}
