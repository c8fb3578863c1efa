//! The HTTP API under `/v1/assets/transactions`.

use alloy_primitives::B256;
use axum::Json;
use axum::extract::State;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, JsonBody, Path};
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::assets::{TrackTransaction, Transaction, Transactions};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::assets::ops::Assets;
use crate::parameters;

pub fn routes(assets: Assets) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(track, all)).routes(routes!(one)).with_state(assets)
}

/// Looks after a transaction from now on
#[utoipa::path(post, path = "/v1/assets/transactions", tag = "assets", request_body = TrackTransaction,
    responses((status = 200, body = Transaction), (status = "default", body = Problem)))]
async fn track(
    State(assets): State<Assets>,
    Caller(claims): Caller,
    JsonBody(request): JsonBody<TrackTransaction>,
) -> Result<Json<Transaction>, Failure> {
    assets.track(claims.account, request.chain_id, hash(&request.hash)?).await.map(Json)
}

/// The transactions that are looked after for the own account
#[utoipa::path(get, path = "/v1/assets/transactions", tag = "assets",
    responses((status = 200, body = Transactions), (status = "default", body = Problem)))]
async fn all(State(assets): State<Assets>, Caller(claims): Caller) -> Result<Json<Transactions>, Failure> {
    Ok(Json(Transactions { transactions: assets.transactions(claims.account).await? }))
}

/// One of them
#[utoipa::path(get, path = "/v1/assets/{chain_id}/transactions/{hash}", tag = "assets",
    params(("chain_id" = inline(parameters::ChainId), Path), ("hash" = inline(parameters::Hash), Path)),
    responses((status = 200, body = Transaction), (status = "default", body = Problem)))]
async fn one(
    State(assets): State<Assets>,
    Caller(claims): Caller,
    Path((chain, text)): Path<(u64, String)>,
) -> Result<Json<Transaction>, Failure> {
    assets.transaction(claims.account, chain, hash(&text)?).await.map(Json)
}

fn hash(text: &str) -> Result<B256, Failure> {
    let hash = text.strip_prefix("0x").filter(|digits| digits.len() == 64).and_then(|digits| digits.parse().ok());
    hash.ok_or_else(|| Failure::new(ErrorCode::Malformed, format!("{text:?} is not the hash of a transaction")))
}
