//! Members of a community, their roles, and who is kept out.

use crate::api::communities::members::{Ban, Bans, Member, Members, NewBan, TimeOut};
use crate::api::communities::roles::{EditRole, NewRole, Role, Roles, SortRoles};
use crate::api::endpoint::{path_parameters, query_parameters};
use crate::api::endpoints::communities::CommunityPath;
use crate::{AccountId, CommunityId, RoleId};

path_parameters! {
    /// A role of a community.
    RolePath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The role; that of everybody has the id of the community.
        role: RoleId as RoleId,
    }

    /// A member of a community, or who may be one.
    MemberPath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The account.
        account: AccountId as AccountId,
    }

    /// A role of a member.
    MemberRolePath {
        /// The community.
        community: CommunityId as CommunityId,
        /// The member.
        account: AccountId as AccountId,
        /// The role.
        role: RoleId as RoleId,
    }
}

query_parameters! {
    /// A page of members, or of bans.
    MembersPage {
        /// The `next` of the page before.
        after: AccountId as AccountId,
        /// Entries of the page, 50 without it.
        limit: usize as Limit,
    }

    /// Why something is done.
    Because {
        /// Up to 512 characters, for the audit log.
        reason: String as Reason,
    }
}

crate::endpoints! {
    "communities"

    /// Lists the roles of a community, the lowest first.
    Get "/v1/communities/{community}/roles" => ListRoles {
        path: CommunityPath,
        reply: Roles,
        codes: [NotFound, MembersOnly],
    }

    /// Makes a role. Needs `manage_roles`, and whatever the role is to allow.
    Post "/v1/communities/{community}/roles" => CreateRole {
        path: CommunityPath,
        body: NewRole,
        reply: Role,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, NameInvalid, RoleLimit],
    }

    /// Sorts all roles. Needs `manage_roles`; nothing moves that stands as high as the asker, and nothing gets there.
    Put "/v1/communities/{community}/roles/order" => OrderRoles {
        path: CommunityPath,
        body: SortRoles,
        reply: Roles,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OrderStale],
    }

    /// Changes a role below one's own highest. Needs `manage_roles`, and every permission that it is to allow from now on.
    Patch "/v1/communities/{community}/roles/{role}" => UpdateRole {
        path: RolePath,
        body: EditRole,
        reply: Role,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, NameInvalid],
    }

    /// Deletes a role below one's own highest. Needs `manage_roles`, and what its overrides deny. Who had it has it no more.
    Delete "/v1/communities/{community}/roles/{role}" => DeleteRole {
        path: RolePath,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow],
    }

    /// Lists the members of a community.
    Get "/v1/communities/{community}/members" => ListMembers {
        path: CommunityPath,
        query: MembersPage,
        reply: Members,
        codes: [NotFound, MembersOnly],
    }

    /// Shows a member.
    Get "/v1/communities/{community}/members/{account}" => GetMember {
        path: MemberPath,
        reply: Member,
        codes: [NotFound, MembersOnly, MemberUnknown],
    }

    /// Throws a member out, who may come back. Needs `kick_members`, and a higher rank than theirs.
    Delete "/v1/communities/{community}/members/{account}" => KickMember {
        path: MemberPath,
        query: Because,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OwnerStays, MemberUnknown],
    }

    /// Grants a role to a member. Needs `manage_roles`, a higher rank than the role's, and what it allows, there where its overrides
    /// allow it.
    Put "/v1/communities/{community}/members/{account}/roles/{role}" => GrantRole {
        path: MemberRolePath,
        reply: Member,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, MemberUnknown, RoleLimit],
    }

    /// Takes a role from a member. Needs `manage_roles` and a higher rank than the role's, but for one's own.
    ///
    /// A role that denies something in a channel is taken, and given back, by who may do it there.
    Delete "/v1/communities/{community}/members/{account}/roles/{role}" => TakeRole {
        path: MemberRolePath,
        reply: Member,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, MemberUnknown],
    }

    /// Lets a member only read for some time. Needs `time_out_members`, and a higher rank than theirs.
    ///
    /// Leaving and joining again does not end it.
    Put "/v1/communities/{community}/members/{account}/time-out" => TimeOutMember {
        path: MemberPath,
        body: TimeOut,
        reply: Member,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OwnerStays, MemberUnknown],
    }

    /// Ends a time-out, also of somebody who left. Needs `time_out_members`, and a higher rank than theirs.
    Delete "/v1/communities/{community}/members/{account}/time-out" => LiftTimeOut {
        path: MemberPath,
        query: Because,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow],
    }

    /// Lists who may not join. Needs `ban_members`.
    Get "/v1/communities/{community}/bans" => ListBans {
        path: CommunityPath,
        query: MembersPage,
        reply: Bans,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }

    /// Throws an account out and keeps it out, for some time or for good. Needs `ban_members`, and a higher rank than theirs.
    Put "/v1/communities/{community}/bans/{account}" => BanMember {
        path: MemberPath,
        body: NewBan,
        reply: Ban,
        codes: [NotFound, MembersOnly, PermissionNeeded, RankTooLow, OwnerStays, AccountUnknown, BanLimit],
    }

    /// Lifts a ban. Needs `ban_members`.
    Delete "/v1/communities/{community}/bans/{account}" => UnbanMember {
        path: MemberPath,
        query: Because,
        codes: [NotFound, MembersOnly, PermissionNeeded],
    }
}
