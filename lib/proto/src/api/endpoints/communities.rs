//! Communities themselves, joining and leaving them, and invite links.

use crate::CommunityId;
use crate::api::communities::members::AuditLog;
use crate::api::communities::{
    Communities, Community, EditCommunity, Invite, InvitePreview, Invites, NewCommunity, NewInvite, OwnMembership,
    TransferTo,
};
use crate::api::endpoint::{path_parameters, query_parameters};

path_parameters! {
    /// A community.
    CommunityPath {
        /// Its id.
        community: CommunityId as CommunityId,
    }

    /// An invite link, by its code.
    InviteCodePath {
        /// What stands in the link.
        code: String as InviteCode,
    }

    /// An invite link of a community.
    InvitePath {
        /// The community.
        community: CommunityId as CommunityId,
        /// What stands in the link.
        code: String as InviteCode,
    }
}

query_parameters! {
    /// A page of one's own communities.
    CommunitiesPage {
        /// The `next` of the page before.
        after: CommunityId as CommunityId,
        /// Communities of the page, 50 without it.
        limit: usize as Limit,
    }

    /// A page of what everybody finds.
    DiscoverPage {
        /// What the name begins with, in any capitals.
        prefix: String as NamePrefix,
        /// The `next` of the page before.
        after: String as DiscoverMark,
        /// Communities of the page, 50 without it.
        limit: usize as Limit,
    }

    /// A page of invite links.
    InvitesPage {
        /// The `next` of the page before.
        after: String as InviteCode,
        /// Invites of the page, 50 without it.
        limit: usize as Limit,
    }

    /// A page of the audit log.
    AuditPage {
        /// The `next` of the page before.
        after: uuid::Uuid as AuditMark,
        /// Entries of the page, 50 without it.
        limit: usize as Limit,
    }
}

crate::endpoints! {
    "communities"

    /// Makes a community.
    ///
    /// Who makes it owns it, is its first member, and finds one channel in it. An account owns so many communities at most, those
    /// that it deleted and may still restore included.
    Post "/v1/communities" => CreateCommunity {
        body: NewCommunity,
        reply: Community,
        codes: [NameInvalid, CommunityLimit],
    }

    /// Lists the communities that the account belongs to, and those that it deleted and may still restore.
    Get "/v1/communities" => ListCommunities {
        query: CommunitiesPage,
        reply: Communities,
        codes: [],
    }

    /// Lists public communities by their names.
    Get "/v1/communities/discover" => DiscoverCommunities {
        query: DiscoverPage,
        reply: Communities,
        codes: [],
    }

    /// Shows a community.
    ///
    /// A private one, one that was deleted, and one that never was look the same to who is no member.
    Get "/v1/communities/{community}" => GetCommunity {
        path: CommunityPath,
        reply: Community,
        codes: [NotFound],
    }

    /// Changes the name, the description or the visibility of a community. Needs `manage_community`.
    Patch "/v1/communities/{community}" => UpdateCommunity {
        path: CommunityPath,
        body: EditCommunity,
        reply: Community,
        codes: [NotFound, MembersOnly, PermissionNeeded, NameInvalid],
    }

    /// Deletes a community, as its owner alone may.
    ///
    /// It is gone at once for everybody else. For some time its owner can restore it; after that nothing of it is left.
    Delete "/v1/communities/{community}" => DeleteCommunity {
        path: CommunityPath,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Restores a community that its owner deleted.
    Put "/v1/communities/{community}/restored" => RestoreCommunity {
        path: CommunityPath,
        reply: Community,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Gives a community to another member, as its owner alone may.
    Put "/v1/communities/{community}/owner" => TransferCommunity {
        path: CommunityPath,
        body: TransferTo,
        reply: Community,
        codes: [NotFound, MembersOnly, PermissionNeeded, MemberUnknown, CommunityLimit],
    }

    /// Shows what the account is in a community.
    Get "/v1/communities/{community}/members/me" => GetOwnMembership {
        path: CommunityPath,
        reply: OwnMembership,
        codes: [NotFound, MembersOnly],
    }

    /// Joins a community that is public or unlisted. Who is a member already stays what it is.
    Put "/v1/communities/{community}/members/me" => JoinCommunity {
        path: CommunityPath,
        reply: OwnMembership,
        codes: [NotFound, MembersOnly, Banned, CommunityLimit, CommunityFull],
    }

    /// Leaves a community. Its owner transfers or deletes it first.
    Delete "/v1/communities/{community}/members/me" => LeaveCommunity {
        path: CommunityPath,
        codes: [NotFound, OwnerStays],
    }

    /// Lists the invite links of a community: all of them for who manages it, their own for others.
    Get "/v1/communities/{community}/invites" => ListInvites {
        path: CommunityPath,
        query: InvitesPage,
        reply: Invites,
        codes: [NotFound, MembersOnly],
    }

    /// Makes an invite link. Needs `create_invites`, and with a role what granting it needs.
    Post "/v1/communities/{community}/invites" => CreateInvite {
        path: CommunityPath,
        body: NewInvite,
        reply: Invite,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, CommunityInviteLimit],
    }

    /// Revokes an invite link: one's own, or any with `manage_community`.
    Delete "/v1/communities/{community}/invites/{code}" => RevokeInvite {
        path: InvitePath,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Shows where an invite link leads to. This uses none up.
    Get "/v1/invites/{code}" => PreviewInvite {
        path: InviteCodePath,
        reply: InvitePreview,
        codes: [InviteInvalid],
    }

    /// Joins a community by an invite link.
    ///
    /// A link for so many uses lets exactly so many in. A member who opens one uses none up, and gets nothing of it.
    Put "/v1/invites/{code}" => AcceptInvite {
        path: InviteCodePath,
        reply: Community,
        codes: [NotFound, InviteInvalid, Banned, CommunityLimit, CommunityFull],
    }

    /// Reads the audit log, the newest entries first. Needs `view_audit_log`.
    ///
    /// It tells of everything, also of channels that who reads it does not see.
    Get "/v1/communities/{community}/audit-log" => ReadAuditLog {
        path: CommunityPath,
        query: AuditPage,
        reply: AuditLog,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }
}
