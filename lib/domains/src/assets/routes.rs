//! The HTTP API under `/v1/assets`.

use axum::Json;
use axum::extract::State;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, Path, Query};
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::assets::{Balance, Contracts, History, Holders, Holdings, Owner};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::Class;
use super::ops::{Assets, Question, Thing};
use super::request::{address, page_of, standard, token_id};
use crate::parameters::{self, ContractPath, TokenPath, WalletPath};

pub fn routes(assets: Assets) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(contracts))
        .routes(routes!(mine))
        .routes(routes!(wallet))
        .routes(routes!(history))
        .routes(routes!(balance))
        .routes(routes!(holders))
        .routes(routes!(owner))
        .with_state(assets)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Sure {
    /// Only what can't change any more
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    only_final: bool,
}

/// The contracts that are watched
#[utoipa::path(get, path = "/v1/assets/contracts", tag = "assets",
    responses((status = 200, body = Contracts), (status = "default", body = Problem)))]
async fn contracts(State(assets): State<Assets>, _caller: Caller) -> Result<Json<Contracts>, Failure> {
    Ok(Json(Contracts { contracts: assets.contracts().await? }))
}

/// What the wallets of the own account hold
#[utoipa::path(get, path = "/v1/assets/mine", tag = "assets", params(Sure),
    responses((status = 200, body = Holdings), (status = "default", body = Problem)))]
async fn mine(
    State(assets): State<Assets>,
    Caller(claims): Caller,
    Query(sure): Query<Sure>,
) -> Result<Json<Holdings>, Failure> {
    assets.of_account(claims.account, sure.only_final).await.map(Json)
}

/// What any wallet holds on a chain
#[utoipa::path(get, path = "/v1/assets/{chain_id}/wallets/{wallet}", tag = "assets",
    params(WalletPath, Sure),
    responses((status = 200, body = Holdings), (status = "default", body = Problem)))]
async fn wallet(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain_id, wallet)): Path<(u64, String)>,
    Query(sure): Query<Sure>,
) -> Result<Json<Holdings>, Failure> {
    assets.holdings(chain_id, &address(&wallet)?, sure.only_final).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Before {
    /// Only changes in blocks below this one: the last `block` of the page before
    #[param(value_type = parameters::Block, required = false, inline)]
    below: Option<u64>,
    /// 1 to 200
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

/// What changed for a wallet on a chain, the newest first
#[utoipa::path(get, path = "/v1/assets/{chain_id}/wallets/{wallet}/history", tag = "assets",
    params(WalletPath, Before),
    responses((status = 200, body = History), (status = "default", body = Problem)))]
async fn history(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, wallet)): Path<(u64, String)>,
    Query(page): Query<Before>,
) -> Result<Json<History>, Failure> {
    let (below, limit) = (page.below.unwrap_or(u64::MAX), page_of(page.limit)?);
    Ok(Json(History { changes: assets.history(chain, &address(&wallet)?, below, limit).await? }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Which {
    /// A token of an ERC-721 or ERC-1155, decimal
    #[param(value_type = parameters::Number, required = false, inline)]
    token: Option<String>,
    /// `held` (the default), `staked` or `rewarded`
    #[param(value_type = parameters::What, required = false, inline)]
    what: Option<String>,
    /// Of a contract of kind `token` that is several at once: `erc20`, `erc721` or `erc1155`. Without it, the first of these
    /// that it is
    #[param(value_type = parameters::Standard, required = false, inline)]
    standard: Option<String>,
    /// Where the page before ended
    #[param(value_type = parameters::Address, required = false, inline)]
    after: Option<String>,
    /// 1 to 200
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

/// Who holds something of a contract, by final blocks, in the order of addresses
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/holders", tag = "assets",
    params(ContractPath, Which),
    responses((status = 200, body = Holders), (status = "default", body = Problem)))]
async fn holders(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, contract)): Path<(u64, String)>,
    Query(which): Query<Which>,
) -> Result<Json<Holders>, Failure> {
    let class = class(which.what.as_deref(), which.token.as_deref())?;
    let standard = which.standard.as_deref().map(standard).transpose()?;
    let after = which.after.as_deref().map(address).transpose()?;
    let limit = page_of(which.limit)?;
    let thing = Thing { chain, contract: address(&contract)?, class, standard };
    assets.holders(&thing, after, limit).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct What {
    /// Whose
    #[param(value_type = parameters::Address, inline)]
    holder: String,
    /// A token of an ERC-721 or ERC-1155, decimal
    #[param(value_type = parameters::Number, required = false, inline)]
    token: Option<String>,
    /// `held` (the default), `staked` or `rewarded`
    #[param(value_type = parameters::What, required = false, inline)]
    what: Option<String>,
    /// Of a contract of kind `token` that is several at once: `erc20`, `erc721` or `erc1155`. Without it, the first of these
    /// that it is
    #[param(value_type = parameters::Standard, required = false, inline)]
    standard: Option<String>,
    /// At the end of this block; now without it
    #[param(value_type = parameters::Block, required = false, inline)]
    at: Option<u64>,
    /// Only what can't change any more
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    only_final: bool,
}

/// How much of something a wallet holds, now or at a block
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/balance", tag = "assets",
    params(ContractPath, What),
    responses((status = 200, body = Balance), (status = "default", body = Problem)))]
async fn balance(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain, contract)): Path<(u64, String)>,
    Query(what): Query<What>,
) -> Result<Json<Balance>, Failure> {
    let class = class(what.what.as_deref(), what.token.as_deref())?;
    let standard = what.standard.as_deref().map(standard).transpose()?;
    let thing = Thing { chain, contract: address(&contract)?, class, standard };
    let question = Question { thing, holder: address(&what.holder)?, at: what.at, only_final: what.only_final };
    assets.balance(&question).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct When {
    /// At the end of this block; now without it
    #[param(value_type = parameters::Block, required = false, inline)]
    at: Option<u64>,
}

/// Who owns a token of an ERC-721, now or at a block
#[utoipa::path(get, path = "/v1/assets/{chain_id}/contracts/{contract}/tokens/{token}/owner", tag = "assets",
    params(TokenPath, When),
    responses((status = 200, body = Owner), (status = "default", body = Problem)))]
async fn owner(
    State(assets): State<Assets>,
    _caller: Caller,
    Path((chain_id, contract, token)): Path<(u64, String, String)>,
    Query(when): Query<When>,
) -> Result<Json<Owner>, Failure> {
    assets.owner(chain_id, &address(&contract)?, &token_id(&token)?, when.at).await.map(Json)
}

fn class(what: Option<&str>, token: Option<&str>) -> Result<Class, Failure> {
    match (what.unwrap_or("held"), token) {
        ("held", None) => Ok(Class::Whole),
        ("held", Some(token)) => Ok(Class::Token(token_id(token)?)),
        ("staked", None) => Ok(Class::Staked),
        ("rewarded", None) => Ok(Class::Rewarded),
        _ => Err(Failure::new(ErrorCode::Malformed, "`what` is held, staked or rewarded; only held has a token")),
    }
}
