//! What goes for good: deleted communities, some rows at a time, and what has expired.

#[cfg(test)]
use nepto_kit::db::Id;
use nepto_kit::db::{DbError, RecordId, vars};
use nepto_kit::outbox;
#[cfg(test)]
use nepto_proto::AccountId;
use nepto_proto::CommunityId;
use surrealdb::types::SurrealValue;

use super::Store;
use super::rows::*;

#[derive(SurrealValue)]
struct Expired {
    bans: i64,
    time_outs: i64,
    invites: i64,
}

/// Tables whose rows go with their community and need nothing else.
const OF_COMMUNITY: [&str; 5] = ["ban", "time_out", "seat", "role", "audit"];

impl Store {
    /// Communities that were deleted before this time, up to a bound.
    pub async fn deleted_before(&self, before_ms: i64, limit: i64) -> Result<Vec<CommunityRow>, DbError> {
        let statement = "SELECT * FROM community WHERE deleted_at_ms != NONE AND deleted_at_ms < $before LIMIT $limit";
        self.db.rows(statement, vars! { before: before_ms, limit: limit }).await
    }

    /// Lets some members of a deleted community go, each with what it counts; how many.
    pub async fn let_members_go(&self, community: CommunityId, limit: i64) -> Result<u64, DbError> {
        let gone: i64 = self
            .db
            .run(
                "{
                    LET $ids = (SELECT VALUE id FROM type::record('member', [$community, NONE]..[$community, []])
                        LIMIT $limit);
                    FOR $id IN $ids {
                        LET $account = record::id($id)[1];
                        LET $person = type::record('person', $account);
                        DELETE type::record('membership', [$account, $community]) RETURN NONE;
                        UPDATE $person SET joined = math::max([0, joined - 1]) RETURN NONE;
                    };
                    DELETE $ids RETURN NONE;
                    RETURN array::len($ids);
                }",
                vars! { community: community.to_string(), limit: limit },
            )
            .await?;
        Ok(gone.unsigned_abs())
    }

    /// The channels of a community.
    pub async fn channels_of(&self, community: CommunityId) -> Result<Vec<ChannelRow>, DbError> {
        let statement = "SELECT * FROM channel:[$community, NONE]..[$community, []]";
        self.db.rows(statement, vars! { community: community.to_string() }).await
    }

    /// Removes what is left of a deleted community when its members are gone: invites first; its own row last, with those of its
    /// channels and the events that tell of all of them. How many rows.
    pub async fn remove(
        &self,
        row: &CommunityRow,
        channels: &[ChannelRow],
        events: Vec<outbox::Row>,
    ) -> Result<u64, DbError> {
        let community = row.community();
        let mut rows = 0;
        loop {
            let (invites, next) = self.invites(community, None, 500).await?;
            let ids: Vec<RecordId> = invites.iter().map(|invite| invite_id(&invite.id.0)).collect();
            let of: Vec<RecordId> = invites.iter().map(|invite| invite_of_id(community, &invite.id.0)).collect();
            rows += ids.len() as u64;
            let statement = "{ DELETE $ids RETURN NONE; DELETE $of RETURN NONE }";
            self.db.execute(statement, vars! { ids: ids, of: of }).await?;
            if next.is_none() || invites.is_empty() {
                break;
            }
        }
        let key = format!("'{community}'");
        rows += self.db.delete_under("invite_of", &key).await?;
        for table in OF_COMMUNITY {
            rows += self.db.delete_under(table, &key).await?;
        }
        let mut gone = vec![community_id(community), guard_id(community), census_id(community)];
        gone.extend(channels.iter().map(|channel| channel_id(community, channel.channel())));
        gone.extend(channels.iter().map(|channel| channel_of_id(channel.channel())));
        self.db
            .transaction(vars! {
                id: community_id(community),
                gone: gone,
                owner: person_id(row.owner.0),
            })
            .then(
                "IF (SELECT VALUE id FROM ONLY $id) = NONE { RETURN NONE };
                DELETE $gone RETURN NONE;
                UPDATE $owner SET owned = math::max([0, owned - 1]) RETURN NONE",
            )
            .emit(events)
            .execute()
            .await?;
        Ok(rows + 1)
    }

    /// Forgets bans, time-outs and invites that are over, up to a bound of each; how many.
    pub async fn forget_expired(&self, now_ms: i64, limit: i64) -> Result<u64, DbError> {
        let expired: Expired = self
            .db
            .run(
                "{
                    LET $bans = (SELECT VALUE id FROM ban WHERE until_ms != NONE AND until_ms <= $now LIMIT $limit);
                    FOR $id IN $bans {
                        UPDATE type::record('guard', record::id($id)[0]) SET revision += 1,
                            bans = math::max([0, bans - 1]) RETURN NONE;
                    };
                    DELETE $bans RETURN NONE;
                    LET $time_outs = (SELECT VALUE id FROM time_out WHERE until_ms <= $now LIMIT $limit);
                    DELETE $time_outs RETURN NONE;
                    LET $invites = (SELECT id, community FROM invite WHERE expires_at_ms <= $now LIMIT $limit);
                    FOR $invite IN $invites {
                        DELETE type::record('invite_of', [$invite.community, record::id($invite.id)]) RETURN NONE;
                        DELETE $invite.id RETURN NONE;
                    };
                    RETURN {
                        bans: array::len($bans),
                        time_outs: array::len($time_outs),
                        invites: array::len($invites)
                    };
                }",
                vars! { now: now_ms, limit: limit },
            )
            .await?;
        Ok((expired.bans + expired.time_outs + expired.invites).unsigned_abs())
    }

    /// Forgets entries of the audit log from before a time, up to a bound; how many.
    pub async fn forget_audit(&self, before_ms: i64, limit: i64) -> Result<usize, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM audit WHERE done_at_ms < $before LIMIT $limit) RETURN BEFORE)";
        let gone: i64 = self.db.run(statement, vars! { before: before_ms, limit: limit }).await?;
        Ok(gone.unsigned_abs() as usize)
    }

    /// The ids of the members of a community, for tests of what goes.
    #[cfg(test)]
    pub async fn member_ids(&self, community: CommunityId) -> Result<Vec<AccountId>, DbError> {
        let statement = "SELECT VALUE id FROM member:[$community, NONE]..[$community, []]";
        let ids: Vec<Id<Members>> = self.db.rows(statement, vars! { community: community.to_string() }).await?;
        Ok(ids.into_iter().map(|id| id.0.1.0).collect())
    }
}
