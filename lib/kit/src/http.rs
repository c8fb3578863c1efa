//! HTTP: problem documents, JSON bodies with typed errors, callers, request ids, and the routes of the two listeners.

mod description;
mod endpoint;
pub mod etag;
pub mod frame_header;
mod gate;
mod host;
mod listener;
mod newcomer;
mod origin;
mod pace;
mod preflight;
mod shares;
mod streams;
mod timed;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::limits::HTTP_BODY_BYTES_MAX;
use serde::de::DeserializeOwned;

use crate::health::Readiness;
use crate::json::Objects;
use crate::limit::Limit;
use crate::token::{self, Claims};
use crate::{Ctx, Failure, dead_letters, pages};
use gate::Gatekeeper;

pub use description::Description;
pub use endpoint::{Admit, Asked, Routes};
pub use listener::{Door, listen, serve};
pub use origin::Origin;
pub use shares::{Bounds, Full, Share, Shares};
pub use timed::Acquaintance;

/// Headers that a page in a browser may read: whose request it was, when to come again, and those of files and their uploads.
const EXPOSED: [HeaderName; 12] = [
    RequestId::HEADER,
    header::RETRY_AFTER,
    header::LOCATION,
    header::CONTENT_RANGE,
    HeaderName::from_static("tus-resumable"),
    HeaderName::from_static("tus-version"),
    HeaderName::from_static("tus-extension"),
    HeaderName::from_static("tus-max-size"),
    HeaderName::from_static("tus-checksum-algorithm"),
    HeaderName::from_static("upload-offset"),
    HeaderName::from_static("upload-length"),
    HeaderName::from_static("upload-expires"),
];

/// Headers that a page in a browser may send.
const ALLOWED: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    RequestId::HEADER,
    header::RANGE,
    header::IF_RANGE,
    HeaderName::from_static("tus-resumable"),
    HeaderName::from_static("upload-offset"),
    HeaderName::from_static("upload-length"),
    HeaderName::from_static("upload-metadata"),
    HeaderName::from_static("upload-checksum"),
];

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.log();
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut problem = Problem::new(self.code, self.detail);
        problem.extensions = self.extensions;
        problem.retry_after_ms = self.retry_after.map(|wait| wait.as_millis() as u64);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after {
            // RFC 9110: whole seconds; rounded up so that who waits is let in
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1_000) as u64));
        }
        if let Some(challenge) = challenge(self.code) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// What a 401 asks for (RFC 9110, 11.6.1), and what is wrong with the token that came (RFC 6750, 3.1).
fn challenge(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::TokenInvalid | ErrorCode::TokenExpired | ErrorCode::SessionRevoked => {
            Some("Bearer error=\"invalid_token\"")
        }
        code => (code.status() == 401).then_some("Bearer"),
    }
}

/// A JSON body, with objects where objects are described. What can't be read is answered with `malformed` or `too_large`.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<Objects<T>>::from_request(request, state).await {
            Ok(Json(Objects(body))) => Ok(Self(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Failure::new(ErrorCode::TooLarge, format!("at most {HTTP_BODY_BYTES_MAX} bytes")))
            }
            Err(rejection) => Err(Failure::new(ErrorCode::Malformed, rejection.body_text())),
        }
    }
}

/// A part of the path. What can't be read is answered with `malformed`.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| Failure::new(ErrorCode::Malformed, rejection.body_text()))
    }
}

/// The query string. What can't be read is answered with `malformed`.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Failure::new(ErrorCode::Malformed, rejection.body_text()))
    }
}

/// Who asks: the owner of a valid access token whose session lives, within the account's request limit.
pub struct Caller(pub Claims);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let ctx = parts.extensions.get::<Ctx>().cloned();
        let ctx = ctx.ok_or_else(|| Failure::internal(anyhow::anyhow!("the router lacks its context")))?;
        let token = bearer(&parts.headers)?;
        let claims = token::authenticate(&ctx, token).await?;
        let limit = Limit {
            kind: "requests",
            max: ctx.config.limits.requests_per_account_per_minute,
            window: Duration::from_secs(60),
        };
        limit.take(&ctx.redis, &ctx.clock, &claims.account.to_string(), 1).await?;
        Ok(Self(claims))
    }
}

/// The token of `Authorization: Bearer <token>`. Schemes are read in any capitals (RFC 9110, 11.1). Of two headers, a proxy might have
/// looked at the other one.
fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(Failure::new(ErrorCode::Malformed, "send one `Authorization` header"));
    }
    let token = first.and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
    });
    token.ok_or_else(|| Failure::new(ErrorCode::Unauthenticated, "send `Authorization: Bearer <access token>`"))
}

/// The address a request came from, for limits on who is not signed in.
pub struct ClientAddress(pub String);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let behind_proxy = parts.extensions.get::<Ctx>().is_some_and(|ctx| ctx.config.http.behind_proxy);
        let origin = Origin::of(&parts.headers, &parts.extensions, behind_proxy);
        Ok(Self(origin.map(|origin| origin.network.to_string()).unwrap_or_default()))
    }
}

