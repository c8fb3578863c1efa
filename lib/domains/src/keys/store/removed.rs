//! What is kept of devices that were removed, while their messages may still be on the way.

use nepto_kit::clock::from_ms;
use nepto_kit::db::{Bytes, DbError, vars};
use nepto_proto::AccountId;
use nepto_proto::api::keys as api;
use surrealdb::types::SurrealValue;

use super::{Store, public_device};

/// What is kept of a device that was removed.
#[derive(Debug, Clone, SurrealValue)]
pub struct RemovedRow {
    device: i64,
    registration_id: i64,
    identity_key: Bytes,
    message: String,
    signature: String,
    removed_at_ms: i64,
}

impl RemovedRow {
    /// As others see it; `None` for a row that breaks the schema.
    pub fn to_public(&self) -> Option<api::RemovedDevice> {
        let (installation, certificate) = ((self.device, self.registration_id), (&*self.message, &*self.signature));
        let device = public_device(installation, &self.identity_key, certificate)?;
        Some(api::RemovedDevice { device, removed_at: from_ms(self.removed_at_ms) })
    }
}

impl Store {
    /// Devices of an account that were removed, the latest first, up to a bound.
    pub async fn removed(&self, account: AccountId, limit: i64) -> Result<Vec<RemovedRow>, DbError> {
        let statement = "SELECT * OMIT id FROM removed_device:[$account, NONE]..[$account, []]
            ORDER BY removed_at_ms DESC LIMIT $limit";
        self.db.run(statement, vars! { account: account.to_string(), limit: limit }).await
    }

    /// Forgets devices that were removed before a moment, up to a bound; how many.
    pub async fn forget_removed(&self, before_ms: i64, limit: i64) -> Result<usize, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM removed_device WHERE removed_at_ms < $before LIMIT $limit) RETURN BEFORE)";
        let forgotten: i64 = self.db.run(statement, vars! { before: before_ms, limit: limit }).await?;
        Ok(forgotten.unsigned_abs() as usize)
    }
}
