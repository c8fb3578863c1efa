//! HTTP: problem documents, JSON bodies with typed errors, callers, request ids, and the two listeners.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use nepto_proto::ErrorCode;
use nepto_proto::api::Problem;
use nepto_proto::limits::HTTP_BODY_BYTES_MAX;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::Instrument;

use crate::json::Objects;
use crate::limit::Limit;
use crate::token::{self, Claims};
use crate::{Ctx, Failure, dead_letters, pages};

/// The head of a request must be there in this time, and the next request after the answer to the one before.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// After a connection that could not be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.log();
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut problem = Problem::new(self.code, self.detail);
        problem.devices = self.devices;
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
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| Failure::new(ErrorCode::Unauthenticated, "send `Authorization: Bearer <access token>`"))?;
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

/// The address a request came from, for limits on who is not signed in.
pub struct ClientAddress(pub String);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let behind_proxy = parts.extensions.get::<Ctx>().is_some_and(|ctx| ctx.config.http.behind_proxy);
        // The last entry is the one that our own proxy wrote; those before it are the client's word.
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back();
        let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        Ok(Self(forwarded.filter(|_| behind_proxy).or(peer).map(network).unwrap_or_default()))
    }
}

/// What one person has: an IPv4 address, or a /64 of IPv6, within which addresses cost nothing.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).to_string(),
    }
}

/// The methods that we answer; whoever sends others must not make a new metric with each.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.iter().position(|known| known == method).map_or("other", |index| NAMES[index])
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

    /// Of the request that this task works on.
    pub fn current() -> Self {
        REQUEST_ID.try_with(Clone::clone).unwrap_or_else(|_| Self::none())
    }

    /// No request.
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

/// What every request passes through.
#[derive(Clone)]
struct Gatekeeper {
    ctx: Ctx,
    places: Arc<Semaphore>,
}

impl Gatekeeper {
    /// Answers within the time limit, or with `unavailable` where too many requests are under way.
    async fn answer(&self, request: Request, next: Next) -> Response {
        let Ok(_place) = self.places.try_acquire() else {
            let mut busy = Failure::new(ErrorCode::Unavailable, "the server is busy");
            busy.retry_after = Some(Duration::from_secs(1));
            return busy.into_response();
        };
        let timeout = Duration::from_millis(self.ctx.config.http.request_timeout_ms);
        match tokio::time::timeout(timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Failure::new(ErrorCode::Timeout, "the server gave up on this request").into_response(),
        }
    }
}

async fn observe(State(gate): State<Gatekeeper>, mut request: Request, next: Next) -> Response {
    let ctx = &gate.ctx;
    let given = request.headers().get(RequestId::HEADER).and_then(|value| value.to_str().ok()).map(RequestId::from);
    let id = match given {
        Some(id) if id != RequestId::none() => id,
        _ => RequestId(ctx.random.uuid(&ctx.clock).simple().to_string()),
    };
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let span = tracing::info_span!("http", method, path, request_id = %id);
    let started = std::time::Instant::now();
    request.extensions_mut().insert(ctx.clone());
    let mut response = id.clone().scope(gate.answer(request, next)).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, took_us = started.elapsed().as_micros() as u64, "answered"));
    metrics::histogram!("nepto_http_seconds", "method" => method, "path" => path, "status" => status.to_string())
        .record(started.elapsed());
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(RequestId::HEADER, value);
    }
    response
}

/// Wraps the routes of a process with everything that is the same for all: limits, times, ids, metrics, problems for what
/// is not there.
pub fn public(ctx: &Ctx, routes: Router) -> Router {
    let gate = Gatekeeper { ctx: ctx.clone(), places: Arc::new(Semaphore::new(ctx.config.http.concurrency_max)) };
    let cors = tower_http::cors::CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .allow_methods(tower_http::cors::Any)
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, RequestId::HEADER])
        .expose_headers([RequestId::HEADER, header::RETRY_AFTER]);
    routes
        .merge(health_routes(ctx.clone()))
        .fallback(|| async { Failure::new(ErrorCode::NotFound, "nothing is here; see /v1/openapi.json") })
        .method_not_allowed_fallback(|| async { Failure::new(ErrorCode::MethodNotAllowed, "see /v1/openapi.json") })
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Failure::internal(anyhow::anyhow!("a request handler panicked")).into_response()
        }))
        .layer(middleware::from_fn_with_state(gate, observe))
        .layer(cors)
}

fn health_routes(ctx: Ctx) -> Router {
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readyz)).with_state(ctx)
}

async fn readyz(State(ctx): State<Ctx>) -> Response {
    let readiness = ctx.health.readiness().await;
    let draining = ctx.stop.is_cancelled();
    let status = if readiness.ready && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// The operator's routes: those of every process, and more of its role.
pub fn admin(ctx: &Ctx, metrics: PrometheusHandle, more: Router) -> Router {
    let more = more.merge(dead_letters::routes(ctx.clone()));
    let names: Arc<[String]> = ctx.config.admin.names.clone().into();
    health_routes(ctx.clone())
        .merge(more)
        .route("/metrics", get(move || async move { Body::from(metrics.render()) }))
        .layer(middleware::from_fn_with_state(names, pages::keep_out))
}

/// Serves until the process stops, and then until the requests under way are answered.
pub async fn serve(ctx: &Ctx, what: &str, address: SocketAddr, router: Router) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("{what} can't listen on {address}: {error}; choose another port in the configuration")
    })?;
    tracing::info!(what, address = %listener.local_addr()?, "listening");
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = ctx.stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of open files, or a client that was gone before it was served
                    tracing::warn!(what, %error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            },
        };
        connections.spawn(converse(stream, peer, router.clone(), ctx.stop.clone()));
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Serves one connection until one side closes it, or a WebSocket takes it over.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Without it a frame that follows another waits for the client's delayed ACK: 40 ms (RFC 896, RFC 1122 4.2.3.2).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_its_network() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    }

    /// A connection to a router, and our end of it.
    async fn conversation() -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let router = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(converse(stream, peer, router, CancellationToken::new()));
        ours
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_of_it_is_not_waited_for() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for said in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut ours = conversation().await;
            ours.write_all(said.as_bytes()).await.unwrap();
            let started = tokio::time::Instant::now();
            let mut heard = Vec::new();
            ours.read_to_end(&mut heard).await.unwrap();
            assert!(started.elapsed() >= HEAD_WITHIN, "{said:?}");
            assert_eq!(heard.starts_with(b"HTTP/1.1 200"), said.ends_with("\r\n\r\n"), "{said:?}");
        }
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

    #[test]
    fn strangers_make_no_labels() {
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        assert_eq!(method_label(&Method::from_bytes(b"PROPFIND-1").unwrap()), "other");
    }
}
