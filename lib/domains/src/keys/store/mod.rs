//! All SurrealQL and Redis of this domain.

mod prekeys;
mod removed;
mod restored;
mod schema;

use std::sync::LazyLock;
use std::time::Duration;

use nepto_kit::clock::from_ms;
use nepto_kit::db::{Bytes, Db, DbError, Id, Int, RecordId, Table, Text, vars};
use nepto_kit::outbox;
use nepto_kit::redis::Redis;
use nepto_proto::api::keys as api;
use nepto_proto::certificate::SignedMessage;
use nepto_proto::{AccountId, DeviceId, ErrorCode, RegistrationId};
use redis::Script;
use serde::{Deserialize, Serialize};
use surrealdb::types::SurrealValue;

pub use self::prekeys::Taken;
pub use self::removed::RemovedRow;
pub use self::restored::after_restore;
pub use self::schema::SCHEMA;
use nepto_proto::svc::keys::{DeviceList, RegisterDevice};

#[derive(Debug, Clone, SurrealValue)]
struct Signed {
    id: u32,
    public_key: Bytes,
    signature: Bytes,
}

impl From<&api::SignedPrekey> for Signed {
    fn from(key: &api::SignedPrekey) -> Self {
        Self { id: key.id, public_key: key.public_key.0.clone().into(), signature: key.signature.0.clone().into() }
    }
}

impl From<Signed> for api::SignedPrekey {
    fn from(key: Signed) -> Self {
        Self { id: key.id, public_key: key.public_key.to_vec().into(), signature: key.signature.to_vec().into() }
    }
}

/// A device as stored.
#[derive(Debug, Clone, SurrealValue)]
pub struct DeviceRow {
    account: Text<AccountId>,
    device: Int<DeviceId>,
    registration_id: Int<RegistrationId>,
    pub identity_key: Bytes,
    name: String,
    pub wallet: String,
    wallet_version: Option<u64>,
    message: String,
    signature: String,
    signed_prekey: Signed,
    last_resort: Signed,
    ec_left: u32,
    kyber_left: u32,
    ec_top: u32,
    kyber_top: u32,
    signed_top: u32,
    last_resort_top: u32,
    ec_sum: u64,
    kyber_sum: u64,
    created_at_ms: i64,
    last_seen_at_ms: i64,
}

impl DeviceRow {
    /// A device that was registered just now. The number is given by [`Store::register`].
    pub fn new(request: &RegisterDevice, now_ms: i64) -> Self {
        Self {
            account: Text(request.account),
            device: Int(DeviceId::FIRST),
            registration_id: Int(request.registration_id),
            identity_key: request.identity_key.0.clone().into(),
            name: request.setup.name.trim().to_owned(),
            wallet: request.wallet.clone(),
            wallet_version: Some(request.wallet_version),
            message: request.certificate.message.clone(),
            signature: request.certificate.signature.clone(),
            signed_prekey: (&request.setup.signed_prekey).into(),
            last_resort: (&request.setup.last_resort).into(),
            ec_left: 0,
            kyber_left: 0,
            ec_top: 0,
            kyber_top: 0,
            signed_top: request.setup.signed_prekey.id,
            last_resort_top: request.setup.last_resort.id,
            ec_sum: 0,
            kyber_sum: 0,
            created_at_ms: now_ms,
            last_seen_at_ms: now_ms,
        }
    }

    /// Whose it is.
    pub fn account(&self) -> AccountId {
        self.account.0
    }

    /// Whether it goes when a wallet leaves, as the event with this number says. What the wallet certified after it was back
    /// stays, however late the event is.
    pub fn ends_with(&self, wallet: &str, version: u64) -> bool {
        let certified_at = self.wallet_version.unwrap_or(0);
        self.wallet == wallet && (version == 0 || certified_at < version)
    }

    /// The device's number within its account.
    pub fn number(&self) -> DeviceId {
        self.device.0
    }

