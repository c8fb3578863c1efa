//! Invites, by the hashes of their codes.

use nepto_kit::clock::from_ms;
use nepto_kit::db::{DbError, Id, Migration, RecordId, Table, vars};
use nepto_proto::api::operator::Invite;
use surrealdb::types::SurrealValue;

use super::Store;

/// Hexadecimal digits of a hash that name an invite.
const ID_DIGITS: usize = 16;

pub(super) const INVITES: Migration = Migration {
    number: 4,
    statements: "
        -- invite:[SHA-256 of the code, hexadecimal]
        DEFINE TABLE IF NOT EXISTS invite SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS uses_left ON invite TYPE int;
        DEFINE FIELD IF NOT EXISTS created_at_ms ON invite TYPE int;
        DEFINE FIELD IF NOT EXISTS expires_at_ms ON invite TYPE int;
        DEFINE INDEX IF NOT EXISTS invite_expiry ON invite FIELDS expires_at_ms;
    ",
    rows: &[],
    compatible_from: None,
};

/// The table `invite`; ids are `invite:[hash]`.
#[derive(Debug)]
struct Invites;

impl Table for Invites {
    const NAME: &'static str = "invite";
    type Key = String;
}

#[derive(Debug, Clone, SurrealValue)]
struct InviteRow {
    id: Id<Invites>,
    uses_left: u32,
    created_at_ms: i64,
    expires_at_ms: i64,
}

impl InviteRow {
    fn to_api(&self) -> Invite {
        Invite {
            id: shown_id(&self.id.0).to_owned(),
            uses_left: self.uses_left,
            created_at: from_ms(self.created_at_ms),
            expires_at: from_ms(self.expires_at_ms),
        }
    }
}

pub(super) fn invite_id(hash: &str) -> RecordId {
    Id::<Invites>(hash.to_owned()).record()
}

/// What names an invite to people.
pub fn shown_id(hash: &str) -> &str {
    hash.get(..ID_DIGITS).unwrap_or(hash)
}

impl Store {
    /// Adds invites. `false`: there would be more than may be, and none was added.
    pub async fn add_invites(
        &self,
        hashes: Vec<String>,
        uses: u32,
        now_ms: i64,
        expires_at_ms: i64,
        open_max: i64,
    ) -> Result<bool, DbError> {
        let row =
            |hash: &String| InviteRow { id: Id(hash.clone()), uses_left: uses, created_at_ms: now_ms, expires_at_ms };
        let rows: Vec<InviteRow> = hashes.iter().map(row).collect();
        self.db
            .run(
                "{
                    LET $open = array::len((SELECT VALUE id FROM invite));
                    IF $open + array::len($rows) > $max { RETURN false };
                    INSERT INTO invite $rows;
                    RETURN true;
                }",
                vars! { rows: rows, max: open_max },
            )
            .await
    }

    /// A page of invites that still work.
    pub async fn invites(&self, after: &str, now_ms: i64, limit: i64) -> Result<Vec<Invite>, DbError> {
        // an id is the beginning of its hash: this sorts behind all that begin with it
        let after = if after.is_empty() { String::new() } else { format!("{after}~") };
        let statement = "SELECT * FROM type::record('invite', $after>..) WHERE expires_at_ms > $now LIMIT $limit";
        let rows: Vec<InviteRow> = self.db.rows(statement, vars! { after: after, now: now_ms, limit: limit }).await?;
        Ok(rows.iter().map(InviteRow::to_api).collect())
    }

    /// Drops the invite with this id. Whether there was one.
    pub async fn drop_invite(&self, id: &str) -> Result<bool, DbError> {
        if id.len() < ID_DIGITS {
            return Ok(false);
        }
        // above all that begin with it
        let above = format!("{id}~");
        let statement =
            "RETURN array::len(DELETE (SELECT VALUE id FROM type::record('invite', $id..$above)) RETURN BEFORE) > 0";
        self.db.run(statement, vars! { id: id.to_owned(), above: above }).await
    }

    /// Removes invites that have expired, up to a bound; how many.
    pub async fn remove_expired_invites(&self, now_ms: i64, limit: i64) -> Result<usize, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM invite WHERE expires_at_ms <= $now LIMIT $limit) RETURN BEFORE)";
        let gone: i64 = self.db.run(statement, vars! { now: now_ms, limit: limit }).await?;
        Ok(gone.unsigned_abs() as usize)
    }
}
