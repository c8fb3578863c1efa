//! The HTTP API under `/v1/communities` and `/v1/invites`, beside messages, which `channel/` has.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::api::communities::channels::{Channel, Channels, OverrideKind};
use nepto_proto::api::communities::members::{AuditLog, Ban, Bans, Member, Members};
use nepto_proto::api::communities::roles::{Role, Roles};
use nepto_proto::api::communities::{Communities as Page, Community, Invite, InvitePreview, Invites, OwnMembership};
use nepto_proto::api::endpoints::communities::{
    AcceptInvite, CreateCommunity, CreateInvite, DeleteCommunity, DiscoverCommunities, GetCommunity, GetOwnMembership,
    JoinCommunity, LeaveCommunity, ListCommunities, ListInvites, PreviewInvite, ReadAuditLog, RestoreCommunity,
    RevokeInvite, TransferCommunity, UpdateCommunity,
};
use nepto_proto::api::endpoints::community_channels::{
    CreateChannel, DeleteChannel, GetChannel, ListChannels, PlaceChannels, SetMemberOverride, SetRoleOverride,
    UpdateChannel,
};
use nepto_proto::api::endpoints::community_members::{
    BanMember, CreateRole, DeleteRole, GetMember, GrantRole, KickMember, LiftTimeOut, ListBans, ListMembers, ListRoles,
    OrderRoles, TakeRole, TimeOutMember, UnbanMember, UpdateRole,
};

use super::ops::Communities;
use crate::request::page_of;

pub fn routes(communities: Communities) -> Routes {
    let of_communities = Routes::new()
        .on(create)
        .on(mine)
        .on(discover)
        .on(get)
        .on(update)
        .on(delete)
        .on(restore)
        .on(transfer)
        .on(own)
        .on(join)
        .on(leave)
        .on(invites)
        .on(create_invite)
        .on(revoke_invite)
        .on(preview)
        .on(accept)
        .on(audit_log);
    let of_channels = Routes::new()
        .on(channels)
        .on(create_channel)
        .on(move_channels)
        .on(channel)
        .on(update_channel)
        .on(delete_channel)
        .on(set_role_override)
        .on(set_member_override);
    let of_members = Routes::new()
        .on(roles)
        .on(create_role)
        .on(sort_roles)
        .on(update_role)
        .on(delete_role)
        .on(members)
        .on(member)
        .on(kick)
        .on(grant_role)
        .on(take_role)
        .on(time_out)
        .on(lift_time_out)
        .on(bans)
        .on(ban)
        .on(unban);
    of_communities
        .with_state(communities.clone())
        .merge(of_channels.with_state(communities.clone()))
        .merge(of_members.with_state(communities))
}

async fn create(communities: Communities, asked: Asked<CreateCommunity>) -> Result<Community, Failure> {
    communities.create(asked.who.account, asked.body).await
}

async fn mine(communities: Communities, asked: Asked<ListCommunities>) -> Result<Page, Failure> {
    communities.mine(asked.who.account, asked.query.after, page_of(asked.query.limit)?).await
}

async fn discover(communities: Communities, asked: Asked<DiscoverCommunities>) -> Result<Page, Failure> {
    let (prefix, after) = (asked.query.prefix.as_deref(), asked.query.after.as_deref());
    communities.discover(asked.who.account, prefix, after, page_of(asked.query.limit)?).await
}

async fn get(communities: Communities, asked: Asked<GetCommunity>) -> Result<Community, Failure> {
    communities.view(asked.path.community, asked.who.account).await
}

async fn update(communities: Communities, asked: Asked<UpdateCommunity>) -> Result<Community, Failure> {
    communities.edit(asked.path.community, asked.who.account, asked.body).await
}

async fn delete(communities: Communities, asked: Asked<DeleteCommunity>) -> Result<(), Failure> {
    communities.delete(asked.path.community, asked.who.account).await
}

async fn restore(communities: Communities, asked: Asked<RestoreCommunity>) -> Result<Community, Failure> {
    communities.restore(asked.path.community, asked.who.account).await
}

async fn transfer(communities: Communities, asked: Asked<TransferCommunity>) -> Result<Community, Failure> {
    communities.transfer(asked.path.community, asked.who.account, asked.body).await
}

async fn own(communities: Communities, asked: Asked<GetOwnMembership>) -> Result<OwnMembership, Failure> {
    communities.own(asked.path.community, asked.who.account).await
}

async fn join(communities: Communities, asked: Asked<JoinCommunity>) -> Result<OwnMembership, Failure> {
    communities.join(asked.path.community, asked.who.account).await
}

async fn leave(communities: Communities, asked: Asked<LeaveCommunity>) -> Result<(), Failure> {
    communities.leave(asked.path.community, asked.who.account).await
}

async fn invites(communities: Communities, asked: Asked<ListInvites>) -> Result<Invites, Failure> {
    let limit = page_of(asked.query.limit)?;
    communities.invites(asked.path.community, asked.who.account, asked.query.after.as_deref(), limit).await
}

async fn create_invite(communities: Communities, asked: Asked<CreateInvite>) -> Result<Invite, Failure> {
    communities.create_invite(asked.path.community, asked.who.account, asked.body).await
}

async fn revoke_invite(communities: Communities, asked: Asked<RevokeInvite>) -> Result<(), Failure> {
    communities.revoke_invite(asked.path.community, &asked.path.code, asked.who.account).await
}

async fn preview(communities: Communities, asked: Asked<PreviewInvite>) -> Result<InvitePreview, Failure> {
    communities.preview(&asked.path.code, asked.who.account).await
}

