//! Prekeys: uploading them, and handing them out.

use nepto_kit::db::{Bytes, DbError, Id, Int, Table, Text, vars};
use nepto_proto::api::keys::{self as api, TAG_MODULUS, one_time_tag, sum_of_tags};
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use surrealdb::types::SurrealValue;

use super::{DeviceRow, Signed, Store, device_id};

/// Account, device and the key's own id.
type OneTimeKey = (Text<AccountId>, Int<DeviceId>, u32);

/// The table `ec_prekey`; ids are `ec_prekey:[account, device, id]`.
#[derive(Debug)]
struct EcPrekeys;

impl Table for EcPrekeys {
    const NAME: &'static str = "ec_prekey";
    type Key = OneTimeKey;
}

/// The table `kyber_prekey`; ids are `kyber_prekey:[account, device, id]`.
#[derive(Debug)]
struct KyberPrekeys;

impl Table for KyberPrekeys {
    const NAME: &'static str = "kyber_prekey";
    type Key = OneTimeKey;
}

#[derive(Debug, Clone, SurrealValue)]
struct EcRow {
    id: Id<EcPrekeys>,
    public_key: Bytes,
    tag: u64,
}

#[derive(Debug, Clone, SurrealValue)]
struct KyberRow {
    id: Id<KyberPrekeys>,
    public_key: Bytes,
    signature: Bytes,
    tag: u64,
}

/// A device with the one-time keys that were taken for this caller and for nobody else.
#[derive(Debug, Clone, SurrealValue)]
struct TakenRow {
    device: DeviceRow,
    ec: Option<EcRow>,
    kyber: Option<KyberRow>,
}

/// A bundle, and what is left of the pools it was taken from.
pub struct Taken {
    pub bundle: api::PrekeyBundle,
    /// Whether a one-time key of some kind is in it.
    pub has_one_time: bool,
    pub left: api::KeyCount,
}

