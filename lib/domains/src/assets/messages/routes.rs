//! The HTTP API of messages that were sent on chain.

use axum::Json;
use axum::extract::State;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, Path, Query};
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::assets::{MessageWithParts, Payments, SentMessages};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::assets::ops::Assets;
use crate::assets::request::{address, page_of, token_id};
use crate::parameters::{self, ContractPath, WalletPath};

pub fn routes(assets: Assets) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(all)).routes(routes!(one)).routes(routes!(payments)).with_state(assets)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct MessagePage {
    /// `next` of the page before
    #[param(value_type = parameters::Number, required = false, inline)]
    after: Option<String>,
    /// 1 to 200
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PaymentPage {
    /// `next` of the page before
    #[param(value_type = parameters::PaymentMark, required = false, inline)]
    after: Option<String>,
    /// 1 to 200
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

/// The messages of a MultiSender, the newest first
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/messages", tag = "assets",
    params(ContractPath, MessagePage),
    responses((status = 200, body = SentMessages), (status = "default", body = Problem)))]
async fn all(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, contract)): Path<(u64, String)>,
    Query(page): Query<MessagePage>,
) -> Result<Json<SentMessages>, Failure> {
    let after = page.after.as_deref().map(token_id).transpose()?;
    assets.messages(chain, &address(&contract)?, after, page_of(page.limit)?).await.map(Json)
}

/// A message of a MultiSender, with what each recipient got
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/messages/{batch}", tag = "assets",
    params(ContractPath, ("batch" = inline(parameters::Number), Path)),
    responses((status = 200, body = MessageWithParts), (status = "default", body = Problem)))]
async fn one(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, contract, batch)): Path<(u64, String, String)>,
) -> Result<Json<MessageWithParts>, Failure> {
    assets.message(chain, &address(&contract)?, token_id(&batch)?).await.map(Json)
}

/// The payments with a message that a wallet got, the newest first
#[utoipa::path(get, path = "/v1/assets/{chain_id}/wallets/{wallet}/payments", tag = "assets",
    params(WalletPath, PaymentPage),
    responses((status = 200, body = Payments), (status = "default", body = Problem)))]
async fn payments(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, wallet)): Path<(u64, String)>,
    Query(page): Query<PaymentPage>,
) -> Result<Json<Payments>, Failure> {
    let mark = |text: &str| {
        text.parse().map_err(|()| Failure::new(ErrorCode::Malformed, "`after` is the `next` of another page"))
    };
    let after = page.after.as_deref().map(mark).transpose()?;
    assets.payments(chain, &address(&wallet)?, after, page_of(page.limit)?).await.map(Json)
}
