//! What must not come back from a backup.

use nepto_kit::db::{Db, DbError};
use nepto_kit::domain::Undone;

/// Removes every one-time prekey, because it may have been handed out since, and nobody may get it a second time. Their devices
/// upload others when they connect next; until then whoever writes to them first gets their last-resort keys.
pub async fn after_restore(db: Db) -> Result<Vec<Undone>, DbError> {
    let ec = db.change_all("ec_prekey", "DELETE $rows RETURN NONE").await?;
    let kyber = db.change_all("kyber_prekey", "DELETE $rows RETURN NONE").await?;
    // the largest ids that were ever taken stay
    let none_left = "UPDATE $rows SET ec_left = 0, kyber_left = 0, ec_sum = 0, kyber_sum = 0 RETURN NONE";
    db.change_all("device", none_left).await?;
    Ok(vec![Undone { what: "one-time prekeys removed", count: ec + kyber }])
}
