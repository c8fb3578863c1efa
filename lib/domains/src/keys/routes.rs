//! The HTTP API under `/v1/keys`, `/v1/devices` and `/v1/accounts/{account}/…`.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::api::endpoints::keys::{
    CheckKeys, CountKeys, GetDirectory, ListOwnDevices, RemoveDevice, TakeBundles, UploadKeys,
};
use nepto_proto::api::keys::{DeviceDirectory, KeyCount, KeyStock, KeysMatch, OwnDevices, PrekeyBundles};
use nepto_proto::limits::DEVICES_PER_ACCOUNT_MAX;
use nepto_proto::{DeviceId, ErrorCode};

use super::ops::Keys;

/// Of a digest of the repeated-use keys.
const DIGEST_BYTES: usize = 32;

pub fn routes(keys: Keys) -> Routes {
    Routes::new().on(directory).on(bundles).on(own_devices).on(remove).on(upload).on(count).on(check).with_state(keys)
}

async fn directory(keys: Keys, asked: Asked<GetDirectory>) -> Result<DeviceDirectory, Failure> {
    keys.directory(asked.path.account).await
}

async fn bundles(keys: Keys, asked: Asked<TakeBundles>) -> Result<PrekeyBundles, Failure> {
    let devices = asked.query.devices.map(|text| parse_devices(&text)).transpose()?;
    keys.bundles(asked.who.account, asked.path.account, devices).await
}

fn parse_devices(text: &str) -> Result<Vec<DeviceId>, Failure> {
    let mut devices = text.split(',').map(str::parse).collect::<Result<Vec<DeviceId>, _>>()?;
    devices.sort_unstable();
    devices.dedup();
    if devices.len() > DEVICES_PER_ACCOUNT_MAX {
        return Err(Failure::new(ErrorCode::Malformed, format!("at most {DEVICES_PER_ACCOUNT_MAX} devices")));
    }
    Ok(devices)
}

async fn own_devices(keys: Keys, asked: Asked<ListOwnDevices>) -> Result<OwnDevices, Failure> {
    Ok(OwnDevices { devices: keys.own_devices(asked.who.account).await? })
}

async fn remove(keys: Keys, asked: Asked<RemoveDevice>) -> Result<(), Failure> {
    keys.remove(asked.who.account, asked.path.device, None).await
}

async fn upload(keys: Keys, asked: Asked<UploadKeys>) -> Result<KeyCount, Failure> {
    keys.upload(asked.who.account, asked.who.device, asked.body).await
}

async fn count(keys: Keys, asked: Asked<CountKeys>) -> Result<KeyStock, Failure> {
    keys.stock(asked.who.account, asked.who.device).await
}

async fn check(keys: Keys, asked: Asked<CheckKeys>) -> Result<KeysMatch, Failure> {
    let digest = &asked.body.digest.0;
    if digest.len() != DIGEST_BYTES {
        return Err(Failure::new(ErrorCode::Malformed, format!("the digest is SHA-256: {DIGEST_BYTES} bytes")));
    }
    Ok(KeysMatch { matches: keys.check(asked.who.account, asked.who.device, digest).await? })
}
