//! What is kept of devices that were removed, while their messages may still be on the way.

use nepto_kit::clock::from_ms;
use nepto_kit::db::{Bytes, DbError, Int, vars};
use nepto_proto::api::keys as api;
use nepto_proto::{AccountId, DeviceId, RegistrationId};
use surrealdb::types::SurrealValue;

use super::{Store, public_device};

/// What is kept of a device that was removed.
#[derive(Debug, Clone, SurrealValue)]
pub struct RemovedRow {
    device: Int<DeviceId>,
    registration_id: Int<RegistrationId>,
    identity_key: Bytes,
    message: String,
    signature: String,
    removed_at_ms: i64,
}

impl RemovedRow {
    /// As others see it.
    pub fn to_public(&self) -> api::RemovedDevice {
        let (installation, certificate) = ((self.device.0, self.registration_id.0), (&*self.message, &*self.signature));
        let device = public_device(installation, &self.identity_key, certificate);
        api::RemovedDevice { device, removed_at: from_ms(self.removed_at_ms) }
    }
}

impl Store {
    /// Devices of an account that were removed, the latest first, up to a bound.
    pub async fn removed(&self, account: AccountId, limit: i64) -> Result<Vec<RemovedRow>, DbError> {
        let statement = "SELECT * FROM removed_device:[$account, NONE]..[$account, []]
            ORDER BY removed_at_ms DESC LIMIT $limit";
        self.db.rows(statement, vars! { account: account.to_string(), limit: limit }).await
    }

    /// Forgets devices that were removed before a moment, up to a bound; how many.
    pub async fn forget_removed(&self, before_ms: i64, limit: i64) -> Result<usize, DbError> {
        let statement = "RETURN array::len(DELETE
            (SELECT VALUE id FROM removed_device WHERE removed_at_ms < $before LIMIT $limit) RETURN BEFORE)";
        let forgotten: i64 = self.db.run(statement, vars! { before: before_ms, limit: limit }).await?;
        Ok(forgotten.unsigned_abs() as usize)
    }
}