async fn accept(communities: Communities, asked: Asked<AcceptInvite>) -> Result<Community, Failure> {
    communities.accept_invite(&asked.path.code, asked.who.account).await
}

async fn audit_log(communities: Communities, asked: Asked<ReadAuditLog>) -> Result<AuditLog, Failure> {
    let limit = page_of(asked.query.limit)?;
    communities.audit_log(asked.path.community, asked.who.account, asked.query.after, limit).await
}

async fn channels(communities: Communities, asked: Asked<ListChannels>) -> Result<Channels, Failure> {
    communities.channels(asked.path.community, asked.who.account).await
}

async fn create_channel(communities: Communities, asked: Asked<CreateChannel>) -> Result<Channel, Failure> {
    communities.create_channel(asked.path.community, asked.who.account, asked.body).await
}

async fn move_channels(communities: Communities, asked: Asked<PlaceChannels>) -> Result<Channels, Failure> {
    communities.move_channels(asked.path.community, asked.who.account, asked.body).await
}

async fn channel(communities: Communities, asked: Asked<GetChannel>) -> Result<Channel, Failure> {
    communities.channel(asked.path.community, asked.path.channel, asked.who.account).await
}

async fn update_channel(communities: Communities, asked: Asked<UpdateChannel>) -> Result<Channel, Failure> {
    communities.edit_channel(asked.path.community, asked.path.channel, asked.who.account, asked.body).await
}

async fn delete_channel(communities: Communities, asked: Asked<DeleteChannel>) -> Result<(), Failure> {
    communities.delete_channel(asked.path.community, asked.path.channel, asked.who.account).await
}

async fn set_role_override(communities: Communities, asked: Asked<SetRoleOverride>) -> Result<Channel, Failure> {
    let whose = (OverrideKind::Role, asked.path.role.uuid());
    communities.set_override(asked.path.community, asked.path.channel, asked.who.account, whose, asked.body).await
}

async fn set_member_override(communities: Communities, asked: Asked<SetMemberOverride>) -> Result<Channel, Failure> {
    let whose = (OverrideKind::Member, asked.path.account.uuid());
    communities.set_override(asked.path.community, asked.path.channel, asked.who.account, whose, asked.body).await
}

async fn roles(communities: Communities, asked: Asked<ListRoles>) -> Result<Roles, Failure> {
    communities.roles(asked.path.community, asked.who.account).await
}

async fn create_role(communities: Communities, asked: Asked<CreateRole>) -> Result<Role, Failure> {
    communities.create_role(asked.path.community, asked.who.account, asked.body).await
}

async fn sort_roles(communities: Communities, asked: Asked<OrderRoles>) -> Result<Roles, Failure> {
    communities.sort_roles(asked.path.community, asked.who.account, asked.body).await
}

async fn update_role(communities: Communities, asked: Asked<UpdateRole>) -> Result<Role, Failure> {
    communities.edit_role(asked.path.community, asked.path.role, asked.who.account, asked.body).await
}

async fn delete_role(communities: Communities, asked: Asked<DeleteRole>) -> Result<(), Failure> {
    communities.delete_role(asked.path.community, asked.path.role, asked.who.account).await
}

async fn members(communities: Communities, asked: Asked<ListMembers>) -> Result<Members, Failure> {
    let limit = page_of(asked.query.limit)?;
    communities.members(asked.path.community, asked.who.account, asked.query.after, limit).await
}

async fn member(communities: Communities, asked: Asked<GetMember>) -> Result<Member, Failure> {
    communities.member(asked.path.community, asked.path.account, asked.who.account).await
}

async fn kick(communities: Communities, asked: Asked<KickMember>) -> Result<(), Failure> {
    let because = asked.query.reason.unwrap_or_default();
    communities.kick(asked.path.community, asked.path.account, asked.who.account, &because).await
}

async fn grant_role(communities: Communities, asked: Asked<GrantRole>) -> Result<Member, Failure> {
    let what = (asked.path.account, asked.path.role);
    communities.grant_role(asked.path.community, what, asked.who.account).await
}

async fn take_role(communities: Communities, asked: Asked<TakeRole>) -> Result<Member, Failure> {
    let what = (asked.path.account, asked.path.role);
    communities.take_role(asked.path.community, what, asked.who.account).await
}

async fn time_out(communities: Communities, asked: Asked<TimeOutMember>) -> Result<Member, Failure> {
    communities.time_out(asked.path.community, asked.path.account, asked.who.account, asked.body).await
}

async fn lift_time_out(communities: Communities, asked: Asked<LiftTimeOut>) -> Result<(), Failure> {
    let because = asked.query.reason.unwrap_or_default();
    communities.lift_time_out(asked.path.community, asked.path.account, asked.who.account, &because).await
}

async fn bans(communities: Communities, asked: Asked<ListBans>) -> Result<Bans, Failure> {
    let limit = page_of(asked.query.limit)?;
    communities.bans(asked.path.community, asked.who.account, asked.query.after, limit).await
}

async fn ban(communities: Communities, asked: Asked<BanMember>) -> Result<Ban, Failure> {
    communities.ban(asked.path.community, asked.path.account, asked.who.account, asked.body).await
}

async fn unban(communities: Communities, asked: Asked<UnbanMember>) -> Result<(), Failure> {
    let because = asked.query.reason.unwrap_or_default();
    communities.unban(asked.path.community, asked.path.account, asked.who.account, &because).await
}
