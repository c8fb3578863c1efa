//! The rules of rank, which are those of `nepto_proto::permissions::rank`, with the codes that this domain refuses by.

use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::permissions::rank::{self, Actor, Refusal};
use nepto_proto::permissions::{Override, Permission, Permissions};

/// Changes, deletes or takes a role of this rank.
pub fn edit_role(actor: &Actor, role: u32) -> Result<(), Failure> {
    rank::edit_role(actor, role).map_err(refused)
}

/// Puts a role elsewhere in the order.
pub fn move_role(actor: &Actor, from: u32, to: u32) -> Result<(), Failure> {
    rank::move_role(actor, from, to).map_err(refused)
}

/// Changes what a role allows.
pub fn give_permissions(actor: &Actor, before: Permissions, after: Permissions) -> Result<(), Failure> {
    rank::give_permissions(actor, before, after).map_err(refused)
}

/// Grants a role of this rank, which allows this.
pub fn grant_role(actor: &Actor, role: u32, permissions: Permissions) -> Result<(), Failure> {
    rank::grant_role(actor, role, permissions).map_err(refused)
}

/// Grants a role that has this override in a channel, whose permissions the actor has.
pub fn grant_overrides(actor: &Actor, rule: &Override) -> Result<(), Failure> {
    rank::grant_overrides(actor, rule).map_err(refused)
}

/// Takes a role that has this override in a channel, whose permissions the actor has: what it denied is allowed afterwards.
pub fn take_overrides(actor: &Actor, rule: &Override) -> Result<(), Failure> {
    rank::take_overrides(actor, rule).map_err(refused)
}

/// Sets an override that is about somebody of this rank. The actor has the permissions of the channel.
pub fn set_override(actor: &Actor, target: u32, before: Option<&Override>, after: &Override) -> Result<(), Failure> {
    rank::set_override(actor, target, before, after).map_err(refused)
}

/// Kicks, bans or times out somebody of this rank, as the permission says.
pub fn act_on_member(actor: &Actor, target: u32, permission: Permission) -> Result<(), Failure> {
    rank::act_on_member(actor, target, permission).map_err(refused)
}

fn refused(refusal: Refusal) -> Failure {
    let code = match refusal {
        Refusal::Rank => ErrorCode::RankTooLow,
        _ => ErrorCode::PermissionNeeded,
    };
    Failure::new(code, refusal.to_string())
}