tokio::task_local! {
    static REQUEST_ID: RequestId;
}

/// An id that follows a request through the processes and their logs: header `x-request-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    const HEADER: HeaderName = HeaderName::from_static("x-request-id");
    const LENGTH_MAX: usize = 64;

    /// A new one.
    fn new(ctx: &Ctx) -> Self {
        Self(ctx.random.uuid(&ctx.clock).simple().to_string())
    }

    /// Of the request that this task works on.
    pub fn current() -> Self {
        REQUEST_ID.try_with(Clone::clone).unwrap_or_else(|_| Self::none())
    }

    /// What a log shows where nothing was requested.
    pub fn none() -> Self {
        Self("-".to_owned())
    }

    /// Runs a future on behalf of this request.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        REQUEST_ID.scope(self, future)
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        let clean = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match text.len() {
            1..=Self::LENGTH_MAX if text.bytes().all(clean) => Self(text.to_owned()),
            _ => Self::none(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Wraps the routes of a process with everything that is the same for all: limits, times, ids, metrics, problems for what
/// is not there.
pub fn public(ctx: &Ctx, routes: Router) -> Router {
    let gate = Gatekeeper::new(ctx);
    let cors = tower_http::cors::CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .allow_methods(tower_http::cors::Any)
        .allow_headers(ALLOWED)
        .expose_headers(EXPOSED);
    routes
        .merge(public_health(ctx.clone()))
        .fallback(|| async { Failure::new(ErrorCode::NotFound, "nothing is here; see /v1/openapi.json") })
        .method_not_allowed_fallback(|| async { Failure::new(ErrorCode::MethodNotAllowed, "see /v1/openapi.json") })
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Failure::internal(anyhow::anyhow!("a request handler panicked")).into_response()
        }))
        .layer(preflight::Preflights::new(cors))
        // around everything, so that no question is free, not even a browser's whether it may ask
        .layer(middleware::from_fn_with_state(gate, gate::observe))
}

/// What strangers learn of readiness: yes or no. A load balancer needs less: whether another process would do better than this one.
/// What all of them need and lack is no reason to leave, and would cut everybody off at once.
fn public_health(ctx: Ctx) -> Router {
    let ready = |State(ctx): State<Ctx>| async move { yes_or_no(readiness(&ctx).await.ready) };
    let rotation = |State(ctx): State<Ctx>| async move {
        yes_or_no(!ctx.closing.is_cancelled() && !ctx.clock_check.is_wrong().await)
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/readyz/rotation", get(rotation))
        .with_state(ctx)
}

fn yes_or_no(ready: bool) -> impl IntoResponse {
    (status(ready), Json(serde_json::json!({ "ready": ready })))
}

/// The same with every check and what is wrong with it.
fn operators_health(ctx: Ctx) -> Router {
    let ready = |State(ctx): State<Ctx>| async move {
        let readiness = readiness(&ctx).await;
        (status(readiness.ready), Json(readiness))
    };
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready)).with_state(ctx)
}

async fn readiness(ctx: &Ctx) -> Readiness {
    let mut readiness = ctx.health.readiness().await;
    readiness.ready &= !ctx.closing.is_cancelled();
    readiness
}

fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The operator's routes: those of every process, and more of its role.
pub fn admin(ctx: &Ctx, metrics: PrometheusHandle, more: Router) -> Router {
    let more = more.merge(dead_letters::routes(ctx.clone()));
    let names: Arc<[String]> = ctx.config.admin.names.clone().into();
    operators_health(ctx.clone())
        .merge(more)
        .route("/metrics", get(move || async move { Body::from(metrics.render()) }))
        .layer(middleware::from_fn_with_state(names, pages::keep_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_from_one_header_in_any_capitals() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(str::to_owned).map_err(|failure| failure.code)
        };
        for value in ["Bearer x.y", "bearer x.y", "BEARER  x.y"] {
            assert_eq!(read(&[value]), Ok("x.y".to_owned()), "{value}");
        }
        for value in ["x.y", "Basic x.y", "Bearer", "Bearerx x.y", " x.y"] {
            assert_eq!(read(&[value]), Err(ErrorCode::Unauthenticated), "{value}");
        }
        assert_eq!(read(&[]), Err(ErrorCode::Unauthenticated));
        assert_eq!(read(&["Bearer x.y", "Bearer x.y"]), Err(ErrorCode::Malformed));
    }

    #[test]
    fn whoever_is_not_let_in_is_told_what_is_asked_for() {
        for &code in ErrorCode::ALL {
            let response = Failure::new(code, "").into_response();
            let challenge = response.headers().get(header::WWW_AUTHENTICATE);
            assert_eq!(challenge.is_some(), response.status() == StatusCode::UNAUTHORIZED, "{code}");
            assert!(challenge.is_none_or(|challenge| challenge.to_str().unwrap().starts_with("Bearer")), "{code}");
        }
    }
}