impl Store {
    /// Replaces repeated-use keys and adds one-time keys; with `replace` those that are there go first. Throws
    /// `device_unknown`, `key_limit`, and `key_used` for an id that is not larger than every one of its kind before.
    pub async fn upload(
        &self,
        account: AccountId,
        device: DeviceId,
        keys: &api::UploadKeys,
        keys_max: usize,
    ) -> Result<api::KeyCount, DbError> {
        #[derive(SurrealValue)]
        struct Left {
            ec_left: u32,
            kyber_left: u32,
        }
        let key = |id: u32| (Text(account), Int(device), id);
        let ec: Vec<EcRow> = keys
            .ec
            .iter()
            .map(|prekey| EcRow {
                id: Id(key(prekey.id)),
                public_key: prekey.public_key.0.clone().into(),
                tag: one_time_tag(prekey.id, &prekey.public_key.0),
            })
            .collect();
        let kyber: Vec<KyberRow> = keys
            .kyber
            .iter()
            .map(|prekey| KyberRow {
                id: Id(key(prekey.id)),
                public_key: prekey.public_key.0.clone().into(),
                signature: prekey.signature.0.clone().into(),
                tag: one_time_tag(prekey.id, &prekey.public_key.0),
            })
            .collect();
        let (ec_sum, kyber_sum) =
            (sum_of_tags(ec.iter().map(|row| row.tag)), sum_of_tags(kyber.iter().map(|row| row.tag)));
        let lowest_and_highest = |ids: Vec<u32>| (ids.iter().min().copied(), ids.iter().max().copied());
        let (ec_first, ec_last) = lowest_and_highest(keys.ec.iter().map(|key| key.id).collect());
        let (kyber_first, kyber_last) = lowest_and_highest(keys.kyber.iter().map(|key| key.id).collect());
        let variables = vars! {
            id: device_id(account, device),
            account: account.to_string(),
            n: Int(device),
            ec: ec,
            kyber: kyber,
            ec_sum: ec_sum,
            kyber_sum: kyber_sum,
            ec_first: ec_first,
            ec_last: ec_last,
            kyber_first: kyber_first,
            kyber_last: kyber_last,
            modulus: TAG_MODULUS,
            replace: keys.replace,
            signed: keys.signed_prekey.as_ref().map(Signed::from),
            last_resort: keys.last_resort.as_ref().map(Signed::from),
            max: keys_max,
        };
        let left: Left = self
            .db
            .transaction(variables)
            .then("LET $row = (SELECT * FROM ONLY $id)")
            .refuse_if("!$row", ErrorCode::DeviceUnknown)
            .refuse_if(
                "($ec_first != NONE AND $ec_first <= $row.ec_top)
                    OR ($kyber_first != NONE AND $kyber_first <= $row.kyber_top)",
                ErrorCode::KeyUsed,
            )
            .refuse_if(
                "$signed != NONE AND $signed.id <= $row.signed_top
                    AND ($signed.id != $row.signed_prekey.id OR $signed.public_key != $row.signed_prekey.public_key)",
                ErrorCode::KeyUsed,
            )
            .refuse_if(
                "$last_resort != NONE AND $last_resort.id <= $row.last_resort_top
                    AND ($last_resort.id != $row.last_resort.id
                        OR $last_resort.public_key != $row.last_resort.public_key)",
                ErrorCode::KeyUsed,
            )
            .then(
                "LET $kept = IF $replace { { ec_left: 0, kyber_left: 0, ec_sum: 0, kyber_sum: 0 } } ELSE { $row };
                LET $ec_left = $kept.ec_left + array::len($ec);
                LET $kyber_left = $kept.kyber_left + array::len($kyber)",
            )
            .refuse_if("$ec_left > $max OR $kyber_left > $max", ErrorCode::KeyLimit)
            .then(
                "IF $replace {
                    DELETE ec_prekey:[$account, $n, NONE]..[$account, $n, []];
                    DELETE kyber_prekey:[$account, $n, NONE]..[$account, $n, []];
                };
                IF array::len($ec) > 0 { INSERT INTO ec_prekey $ec };
                IF array::len($kyber) > 0 { INSERT INTO kyber_prekey $kyber };
                UPDATE $id SET ec_left = $ec_left, kyber_left = $kyber_left,
                    ec_sum = ($kept.ec_sum + $ec_sum) % $modulus,
                    kyber_sum = ($kept.kyber_sum + $kyber_sum) % $modulus,
                    ec_top = $ec_last ?? ec_top, kyber_top = $kyber_last ?? kyber_top,
                    signed_top = math::max([signed_top, $signed.id ?? 0]),
                    last_resort_top = math::max([last_resort_top, $last_resort.id ?? 0]),
                    signed_prekey = $signed ?? signed_prekey, last_resort = $last_resort ?? last_resort;
                RETURN { ec_left: $ec_left, kyber_left: $kyber_left }",
            )
            .run()
            .await?;
        Ok(api::KeyCount { ec: left.ec_left, kyber: left.kyber_left })
    }

    /// A bundle of a device, with one one-time key of each kind taken out for good, the oldest first, as long as more than
    /// `reserved` are left. Two callers at once never get the same: both delete the same row, and one of the transactions
    /// is tried again.
    pub async fn take_bundle(
        &self,
        account: AccountId,
        device: DeviceId,
        reserved: usize,
    ) -> Result<Option<Taken>, DbError> {
        let row: Option<TakenRow> = self
            .db
            .run(
                "{
                    LET $device = (SELECT * FROM ONLY $id);
                    IF !$device { RETURN NONE };
                    LET $ec = IF $device.ec_left > $reserved {
                        (SELECT * FROM type::record('ec_prekey', [$account, $n, NONE]..[$account, $n, []]) LIMIT 1)[0]
                    };
                    LET $kyber = IF $device.kyber_left > $reserved {
                        (SELECT * FROM type::record('kyber_prekey', [$account, $n, NONE]..[$account, $n, []]) LIMIT 1)[0]
                    };
                    LET $left = {
                        ec_left: $device.ec_left - (IF $ec { 1 } ELSE { 0 }),
                        kyber_left: $device.kyber_left - (IF $kyber { 1 } ELSE { 0 }),
                        ec_sum: ($device.ec_sum - ($ec.tag ?? 0) + $modulus) % $modulus,
                        kyber_sum: ($device.kyber_sum - ($kyber.tag ?? 0) + $modulus) % $modulus
                    };
                    IF $ec { DELETE $ec.id };
                    IF $kyber { DELETE $kyber.id };
                    IF $ec OR $kyber { UPDATE $id MERGE $left };
                    RETURN { device: object::extend($device, $left), ec: $ec, kyber: $kyber };
                }",
                vars! {
                    id: device_id(account, device),
                    account: account.to_string(),
                    n: i64::from(device.get()),
                    reserved: reserved as i64,
                    modulus: TAG_MODULUS.cast_signed(),
                },
            )
            .await?;
        Ok(row.map(Taken::from))
    }

    /// A bundle without one-time keys.
    pub async fn bundle(&self, account: AccountId, device: DeviceId) -> Result<Option<Taken>, DbError> {
        let device = self.device(account, device).await?;
        Ok(device.map(|device| Taken::from(TakenRow { device, ec: None, kyber: None })))
    }
}

impl From<TakenRow> for Taken {
    fn from(row: TakenRow) -> Self {
        let (signed_prekey, last_resort) = row.device.repeated_use();
        let has_one_time = row.ec.is_some() || row.kyber.is_some();
        let ec_prekey = row.ec.map(|EcRow { id: Id((.., id)), public_key, .. }| api::EcPrekey {
            id,
            public_key: public_key.to_vec().into(),
        });
        let one_time = row.kyber.map(|KyberRow { id: Id((.., id)), public_key, signature, .. }| api::SignedPrekey {
            id,
            public_key: public_key.to_vec().into(),
            signature: signature.to_vec().into(),
        });
        let bundle = api::PrekeyBundle {
            device: row.device.to_public(),
            signed_prekey,
            ec_prekey,
            kyber_prekey: Some(one_time.unwrap_or(last_resort)),
        };
        Self { bundle, has_one_time, left: row.device.left() }
    }
}
