//! What browsers ask before a page asks (Fetch, "CORS-preflight request"), told from an `OPTIONS` that is meant for its route.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::Response;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};
use tower_http::cors::{Cors, CorsLayer};

/// Answers preflights, and marks what is answered to pages.
#[derive(Clone)]
pub struct Preflights(CorsLayer);

impl Preflights {
    pub const fn new(cors: CorsLayer) -> Self {
        Self(cors)
    }
}

impl<S: Clone> Layer<S> for Preflights {
    type Service = Preflight<S>;

    fn layer(&self, inner: S) -> Preflight<S> {
        Preflight { cors: self.0.layer(inner.clone()), inner }
    }
}

/// The routes, and in front of them what answers preflights.
#[derive(Clone)]
pub struct Preflight<S> {
    cors: Cors<S>,
    inner: S,
}

impl<S> Service<Request> for Preflight<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // routes are always ready
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_for_its_route(&request) { Box::pin(self.inner.call(request)) } else { Box::pin(self.cors.call(request)) }
    }
}

fn is_for_its_route(request: &Request) -> bool {
    request.method() == Method::OPTIONS && !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::{get, options};
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> Response {
        let routes = Router::new()
            .route("/it", options(|| async { (StatusCode::NO_CONTENT, [("tus-version", "1.0.0")]) }))
            .route("/other", get(|| async { "hello" }))
            .layer(Preflights::new(CorsLayer::new().allow_origin(tower_http::cors::Any)));
        let mut request = Request::builder().method("OPTIONS").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn an_options_is_for_its_route_unless_a_browser_asks_for_a_page() {
        let answer = ask("/it", &[]).await;
        assert_eq!((answer.status(), answer.headers().contains_key("tus-version")), (StatusCode::NO_CONTENT, true));
        assert_eq!(ask("/other", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
        let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PATCH")];
        for path in ["/it", "/other"] {
            let answer = ask(path, &preflight).await;
            assert_eq!((answer.status(), answer.headers().contains_key("tus-version")), (StatusCode::OK, false));
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        }
    }
}
