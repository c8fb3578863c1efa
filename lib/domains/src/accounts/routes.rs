//! The HTTP API under `/v1/accounts` and `/v1/contacts`.

use axum::Json;
use axum::extract::State;
use nepto_kit::Failure;
use nepto_kit::http::{Caller, JsonBody, Path, Query};
use nepto_proto::api::Problem;
use nepto_proto::api::accounts::{Account, Contact, Contacts, SetConsent, UpdateProfile};
use nepto_proto::{AccountId, ErrorCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::Accounts;
use crate::parameters;

/// Contacts of a page, if the caller does not say.
const PAGE_DEFAULT: usize = 50;
/// Contacts of a page at most.
const PAGE_MAX: usize = 200;

pub fn routes(accounts: Accounts) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(me, update))
        .routes(routes!(look_up))
        .routes(routes!(contacts))
        .routes(routes!(decide))
        .with_state(accounts)
}

/// The own account
#[utoipa::path(get, path = "/v1/accounts/me", tag = "accounts",
    responses((status = 200, body = Account), (status = "default", body = Problem)))]
async fn me(State(accounts): State<Accounts>, Caller(claims): Caller) -> Result<Json<Account>, Failure> {
    accounts.account(claims.account).await.map(Json)
}

/// Changes the own profile
#[utoipa::path(patch, path = "/v1/accounts/me", tag = "accounts", request_body = UpdateProfile,
    responses((status = 200, body = Account), (status = "default", body = Problem)))]
async fn update(
    State(accounts): State<Accounts>,
    Caller(claims): Caller,
    JsonBody(change): JsonBody<UpdateProfile>,
) -> Result<Json<Account>, Failure> {
    accounts.update(claims.account, change).await.map(Json)
}

/// An account by its id, a wallet address or a handle
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts",
    params(("account" = inline(parameters::Reference), Path)),
    responses((status = 200, body = Account), (status = "default", body = Problem)))]
async fn look_up(
    State(accounts): State<Accounts>,
    _caller: Caller,
    Path(reference): Path<String>,
) -> Result<Json<Account>, Failure> {
    accounts.look_up(&reference).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Where the page before ended
    #[param(value_type = parameters::AccountId, required = false, inline)]
    after: Option<AccountId>,
    /// 1 to 200
    #[param(value_type = parameters::Limit, required = false, inline)]
    limit: Option<usize>,
}

/// Everybody the account has met, with what it decided about them
#[utoipa::path(get, path = "/v1/contacts", tag = "accounts", params(Page),
    responses((status = 200, body = Contacts), (status = "default", body = Problem)))]
async fn contacts(
    State(accounts): State<Accounts>,
    Caller(claims): Caller,
    Query(page): Query<Page>,
) -> Result<Json<Contacts>, Failure> {
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Failure::new(ErrorCode::Malformed, format!("limit must be 1 to {PAGE_MAX}")));
    }
    accounts.contacts(claims.account, page.after, limit).await.map(Json)
}

/// Accepts or blocks somebody, or forgets the decision
#[utoipa::path(put, path = "/v1/contacts/{account}", tag = "accounts",
    params(("account" = inline(parameters::AccountId), Path)), request_body = SetConsent,
    responses((status = 200, body = Contact), (status = "default", body = Problem)))]
async fn decide(
    State(accounts): State<Accounts>,
    Caller(claims): Caller,
    Path(account): Path<AccountId>,
    JsonBody(request): JsonBody<SetConsent>,
) -> Result<Json<Contact>, Failure> {
    accounts.decide(claims.account, account, request.consent).await.map(Json)
}
