//! Members, and who is kept out; and the audit log.

use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::db::Text;
use nepto_proto::api::communities::members::{AuditAction, AuditLog, Ban, Bans, Member, Members, NewBan, TimeOut};
use nepto_proto::event::MemberLeft;
use nepto_proto::permissions::Permission;
use nepto_proto::svc::auth::FindAccount;
use nepto_proto::{AccountId, CommunityId, ErrorCode};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Communities, Deed, made_at_ms, malformed, pair, reason};
use crate::communities::model::{Powers, not_found};
use crate::communities::ranks;
use crate::communities::store::{
    BanRow, Change, MemberRow, Seen, TimeOutRow, ban_id, member_id, membership_id, time_out_id,
};

/// A time-out lasts for so long at most (as in Discord).
const TIME_OUT_MAX: Duration = Duration::from_secs(28 * 86_400);
/// A ban with an end lasts for so long at most; one for longer has none.
const BAN_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What the audit log keeps of a time-out that was lifted.
#[derive(Serialize)]
struct Until {
    #[serde(with = "time::serde::rfc3339")]
    timed_out_until: OffsetDateTime,
}

impl Communities {
    pub async fn members(
        &self,
        community: CommunityId,
        account: AccountId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Members, Failure> {
        self.own(community, account).await?;
        let rows = self.store.members(community, after, limit).await?;
        let next = if rows.len() == limit { rows.last().map(|(row, _)| row.account()) } else { None };
        let now_ms = self.now_ms();
        let member = |(row, until_ms): &(MemberRow, Option<i64>)| Member {
            account: row.account(),
            joined_at: from_ms(row.joined_at_ms),
            roles: row.granted.iter().map(|role| role.0).collect(),
            timed_out_until: until_ms.filter(|until_ms| *until_ms > now_ms).map(from_ms),
        };
        Ok(Members { members: rows.iter().map(member).collect(), next })
    }

    pub async fn member(
        &self,
        community: CommunityId,
        member: AccountId,
        account: AccountId,
    ) -> Result<Member, Failure> {
        let seen = self.store.seen(community, &[account, member]).await?.ok_or_else(not_found)?;
        self.acting(&seen, account)?;
        Ok(self.member_to_api(&seen, member_of(&seen, member)?))
    }

    pub(super) fn member_to_api(&self, seen: &Seen, row: &MemberRow) -> Member {
        let there = row.granted.iter().map(|role| role.0).filter(|role| seen.role(*role).is_some());
        Member {
            account: row.account(),
            joined_at: from_ms(row.joined_at_ms),
            roles: there.collect(),
            timed_out_until: seen.timed_out_until_ms(row.account(), self.now_ms()).map(from_ms),
        }
    }

    /// Leaves a community. Who is no member has left already.
    pub async fn leave(&self, community: CommunityId, account: AccountId) -> Result<(), Failure> {
        self.change(community, &[account], |seen| {
            let Some(row) = seen.member(account).filter(|_| seen.community.deleted_at_ms.is_none()) else {
                return Err(not_found());
            };
            if seen.community.owner.0 == account {
                let detail = "give the community to another member, or delete it";
                return Err(Failure::new(ErrorCode::OwnerStays, detail));
            }
            Ok((self.without(seen, Change::default(), row.account(), false)?, ()))
        })
        .await
    }

    /// A change after which a member is none.
    fn without(&self, seen: &Seen, change: Change, account: AccountId, seat_stays: bool) -> Result<Change, Failure> {
        let community = seen.id();
        Ok(change
            .gone(member_id(community, account))
            .gone(membership_id(account, community))
            .of_seat(seen, account, seat_stays)
            .of_person(account, 0, -1)
            .members(-1)
            .emit(self.event(&MemberLeft { community, account })?)
            .access_of(Some(account)))
    }

    /// Whether somebody may do this to another account, member or not. Nobody does it to the owner.
    fn may_act_on(
        &self,
        seen: &Seen,
        (account, other): (AccountId, AccountId),
        permission: Permission,
    ) -> Result<(), Failure> {
        let powers = self.acting(seen, account)?;
        powers.need(permission)?;
        if seen.community.owner.0 == other {
            return Err(Failure::new(ErrorCode::OwnerStays, "that is the owner of the community"));
        }
        let target = Powers::of(seen, other, self.now_ms()).map_or(0, |target| target.rank);
        ranks::act_on_member(&powers.actor(), target, permission)
    }

    pub async fn kick(
        &self,
        community: CommunityId,
        member: AccountId,
        account: AccountId,
        because: &str,
    ) -> Result<(), Failure> {
        let because = reason(because)?;
        self.count_change(account).await?;
        self.change(community, &[account, member], |seen| {
            self.may_act_on(seen, (account, member), Permission::KickMembers)?;
            let row = member_of(seen, member)?;
            let deed = Deed::new(account, AuditAction::MemberKicked).to(member.uuid()).because(&because);
            let entry = self.audit(community, deed, Some(&self.member_to_api(seen, row)), None::<&()>);
            Ok((self.without(seen, Change::default().put(entry), member, false)?, ()))
        })
        .await
    }

    /// Bans an account, member or not. Again it gets another reason and another end.
    pub async fn ban(
        &self,
        community: CommunityId,
        other: AccountId,
        account: AccountId,
        new: NewBan,
    ) -> Result<Ban, Failure> {
        let because = reason(&new.reason)?;
        if new.for_s.is_some_and(|for_s| !(1..=BAN_MAX.as_secs()).contains(&for_s)) {
            return Err(malformed("a ban with an end has one within ten years"));
        }
        if other == account {
            return Err(malformed("that is your own account"));
        }
        self.ctx.clock_check.refuse_if_wrong().await?;
        self.count_change(account).await?;
        // an account that is none must not fill the table; what may be asked is decided before that
        let (seen, _) = self.look(community, account).await?;
        self.may_act_on(&seen, (account, other), Permission::BanMembers)?;
        if self.ctx.call(&FindAccount::Id(other)).await?.is_none() {
            return Err(Failure::new(ErrorCode::AccountUnknown, format!("no account {}", other.uuid())));
        }
        let now_ms = self.now_ms();
        let until_ms = new.for_s.map(|for_s| now_ms + (for_s * 1_000).cast_signed());
        self.change(community, &[account, other], |seen| {
            self.may_act_on(seen, (account, other), Permission::BanMembers)?;
            let before = seen.any_ban(other);
            if before.is_none() && seen.bans() >= i64::from(self.bounds.bans_max) {
                let detail = format!("a community bans at most {} accounts", self.bounds.bans_max);
                return Err(Failure::new(ErrorCode::BanLimit, detail));
            }
            let row = BanRow {
                id: pair(community, other),
                decided_by: Text(account),
                reason: because.clone(),
                since_ms: now_ms,
                until_ms,
            };
            let deed = Deed::new(account, AuditAction::MemberBanned).to(other.uuid()).because(&because);
            let answer = row.to_api();
            let entry = self.audit(community, deed, before.map(BanRow::to_api).as_ref(), Some(&answer));
            let change = Change::default().put(entry).put(row).bans(i64::from(before.is_none()));
            let change = match seen.member(other) {
                Some(_) => self.without(seen, change, other, true)?,
                // who joins at this moment has the same seat
                None => change.of_seat(seen, other, true).access_of(Some(other)),
            };
            Ok((change, answer))
        })
        .await
    }

    /// Lifts a ban.
    pub async fn unban(
        &self,
        community: CommunityId,
        other: AccountId,
        account: AccountId,
        because: &str,
    ) -> Result<(), Failure> {
        let because = reason(because)?;
        self.count_change(account).await?;
        self.change(community, &[account, other], |seen| {
            self.acting(seen, account)?.need(Permission::BanMembers)?;
            let row = seen.any_ban(other).ok_or_else(not_found)?;
            let deed = Deed::new(account, AuditAction::MemberUnbanned).to(other.uuid()).because(&because);
            let change = Change::default()
                .put(self.audit(community, deed, Some(&row.to_api()), None::<&()>))
                .gone(ban_id(community, other))
                .of_seat(seen, other, false)
                .bans(-1);
            Ok((change, ()))
        })
        .await
    }

    pub async fn bans(
        &self,
        community: CommunityId,
        account: AccountId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Bans, Failure> {
        self.look(community, account).await?.1.need(Permission::BanMembers)?;
        let rows = self.store.bans(community, after, limit).await?;
        let next = if rows.len() == limit { rows.last().map(|row| row.id.0.1.0) } else { None };
        let now_ms = self.now_ms();
        let holds = |row: &&BanRow| row.until_ms.is_none_or(|until_ms| until_ms > now_ms);
        Ok(Bans { bans: rows.iter().filter(holds).map(BanRow::to_api).collect(), next })
    }

    /// Lets a member only read for some time.
    pub async fn time_out(
        &self,
        community: CommunityId,
        member: AccountId,
        account: AccountId,
        new: TimeOut,
    ) -> Result<Member, Failure> {
        let because = reason(&new.reason)?;
        if !(1..=TIME_OUT_MAX.as_secs()).contains(&new.for_s) {
            return Err(malformed("a time-out lasts for 1 second to 28 days"));
        }
        self.ctx.clock_check.refuse_if_wrong().await?;
        self.count_change(account).await?;
        let now_ms = self.now_ms();
        let until_ms = now_ms + (new.for_s * 1_000).cast_signed();
        self.change(community, &[account, member], |seen| {
            self.may_act_on(seen, (account, member), Permission::TimeOutMembers)?;
            let row = member_of(seen, member)?;
            let before = self.member_to_api(seen, row);
            let answer = Member { timed_out_until: Some(from_ms(until_ms)), ..before.clone() };
            let deed = Deed::new(account, AuditAction::MemberTimedOut).to(member.uuid()).because(&because);
            let change = Change::default()
                .put(self.audit(community, deed, Some(&before), Some(&answer)))
                .put(TimeOutRow { id: pair(community, member), until_ms })
                .of_seat(seen, member, true)
                .access_of(Some(member));
            Ok((change, answer))
        })
        .await
    }

    /// Ends a time-out, also of somebody who left.
    pub async fn lift_time_out(
        &self,
        community: CommunityId,
        member: AccountId,
        account: AccountId,
        because: &str,
    ) -> Result<(), Failure> {
        let because = reason(because)?;
        self.count_change(account).await?;
        let now_ms = self.now_ms();
        self.change(community, &[account, member], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::TimeOutMembers)?;
            let target = Powers::of(seen, member, now_ms).map_or(0, |target| target.rank);
            ranks::act_on_member(&powers.actor(), target, Permission::TimeOutMembers)?;
            let until_ms = seen.timed_out_until_ms(member, now_ms).ok_or_else(not_found)?;
            let deed = Deed::new(account, AuditAction::TimeOutLifted).to(member.uuid()).because(&because);
            let was = Until { timed_out_until: from_ms(until_ms) };
            let change = Change::default()
                .put(self.audit(community, deed, Some(&was), None::<&()>))
                .gone(time_out_id(community, member))
                .access_of(Some(member));
            Ok((change, ()))
        })
        .await
    }

    /// A page of the audit log.
    pub async fn audit_log(
        &self,
        community: CommunityId,
        account: AccountId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<AuditLog, Failure> {
        self.look(community, account).await?.1.need(Permission::ViewAuditLog)?;
        let after = match after {
            Some(entry) => {
                let at_ms = made_at_ms(entry).ok_or_else(|| malformed("`after` is the `next` of the page before"))?;
                Some((entry, at_ms))
            }
            None => None,
        };
        let rows = self.store.audit(community, after, limit).await?;
        let next = if rows.len() == limit { rows.last().map(|row| row.id.0.2.0) } else { None };
        Ok(AuditLog { entries: rows.iter().map(|row| row.to_api()).collect(), next })
    }
}

/// A member, of the accounts that were read.
pub fn member_of(seen: &Seen, account: AccountId) -> Result<&MemberRow, Failure> {
    seen.member(account).ok_or_else(|| Failure::new(ErrorCode::MemberUnknown, "that account is no member"))
}
