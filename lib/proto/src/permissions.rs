//! What members of a community may do, and how it is calculated: as Discord documents it for its servers
//! (`discord-api-docs`, topics/permissions). Pure, and the same on the server and in clients.

pub mod rank;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use serde::{Deserialize, Serialize};

use crate::kinds::kinds;

kinds! {
    /// One thing that a member may do. The order is that of the bits, the lowest first; new ones go to the end.
    Permission {
        /// Sees a channel and who is in it.
        ViewChannel = "view_channel",
        /// Reads what was posted before.
        ReadHistory = "read_history",
        /// Posts in a channel, and not in its threads.
        SendMessages = "send_messages",
        /// Posts in threads.
        SendInThreads = "send_in_threads",
        /// Begins threads.
        CreateThreads = "create_threads",
        /// Attaches files.
        AttachFiles = "attach_files",
        /// Reacts to messages.
        AddReactions = "add_reactions",
        /// Mentions everybody, and roles that not everybody may mention.
        MentionEveryone = "mention_everyone",
        /// Begins polls.
        CreatePolls = "create_polls",
        /// Pins messages, and unpins them.
        PinMessages = "pin_messages",
        /// Deletes other people's messages, and posts where only moderators do.
        ManageMessages = "manage_messages",
        /// Posts as often as the limits of accounts allow.
        BypassSlowMode = "bypass_slow_mode",
        /// Makes invite links.
        CreateInvites = "create_invites",
        /// Makes, changes, moves and deletes channels.
        ManageChannels = "manage_channels",
        /// Makes, changes, sorts, deletes and grants lower roles, and sets overrides.
        ManageRoles = "manage_roles",
        /// Changes the community's name, description and visibility, and revokes invites.
        ManageCommunity = "manage_community",
        /// Decides what wallets must hold for a role.
        ManageGates = "manage_gates",
        /// Makes and removes webhooks.
        ManageWebhooks = "manage_webhooks",
        /// Lets bots in, and removes them.
        ManageBots = "manage_bots",
        /// Removes lower members.
        KickMembers = "kick_members",
        /// Keeps lower members and strangers out.
        BanMembers = "ban_members",
        /// Lets lower members only read for some time.
        TimeOutMembers = "time_out_members",
        /// Reads who changed what.
        ViewAuditLog = "view_audit_log",
        /// May do everything, in every channel, whatever overrides say.
        Administrator = "administrator",
    }
}

impl Permission {
    /// Its bit in [`Permissions::bits`].
    pub const fn bit(self) -> u64 {
        1 << (self as u32)
    }
}

/// A set of permissions. In JSON: an array of names, in the order of the bits; names that are not known are refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Vec<Permission>))]
#[serde(from = "Vec<Permission>", into = "Vec<Permission>")]
pub struct Permissions(u64);

impl Permissions {
    /// None at all.
    pub const EMPTY: Self = Self(0);
    /// Each that there is.
    pub const ALL: Self = Self::of(&Permission::ALL);
    /// Those that an override of a channel may name.
    pub const CHANNEL: Self = Self::of(&[
        Permission::ViewChannel,
        Permission::ReadHistory,
        Permission::SendMessages,
        Permission::SendInThreads,
        Permission::CreateThreads,
        Permission::AttachFiles,
        Permission::AddReactions,
        Permission::MentionEveryone,
        Permission::CreatePolls,
        Permission::PinMessages,
        Permission::ManageMessages,
        Permission::BypassSlowMode,
        Permission::CreateInvites,
        Permission::ManageWebhooks,
    ]);
    /// What a time-out leaves.
    pub const TIMED_OUT: Self = Self::of(&[Permission::ViewChannel, Permission::ReadHistory]);
    /// What nobody does who may not send.
    const OF_SENDERS: Self = Self::of(&[Permission::MentionEveryone, Permission::AttachFiles, Permission::CreatePolls]);

