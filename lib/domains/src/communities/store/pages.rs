//! What is read and not decided by: communities as they are shown, and pages of what they have.

use std::collections::HashMap;

use nepto_kit::db::{DbError, Id, RecordId, Rows, Text, vars};
use nepto_proto::{AccountId, CommunityId, RoleId};
use surrealdb::types::{SurrealValue, Value};
use uuid::Uuid;

use super::Store;
use super::rows::*;

/// A community as an account sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub community: CommunityRow,
    pub members: u64,
    /// What the account is in it.
    pub own: Option<MemberRow>,
    /// The roles that it has, `everyone` among them.
    pub roles: Vec<RoleRow>,
    pub timed_out_until_ms: Option<i64>,
}

#[derive(Debug, Clone, SurrealValue)]
struct CensusRow {
    id: Id<Censuses>,
    members: i64,
}

#[derive(SurrealValue)]
struct Shown {
    communities: Rows<CommunityRow>,
    censuses: Rows<CensusRow>,
    members: Rows<MemberRow>,
    time_outs: Rows<TimeOutRow>,
}

impl Store {
    /// Communities as an account sees them, in the order in which they are named; those that are not there are left out.
    pub async fn views(&self, account: AccountId, communities: &[CommunityId]) -> Result<Vec<View>, DbError> {
        let ids = |id: &dyn Fn(CommunityId) -> RecordId| -> Vec<RecordId> {
            communities.iter().map(|community| id(*community)).collect()
        };
        let shown: Shown = self
            .db
            .run(
                "RETURN {
                    communities: (SELECT * FROM $communities),
                    censuses: (SELECT * FROM $censuses),
                    members: (SELECT * FROM $members),
                    time_outs: (SELECT * FROM $time_outs)
                }",
                vars! {
                    communities: ids(&community_id),
                    censuses: ids(&census_id),
                    members: ids(&|community| member_id(community, account)),
                    time_outs: ids(&|community| time_out_id(community, account)),
                },
            )
            .await?;
        let granted = shown.members.0.iter().flat_map(|member| {
            let Id((Text(community), _)) = member.id;
            let everyone = RoleId::new(community.uuid());
            let roles = member.granted.iter().map(|role| role.0).chain([everyone]);
            roles.map(move |role| role_id(community, role))
        });
        let granted: Vec<RecordId> = granted.collect();
        let rows: Vec<RoleRow> = match granted.is_empty() {
            true => Vec::new(),
            false => self.db.rows("SELECT * FROM $roles", vars! { roles: granted }).await?,
        };
        let mut roles: HashMap<CommunityId, Vec<RoleRow>> = HashMap::new();
        for row in rows {
            roles.entry(row.id.0.0.0).or_default().push(row);
        }
        let place = |row: &CommunityRow| communities.iter().position(|community| *community == row.community());
        let mut found = shown.communities.0;
        found.sort_by_key(place);
        let view = |community: CommunityRow| {
            let id = community.community();
            let counted = shown.censuses.0.iter().find(|row| row.id.0 == Text(id));
            View {
                members: counted.map_or(0, |row| row.members.unsigned_abs()),
                own: shown.members.0.iter().find(|row| row.id.0.0 == Text(id)).cloned(),
                roles: roles.remove(&id).unwrap_or_default(),
                timed_out_until_ms: shown.time_outs.0.iter().find(|row| row.id.0.0 == Text(id)).map(|row| row.until_ms),
                community,
            }
        };
        Ok(found.into_iter().map(view).collect())
    }

    /// A page of the communities that an account belongs to, by their ids.
    pub async fn memberships(
        &self,
        account: AccountId,
        after: Option<CommunityId>,
        limit: usize,
    ) -> Result<Vec<CommunityId>, DbError> {
        let after = after.map_or(Value::None, |after| Value::String(after.to_string()));
        let ids: Vec<Id<Memberships>> = self
            .db
            .rows(
                "SELECT VALUE id FROM type::record('membership', [$account, $after]>..[$account, []]) LIMIT $limit",
                vars! { account: account.to_string(), after: after, limit: limit as i64 },
            )
            .await?;
        Ok(ids.into_iter().map(|Id((_, Text(community)))| community).collect())
    }

    /// A page of what everybody finds whose names begin so, in small letters: name and id.
    pub async fn listed(
        &self,
        prefix: &str,
        after: Option<(String, CommunityId)>,
        limit: usize,
    ) -> Result<Vec<(String, CommunityId)>, DbError> {
        let (name, community) = match after {
            Some((name, community)) => (name, Value::String(community.to_string())),
            None => (prefix.to_owned(), Value::None),
        };
        let ids: Vec<Id<Listings>> = self
            .db
            .rows(
                "SELECT VALUE id FROM type::record('listing', [$name, $community]>..[$above, []]) LIMIT $limit",
                vars! {
                    name: name,
                    community: community,
                    // above every name that begins so
                    above: format!("{prefix}\u{10ffff}"),
                    limit: limit as i64,
                },
            )
            .await?;
        Ok(ids.into_iter().map(|Id((name, Text(community)))| (name, community)).collect())
    }

    /// A page of members, by account, with their time-outs.
    pub async fn members(
        &self,
        community: CommunityId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(MemberRow, Option<i64>)>, DbError> {
        let after = after.map_or(Value::None, |after| Value::String(after.to_string()));
        let rows: Vec<MemberRow> = self
            .db
            .rows(
                "SELECT * FROM type::record('member', [$community, $after]>..[$community, []]) LIMIT $limit",
                vars! { community: community.to_string(), after: after, limit: limit as i64 },
            )
            .await?;
        let ids: Vec<RecordId> = rows.iter().map(|row| time_out_id(community, row.account())).collect();
        let time_outs: Vec<TimeOutRow> = self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?;
        let until_ms =
            |account: AccountId| time_outs.iter().find(|row| row.id.0.1 == Text(account)).map(|row| row.until_ms);
        let with_end = |row: MemberRow| {
            let until_ms = until_ms(row.account());
            (row, until_ms)
        };
        Ok(rows.into_iter().map(with_end).collect())
    }

    /// A page of bans, by account.
    pub async fn bans(
        &self,
        community: CommunityId,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<BanRow>, DbError> {
        let after = after.map_or(Value::None, |after| Value::String(after.to_string()));
        self.db
            .rows(
                "SELECT * FROM type::record('ban', [$community, $after]>..[$community, []]) LIMIT $limit",
                vars! { community: community.to_string(), after: after, limit: limit as i64 },
            )
            .await
    }

    /// A page of invites, by their codes, and where the next one begins. Codes whose invites are gone are passed over.
    pub async fn invites(
        &self,
        community: CommunityId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<InviteRow>, Option<String>), DbError> {
        let after = after.map_or(Value::None, |after| Value::String(after.to_owned()));
        let ids: Vec<Id<InvitesOf>> = self
            .db
            .rows(
                "SELECT VALUE id FROM type::record('invite_of', [$community, $after]>..[$community, []]) LIMIT $limit",
                vars! { community: community.to_string(), after: after, limit: limit as i64 },
            )
            .await?;
        let next = if ids.len() == limit { ids.last().map(|id| id.0.1.clone()) } else { None };
        let ids: Vec<RecordId> = ids.iter().map(|id| invite_id(&id.0.1)).collect();
        Ok((self.db.rows("SELECT * FROM $ids", vars! { ids: ids }).await?, next))
    }

    /// A page of the audit log, the newest first, behind an entry and the time that its id tells.
    pub async fn audit(
        &self,
        community: CommunityId,
        after: Option<(Uuid, i64)>,
        limit: usize,
    ) -> Result<Vec<AuditRow>, DbError> {
        let (at_ms, entry) = match after {
            Some((entry, at_ms)) => ((-at_ms).into_value(), Value::String(entry.to_string())),
            None => (Value::None, Value::None),
        };
        self.db
            .rows(
                "SELECT * FROM type::record('audit', [$community, $at_ms, $entry]>..[$community, []]) LIMIT $limit",
                vars! { community: community.to_string(), at_ms: at_ms, entry: entry, limit: limit as i64 },
            )
            .await
    }
}
