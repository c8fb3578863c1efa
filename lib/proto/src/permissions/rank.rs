//! The rules of rank: who may give, take and change what, and act on whom. Nobody gives what they lack, by whatever way, and
//! nobody reaches what stands as high as they do.
//!
//! A role's rank says how high it stands, and `everyone` has 0; that of a member is that of their highest role. The owner stands
//! above all. Each rule asks for the permission that it needs as well, so that none can be called without it.

#[cfg(test)]
mod tests;

use super::{Override, Permission, Permissions};

/// Who wants to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// Whether the community is theirs.
    pub owner: bool,
    /// The rank of their highest role.
    pub highest: u32,
    /// What they may do: everywhere ([`super::base`]), and for rules about a channel there ([`super::in_channel`]).
    pub permissions: Permissions,
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What it is about stands as high as the actor, or higher.
    #[error("that stands as high as your highest role, or higher")]
    Rank,
    /// The actor lacks what this needs.
    #[error("this needs the permission `{0}`")]
    Needs(Permission),
    /// The actor would give, or give back, what they lack.
    #[error("you can't give what you lack: {0}")]
    Lacks(Permissions),
    /// An override can't name this.
    #[error("an override can't name what is not about channels: {0}")]
    NotOfChannels(Permissions),
}

/// Changes a role of this rank, deletes it, or takes it from somebody. Everybody may give back their own, which asks for
/// [`take_overrides`] alone.
pub fn edit_role(actor: &Actor, role: u32) -> Result<(), Refusal> {
    needs(actor, Permission::ManageRoles)?;
    below(actor, role)
}

/// Puts a role elsewhere in the order: it stands below the actor before and afterwards.
pub fn move_role(actor: &Actor, from: u32, to: u32) -> Result<(), Refusal> {
    edit_role(actor, from.max(to))
}

/// Changes what a role allows. What changes the actor has. That they may edit the role is another question.
pub fn give_permissions(actor: &Actor, before: Permissions, after: Permissions) -> Result<(), Refusal> {
    needs(actor, Permission::ManageRoles)?;
    holds(actor.owner, actor.permissions, changed(before, after))
}

/// Grants a role of this rank, which allows this everywhere. What it allows in channels is another question: [`grant_overrides`].
pub fn grant_role(actor: &Actor, role: u32, permissions: Permissions) -> Result<(), Refusal> {
    edit_role(actor, role)?;
    holds(actor.owner, actor.permissions, permissions)
}

/// Grants a role that has this override in a channel. The actor has the permissions of the channel.
pub fn grant_overrides(actor: &Actor, rule: &Override) -> Result<(), Refusal> {
    holds(actor.owner, actor.permissions, rule.allow & Permissions::CHANNEL)
}

/// Takes a role that has this override in a channel, deletes it, or gives one's own back: whoever had it may do there afterwards what it
/// denied. The actor has the permissions of the channel.
pub fn take_overrides(actor: &Actor, rule: &Override) -> Result<(), Refusal> {
    holds(actor.owner, actor.permissions, rule.deny & Permissions::CHANNEL)
}

/// Sets an override in a channel, about a role of this rank or a member of this rank. The actor has the permissions of the channel, and
/// changes only what they may do there themselves: a denial that is lifted gives as well.
pub fn set_override(actor: &Actor, target: u32, before: Option<&Override>, after: &Override) -> Result<(), Refusal> {
    edit_role(actor, target)?;
    let strange = (after.allow | after.deny) - Permissions::CHANNEL;
    if !strange.is_empty() {
        return Err(Refusal::NotOfChannels(strange));
    }
    let before = before.copied().unwrap_or_default();
    holds(actor.owner, actor.permissions, changed(before.allow, after.allow) | changed(before.deny, after.deny))
}

/// Kicks, bans or times out a member of this rank, as the permission says. Nobody does it to the owner: ask for that first.
pub fn act_on_member(actor: &Actor, target: u32, permission: Permission) -> Result<(), Refusal> {
    needs(actor, permission)?;
    below(actor, target)
}

fn changed(before: Permissions, after: Permissions) -> Permissions {
    (before - after) | (after - before)
}

fn needs(actor: &Actor, permission: Permission) -> Result<(), Refusal> {
    if actor.owner || actor.permissions.contains(permission) { Ok(()) } else { Err(Refusal::Needs(permission)) }
}

fn below(actor: &Actor, rank: u32) -> Result<(), Refusal> {
    if actor.owner || rank < actor.highest { Ok(()) } else { Err(Refusal::Rank) }
}

fn holds(owner: bool, held: Permissions, given: Permissions) -> Result<(), Refusal> {
    if owner || held.covers(given) { Ok(()) } else { Err(Refusal::Lacks(given - held)) }
}
