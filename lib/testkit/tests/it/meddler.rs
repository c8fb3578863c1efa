//! Somebody between a client and the HTTP API who changes what it says. Sockets lead to the gateways.

use std::sync::Arc;

use anyhow::Result;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use nepto_testkit::Stack;
use serde_json::Value;

/// Bodies that pass.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Changes the answer to a request for this path.
type Meddling = dyn Fn(&str, &mut Value) + Send + Sync;

struct Between {
    server: String,
    client: reqwest::Client,
    meddling: Box<Meddling>,
}

/// The address of one who changes JSON answers with 200 before the client sees them. It ends with the test.
pub async fn between(stack: &Stack, meddling: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let between = Between { server: stack.url(), client: crate::http::client(), meddling: Box::new(meddling) };
    let app = axum::Router::new().fallback(pass).with_state(Arc::new(between));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

async fn pass(State(between): State<Arc<Between>>, request: Request) -> Response<Body> {
    let answer = between.pass(request).await;
    answer.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(format!("{error:#}")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

impl Between {
    async fn pass(&self, request: Request) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let whole = head.uri.path_and_query().map_or(path.as_str(), |whole| whole.as_str());
        let mut headers = head.headers;
        headers.remove(header::HOST);
        let body = to_bytes(body, BODY_BYTES_MAX).await?;
        let asked = self.client.request(head.method, format!("{}{whole}", self.server)).headers(headers).body(body);
        let answer = asked.send().await?;
        let (status, content_type) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let mut bytes = answer.bytes().await?.to_vec();
        if let (StatusCode::OK, Ok(mut json)) = (status, serde_json::from_slice(&bytes)) {
            (self.meddling)(&path, &mut json);
            bytes = serde_json::to_vec(&json)?;
        }
        let mut response = Response::builder().status(status);
        if let Some(content_type) = content_type {
            response = response.header(header::CONTENT_TYPE, content_type);
        }
        Ok(response.body(Body::from(bytes))?)
    }
}
