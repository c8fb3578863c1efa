//! What one transaction sees of a community: everything that decides who may do what in it.

use nepto_kit::db::{DbError, Id, RecordId, Rows, Text, vars};
use nepto_proto::{AccountId, ChannelId, CommunityId, RoleId};
use surrealdb::types::SurrealValue;

use super::rows::*;
use super::{Revision, Store};

/// A community as it was at one moment, with some of its accounts.
#[derive(Debug, Clone, SurrealValue)]
pub struct Seen {
    pub community: CommunityRow,
    guard: GuardColumns,
    roles: Rows<RoleRow>,
    channels: Rows<ChannelRow>,
    members: Rows<MemberRow>,
    seats: Rows<Seat>,
    time_outs: Rows<TimeOutRow>,
    bans: Rows<BanRow>,
}

#[derive(Debug, Clone, Copy, SurrealValue)]
struct GuardColumns {
    revision: i64,
    bans: i64,
}

/// The guard of what an account is in a community.
#[derive(Debug, Clone, PartialEq, SurrealValue)]
pub struct Seat {
    pub id: Id<Seats>,
    pub turns: i64,
}

impl Store {
    /// What decides who may do what in a community, and what these accounts are in it. `None` where there is none.
    pub async fn seen(&self, community: CommunityId, accounts: &[AccountId]) -> Result<Option<Seen>, DbError> {
        let ids = |id: fn(CommunityId, AccountId) -> RecordId| -> Vec<RecordId> {
            accounts.iter().map(|account| id(community, *account)).collect()
        };
        self.db
            .run(
                "{
                    LET $found = (SELECT * FROM ONLY $id);
                    IF !$found { RETURN NONE };
                    RETURN {
                        community: $found,
                        guard: (SELECT revision, bans FROM ONLY $guard),
                        roles: (SELECT * FROM role:[$community, NONE]..[$community, []]),
                        channels: (SELECT * FROM channel:[$community, NONE]..[$community, []]),
                        members: (SELECT * FROM $members),
                        seats: (SELECT * FROM $seats),
                        time_outs: (SELECT * FROM $time_outs),
                        bans: (SELECT * FROM $bans)
                    };
                }",
                vars! {
                    id: community_id(community),
                    guard: guard_id(community),
                    community: community.to_string(),
                    members: ids(member_id),
                    seats: ids(seat_id),
                    time_outs: ids(time_out_id),
                    bans: ids(ban_id),
                },
            )
            .await
    }
}

impl Seen {
    pub fn id(&self) -> CommunityId {
        self.community.community()
    }

    /// What a commit must find unchanged.
    pub fn revision(&self) -> Revision {
        Revision(Some(self.guard.revision))
    }

    /// How many accounts it bans.
    pub fn bans(&self) -> i64 {
        self.guard.bans
    }

    pub fn roles(&self) -> &[RoleRow] {
        &self.roles.0
    }

    pub fn role(&self, role: RoleId) -> Option<&RoleRow> {
        self.roles.0.iter().find(|row| row.role() == role)
    }

    pub fn channels(&self) -> &[ChannelRow] {
        &self.channels.0
    }

    pub fn channel(&self, channel: ChannelId) -> Option<&ChannelRow> {
        self.channels.0.iter().find(|row| row.channel() == channel)
    }

    /// A member, of the accounts that were asked for.
    pub fn member(&self, account: AccountId) -> Option<&MemberRow> {
        self.members.0.iter().find(|row| row.account() == account)
    }

    /// The seat of an account as a commit must find it.
    pub fn turns(&self, account: AccountId) -> Option<i64> {
        self.seats.0.iter().find(|seat| seat.id.0.1 == Text(account)).map(|seat| seat.turns)
    }

    /// Until when an account may only read.
    pub fn timed_out_until_ms(&self, account: AccountId, now_ms: i64) -> Option<i64> {
        let row = self.time_outs.0.iter().find(|row| row.id.0.1 == Text(account));
        row.map(|row| row.until_ms).filter(|until_ms| *until_ms > now_ms)
    }

    /// The row of a ban, also of one that is over.
    pub fn any_ban(&self, account: AccountId) -> Option<&BanRow> {
        self.bans.0.iter().find(|row| row.id.0.1 == Text(account))
    }
}
