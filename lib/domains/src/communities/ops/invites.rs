//! Joining, and invite links.

use std::time::Duration;

use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::db::{DbError, Id, Text};
use nepto_proto::api::communities::members::AuditAction;
use nepto_proto::api::communities::{Community, Invite, InvitePreview, Invites, NewInvite, OwnMembership};
use nepto_proto::event::{AccessChanged, MemberJoined};
use nepto_proto::permissions::Permission;
use nepto_proto::{AccountId, CommunityId, ErrorCode, RoleId};

use super::roles::may_grant;
use super::{ATTEMPTS_MAX, Communities, Deed, explained, malformed};
use crate::communities::model::{Powers, lacks, not_found};
use crate::communities::store::{Change, InviteRow, Joined, Joining, Revision, invite_id, invite_of_id};

/// Characters of a code, 5 bits each: nobody guesses one.
const CODE_CHARS: usize = 16;
/// An invite works for so long, unless its maker says otherwise.
const EXPIRES_AFTER_S: u64 = 7 * 86_400;
/// The shortest that one works.
const EXPIRES_AFTER_S_MIN: u64 = 60;

impl Communities {
    /// Joins a community that is public or unlisted.
    pub async fn join(&self, community: CommunityId, account: AccountId) -> Result<OwnMembership, Failure> {
        self.count_join(account).await?;
        self.enter(self.joining(community, account)).await?;
        self.own(community, account).await
    }

    /// Joins by an invite. Who is a member uses none up.
    pub async fn accept_invite(&self, code: &str, account: AccountId) -> Result<Community, Failure> {
        self.count_join(account).await?;
        for _ in 0..ATTEMPTS_MAX {
            let invite = self.working(code).await?;
            let community = invite.community.0;
            let role = match invite.grants {
                Some(Text(role)) => self.granted_by(community, invite.made_by.0, role).await?,
                None => None,
            };
            let joining = Joining { code: Some(code.to_owned()), role, ..self.joining(community, account) };
            match self.enter(joining).await {
                // what its maker may grant is something else now
                Err(Entering::Stale) => {}
                done => {
                    done?;
                    return self.view(community, account).await;
                }
            }
        }
        Err(DbError::Conflict.into())
    }

    fn joining(&self, community: CommunityId, account: AccountId) -> Joining {
        Joining {
            community,
            account,
            now_ms: self.now_ms(),
            // far below what a column holds, because it grows
            turn: i64::from(u32::from_be_bytes(self.ctx.random.bytes())),
            code: None,
            role: None,
            members_max: self.bounds.members_max,
            joined_max: self.bounds.joined_per_account_max,
        }
    }

    /// A role of an invite, if its maker may still grant it. If not, who joins gets none.
    async fn granted_by(
        &self,
        community: CommunityId,
        maker: AccountId,
        role: RoleId,
    ) -> Result<Option<(RoleId, Revision)>, Failure> {
        let Some(seen) = self.store.seen(community, &[maker]).await? else { return Ok(None) };
        let powers = Powers::of(&seen, maker, self.now_ms());
        let may = powers.is_some_and(|powers| may_grant(&seen, &powers, role).is_ok());
        Ok(may.then(|| (role, seen.revision())))
    }

    async fn enter(&self, joining: Joining) -> Result<(), Entering> {
        let (community, account) = (joining.community, joining.account);
        let events = vec![
            self.event(&MemberJoined { community, account })?,
            self.event(&AccessChanged { community, account: Some(account) })?,
        ];
        match self.store.join(joining, events).await {
            Ok(Joined::Before) => {}
            Ok(Joined::Now) => {
                self.outbox.wake();
                self.tell(community, Some(account)).await;
            }
            Err(DbError::Stale) => return Err(Entering::Stale),
            Err(error) => return Err(Entering::Refused(explained(error))),
        }
        Ok(())
    }

    async fn count_join(&self, account: AccountId) -> Result<(), Failure> {
        let max = self.bounds.joins_per_account_per_hour;
        self.count(account, "community_joins", max, Duration::from_secs(3_600)).await
    }

    /// An invite that works. One that does not, and one that never was, look the same.
    async fn working(&self, code: &str) -> Result<InviteRow, Failure> {
        let is_code = code.len() == CODE_CHARS && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let row = if is_code { self.store.invite(code).await? } else { None };
        let now_ms = self.now_ms();
        row.filter(|row| row.works_at(now_ms))
            .ok_or_else(|| Failure::new(ErrorCode::InviteInvalid, "ask for another invite"))
    }