    /// As others see it.
    pub fn to_public(&self) -> api::PublicDevice {
        public_device((self.device.0, self.registration_id.0), &self.identity_key, (&self.message, &self.signature))
    }

    /// As its owner sees it.
    pub fn to_own(&self) -> api::OwnDevice {
        api::OwnDevice {
            device: self.number(),
            name: self.name.clone(),
            wallet: self.wallet.clone(),
            created_at: from_ms(self.created_at_ms),
            last_seen_at: from_ms(self.last_seen_at_ms),
        }
    }

    /// How many one-time prekeys are left of each kind.
    pub fn left(&self) -> api::KeyCount {
        api::KeyCount { ec: self.ec_left, kyber: self.kyber_left }
    }

    /// What there is of its one-time prekeys, and which ids come next.
    pub fn stock(&self) -> api::KeyStock {
        let next = |top: u32| top.saturating_add(1);
        api::KeyStock {
            ec: self.ec_left,
            kyber: self.kyber_left,
            ec_sum: self.ec_sum,
            kyber_sum: self.kyber_sum,
            next: api::NextIds {
                ec: next(self.ec_top),
                kyber: next(self.kyber_top),
                signed_prekey: next(self.signed_top),
                last_resort: next(self.last_resort_top),
            },
        }
    }

    /// Its repeated-use keys.
    pub fn repeated_use(&self) -> (api::SignedPrekey, api::SignedPrekey) {
        (self.signed_prekey.clone().into(), self.last_resort.clone().into())
    }
}

#[derive(Debug, Clone, SurrealValue)]
struct RosterEntry {
    device: Int<DeviceId>,
    registration_id: Int<RegistrationId>,
}

#[derive(Debug, Clone, SurrealValue)]
struct RosterRow {
    revision: u64,
    devices: Vec<RosterEntry>,
}

impl From<RosterRow> for DeviceList {
    fn from(row: RosterRow) -> Self {
        let entry = |entry: RosterEntry| (entry.device.0, entry.registration_id.0);
        let mut devices: Vec<_> = row.devices.into_iter().map(entry).collect();
        devices.sort_unstable_by_key(|(device, _)| *device);
        Self { revision: row.revision, devices }
    }
}

/// Lua: a cached list gives way to a newer revision only.
static PUT_LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local known = redis.call('GET', KEYS[1])
          if known and tonumber(string.match(known, '^%d+')) > tonumber(ARGV[1]) then return 0 end
          redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
          return 1",
    )
});
const CACHE_TTL: Duration = Duration::from_secs(300);

/// The domain's tables.
#[derive(Clone)]
pub struct Store {
    db: Db,
    redis: Redis,
}

impl Store {
    pub fn new(db: Db, redis: Redis) -> Self {
        Self { db, redis }
    }

