//! Committing what was decided by what was seen.

use nepto_kit::db::{DbError, RecordId, vars};
use nepto_kit::outbox;
use nepto_proto::{AccountId, CommunityId, ErrorCode};
use surrealdb::types::{SurrealValue, Value};

use super::rows::*;
use super::{Seen, Store};

/// The guard of a community as it was read; none before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision(pub Option<i64>);

/// How many communities more, or fewer, an account owns and belongs to.
#[derive(Debug, Clone, SurrealValue)]
pub struct Person {
    id: RecordId,
    owned: i64,
    joined: i64,
}

#[derive(Debug, Clone, SurrealValue)]
struct SeatSeen {
    id: RecordId,
    turns: Option<i64>,
    stays: bool,
}

/// What is to be written, all of it or nothing.
#[derive(Debug, Default)]
pub struct Change {
    put: Vec<Value>,
    gone: Vec<RecordId>,
    seats: Vec<SeatSeen>,
    persons: Vec<Person>,
    members: i64,
    bans: i64,
    events: Vec<outbox::Row>,
    changed: Vec<Option<AccountId>>,
}

impl Change {
    /// Writes a row, in place of the one with its id.
    pub fn put(mut self, row: impl SurrealValue) -> Self {
        self.put.push(row.into_value());
        self
    }

    /// Removes a row, if it is there.
    pub fn gone(mut self, id: RecordId) -> Self {
        self.gone.push(id);
        self
    }

    /// An account becomes something else in the community, and must still be what was seen.
    pub fn of_seat(mut self, seen: &Seen, account: AccountId, stays: bool) -> Self {
        self.seats.push(SeatSeen { id: seat_id(seen.id(), account), turns: seen.turns(account), stays });
        self
    }

    /// The first seat of a new community.
    pub fn new_seat(mut self, community: CommunityId, account: AccountId) -> Self {
        self.seats.push(SeatSeen { id: seat_id(community, account), turns: None, stays: true });
        self
    }

    /// An account owns and belongs to so many communities more. Refused with `community_limit` where that would be too many.
    pub fn of_person(mut self, account: AccountId, owned: i64, joined: i64) -> Self {
        self.persons.push(Person { id: person_id(account), owned, joined });
        self
    }

    /// The community has so many members more.
    pub fn members(mut self, more: i64) -> Self {
        self.members += more;
        self
    }

    /// The community bans so many accounts more.
    pub fn bans(mut self, more: i64) -> Self {
        self.bans += more;
        self
    }

    /// Tells others, once it is committed.
    pub fn emit(mut self, event: outbox::Row) -> Self {
        self.events.push(event);
        self
    }

    /// What one account may do is something else afterwards; `None`: what all may do.
    pub fn access_of(mut self, account: Option<AccountId>) -> Self {
        if !self.changed.contains(&account) {
            self.changed.push(account);
        }
        self
    }

    /// Whose access is something else afterwards.
    pub fn changed(&self) -> &[Option<AccountId>] {
        &self.changed
    }
}

impl Store {
    /// Commits a change. [`DbError::Stale`] if the guard, or a seat, is not what was seen.
    pub async fn commit(
        &self,
        community: CommunityId,
        Revision(revision): Revision,
        change: Change,
        (owned_max, joined_max): (u32, u32),
    ) -> Result<(), DbError> {
        let Change { put, gone, seats, persons, members, bans, events, changed: _ } = change;
        let variables = vars! {
            guard: guard_id(community),
            census: census_id(community),
            revision: revision,
            put: put,
            gone: gone,
            seats: seats,
            persons: persons,
            members: members,
            bans: bans,
            owned_max: i64::from(owned_max),
            joined_max: i64::from(joined_max),
        };
        self.db
            .transaction(variables)
            .then("LET $now = (SELECT revision, bans FROM ONLY $guard)")
            .stale_if("$now.revision != $revision")
            .then(
                "UPSERT $guard SET revision = ($now.revision ?? 0) + 1, bans = math::max([0, ($now.bans ?? 0) + $bans])",
            )
            .within("FOR $seat IN $seats", |each| {
                each.then("LET $turns = (SELECT VALUE turns FROM ONLY $seat.id)")
                    .stale_if("$turns != $seat.turns")
                    .then(
                        "IF $seat.stays { UPSERT $seat.id SET turns = ($turns ?? 0) + 1 RETURN NONE }
                        ELSE { DELETE $seat.id RETURN NONE }",
                    )
            })
            .within("FOR $person IN $persons", |each| {
                each.then("LET $known = (SELECT owned, joined FROM ONLY $person.id) ?? { owned: 0, joined: 0 }")
                    .refuse_if(
                        "$person.owned > 0 AND $known.owned + $person.owned > $owned_max",
                        ErrorCode::CommunityLimit,
                    )
                    .refuse_if(
                        "$person.joined > 0 AND $known.joined + $person.joined > $joined_max",
                        ErrorCode::CommunityLimit,
                    )
                    .then(
                        "UPSERT $person.id SET owned = math::max([0, $known.owned + $person.owned]),
                            joined = math::max([0, $known.joined + $person.joined]) RETURN NONE",
                    )
            })
            .then(
                "IF $members != 0 {
                    LET $counted = (SELECT VALUE members FROM ONLY $census) ?? 0;
                    UPSERT $census SET members = math::max([0, $counted + $members]) RETURN NONE;
                };
                DELETE $gone RETURN NONE;
                FOR $row IN $put { UPSERT $row.id CONTENT object::remove($row, 'id') RETURN NONE }",
            )
            .emit(events)
            .execute()
            .await
    }
}
