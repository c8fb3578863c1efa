//! The HTTP API under `/v1/hooks`, for providers.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use nepto_kit::Failure;
use nepto_kit::http::Path;
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::api::assets::HintsNoted;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Hooks;
use crate::collector::ops::Collector;
use crate::parameters;

const SIGNATURE_HEADER: &str = "x-alchemy-signature";

#[derive(Clone)]
struct Doors {
    collector: Collector,
    hooks: Arc<Hooks>,
}

pub fn routes(collector: Collector, hooks: Hooks) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(alchemy)).with_state(Doors { collector, hooks: Arc::new(hooks) })
}

/// What Alchemy Notify delivers, signed in `X-Alchemy-Signature`
#[utoipa::path(post, path = "/v1/hooks/alchemy/{id}", tag = "hooks", security(()),
    params(("id" = inline(parameters::Hook), Path)),
    request_body(content = Vec<u8>, content_type = "application/json"),
    responses((status = 200, body = HintsNoted), (status = "default", body = Problem)))]
async fn alchemy(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<HintsNoted>, Failure> {
    let signature = headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    let signature =
        signature.ok_or_else(|| Failure::new(ErrorCode::HookSignature, "the header X-Alchemy-Signature is missing"))?;
    let body = body.map_err(|_| Failure::new(ErrorCode::TooLarge, "a delivery has at most 512 KiB"))?;
    let noted = doors.collector.hinted(&doors.hooks, &id, signature, &body).await?;
    Ok(Json(HintsNoted { noted: noted as u64 }))
}
