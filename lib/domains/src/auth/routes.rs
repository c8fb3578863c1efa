//! The HTTP API under `/v1/auth`.

use alloy_primitives::Address;
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, ClientAddress, JsonBody, Path};
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::auth::{Nonce, Refresh, RevokeByWallet, Sessions, SignIn, SignOut, Tokens, Wallets};
use nepto_proto::certificate::WalletLink;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::issuer::Issuer;
use super::ops::Auth;
use crate::parameters;

pub fn routes(issuer: Issuer) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(nonce))
        .routes(routes!(sign_in))
        .routes(routes!(refresh))
        .routes(routes!(sign_out))
        .routes(routes!(sessions))
        .routes(routes!(wallets, link))
        .routes(routes!(unlink))
        .routes(routes!(revoke_by_wallet))
        .with_state(issuer)
}

/// Most routes issue nothing.
impl FromRef<Issuer> for Auth {
    fn from_ref(issuer: &Issuer) -> Self {
        issuer.auth.clone()
    }
}

/// A nonce for one sign-in message
#[utoipa::path(post, path = "/v1/auth/nonce", tag = "auth", security(()),
    responses((status = 200, body = Nonce), (status = "default", body = Problem)))]
async fn nonce(State(auth): State<Auth>, ClientAddress(address): ClientAddress) -> Result<Json<Nonce>, Failure> {
    auth.limit_address(&address).await?;
    auth.nonce().await.map(Json)
}

/// Signs in with a wallet's signature, which also certifies the device
#[utoipa::path(post, path = "/v1/auth/sign-in", tag = "auth", security(()), request_body = SignIn,
    responses((status = 200, body = Tokens), (status = "default", body = Problem)))]
async fn sign_in(
    State(issuer): State<Issuer>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<SignIn>,
) -> Result<Json<Tokens>, Failure> {
    issuer.auth.limit_address(&address).await?;
    issuer.sign_in(request, &address).await.map(Json)
}

/// Exchanges a refresh token, which works once, for new tokens
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "auth", security(()), request_body = Refresh,
    responses((status = 200, body = Tokens), (status = "default", body = Problem)))]
async fn refresh(
    State(issuer): State<Issuer>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<Refresh>,
) -> Result<Json<Tokens>, Failure> {
    issuer.auth.limit_address(&address).await?;
    issuer.refresh(request).await.map(Json)
}

/// Ends this session, or all sessions of the account
#[utoipa::path(post, path = "/v1/auth/sign-out", tag = "auth", request_body = SignOut,
    responses((status = 204), (status = "default", body = Problem)))]
async fn sign_out(
    State(auth): State<Auth>,
    Caller(claims): Caller,
    JsonBody(request): JsonBody<SignOut>,
) -> Result<StatusCode, Failure> {
    auth.sign_out(&claims, request.everywhere).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The signed-in sessions of the account
#[utoipa::path(get, path = "/v1/auth/sessions", tag = "auth",
    responses((status = 200, body = Sessions), (status = "default", body = Problem)))]
async fn sessions(State(auth): State<Auth>, Caller(claims): Caller) -> Result<Json<Sessions>, Failure> {
    Ok(Json(Sessions { sessions: auth.sessions(claims.account).await? }))
}

/// The wallets of the account
#[utoipa::path(get, path = "/v1/auth/wallets", tag = "auth",
    responses((status = 200, body = Wallets), (status = "default", body = Problem)))]
async fn wallets(State(auth): State<Auth>, Caller(claims): Caller) -> Result<Json<Wallets>, Failure> {
    auth.wallets(claims.account).await.map(Json)
}

/// Links a further wallet, by its signature and that of a wallet which belongs already
#[utoipa::path(post, path = "/v1/auth/wallets", tag = "auth", request_body = WalletLink,
    responses((status = 200, body = Wallets), (status = "default", body = Problem)))]
async fn link(
    State(auth): State<Auth>,
    Caller(claims): Caller,
    JsonBody(request): JsonBody<WalletLink>,
) -> Result<Json<Wallets>, Failure> {
    auth.link(claims.account, request).await.map(Json)
}

/// Unlinks a wallet and removes the devices that it certified
#[utoipa::path(delete, path = "/v1/auth/wallets/{address}", tag = "auth",
    params(("address" = inline(parameters::Address), Path)),
    responses((status = 200, body = Wallets), (status = "default", body = Problem)))]
async fn unlink(
    State(auth): State<Auth>,
    Caller(claims): Caller,
    Path(address): Path<String>,
) -> Result<Json<Wallets>, Failure> {
    let digits = address.strip_prefix("0x").filter(|digits| digits.len() == 40);
    let address: Option<Address> = digits.and_then(|digits| digits.parse().ok());
    let address = address.ok_or_else(|| Failure::new(ErrorCode::Malformed, "not an Ethereum address"))?;
    auth.unlink(claims.account, address).await.map(Json)
}

/// Removes a device by a wallet's signature alone
#[utoipa::path(post, path = "/v1/auth/devices/revoke", tag = "auth", security(()), request_body = RevokeByWallet,
    responses((status = 204), (status = "default", body = Problem)))]
async fn revoke_by_wallet(
    State(auth): State<Auth>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<RevokeByWallet>,
) -> Result<StatusCode, Failure> {
    auth.limit_address(&address).await?;
    auth.revoke_by_wallet(request).await?;
    Ok(StatusCode::NO_CONTENT)
}
