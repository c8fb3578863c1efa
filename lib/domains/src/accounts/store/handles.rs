//! Profiles and handles.
//!
//! A handle that is taken, and one that rests, has a guard by what it looks like: whoever takes a handle that looks the same
//! meets it in the same transaction.

use std::collections::HashMap;

use nepto_kit::db::{DbError, Id, Migration, Portions, RecordId, Table, Text, vars};
use nepto_proto::{AccountId, ErrorCode};
use surrealdb::types::SurrealValue;

use super::super::handles::{CHANGES_MAX, CHANGES_WINDOW, RESTS_FOR};
use super::Store;

/// Handles from before have their guards made; of several that look alike, all keep theirs and one is the guard.
pub const LIKENESSES: Migration = Migration {
    number: 3,
    statements: "
        -- likeness:[skeleton]: the one account whose handle looks like this
        DEFINE TABLE IF NOT EXISTS likeness SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS account ON likeness TYPE string;
        DEFINE FIELD IF NOT EXISTS handle ON likeness TYPE string;
        -- none while it is in use
        DEFINE FIELD IF NOT EXISTS rests_until_ms ON likeness TYPE option<int>;
        DEFINE INDEX IF NOT EXISTS likeness_rest ON likeness FIELDS rests_until_ms;
        DEFINE FIELD IF NOT EXISTS skeleton ON handle TYPE option<string>;
        DEFINE FIELD IF NOT EXISTS taken_at_ms ON profile TYPE option<array<int>>;
        DEFINE FUNCTION IF NOT EXISTS fn::skeleton($handle: string) {
            LET $digits = ['0', '1', 'i', '2', '3', '4', '5', '6', '7', '8', '9', 'm', 'w'];
            LET $letters = ['o', 'l', 'l', 'z', 'e', 'a', 's', 'g', 't', 'b', 'q', 'rn', 'vv'];
            LET $looks = array::fold(array::range(0..13), $handle,
                |$text, $at| string::replace($text, $digits[$at], $letters[$at]));
            RETURN string::replace(string::replace($looks, <regex> '_+', '_'), <regex> '_$', '');
        };
    ",
    rows: &[Portions {
        table: "handle",
        change: "FOR $row IN (SELECT id, account FROM $rows WHERE skeleton = NONE) {
            LET $skeleton = fn::skeleton(record::id($row.id));
            UPDATE $row.id SET skeleton = $skeleton;
            UPSERT type::record('likeness', $skeleton) SET account = account ?? $row.account,
                handle = handle ?? record::id($row.id);
        }",
    }],
    compatible_from: None,
};

/// `d` looks like `cl`. What looks alike since then: all who have such a handle keep it, and one of them is the guard, before
/// one that rests.
pub const D_IS_LIKE_CL: Migration = Migration {
    number: 4,
    statements: "
        DEFINE FUNCTION OVERWRITE fn::skeleton($handle: string) {
            LET $digits = ['0', '1', 'i', '2', '3', '4', '5', '6', '7', '8', '9', 'm', 'w', 'd'];
            LET $letters = ['o', 'l', 'l', 'z', 'e', 'a', 's', 'g', 't', 'b', 'q', 'rn', 'vv', 'cl'];
            LET $looks = array::fold(array::range(0..14), $handle,
                |$text, $at| string::replace($text, $digits[$at], $letters[$at]));
            RETURN string::replace(string::replace($looks, <regex> '_+', '_'), <regex> '_$', '');
        };
    ",
    rows: &[
        Portions {
            table: "handle",
            change: "UPDATE $rows SET skeleton = string::replace(skeleton, 'd', 'cl')
                WHERE string::contains(skeleton, 'd') RETURN NONE",
        },
        Portions {
            table: "likeness",
            change: "FOR $row IN (SELECT * FROM $rows WHERE string::contains(record::id(id), 'd')) {
                LET $id = type::record('likeness', string::replace(record::id($row.id), 'd', 'cl'));
                LET $there = (SELECT * FROM ONLY $id);
                IF !$there OR ($there.rests_until_ms != NONE
                    AND ($row.rests_until_ms = NONE OR $row.rests_until_ms > $there.rests_until_ms)) {
                    UPSERT $id SET account = $row.account, handle = $row.handle, rests_until_ms = $row.rests_until_ms;
                };
                DELETE $row.id;
            }",
        },
    ],
    compatible_from: None,
};

/// What an account says of itself.
#[derive(Debug, Clone, Default, PartialEq, SurrealValue)]
pub struct Profile {
    pub handle: Option<String>,
    pub display_name: Option<String>,
}

/// The table `profile`; ids are `profile:[account]`.
#[derive(Debug)]
struct Profiles;

impl Table for Profiles {
    const NAME: &'static str = "profile";
    type Key = Text<AccountId>;
}

/// A handle that an account wants.
#[derive(Debug, Clone, SurrealValue)]
pub struct NewHandle {
    pub handle: String,
    /// What it looks like.
    pub skeleton: String,
}

/// What changes of a profile. What is `None` stays; an inner `None` goes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub handle: Option<Option<NewHandle>>,
    pub display_name: Option<Option<String>>,
}

impl Store {
    pub async fn profile(&self, account: AccountId) -> Result<Profile, DbError> {
        let row: Option<Profile> =
            self.db.run("SELECT handle, display_name FROM ONLY $id", vars! { id: profile_id(account) }).await?;
        Ok(row.unwrap_or_default())
    }