    /// These.
    pub const fn of(permissions: &[Permission]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < permissions.len() {
            bits |= permissions[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// As they are stored.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What [`Self::bits`] gave; bits that mean nothing are dropped.
    pub const fn from_bits_truncate(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether this one is among them.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of the others are among them.
    pub const fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Each of them, in the order of the bits.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl BitAnd for Permissions {
    type Output = Self;
    fn bitand(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

impl Sub for Permissions {
    type Output = Self;
    fn sub(self, others: Self) -> Self {
        self.without(others)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<T: IntoIterator<Item = Permission>>(permissions: T) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

impl From<Vec<Permission>> for Permissions {
    fn from(permissions: Vec<Permission>) -> Self {
        permissions.into_iter().collect()
    }
}

impl From<Permissions> for Vec<Permission> {
    fn from(permissions: Permissions) -> Self {
        permissions.iter().collect()
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, permission) in self.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { ", " })?;
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

/// What a role or a member may do in one channel, other than everywhere. What stands in both is allowed. Permissions outside of
/// [`Permissions::CHANNEL`] have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Override {
    /// What is allowed.
    pub allow: Permissions,
    /// What is denied.
    pub deny: Permissions,
}

impl Override {
    fn apply(&self, permissions: Permissions) -> Permissions {
        (permissions - (self.deny & Permissions::CHANNEL)) | (self.allow & Permissions::CHANNEL)
    }
}

/// What is known of a member, before any channel.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Whether the community is theirs.
    pub owner: bool,
    /// Whether they are timed out now.
    pub timed_out: bool,
    /// What the role `everyone` allows.
    pub everyone: Permissions,
    /// What each of the roles allows that were granted to them.
    pub roles: &'a [Permissions],
}

impl Member<'_> {
    /// Without the time-out.
    fn granted(&self) -> Permissions {
        let granted = self.roles.iter().fold(self.everyone, |all, role| all | *role);
        if self.owner || granted.contains(Permission::Administrator) { Permissions::ALL } else { granted }
    }
}

/// The overrides of a channel that are about a member.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides<'a> {
    /// That of the role `everyone`.
    pub everyone: Option<&'a Override>,
    /// Those of the roles that were granted to the member, in any order.
    pub roles: &'a [&'a Override],
    /// That of the member.
    pub member: Option<&'a Override>,
}

/// What a member may do in the community, before the overrides of channels.
pub fn base(member: &Member<'_>) -> Permissions {
    timed_out(member, member.granted())
}

/// What a member may do in a channel, or in a thread of this channel. In a thread `send_messages` says whether they may post there:
/// `send_in_threads` decides it.
pub fn in_channel(member: &Member<'_>, overrides: &Overrides<'_>, thread: bool) -> Permissions {
    let explicit = explicit(member, overrides);
    if explicit.contains(Permission::Administrator) {
        return Permissions::ALL;
    }
    timed_out(member, implied(if thread { in_thread(explicit) } else { explicit }))
}

/// What roles and overrides say, whatever else it takes to do it.
fn explicit(member: &Member<'_>, overrides: &Overrides<'_>) -> Permissions {
    let granted = member.granted();
    if granted.contains(Permission::Administrator) {
        return granted;
    }
    let for_everyone = overrides.everyone.map_or(granted, |rule| rule.apply(granted));
    let mut of_roles = Override::default();
    for rule in overrides.roles {
        of_roles.allow = of_roles.allow | rule.allow;
        of_roles.deny = of_roles.deny | rule.deny;
    }
    let for_roles = of_roles.apply(for_everyone);
    overrides.member.map_or(for_roles, |rule| rule.apply(for_roles))
}

fn in_thread(permissions: Permissions) -> Permissions {
    let send = Permissions::of(&[Permission::SendMessages]);
    if permissions.contains(Permission::SendInThreads) { permissions | send } else { permissions - send }
}

/// What is left where something is missing that it builds on.
fn implied(permissions: Permissions) -> Permissions {
    if !permissions.contains(Permission::ViewChannel) {
        Permissions::EMPTY
    } else if !permissions.contains(Permission::SendMessages) {
        permissions - Permissions::OF_SENDERS
    } else {
        permissions
    }
}

fn timed_out(member: &Member<'_>, permissions: Permissions) -> Permissions {
    let exempt = permissions.contains(Permission::Administrator);
    if member.timed_out && !exempt { permissions & Permissions::TIMED_OUT } else { permissions }
}
