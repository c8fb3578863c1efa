//! What must not come back from a backup.

use nepto_kit::db::{Db, DbError};
use nepto_kit::domain::Undone;

/// Ends every session, because nobody knows which of them were ended since: whoever had one proves with the wallet again who they
/// are, and whoever lost the right to can't. Takes back every invite, because it may have been used since.
pub async fn after_restore(db: Db) -> Result<Vec<Undone>, DbError> {
    let sessions = db.change_all("session", "DELETE $rows RETURN NONE").await?;
    let invites = db.change_all("invite", "DELETE $rows RETURN NONE").await?;
    Ok(vec![
        Undone { what: "sessions ended", count: sessions },
        Undone { what: "invites taken back; make new ones with `nepto admin invites new`", count: invites },
    ])
}