    /// What accounts say of themselves; who says nothing is left out.
    pub async fn profiles(&self, accounts: &[AccountId]) -> Result<HashMap<AccountId, Profile>, DbError> {
        #[derive(SurrealValue)]
        struct Row {
            id: Id<Profiles>,
            handle: Option<String>,
            display_name: Option<String>,
        }
        let ids: Vec<RecordId> = accounts.iter().map(|account| profile_id(*account)).collect();
        let statement = "SELECT id, handle, display_name FROM $ids";
        let rows: Vec<Row> = self.db.rows(statement, vars! { ids: ids }).await?;
        let profile = |Row { id, handle, display_name }| (id.0.0, Profile { handle, display_name });
        Ok(rows.into_iter().map(profile).collect())
    }

    /// Changes a profile, and lets the handle rest that is given up. Throws `handle_taken` where another account has one that
    /// looks like it, `handle_resting` where another account gave it up lately, and `handle_limit`.
    pub async fn change_profile(&self, account: AccountId, change: Change, now_ms: i64) -> Result<(), DbError> {
        let Change { handle, display_name } = change;
        let variables = vars! {
            id: profile_id(account),
            account: account.to_string(),
            moves: handle.is_some(),
            new: handle.flatten(),
            renames: display_name.is_some(),
            display_name: display_name.flatten(),
            now: now_ms,
            since: now_ms - CHANGES_WINDOW.as_millis() as i64,
            rests_until: now_ms + RESTS_FOR.as_millis() as i64,
            max: CHANGES_MAX,
        };
        self.db
            .transaction(variables)
            .then(
                "LET $profile = (SELECT * FROM ONLY $id);
                LET $before = $profile.handle;
                LET $handle = IF $moves { $new.handle } ELSE { $before };
                LET $recent = ($profile.taken_at_ms ?? []).filter(|$at| $at > $since);
                -- a text like 'false' is not true
                LET $takes = $handle != NONE AND $handle != $before",
            )
            .within("IF $takes", |takes| {
                takes
                    .then(
                        "LET $guard_id = type::record('likeness', $new.skeleton);
                        LET $guard = (SELECT * FROM ONLY $guard_id);
                        LET $is_others = $guard AND $guard.account != $account",
                    )
                    .refuse_if("$is_others AND $guard.rests_until_ms = NONE", ErrorCode::HandleTaken)
                    .refuse_if("$is_others AND $guard.rests_until_ms > $now", ErrorCode::HandleResting)
                    .then(
                        "LET $handle_id = type::record('handle', $handle);
                        LET $holder = (SELECT VALUE account FROM ONLY $handle_id)",
                    )
                    .refuse_if("$holder AND $holder != $account", ErrorCode::HandleTaken)
                    .refuse_if("array::len($recent) >= $max", ErrorCode::HandleLimit)
                    .then(
                        "UPSERT $handle_id SET account = $account, skeleton = $new.skeleton;
                        UPSERT $guard_id SET account = $account, handle = $handle, rests_until_ms = NONE",
                    )
            })
            .then(
                "IF $before != NONE AND $before != $handle {
                    LET $before_id = type::record('handle', $before);
                    LET $looked = (SELECT VALUE skeleton FROM ONLY $before_id);
                    DELETE $before_id;
                    -- one that looks the same goes on being guarded by the new one
                    IF !$takes OR $looked != $new.skeleton {
                        UPDATE type::record('likeness', $looked) SET rests_until_ms = $rests_until
                            WHERE account = $account AND handle = $before;
                    };
                };
                UPSERT $id SET handle = $handle,
                    display_name = IF $renames { $display_name } ELSE { $profile.display_name },
                    taken_at_ms = IF $takes { array::push($recent, $now) } ELSE { $recent }",
            )
            .execute()
            .await
    }

    pub async fn account_of_handle(&self, handle: &str) -> Result<Option<AccountId>, DbError> {
        let id = RecordId::new("handle", handle);
        let account: Option<Text<AccountId>> =
            self.db.run("SELECT VALUE account FROM ONLY $id", vars! { id: id }).await?;
        Ok(account.map(|account| account.0))
    }

    /// Ends the rest of what looks like this. Returns the handle that rested.
    pub async fn release_handle(&self, skeleton: &str) -> Result<Option<String>, DbError> {
        self.db
            .run(
                "{
                    LET $guard = (SELECT * FROM ONLY $id);
                    IF !$guard OR $guard.rests_until_ms = NONE { RETURN NONE };
                    DELETE $id;
                    RETURN $guard.handle;
                }",
                vars! { id: RecordId::new("likeness", skeleton) },
            )
            .await
    }

    /// Forgets the guards of handles that have rested, up to a bound; how many.
    pub async fn forget_rested(&self, now_ms: i64, limit: i64) -> Result<usize, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM likeness WHERE rests_until_ms != NONE AND rests_until_ms < $now LIMIT $limit) RETURN BEFORE)";
        let forgotten: i64 = self.db.run(statement, vars! { now: now_ms, limit: limit }).await?;
        Ok(forgotten.unsigned_abs() as usize)
    }

    /// What the database takes a handle to look like: for guards of handles from before.
    #[cfg(test)]
    pub async fn skeleton(&self, handle: &str) -> Result<String, DbError> {
        self.db.run("RETURN fn::skeleton($handle)", vars! { handle: handle.to_owned() }).await
    }
}

fn profile_id(account: AccountId) -> RecordId {
    Id::<Profiles>(Text(account)).record()
}
