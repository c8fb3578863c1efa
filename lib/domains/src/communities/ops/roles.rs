//! Roles: making, changing, sorting and deleting them, and granting them.

use std::collections::HashSet;

use nepto_kit::Failure;
use nepto_kit::db::Text;
use nepto_proto::api::communities::channels::OverrideKind;
use nepto_proto::api::communities::members::{AuditAction, Member};
use nepto_proto::api::communities::roles::{EditRole, NewRole, Role, Roles, SortRoles};
use nepto_proto::event::RoleRemoved;
use nepto_proto::permissions::rank::Actor;
use nepto_proto::permissions::{Override, Permission, Permissions};
use nepto_proto::{AccountId, CommunityId, ErrorCode, RoleId};

use super::members::member_of;
use super::{Communities, Deed, malformed, name, pair};
use crate::communities::model::{Powers, not_found};
use crate::communities::ranks;
use crate::communities::store::{Change, RoleRow, Seen, role_id};

/// The largest color: three bytes.
const COLOR_MAX: u32 = 0xff_ff_ff;

impl Communities {
    pub async fn roles(&self, community: CommunityId, account: AccountId) -> Result<Roles, Failure> {
        let (seen, _) = self.look(community, account).await?;
        Ok(Roles { roles: ascending(&seen).into_iter().map(RoleRow::to_api).collect() })
    }

    pub async fn create_role(&self, community: CommunityId, account: AccountId, new: NewRole) -> Result<Role, Failure> {
        let name = name(&new.name)?;
        let color = new.color.map(color).transpose()?.flatten();
        self.count_change(account).await?;
        let role = RoleId::new(self.uuid());
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageRoles)?;
            ranks::give_permissions(&powers.actor(), Permissions::EMPTY, new.permissions)?;
            if seen.roles().len() >= self.bounds.roles_max {
                let detail = format!("a community has at most {} roles", self.bounds.roles_max);
                return Err(Failure::new(ErrorCode::RoleLimit, detail));
            }
            let row = RoleRow {
                id: pair(community, role),
                name: name.clone(),
                color,
                rank: 1,
                bits: new.permissions.bits().cast_signed(),
                hoisted: new.hoisted,
                mentionable: new.mentionable,
            };
            // it is the lowest, and all others stand one higher
            let raised = seen.roles().iter().filter(|other| other.rank > 0);
            let raised = raised.map(|other| RoleRow { rank: other.rank + 1, ..other.clone() });
            let deed = Deed::new(account, AuditAction::RoleCreated).to(role.uuid());
            let answer = row.to_api();
            let entry = self.audit(community, deed, None::<&()>, Some(&answer));
            let change = raised.fold(Change::default(), Change::put).put(entry).put(row).access_of(None);
            Ok((change, answer))
        })
        .await
    }

    pub async fn edit_role(
        &self,
        community: CommunityId,
        role: RoleId,
        account: AccountId,
        edit: EditRole,
    ) -> Result<Role, Failure> {
        let new_name = edit.name.as_deref().map(name).transpose()?;
        let color = edit.color.map(color).transpose()?;
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageRoles)?;
            let before = seen.role(role).ok_or_else(not_found)?;
            let is_everyone = role.uuid() == community.uuid();
            if is_everyone && (new_name.is_some() || color.is_some() || edit.hoisted.is_some()) {
                return Err(malformed(
                    "of everybody's role only the permissions change, and whether it may be mentioned",
                ));
            }
            let actor = powers.actor();
            ranks::edit_role(&actor, before.rank())?;
            let mut row = before.clone();
            if let Some(permissions) = edit.permissions {
                ranks::give_permissions(&actor, before.permissions(), permissions)?;
                row.bits = permissions.bits().cast_signed();
            }
            row.name = new_name.clone().unwrap_or(row.name);
            row.color = color.unwrap_or(row.color);
            row.hoisted = edit.hoisted.unwrap_or(row.hoisted);
            row.mentionable = edit.mentionable.unwrap_or(row.mentionable);
            let deed = Deed::new(account, AuditAction::RoleEdited).to(role.uuid());
            let answer = row.to_api();
            let entry = self.audit(community, deed, Some(&before.to_api()), Some(&answer));
            Ok((Change::default().put(entry).put(row).access_of(None), answer))
        })
        .await
    }

    /// Sorts all roles. Nothing moves that stands as high as who sorts, and nothing gets there.
    pub async fn sort_roles(
        &self,
        community: CommunityId,
        account: AccountId,
        order: SortRoles,
    ) -> Result<Roles, Failure> {
        let named: HashSet<RoleId> = order.roles.iter().copied().collect();
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageRoles)?;
            let before = ascending(seen);
            let there: HashSet<RoleId> = before.iter().skip(1).map(|row| row.role()).collect();
            if named != there || named.len() != order.roles.len() {
                let detail = "name every role but that of everybody, each once";
                return Err(Failure::new(ErrorCode::OrderStale, detail));
            }
            let actor = powers.actor();
            let mut change = Change::default();
            for (role, rank) in order.roles.iter().zip(1_u32..) {
                let row = seen.role(*role).ok_or_else(not_found)?;
                if row.rank() != rank {
                    ranks::move_role(&actor, row.rank(), rank)?;
                    change = change.put(RoleRow { rank: rank.into(), ..row.clone() });
                }
            }
            let was: Vec<RoleId> = before.iter().skip(1).map(|row| row.role()).collect();
            let deed = Deed::new(account, AuditAction::RolesSorted);
            let entry = self.audit(community, deed, Some(&was), Some(&order.roles));
            Ok((change.put(entry).access_of(None), ()))
        })
        .await?;
        self.roles(community, account).await
    }

    pub async fn delete_role(&self, community: CommunityId, role: RoleId, account: AccountId) -> Result<(), Failure> {
        self.count_change(account).await?;
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::ManageRoles)?;
            let row = seen.role(role).ok_or_else(not_found)?;
            if role.uuid() == community.uuid() {
                return Err(malformed("everybody's role stays"));
            }
            ranks::edit_role(&powers.actor(), row.rank())?;
            in_channels(seen, &powers, role, ranks::take_overrides)?;
            let deed = Deed::new(account, AuditAction::RoleDeleted).to(role.uuid());
            let mut change = Change::default()
                .put(self.audit(community, deed, Some(&row.to_api()), None::<&()>))
                .gone(role_id(community, role))
                .emit(self.event(&RoleRemoved { community, role })?)
                .access_of(None);
            // no rank is left out, and no override is about nobody; who had it has an id that means nothing any more
            for above in seen.roles().iter().filter(|other| other.rank > row.rank) {
                change = change.put(RoleRow { rank: above.rank - 1, ..above.clone() });
            }
            for channel in seen.channels() {
                let mut without = channel.clone();
                without.overrides.retain(|set| set.whose != Text(role.uuid()));
                if without != *channel {
                    change = change.put(without);
                }
            }
            Ok((change, ()))
        })
        .await
    }

    /// Grants a role to a member. Again does no harm.
    pub async fn grant_role(
        &self,
        community: CommunityId,
        (member, role): (AccountId, RoleId),
        account: AccountId,
    ) -> Result<Member, Failure> {
        self.count_change(account).await?;
        self.change(community, &[account, member], |seen| {
            let powers = self.acting(seen, account)?;
            may_grant(seen, &powers, role)?;
            let mut target = member_of(seen, member)?.clone();
            if target.has(role) {
                return Ok((Change::default(), self.member_to_api(seen, &target)));
            }
            // ids of roles that were deleted take no room
            target.granted.retain(|granted| seen.role(granted.0).is_some());
            target.granted.push(Text(role));
            if target.granted.len() > self.bounds.roles_per_member_max {
                let detail = format!("a member has at most {} roles", self.bounds.roles_per_member_max);
                return Err(Failure::new(ErrorCode::RoleLimit, detail));
            }
            let deed = Deed::new(account, AuditAction::RoleGranted).to(member.uuid());
            let entry = self.audit(community, deed, None::<&()>, Some(&role));
            let answer = self.member_to_api(seen, &target);
            let change = Change::default().put(entry).put(target).of_seat(seen, member, true);
            Ok((change.access_of(Some(member)), answer))
        })
        .await
    }

    /// Takes a role from a member. Again does no harm. Everybody may give their own back.
    pub async fn take_role(
        &self,
        community: CommunityId,
        (member, role): (AccountId, RoleId),
        account: AccountId,
    ) -> Result<Member, Failure> {
        self.count_change(account).await?;
        self.change(community, &[account, member], |seen| {
            let powers = self.acting(seen, account)?;
            let row = grantable(seen, role)?;
            if member != account {
                powers.need(Permission::ManageRoles)?;
                ranks::edit_role(&powers.actor(), row.rank())?;
            }
            // a role that keeps somebody from something is not given back by who is kept from it
            in_channels(seen, &powers, role, ranks::take_overrides)?;
            let mut target = member_of(seen, member)?.clone();
            if !target.has(role) {
                return Ok((Change::default(), self.member_to_api(seen, &target)));
            }
            target.granted.retain(|granted| *granted != Text(role));
            let deed = Deed::new(account, AuditAction::RoleTaken).to(member.uuid());
            let entry = self.audit(community, deed, Some(&role), None::<&()>);
            let answer = self.member_to_api(seen, &target);
            let change = Change::default().put(entry).put(target).of_seat(seen, member, true);
            Ok((change.access_of(Some(member)), answer))
        })
        .await
    }
}

