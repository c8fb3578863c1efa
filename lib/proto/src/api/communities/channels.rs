//! Channels of a community, their order, and what overrides say in them.

use serde::{Deserialize, Serialize};

use crate::kinds::kinds;
use crate::permissions::Permissions;
use crate::{AccountId, ChannelId, CommunityId, RoleId};

kinds! {
    /// What a channel is for.
    ChannelKind {
        /// Everybody writes who may.
        Text = "text",
        /// Those who manage messages write, and everybody reads.
        Announcement = "announcement",
        /// Holds other channels, and no messages.
        Category = "category",
    }

    /// Whom an override is about.
    OverrideKind {
        /// Who has a role; the role `everyone` has the id of the community.
        Role = "role",
        /// One member.
        Member = "member",
    }
}

/// A channel, as a member sees it who may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channel {
    /// Its id, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub channel: ChannelId,
    /// The community that it belongs to.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub community: CommunityId,
    /// What it is for.
    pub kind: ChannelKind,
    /// One line.
    #[cfg_attr(feature = "openapi", schema(example = "tomatoes"))]
    pub name: String,
    /// What is talked about in it; may have several lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// The category that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub category: Option<ChannelId>,
    /// Channels are shown by ascending positions, and by their ids where these are the same.
    pub position: u32,
    /// Who lacks `bypass_slow_mode` posts once in so many seconds; 0: as often as the limits of accounts allow.
    pub slow_mode_s: u32,
    /// Whether `everyone` is kept from seeing it.
    pub private: bool,
    /// What is different here from what roles say everywhere; empty unless one manages roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<ChannelOverride>,
    /// What the asker may do in it.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["view_channel"])))]
    pub permissions: Permissions,
}

/// What a role or a member may do in a channel, other than everywhere. What neither names stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChannelOverride {
    /// Whom it is about.
    pub kind: OverrideKind,
    /// The id of the role or of the account, a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: uuid::Uuid,
    /// What is allowed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!([])))]
    pub allow: Permissions,
    /// What is denied.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["send_messages"])))]
    pub deny: Permissions,
}

impl ChannelOverride {
    /// Of who has a role.
    pub fn of_role(role: RoleId, allow: Permissions, deny: Permissions) -> Self {
        Self { kind: OverrideKind::Role, id: role.uuid(), allow, deny }
    }

    /// Of one member.
    pub fn of_member(account: AccountId, allow: Permissions, deny: Permissions) -> Self {
        Self { kind: OverrideKind::Member, id: account.uuid(), allow, deny }
    }
}

/// All channels that the asker may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channels {
    /// By position.
    pub channels: Vec<Channel>,
}

/// Makes a channel, behind the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// What it is for.
    pub kind: ChannelKind,
    /// One line, up to 64 characters, all of which show.
    #[cfg_attr(feature = "openapi", schema(example = "tomatoes"))]
    pub name: String,
    /// What is talked about in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// The category that it is to stand in, whose overrides it gets as they are now, unless it names its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub category: Option<ChannelId>,
    /// Who lacks `bypass_slow_mode` posts once in so many seconds.
    #[serde(default)]
    pub slow_mode_s: u32,
    /// Keeps `everyone` from seeing it; who makes it sees it all the same. This needs `manage_roles`.
    #[serde(default)]
    pub private: bool,
    /// What is to be different in it from what roles say everywhere. This needs `manage_roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Vec<ChannelOverride>>,
}

/// Changes a channel. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditChannel {
    /// `text` or `announcement`; a category stays one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ChannelKind>,
    /// One line, up to 64 characters, all of which show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is talked about in it; an empty text removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Who lacks `bypass_slow_mode` posts once in so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_mode_s: Option<u32>,
}

/// Puts channels elsewhere, all at once or none. Those that are not named stay where they are; overrides stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MoveChannels {
    /// Each channel once.
    pub channels: Vec<ChannelPlace>,
}

/// Where a channel is to stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChannelPlace {
    /// Which one.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub channel: ChannelId,
    /// Channels are shown by ascending positions.
    pub position: u32,
    /// The category that it is to stand in; none if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub category: Option<ChannelId>,
}

/// What an override allows and denies. Without either it is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetOverride {
    /// What is allowed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!([])))]
    pub allow: Permissions,
    /// What is denied.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["send_messages"])))]
    pub deny: Permissions,
}
