//! What must not come back from a backup.

use nepto_kit::db::{Db, DbError};
use nepto_kit::domain::Undone;

/// Takes back every invite, because it may have been used up or revoked since. Roles and bans are what they were then: who runs a
/// community reads its audit log.
pub async fn after_restore(db: Db) -> Result<Vec<Undone>, DbError> {
    let invites = db.change_all("invite", "DELETE $rows RETURN NONE").await?;
    db.change_all("invite_of", "DELETE $rows RETURN NONE").await?;
    Ok(vec![Undone { what: "invites of communities taken back", count: invites }])
}
