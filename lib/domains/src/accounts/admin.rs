//! Routes of the operator's listener: handles that rest.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use nepto_kit::Failure;
use nepto_kit::http::Path;
use nepto_proto::api::operator::ReleasedHandle;

use super::ops::Accounts;

pub fn routes(accounts: Accounts) -> Router {
    Router::new().route("/handles/{handle}/release", post(release)).with_state(accounts)
}

async fn release(
    State(accounts): State<Accounts>,
    Path(handle): Path<String>,
) -> Result<Json<ReleasedHandle>, Failure> {
    accounts.release(&handle).await.map(Json)
}
