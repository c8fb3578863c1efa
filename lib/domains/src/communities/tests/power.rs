//! Nobody gives what they lack, by whatever way.

use nepto_proto::api::communities::channels::{
    ChannelKind, ChannelOverride, ChannelPlace, MoveChannels, NewChannel, OverrideKind, SetOverride,
};
use nepto_proto::api::communities::members::{AuditAction, NewBan, TimeOut};
use nepto_proto::api::communities::roles::{EditRole, NewRole, SortRoles};
use nepto_proto::api::communities::{NewInvite, TransferTo};

use super::*;

fn set(allow: &[Permission], deny: &[Permission]) -> SetOverride {
    SetOverride { allow: Permissions::of(allow), deny: Permissions::of(deny) }
}

fn new_role(permissions: &[Permission]) -> NewRole {
    NewRole {
        name: "new".into(),
        color: None,
        permissions: Permissions::of(permissions),
        hoisted: false,
        mentionable: false,
    }
}

fn channel(name: &str) -> NewChannel {
    NewChannel {
        kind: ChannelKind::Text,
        name: name.into(),
        topic: String::new(),
        category: None,
        slow_mode_s: 0,
        private: false,
        overrides: None,
    }
}

#[tokio::test]
async fn who_manages_roles_gives_no_more_than_they_have() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let first = world.first_channel(community).await;
    // from the lowest to the highest: each new role is the lowest
    let admins = world.role(community, "admins", &[Permission::BanMembers, Permission::ManageMessages]).await.role;
    let mods = [Permission::ManageRoles, Permission::ManageChannels, Permission::KickMembers];
    let mods = world.role(community, "mods", &mods).await.role;
    let low = world.role(community, "low", &[]).await.role;
    let strong = world.role(community, "strong", &[Permission::MentionEveryone]).await.role;
    let (moderator, plain) = (world.member(community, 2, &[mods]).await, world.member(community, 3, &[]).await);
    let communities = &world.communities;

    // a role with more than one has, one above, and one's own
    let lacking = new_role(&[Permission::BanMembers]);
    assert_eq!(code(communities.create_role(community, moderator, lacking).await), ErrorCode::PermissionNeeded);
    let more = EditRole { permissions: Some(Permissions::of(&[Permission::BanMembers])), ..EditRole::default() };
    assert_eq!(code(communities.edit_role(community, low, moderator, more).await), ErrorCode::PermissionNeeded);
    for above in [admins, mods] {
        let renamed = EditRole { name: Some("mine".into()), ..EditRole::default() };
        assert_eq!(code(communities.edit_role(community, above, moderator, renamed).await), ErrorCode::RankTooLow);
        assert_eq!(code(communities.delete_role(community, above, moderator).await), ErrorCode::RankTooLow);
        let granted = communities.grant_role(community, (plain, above), moderator).await;
        assert_eq!(code(granted), ErrorCode::RankTooLow);
    }
    // one below that allows what one lacks
    let granted = communities.grant_role(community, (plain, strong), moderator).await;
    assert_eq!(code(granted), ErrorCode::PermissionNeeded);
    let invite = NewInvite { role: Some(admins), ..NewInvite::default() };
    assert_eq!(code(communities.create_invite(community, moderator, invite).await), ErrorCode::RankTooLow);
    // sorting: no role gets above, and none above moves
    for order in [vec![strong, mods, low, admins], vec![low, strong, admins, mods]] {
        let sorted = communities.sort_roles(community, moderator, SortRoles { roles: order }).await;
        assert_eq!(code(sorted), ErrorCode::RankTooLow);
    }
    let sorted = communities.sort_roles(community, moderator, SortRoles { roles: vec![low, strong] }).await;
    assert_eq!(code(sorted), ErrorCode::OrderStale);
    let order = SortRoles { roles: vec![low, strong, mods, admins] };
    let sorted = communities.sort_roles(community, moderator, order).await.unwrap();
    let ranks: Vec<(u32, &str)> = sorted.roles.iter().map(|role| (role.rank, role.name.as_str())).collect();
    assert_eq!(ranks, [(0, "everyone"), (1, "low"), (2, "strong"), (3, "mods"), (4, "admins")]);

    // overrides: no bit that one lacks there, nobody above, nothing that overrides may not name
    let role = |role: RoleId| (OverrideKind::Role, role.uuid());
    let refusals = [
        (role(low), set(&[Permission::ManageMessages], &[]), ErrorCode::PermissionNeeded),
        (role(low), set(&[Permission::Administrator], &[]), ErrorCode::PermissionNeeded),
        (role(admins), set(&[], &[Permission::SendMessages]), ErrorCode::RankTooLow),
        ((OverrideKind::Member, account(9).uuid()), set(&[], &[Permission::SendMessages]), ErrorCode::MemberUnknown),
        (role(RoleId::new(account(9).uuid())), set(&[], &[Permission::SendMessages]), ErrorCode::NotFound),
    ];
    for (whose, set, wanted) in refusals {
        let refused = communities.set_override(community, first, moderator, whose, set).await;
        assert_eq!(code(refused), wanted, "{whose:?}");
    }
    let denied = set(&[], &[Permission::SendMessages]);
    let changed = communities.set_override(community, first, moderator, role(low), denied).await.unwrap();
    assert_eq!(changed.overrides.len(), 1);
    let changed = communities.set_override(community, first, moderator, role(low), set(&[], &[])).await.unwrap();
    assert_eq!(changed.overrides.len(), 0);

    // a channel that brings it along, of its own or of its category
    let own = ChannelOverride::of_role(low, Permissions::of(&[Permission::ManageMessages]), Permissions::EMPTY);
    let brings = NewChannel { overrides: Some(vec![own]), ..channel("new") };
    assert_eq!(code(communities.create_channel(community, moderator, brings).await), ErrorCode::PermissionNeeded);
    let category = NewChannel { kind: ChannelKind::Category, overrides: None, ..channel("place") };
    let category = communities.create_channel(community, account(OWNER), category).await.unwrap().channel;
    let allowed = set(&[Permission::ManageMessages], &[]);
    communities.set_override(community, category, account(OWNER), role(low), allowed).await.unwrap();
    let inside = NewChannel { category: Some(category), ..channel("inside") };
    let refused = communities.create_channel(community, moderator, inside.clone()).await;
    assert_eq!(code(refused), ErrorCode::PermissionNeeded);
    let inside = communities.create_channel(community, account(OWNER), inside).await.unwrap();
    assert_eq!((inside.category, inside.overrides.len()), (Some(category), 1));
    // moving gives nothing: overrides stay
    let place = ChannelPlace { channel: first, position: 9, category: Some(category) };
    let moved = communities.move_channels(community, moderator, MoveChannels { channels: vec![place] }).await.unwrap();
    let moved = moved.channels.iter().find(|moved| moved.channel == first).unwrap();
    assert_eq!((moved.position, moved.category, moved.overrides.len()), (9, Some(category), 0));

    // a role that opens a channel is granted by who is in, and one that closes it is not given back by who is out
    let muted = world.role(community, "muted", &[]).await.role;
    let mute = set(&[], &[Permission::SendMessages]);
    communities.set_override(community, first, account(OWNER), role(muted), mute).await.unwrap();
    let granted = communities.grant_role(community, (plain, low), moderator).await;
    assert_eq!(code(granted), ErrorCode::PermissionNeeded, "it manages messages in the category");
    communities.grant_role(community, (plain, muted), moderator).await.unwrap();
    assert_eq!(code(communities.take_role(community, (plain, muted), plain).await), ErrorCode::PermissionNeeded);
    communities.take_role(community, (plain, muted), moderator).await.unwrap();

    // stepping down is possible
    communities.take_role(community, (moderator, mods), moderator).await.unwrap();
    assert_eq!(code(communities.create_role(community, moderator, new_role(&[])).await), ErrorCode::PermissionNeeded);
}

