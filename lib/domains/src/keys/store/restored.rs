//! What must not come back from a backup.

use nepto_kit::db::{Db, DbError};
use nepto_kit::domain::Undone;

/// Removes every one-time prekey, because it may have been handed out since, and nobody may get it a second time. Their devices
/// upload others when they connect next; until then whoever writes to them first gets their last-resort keys. Every device counts as
/// seen now: the backup may be old, and none of them may be retired before its owner could come back.
pub async fn after_restore(db: Db, now_ms: i64) -> Result<Vec<Undone>, DbError> {
    let ec = db.change_all("ec_prekey", "DELETE $rows RETURN NONE").await?;
    let kyber = db.change_all("kyber_prekey", "DELETE $rows RETURN NONE").await?;
    // the largest ids that were ever taken stay
    let change = format!(
        "UPDATE $rows SET ec_left = 0, kyber_left = 0, ec_sum = 0, kyber_sum = 0, last_seen_at_ms = {now_ms} RETURN NONE"
    );
    db.change_all("device", &change).await?;
    Ok(vec![Undone { what: "one-time prekeys removed", count: ec + kyber }])
}
