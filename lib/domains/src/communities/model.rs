//! What an account may do in a community. Pure: the rules themselves are in `nepto_proto::permissions`.

use nepto_kit::Failure;
use nepto_proto::api::communities::Visibility;
use nepto_proto::api::communities::channels::{ChannelKind, OverrideKind};
use nepto_proto::permissions::rank::Actor;
use nepto_proto::permissions::{self, Override, Overrides, Permission, Permissions};
use nepto_proto::svc::communities::{AccessIn, Standing};
use nepto_proto::{AccountId, ErrorCode, RoleId};

use super::store::{ChannelRow, Found, MemberRow, RoleRow, Seen};

/// What everybody may do in a new community.
pub const OF_EVERYONE: &[Permission] = &[
    Permission::ViewChannel,
    Permission::ReadHistory,
    Permission::SendMessages,
    Permission::SendInThreads,
    Permission::CreateThreads,
    Permission::AttachFiles,
    Permission::AddReactions,
    Permission::CreatePolls,
    Permission::CreateInvites,
];

/// What a member is and has, as the rules need it.
#[derive(Debug, Clone)]
pub struct Powers {
    pub account: AccountId,
    pub owner: bool,
    pub timed_out_until_ms: Option<i64>,
    everyone: Permissions,
    /// The roles that there are of those that were granted, without `everyone`.
    granted: Vec<RoleId>,
    allowed: Vec<Permissions>,
    /// The highest rank among them.
    pub rank: u32,
}

impl Powers {
    fn new<'a>(
        member: &MemberRow,
        owner: AccountId,
        roles: impl Iterator<Item = &'a RoleRow>,
        timed_out_until_ms: Option<i64>,
    ) -> Self {
        let everyone = RoleId::new(member.id.0.0.0.uuid());
        let mut powers = Self {
            account: member.account(),
            owner: owner == member.account(),
            timed_out_until_ms,
            everyone: Permissions::EMPTY,
            granted: Vec::new(),
            allowed: Vec::new(),
            rank: 0,
        };
        for role in roles {
            if role.role() == everyone {
                powers.everyone = role.permissions();
            } else if member.has(role.role()) {
                powers.granted.push(role.role());
                powers.allowed.push(role.permissions());
                powers.rank = powers.rank.max(role.rank());
            }
        }
        powers
    }

    /// Of an account that was read with the community; `None` if it is no member.
    pub fn of(seen: &Seen, account: AccountId, now_ms: i64) -> Option<Self> {
        let until_ms = seen.timed_out_until_ms(account, now_ms);
        Some(Self::new(seen.member(account)?, seen.community.owner.0, seen.roles().iter(), until_ms))
    }

    /// Of the account that was asked about; `None` if it is no member, and if the community was deleted.
    pub fn found(found: &Found, now_ms: i64) -> Option<Self> {
        if found.community.deleted_at_ms.is_some() {
            return None;
        }
        let until_ms = found.time_out.as_ref().map(|row| row.until_ms).filter(|until_ms| *until_ms > now_ms);
        Some(Self::new(found.member.as_ref()?, found.community.owner.0, found.roles.0.iter(), until_ms))
    }

    /// Of a row with its roles.
    pub fn shown(member: &MemberRow, owner: AccountId, roles: &[RoleRow], timed_out_until_ms: Option<i64>) -> Self {
        Self::new(member, owner, roles.iter(), timed_out_until_ms)
    }

    fn member(&self) -> permissions::Member<'_> {
        permissions::Member {
            owner: self.owner,
            timed_out: self.timed_out_until_ms.is_some(),
            everyone: self.everyone,
            roles: &self.allowed,
        }
    }

    /// The roles that were granted and that there are, without `everyone`.
    pub fn granted(&self) -> &[RoleId] {
        &self.granted
    }

    /// What the roles allow together, before the overrides of channels.
    pub fn base(&self) -> Permissions {
        permissions::base(&self.member())
    }

    /// What is allowed in a channel.
    pub fn in_channel(&self, channel: &ChannelRow) -> Permissions {
        let everyone_id = channel.id.0.0.0.uuid();
        let rule_of =
            |kind, id| channel.overrides.iter().find(|row| row.is_about(kind, id)).map(super::store::OverrideRow::rule);
        let everyone = rule_of(OverrideKind::Role, everyone_id);
        let roles: Vec<Override> =
            self.granted.iter().filter_map(|role| rule_of(OverrideKind::Role, role.uuid())).collect();
        let roles: Vec<&Override> = roles.iter().collect();
        let member = rule_of(OverrideKind::Member, self.account.uuid());
        let overrides = Overrides { everyone: everyone.as_ref(), roles: &roles, member: member.as_ref() };
        permissions::in_channel(&self.member(), &overrides, false)
    }

    /// Whether a channel is there, as far as the member may know.
    pub fn sees(&self, channel: &ChannelRow) -> bool {
        self.in_channel(channel).contains(Permission::ViewChannel)
    }

    /// Refuses with `permission_needed` who lacks it everywhere.
    pub fn need(&self, permission: Permission) -> Result<(), Failure> {
        match self.base().contains(permission) {
            true => Ok(()),
            false => Err(lacks(permission)),
        }
    }

    /// Who acts, by the rules of rank.
    pub fn actor(&self) -> Actor {
        self.actor_with(self.base())
    }

    /// The same, with what is allowed at some place.
    pub fn actor_with(&self, permissions: Permissions) -> Actor {
        Actor { owner: self.owner, highest: self.rank, permissions }
    }

    /// As other domains are told.
    pub fn standing(&self) -> Standing {
        Standing {
            owner: self.owner,
            rank: self.rank,
            permissions: self.base(),
            roles: self.granted.clone(),
            timed_out_until_ms: self.timed_out_until_ms,
        }
    }
}

/// A permission is missing, and which.
pub fn lacks(permission: Permission) -> Failure {
    Failure::new(ErrorCode::PermissionNeeded, format!("this needs the permission `{permission}`"))
}

/// There is nothing, as far as the asker may know.
pub fn not_found() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is nothing by this id, or nothing that you may see")
}

/// Who acts, if it belongs to the community. A private community and one that was deleted look to others as if they never were.
pub fn acting(seen: &Seen, account: AccountId, now_ms: i64) -> Result<Powers, Failure> {
    if seen.community.deleted_at_ms.is_some() {
        return Err(not_found());
    }
    match (Powers::of(seen, account, now_ms), seen.community.visibility.0) {
        (Some(powers), _) => Ok(powers),
        (None, Visibility::Private) => Err(not_found()),
        (None, Visibility::Public | Visibility::Unlisted) => Err(members_only()),
    }
}

/// Who is no member.
pub fn members_only() -> Failure {
    Failure::new(ErrorCode::MembersOnly, "join the community first")
}

/// What an account may do in the channel that was asked for. What may not be seen and what is not there are the same.
pub fn access(found: &Found, now_ms: i64) -> AccessIn {
    let (Some(powers), Some(channel)) = (Powers::found(found, now_ms), &found.channel) else {
        return AccessIn::HIDDEN;
    };
    let permissions = powers.in_channel(channel);
    if !permissions.contains(Permission::ViewChannel) {
        return AccessIn::HIDDEN;
    }
    AccessIn {
        community: Some(found.community.community()),
        permissions,
        slow_mode_s: channel.slow_mode_s(),
        timed_out_until_ms: powers.timed_out_until_ms,
        kind: channel.what.0,
        owner: powers.owner,
    }
}

/// Whether a channel holds others.
pub fn is_category(channel: &ChannelRow) -> bool {
    channel.what.0 == ChannelKind::Category
}