#[tokio::test]
async fn who_moderates_reaches_those_below_and_never_the_owner() {
    let world = World::new().await;
    world.with_accounts().await;
    let community = world.community(Visibility::Public).await;
    let all = [Permission::KickMembers, Permission::BanMembers, Permission::TimeOutMembers, Permission::ViewAuditLog];
    let high = world.role(community, "high", &all).await.role;
    let low = world.role(community, "low", &all).await.role;
    let (higher, lower, plain) = (
        world.member(community, 2, &[high]).await,
        world.member(community, 3, &[low]).await,
        world.member(community, 4, &[]).await,
    );
    let communities = &world.communities;
    let time_out = || TimeOut { for_s: 60, reason: "calm down".into() };
    for (by, whom, wanted) in [
        (lower, higher, ErrorCode::RankTooLow),
        (lower, lower, ErrorCode::RankTooLow),
        (plain, lower, ErrorCode::PermissionNeeded),
        (higher, account(OWNER), ErrorCode::OwnerStays),
        (higher, account(9), ErrorCode::MemberUnknown),
    ] {
        assert_eq!(code(communities.kick(community, whom, by, "").await), wanted, "{by} {whom}");
        assert_eq!(code(communities.time_out(community, whom, by, time_out()).await), wanted, "{by} {whom}");
    }
    assert_eq!(code(communities.ban(community, higher, lower, NewBan::default()).await), ErrorCode::RankTooLow);
    assert_eq!(code(communities.leave(community, account(OWNER)).await), ErrorCode::OwnerStays);
    communities.kick(community, lower, higher, "too loud").await.unwrap();
    assert_eq!(code(communities.member(community, lower, higher).await), ErrorCode::MemberUnknown);
    communities.join(community, lower).await.unwrap();
    let back = communities.member(community, lower, higher).await.unwrap();
    assert_eq!(back.roles, [], "roles are gone with who had them");
    let log = communities.audit_log(community, higher, None, 1_000).await.unwrap();
    let kick = log.entries.iter().find(|entry| entry.action == AuditAction::MemberKicked).unwrap();
    assert_eq!((kick.by, kick.reason.as_str()), (higher, "too loud"));
    assert_eq!(kick.target, Some(lower.uuid().to_string()));
    assert!(kick.before.is_some() && kick.after.is_none());
    assert_eq!(code(communities.audit_log(community, plain, None, 10).await), ErrorCode::PermissionNeeded);
}

#[tokio::test]
async fn a_community_has_one_owner_who_is_a_member() {
    let world = World::new().await;
    let community = world.community(Visibility::Public).await;
    let heir = world.member(community, 2, &[]).await;
    let communities = &world.communities;
    let to = |account| TransferTo { account };
    assert_eq!(code(communities.transfer(community, heir, to(heir)).await), ErrorCode::PermissionNeeded);
    let stranger = communities.transfer(community, account(OWNER), to(account(9))).await;
    assert_eq!(code(stranger), ErrorCode::MemberUnknown);
    assert_eq!(communities.transfer(community, account(OWNER), to(heir)).await.unwrap().owner, heir);
    assert_eq!(code(communities.delete(community, account(OWNER)).await), ErrorCode::PermissionNeeded);
    communities.leave(community, account(OWNER)).await.unwrap();
    assert_eq!(code(communities.leave(community, heir).await), ErrorCode::OwnerStays);
    assert_eq!(world.store.member_ids(community).await.unwrap(), [heir]);
    assert_eq!(communities.view(community, heir).await.unwrap().members, 1);
}
