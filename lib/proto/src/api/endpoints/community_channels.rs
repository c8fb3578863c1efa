//! Channels of a community and their overrides. A channel that the asker may not see and one that never was look the same.

use crate::api::communities::channels::{Channel, Channels, EditChannel, MoveChannels, NewChannel, SetOverride};
use crate::api::endpoint::path_parameters;
use crate::api::endpoints::communities::CommunityPath;
use crate::{AccountId, ChannelId, CommunityId, RoleId};

path_parameters! {
    /// A channel of a community.
    ChannelPath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The channel.
        channel: ChannelId as ChannelId,
    }

    /// What a role may do in a channel.
    RoleOverridePath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The channel.
        channel: ChannelId as ChannelId,
        /// The role; that of everybody has the id of the community.
        role: RoleId as RoleId,
    }

    /// What a member may do in a channel.
    MemberOverridePath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The channel.
        channel: ChannelId as ChannelId,
        /// The member.
        account: AccountId as AccountId,
    }
}

crate::endpoints! {
    "communities"

    /// Lists the channels that the asker may see, by position.
    Get "/v1/communities/{community}/channels" => ListChannels {
        path: CommunityPath,
        reply: Channels,
        codes: [NotFound, MembersOnly],
    }

    /// Makes a channel. Needs `manage_channels`, and with overrides what setting each of them needs.
    Post "/v1/communities/{community}/channels" => CreateChannel {
        path: CommunityPath,
        body: NewChannel,
        reply: Channel,
        codes: [
            NotFound, MembersOnly, PermissionNeeded, RankTooLow, NameInvalid, ChannelLimit, OverrideLimit, MemberUnknown,
        ],
    }

    /// Puts channels elsewhere, all of those that are named or none. Needs `manage_channels`.
    Put "/v1/communities/{community}/channels/order" => PlaceChannels {
        path: CommunityPath,
        body: MoveChannels,
        reply: Channels,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Shows a channel.
    Get "/v1/communities/{community}/channels/{channel}" => GetChannel {
        path: ChannelPath,
        reply: Channel,
        codes: [NotFound, MembersOnly],
    }

    /// Changes the name, the topic, the kind or the slow mode of a channel. Needs `manage_channels`.
    Patch "/v1/communities/{community}/channels/{channel}" => UpdateChannel {
        path: ChannelPath,
        body: EditChannel,
        reply: Channel,
        codes: [NotFound, MembersOnly, PermissionNeeded, NameInvalid],
    }

    /// Deletes a channel with everything in it. Needs `manage_channels`. Channels of a category stay, without one.
    Delete "/v1/communities/{community}/channels/{channel}" => DeleteChannel {
        path: ChannelPath,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Says what a role may do in a channel, other than everywhere.
    ///
    /// Needs `manage_roles`, a higher rank than the role's, and every permission that is set differently afterwards, in this
    /// channel. An override that neither allows nor denies anything is removed.
    Put "/v1/communities/{community}/channels/{channel}/overrides/roles/{role}" => SetRoleOverride {
        path: RoleOverridePath,
        body: SetOverride,
        reply: Channel,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OverrideLimit],
    }

    /// Says what a member may do in a channel, other than everywhere; needs what an override of a role does.
    Put "/v1/communities/{community}/channels/{channel}/overrides/members/{account}" => SetMemberOverride {
        path: MemberOverridePath,
        body: SetOverride,
        reply: Channel,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OverrideLimit, MemberUnknown],
    }
}