    /// What an invite leads to.
    pub async fn preview(&self, code: &str, account: AccountId) -> Result<InvitePreview, Failure> {
        self.count_join(account).await?;
        let invite = self.working(code).await?;
        let community = invite.community.0;
        let gone = || Failure::new(ErrorCode::InviteInvalid, "ask for another invite");
        let view = self.store.views(account, &[community]).await?.pop().ok_or_else(gone)?;
        if view.community.deleted_at_ms.is_some() {
            return Err(gone());
        }
        let role = match invite.grants {
            Some(Text(role)) => {
                let seen = self.store.seen(community, &[]).await?;
                seen.and_then(|seen| seen.role(role).map(|row| row.name.clone()))
            }
            None => None,
        };
        let expires_at = from_ms(invite.expires_at_ms);
        Ok(InvitePreview { community: self.to_api(&view), by: invite.made_by.0, role, expires_at })
    }

    pub async fn create_invite(
        &self,
        community: CommunityId,
        account: AccountId,
        new: NewInvite,
    ) -> Result<Invite, Failure> {
        let expires_after_s = new.expires_after_s.unwrap_or(EXPIRES_AFTER_S);
        let max = self.bounds.invite_expires_after_s_max;
        if !(EXPIRES_AFTER_S_MIN..=max).contains(&expires_after_s) {
            return Err(malformed(format!("expires_after_s is {EXPIRES_AFTER_S_MIN} to {max}")));
        }
        if new.uses == Some(0) {
            return Err(malformed("an invite is for at least one use"));
        }
        self.ctx.clock_check.refuse_if_wrong().await?;
        let max = self.bounds.invites_per_account_per_hour;
        self.count(account, "community_invites", max, Duration::from_secs(3_600)).await?;
        let now_ms = self.now_ms();
        let row = InviteRow {
            id: Id(self.ctx.random.alphanumeric(CODE_CHARS)),
            community: Text(community),
            made_by: Text(account),
            uses_left: new.uses.map(i64::from),
            used: 0,
            grants: new.role.map(Text),
            created_at_ms: now_ms,
            expires_at_ms: now_ms + (expires_after_s * 1_000).cast_signed(),
        };
        // whoever makes another one meanwhile changes the guard; so the count is behind by those of this moment at the most
        let invites_max = self.bounds.invites_max;
        if self.store.count_invites(community, invites_max).await? >= invites_max as usize {
            // who may not make one does not learn how many there are
            self.look(community, account).await?.1.need(Permission::CreateInvites)?;
            let detail = format!("a community has at most {invites_max} invites; revoke some");
            return Err(Failure::new(ErrorCode::CommunityInviteLimit, detail));
        }
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            powers.need(Permission::CreateInvites)?;
            if let Some(role) = new.role {
                may_grant(seen, &powers, role)?;
            }
            let answer = row.to_api();
            let deed = Deed::new(account, AuditAction::InviteCreated).to(&answer.code);
            let entry = self.audit(community, deed, None::<&()>, Some(&answer));
            Ok((Change::default().put(entry).put(row.of_it()).put(row.clone()), answer))
        })
        .await
    }

    /// All invites for who manages the community, the own ones for others.
    pub async fn invites(
        &self,
        community: CommunityId,
        account: AccountId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Invites, Failure> {
        let (_, powers) = self.look(community, account).await?;
        let sees_all = powers.base().contains(Permission::ManageCommunity);
        let (rows, next) = self.store.invites(community, after, limit).await?;
        let now_ms = self.now_ms();
        let shown = rows.iter().filter(|row| row.works_at(now_ms) && (sees_all || row.made_by == Text(account)));
        Ok(Invites { invites: shown.map(InviteRow::to_api).collect(), next })
    }

    /// Revokes an invite: one's own, or any.
    pub async fn revoke_invite(&self, community: CommunityId, code: &str, account: AccountId) -> Result<(), Failure> {
        self.count_change(account).await?;
        let row = self.store.invite(code).await?.filter(|row| row.community == Text(community));
        self.change(community, &[account], |seen| {
            let powers = self.acting(seen, account)?;
            let manages = powers.base().contains(Permission::ManageCommunity);
            let row = match &row {
                Some(row) if manages || row.made_by == Text(account) => row,
                Some(_) => return Err(lacks(Permission::ManageCommunity)),
                None => return Err(not_found()),
            };
            let deed = Deed::new(account, AuditAction::InviteRevoked).to(code);
            let change = Change::default()
                .put(self.audit(community, deed, Some(&row.to_api()), None::<&()>))
                .gone(invite_id(code))
                .gone(invite_of_id(community, code));
            Ok((change, ()))
        })
        .await
    }
}

/// Why somebody is not in.
#[derive(Debug)]
enum Entering {
    /// What the role of the invite was granted by is not true any more.
    Stale,
    Refused(Failure),
}

impl From<Failure> for Entering {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Entering> for Failure {
    fn from(entering: Entering) -> Self {
        match entering {
            Entering::Stale => DbError::Conflict.into(),
            Entering::Refused(failure) => failure,
        }
    }
}