/// The roles, the lowest first.
fn ascending(seen: &Seen) -> Vec<&RoleRow> {
    let mut rows: Vec<&RoleRow> = seen.roles().iter().collect();
    rows.sort_by_key(|row| (row.rank, row.role()));
    rows
}

/// Whether somebody may grant a role, be it by an invite: what it allows everywhere, and what its overrides allow in channels.
pub fn may_grant(seen: &Seen, powers: &Powers, role: RoleId) -> Result<(), Failure> {
    powers.need(Permission::ManageRoles)?;
    let row = grantable(seen, role)?;
    ranks::grant_role(&powers.actor(), row.rank(), row.permissions())?;
    in_channels(seen, powers, role, ranks::grant_overrides)
}

/// Asks a rule about every override of a role, with what the actor may do in its channel.
fn in_channels(
    seen: &Seen,
    powers: &Powers,
    role: RoleId,
    rule: fn(&Actor, &Override) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for channel in seen.channels() {
        let of_role = channel.overrides.iter().find(|set| set.is_about(OverrideKind::Role, role.uuid()));
        if let Some(set) = of_role {
            rule(&powers.actor_with(powers.in_channel(channel)), &set.rule())?;
        }
    }
    Ok(())
}

/// A role that is granted and taken: that of everybody is neither.
fn grantable(seen: &Seen, role: RoleId) -> Result<&RoleRow, Failure> {
    if role.uuid() == seen.id().uuid() {
        return Err(malformed("everybody has this role"));
    }
    seen.role(role).ok_or_else(not_found)
}

/// A color as it is kept; 0 is none.
fn color(given: u32) -> Result<Option<i64>, Failure> {
    match given {
        0 => Ok(None),
        1..=COLOR_MAX => Ok(Some(given.into())),
        _ => Err(malformed("a color has three bytes: red, green and blue")),
    }
}