    /// Registers a device under the next free number, or renews the one with this identity key. Throws `device_limit`, and
    /// `identity_taken` if another account ever had the key.
    pub async fn register(&self, account: AccountId, row: DeviceRow, devices_max: usize) -> Result<DeviceId, DbError> {
        let variables = vars! {
            roster_id: roster_id(account),
            account: account.to_string(),
            row: row,
            max: devices_max,
        };
        let Int(device) = self
            .db
            .transaction(variables)
            .then(
                "LET $identity = type::record('identity', encoding::base64::encode($row.identity_key));
                LET $owner = (SELECT VALUE account FROM ONLY $identity)",
            )
            .refuse_if("$owner AND $owner != $account", ErrorCode::IdentityTaken)
            .then(
                "IF !$owner { CREATE $identity SET account = $account };
                LET $roster = (SELECT * FROM ONLY $roster_id)
                    ?? { revision: 0, last_device: 0, devices: [] };
                LET $same = (SELECT VALUE device FROM device:[$account, NONE]..[$account, []]
                    WHERE identity_key = $row.identity_key)[0];
                IF $same {
                    UPDATE type::record('device', [$account, $same]) SET name = $row.name, wallet = $row.wallet,
                        wallet_version = $row.wallet_version, message = $row.message, signature = $row.signature,
                        signed_prekey = $row.signed_prekey, last_resort = $row.last_resort,
                        registration_id = $row.registration_id,
                        signed_top = math::max([signed_top, $row.signed_top]),
                        last_resort_top = math::max([last_resort_top, $row.last_resort_top]),
                        last_seen_at_ms = $row.last_seen_at_ms;
                    LET $devices = $roster.devices.map(|$entry| IF $entry.device = $same
                        { { device: $same, registration_id: $row.registration_id } } ELSE { $entry });
                    UPSERT $roster_id SET revision = $roster.revision + 1, last_device = $roster.last_device,
                        devices = $devices;
                    RETURN $same;
                }",
            )
            .refuse_if("array::len($roster.devices) >= $max", ErrorCode::DeviceLimit)
            .then(
                "-- numbers go round, so that a new device never gets the number of one just removed
                LET $used = $roster.devices.map(|$entry| $entry.device);
                LET $free = array::range(1..=127).map(|$n| ($roster.last_device + $n - 1) % 127 + 1)
                    .filter(|$n| $n NOT IN $used)[0];
                CREATE type::record('device', [$account, $free])
                    CONTENT object::extend($row, { device: $free });
                DELETE type::record('removed_device', [$account, $free]);
                UPSERT $roster_id SET revision = $roster.revision + 1, last_device = $free,
                    devices = array::push($roster.devices,
                        { device: $free, registration_id: $row.registration_id });
                RETURN $free",
            )
            .run()
            .await?;
        Ok(device)
    }

    /// Removes a device with its prekeys; its certificate is kept apart. Throws `device_unknown`, also if it has another
    /// certificate than one that is given.
    pub async fn remove(
        &self,
        account: AccountId,
        device: DeviceId,
        certificate: Option<SignedMessage>,
        now_ms: i64,
        event: outbox::Row,
    ) -> Result<(), DbError> {
        let variables = vars! {
            id: device_id(account, device),
            roster_id: roster_id(account),
            account: account.to_string(),
            device: Int(device),
            message: certificate.as_ref().map(|certificate| certificate.message.clone()),
            signature: certificate.map(|certificate| certificate.signature),
            now: now_ms,
        };
        self.db
            .transaction(variables)
            .then("LET $row = (SELECT * FROM ONLY $id)")
            .refuse_if("!$row", ErrorCode::DeviceUnknown)
            .refuse_if(
                "$message AND ($row.message != $message OR $row.signature != $signature)",
                ErrorCode::DeviceUnknown,
            )
            .then(
                "UPSERT type::record('removed_device', [$account, $device]) SET device = $device,
                    registration_id = $row.registration_id, identity_key = $row.identity_key,
                    message = $row.message, signature = $row.signature, removed_at_ms = $now;
                DELETE $id;
                DELETE ec_prekey:[$account, $device, NONE]..[$account, $device, []];
                DELETE kyber_prekey:[$account, $device, NONE]..[$account, $device, []];
                UPDATE $roster_id SET revision += 1,
                    devices = devices.filter(|$entry| $entry.device != $device)",
            )
            .emit([event])
            .execute()
            .await
    }

    /// The account that had an identity key first.
    pub async fn identity_owner(&self, identity_key: &[u8]) -> Result<Option<AccountId>, DbError> {
        let statement = "SELECT VALUE account FROM ONLY type::record('identity', encoding::base64::encode($key))";
        let owner: Option<Text<AccountId>> =
            self.db.run(statement, vars! { key: Bytes::from(identity_key.to_vec()) }).await?;
        Ok(owner.map(|owner| owner.0))
    }

