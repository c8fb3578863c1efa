//! Joining: what may happen many times at one moment, and so is decided where it is committed.

use nepto_kit::db::{DbError, Id, Text, vars};
use nepto_kit::outbox;
use nepto_proto::{AccountId, CommunityId, ErrorCode, RoleId};

use super::rows::*;
use super::{Revision, Store};

/// Somebody who wants to join.
#[derive(Debug, Clone)]
pub struct Joining {
    pub community: CommunityId,
    pub account: AccountId,
    pub now_ms: i64,
    /// Drawn at random: its seat is another one than before it left.
    pub turn: i64,
    /// The invite that is used.
    pub code: Option<String>,
    /// A role that the invite grants, which its maker may grant as of this revision.
    pub role: Option<(RoleId, Revision)>,
    pub members_max: u64,
    pub joined_max: u32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// It is a member now.
    Now,
    /// It was one, and nothing changed.
    Before,
}

impl Store {
    /// Makes an account a member, and uses an invite up. Refuses with `not_found` where nobody may join so, `invite_invalid`,
    /// `banned`, `community_limit` and `community_full`. [`DbError::Stale`] if a role is to be granted by what is not true any
    /// more.
    pub async fn join(&self, joining: Joining, events: Vec<outbox::Row>) -> Result<Joined, DbError> {
        let Joining { community, account, now_ms, turn, code, role, members_max, joined_max } = joining;
        let (role, revision) = role.map_or((None, None), |(role, Revision(revision))| (Some(Text(role)), revision));
        let mut member = MemberRow::new(community, account, now_ms);
        member.granted.extend(role);
        let variables = vars! {
            id: community_id(community),
            community: community.to_string(),
            guard: guard_id(community),
            census: census_id(community),
            seat: seat_id(community, account),
            member: member_id(community, account),
            membership: membership_id(account, community),
            person: person_id(account),
            ban: ban_id(community, account),
            invited: code.is_some(),
            // no code is so short
            invite: invite_id(code.as_deref().unwrap_or("-")),
            grants: role.is_some(),
            revision: revision,
            row: member,
            turn: turn,
            now: now_ms,
            members_max: i64::try_from(members_max).unwrap_or(i64::MAX),
            joined_max: i64::from(joined_max),
        };
        let is_new: bool = self
            .db
            .transaction(variables)
            .then(
                "LET $found = (SELECT visibility, deleted_at_ms FROM ONLY $id);
                IF $found AND $found.deleted_at_ms = NONE AND (SELECT VALUE id FROM ONLY $member) != NONE {
                    RETURN false
                };
                LET $used = (SELECT * FROM ONLY $invite)",
            )
            .refuse_if(
                "$invited AND (!$used OR $used.community != $community OR $used.expires_at_ms <= $now
                    OR $used.uses_left = 0 OR !$found OR $found.deleted_at_ms != NONE)",
                ErrorCode::InviteInvalid,
            )
            .refuse_if(
                "!$found OR $found.deleted_at_ms != NONE OR (!$invited AND $found.visibility = 'private')",
                ErrorCode::NotFound,
            )
            .then("LET $banned = (SELECT * FROM ONLY $ban)")
            .refuse_if("$banned AND ($banned.until_ms = NONE OR $banned.until_ms > $now)", ErrorCode::Banned)
            .then(
                "LET $known = (SELECT owned, joined FROM ONLY $person) ?? { owned: 0, joined: 0 };
                LET $members = (SELECT VALUE members FROM ONLY $census) ?? 0",
            )
            .refuse_if("$known.joined >= $joined_max", ErrorCode::CommunityLimit)
            .refuse_if("$members >= $members_max", ErrorCode::CommunityFull)
            .within("IF $grants", |grants| {
                grants
                    .then("LET $newest = (SELECT VALUE revision FROM ONLY $guard)")
                    .stale_if("$newest != $revision")
                    .then("UPDATE $guard SET revision += 1 RETURN NONE")
            })
            .then(
                "IF $invited {
                    UPDATE $invite SET used += 1,
                        uses_left = IF uses_left = NONE { NONE } ELSE { uses_left - 1 } RETURN NONE;
                };
                UPSERT $seat SET turns = $turn RETURN NONE;
                UPSERT $person SET owned = $known.owned, joined = $known.joined + 1 RETURN NONE;
                UPSERT $census SET members = $members + 1 RETURN NONE;
                UPSERT $membership RETURN NONE;
                UPSERT $member CONTENT object::remove($row, 'id') RETURN NONE",
            )
            .emit(events)
            .then("RETURN true")
            .run()
            .await?;
        Ok(if is_new { Joined::Now } else { Joined::Before })
    }

    /// The invite with this code, also one that works no more.
    pub async fn invite(&self, code: &str) -> Result<Option<InviteRow>, DbError> {
        self.db.run("SELECT * FROM ONLY $id", vars! { id: invite_id(code) }).await
    }

    /// How many invites a community has, those that work no more included, up to a bound.
    pub async fn count_invites(&self, community: CommunityId, up_to: u32) -> Result<usize, DbError> {
        let statement =
            "SELECT VALUE id FROM type::record('invite_of', [$community, NONE]..[$community, []]) LIMIT $limit";
        let variables = vars! { community: community.to_string(), limit: i64::from(up_to) };
        let ids: Vec<Id<InvitesOf>> = self.db.rows(statement, variables).await?;
        Ok(ids.len())
    }
}
