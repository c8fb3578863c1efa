//! The HTTP API under `/v1/keys`, `/v1/devices` and `/v1/accounts/{account}/…`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, JsonBody, Path, Query};
use nepto_proto::api::Problem;
use nepto_proto::api::keys::{
    CheckKeys, DeviceDirectory, KeyCount, KeyStock, KeysMatch, OwnDevices, PrekeyBundles, UploadKeys,
};
use nepto_proto::limits::DEVICES_PER_ACCOUNT_MAX;
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::Keys;
use crate::parameters;

/// Of a digest of the repeated-use keys.
const DIGEST_BYTES: usize = 32;

pub fn routes(keys: Keys) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(directory))
        .routes(routes!(bundles))
        .routes(routes!(own_devices))
        .routes(routes!(remove))
        .routes(routes!(upload))
        .routes(routes!(count))
        .routes(routes!(check))
        .with_state(keys)
}

/// The devices of an account with their certificates; takes no one-time keys
#[utoipa::path(get, path = "/v1/accounts/{account}/devices", tag = "keys",
    params(("account" = inline(parameters::AccountId), Path)),
    responses((status = 200, body = DeviceDirectory), (status = "default", body = Problem)))]
async fn directory(
    State(keys): State<Keys>,
    _caller: Caller,
    Path(account): Path<AccountId>,
) -> Result<Json<DeviceDirectory>, Failure> {
    keys.directory(account).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Device numbers, comma-separated; all devices if absent
    #[param(value_type = parameters::Devices, required = false, inline)]
    devices: Option<String>,
}

/// Prekey bundles; each takes a one-time key of every kind, while there are any
#[utoipa::path(get, path = "/v1/accounts/{account}/bundles", tag = "keys",
    params(("account" = inline(parameters::AccountId), Path), Which),
    responses((status = 200, body = PrekeyBundles), (status = "default", body = Problem)))]
async fn bundles(
    State(keys): State<Keys>,
    Caller(claims): Caller,
    Path(account): Path<AccountId>,
    Query(which): Query<Which>,
) -> Result<Json<PrekeyBundles>, Failure> {
    let devices = which.devices.map(|text| parse_devices(&text)).transpose()?;
    keys.bundles(claims.account, account, devices).await.map(Json)
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

/// The own devices
#[utoipa::path(get, path = "/v1/devices", tag = "keys",
    responses((status = 200, body = OwnDevices), (status = "default", body = Problem)))]
async fn own_devices(State(keys): State<Keys>, Caller(claims): Caller) -> Result<Json<OwnDevices>, Failure> {
    Ok(Json(OwnDevices { devices: keys.own_devices(claims.account).await? }))
}

/// Removes an own device: its sessions end, its mailbox and keys go
#[utoipa::path(delete, path = "/v1/devices/{device}", tag = "keys", params(("device" = inline(parameters::Device), Path)),
    responses((status = 204), (status = "default", body = Problem)))]
async fn remove(
    State(keys): State<Keys>,
    Caller(claims): Caller,
    Path(device): Path<DeviceId>,
) -> Result<StatusCode, Failure> {
    keys.remove(claims.account, device, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the repeated-use keys of this device, adds one-time keys or replaces them
#[utoipa::path(put, path = "/v1/keys", tag = "keys", request_body = UploadKeys,
    responses((status = 200, body = KeyCount), (status = "default", body = Problem)))]
async fn upload(
    State(keys): State<Keys>,
    Caller(claims): Caller,
    JsonBody(request): JsonBody<UploadKeys>,
) -> Result<Json<KeyCount>, Failure> {
    keys.upload(claims.account, claims.device, request).await.map(Json)
}

/// How many one-time keys of this device are left, which they are, and which ids come next
#[utoipa::path(get, path = "/v1/keys/count", tag = "keys",
    responses((status = 200, body = KeyStock), (status = "default", body = Problem)))]
async fn count(State(keys): State<Keys>, Caller(claims): Caller) -> Result<Json<KeyStock>, Failure> {
    keys.stock(claims.account, claims.device).await.map(Json)
}

/// Whether the server has the same repeated-use keys as this device
#[utoipa::path(post, path = "/v1/keys/check", tag = "keys", request_body = CheckKeys,
    responses((status = 200, body = KeysMatch), (status = "default", body = Problem)))]
async fn check(
    State(keys): State<Keys>,
    Caller(claims): Caller,
    JsonBody(request): JsonBody<CheckKeys>,
) -> Result<Json<KeysMatch>, Failure> {
    if request.digest.0.len() != DIGEST_BYTES {
        return Err(Failure::new(ErrorCode::Malformed, format!("the digest is SHA-256: {DIGEST_BYTES} bytes")));
    }
    let matches = keys.check(claims.account, claims.device, &request.digest.0).await?;
    Ok(Json(KeysMatch { matches }))
}