    /// Numbers and registration ids, with the revision of the list.
    pub async fn list(&self, account: AccountId) -> Result<DeviceList, DbError> {
        let row: Option<RosterRow> =
            self.db.run("SELECT revision, devices FROM ONLY $id", vars! { id: roster_id(account) }).await?;
        Ok(row.map(DeviceList::from).unwrap_or_default())
    }

    /// All devices of an account.
    pub async fn devices(&self, account: AccountId) -> Result<Vec<DeviceRow>, DbError> {
        let statement = "SELECT * FROM device:[$account, NONE]..[$account, []]";
        self.db.rows(statement, vars! { account: account.to_string() }).await
    }

    /// The device of this number, unless it was removed.
    pub async fn device(&self, account: AccountId, device: DeviceId) -> Result<Option<DeviceRow>, DbError> {
        self.db.run("SELECT * FROM ONLY $id", vars! { id: device_id(account, device) }).await
    }

    /// Notes when a device was heard of.
    pub async fn seen(&self, account: AccountId, device: DeviceId, now_ms: i64) -> Result<(), DbError> {
        let id = device_id(account, device);
        // never sooner: a process whose clock is behind would have it removed as idle
        let statement = "UPDATE $id SET last_seen_at_ms = math::max([last_seen_at_ms, $now])";
        self.db.execute(statement, vars! { id: id, now: now_ms }).await
    }

    /// Devices that were not heard of since a moment, up to a bound.
    pub async fn idle_since(&self, before_ms: i64, limit: i64) -> Result<Vec<DeviceRow>, DbError> {
        let statement = "SELECT * FROM device WHERE last_seen_at_ms < $before LIMIT $limit";
        self.db.rows(statement, vars! { before: before_ms, limit: limit }).await
    }

    /// Devices whose one-time prekeys run out, those after one, up to a bound.
    pub async fn low_on_prekeys(&self, after: &LowDevice, limit: i64) -> Result<Vec<DeviceRow>, DbError> {
        let statement = "SELECT * FROM device WHERE low > $after ORDER BY low LIMIT $limit";
        self.db.rows(statement, vars! { after: after.0.clone(), limit: limit }).await
    }

    /// Puts a list into Redis for the gateways.
    pub async fn cache(&self, account: AccountId, list: &DeviceList) -> redis::RedisResult<()> {
        PUT_LIST
            .key(DeviceList::cache_key(account))
            .arg(list.revision)
            .arg(list.encode())
            .arg(CACHE_TTL.as_secs())
            .invoke_async(&mut self.redis.clone())
            .await
    }
}

/// What others see of a device: its number and installation, its identity, message and signature of its certificate.
fn public_device(
    (device, registration_id): (DeviceId, RegistrationId),
    identity_key: &Bytes,
    (message, signature): (&str, &str),
) -> api::PublicDevice {
    api::PublicDevice {
        device,
        registration_id,
        identity_key: identity_key.to_vec().into(),
        certificate: SignedMessage { message: message.to_owned(), signature: signature.to_owned() },
    }
}

/// A device in the order in which those are read that run out of one-time prekeys; the default is before all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LowDevice(String);

impl From<&DeviceRow> for LowDevice {
    fn from(row: &DeviceRow) -> Self {
        Self(format!("{}:{}", row.account(), row.number().get()))
    }
}

/// The table `roster`; ids are `roster:[account]`.
struct Rosters;

impl Table for Rosters {
    const NAME: &'static str = "roster";
    type Key = Text<AccountId>;
}

/// The table `device`; ids are `device:[account, device]`.
struct Devices;

impl Table for Devices {
    const NAME: &'static str = "device";
    type Key = (Text<AccountId>, Int<DeviceId>);
}

fn roster_id(account: AccountId) -> RecordId {
    Id::<Rosters>(Text(account)).record()
}

fn device_id(account: AccountId, device: DeviceId) -> RecordId {
    Id::<Devices>((Text(account), Int(device))).record()
}
