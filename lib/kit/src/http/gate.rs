//! What every request passes through: the limits of where it comes from, its body, one of the places that all share, an id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use nepto_proto::ErrorCode;
use nepto_proto::limits::HTTP_BODY_BYTES_MAX;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument;

use super::pace::Pace;
use super::shares::{Bounds, Shares};
use super::streams::{self, Streams};
use super::{EXPOSED, Origin, RequestId};
use crate::config::{Http, millis};
use crate::{Ctx, Failure};

/// Bytes of all bodies that are being read or answered. Those that one prefix may have are half of it.
const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Who is refused for what others do, or for what it did itself a moment ago, may come back after this.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// What every request passes through.
#[derive(Clone)]
pub struct Gatekeeper {
    ctx: Ctx,
    /// Requests of one origin under way.
    shares: Shares,
    pace: Arc<Pace>,
    bodies: Bodies,
    /// Requests whose bodies are taken as they come.
    streams: Streams,
    /// Requests that are complete and being answered. Those that are still coming hold none.
    places: Arc<Semaphore>,
}

impl Gatekeeper {
    pub fn new(ctx: &Ctx) -> Self {
        let http = &ctx.config.http;
        let bounds = Bounds {
            all: http.connections_max,
            network: http.requests_per_address_max,
            prefix: http.requests_per_prefix_max,
        };
        Self {
            ctx: ctx.clone(),
            shares: Shares::new("requests", bounds),
            pace: Arc::new(Pace::new(http.requests_per_address_per_second, http.requests_per_prefix_per_second)),
            bodies: Bodies::default(),
            streams: Streams::new(http),
            places: Arc::new(Semaphore::new(http.concurrency_max)),
        }
    }

    /// An answer, which may be a refusal. What an origin may have is looked at before anything of a body is read.
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let http = &self.ctx.config.http;
        let origin = Origin::of(request.headers(), request.extensions(), http.behind_proxy);
        let _share = match self.shares.take(origin) {
            Ok(share) => share,
            Err(full) if full.is_theirs() => {
                return refused("too many requests from your address are under way; wait for their answers");
            }
            Err(_) => return busy(),
        };
        if let Some(origin) = origin {
            match self.pace.turn(origin, Instant::now()) {
                Ok(wait) if wait.is_zero() => {}
                Ok(wait) => sleep(wait).await,
                Err(_) => {
                    metrics::counter!("nepto_rate_limited_total", "kind" => "address").increment(1);
                    return refused("too many requests from your address; ask less often");
                }
            }
            request.extensions_mut().insert(origin);
        }
        if self.streams.is_one(&request) {
            return self.answer_stream(request, next, origin).await;
        }
        let (request, _bytes) = match self.bodies.read(request, http).await {
            Ok(read) => read,
            Err(failure) => return closing(failure.into_response()),
        };
        let Ok(_place) = self.places.try_acquire() else { return busy() };
        match timeout(millis(http.request_timeout_ms), next.run(request)).await {
            Ok(response) => response,
            Err(_) => gave_up(),
        }
    }

    /// The answer to a body that is handed on as it comes. It takes a place of its own kind: one that is slow holds up nothing else.
    async fn answer_stream(&self, request: Request, next: Next, origin: Option<Origin>) -> Response {
        let http = &self.ctx.config.http;
        let _share = match self.streams.take(origin) {
            Ok(share) => share,
            Err(full) if full.is_theirs() => {
                return refused("too many uploads from your address are under way; wait for their answers");
            }
            Err(_) => return busy(),
        };
        let request = request.map(|body| streams::paced(body, http));
        // the body ends in time by itself, and then there is a request's time for the rest
        let response = match timeout(millis(http.stream_timeout_ms + http.request_timeout_ms), next.run(request)).await
        {
            Ok(response) => response,
            Err(_) => gave_up(),
        };
        // what was refused may still be coming
        if response.status().is_success() { response } else { closing(response) }
    }
}

fn gave_up() -> Response {
    Failure::new(ErrorCode::Timeout, "the server gave up on this request").into_response()
}

fn busy() -> Response {
    let mut busy = Failure::new(ErrorCode::Unavailable, "the server is busy");
    busy.retry_after = Some(COME_BACK_AFTER);
    closing(busy.into_response())
}

fn refused(detail: &str) -> Response {
    closing(Failure::rate_limited(COME_BACK_AFTER, detail).into_response())
}

/// The last answer on its connection: what is left of a body is not read.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The bodies in memory.
#[derive(Clone, Default)]
struct Bodies(Arc<AtomicUsize>);

/// Bytes of a body; given back when dropped.
struct Held {
    bodies: Bodies,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Held {
    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        let before = self.bodies.0.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > BODIES_BYTES_MAX {
            return Err(Failure::new(ErrorCode::Unavailable, "the server reads as much as it can; try again"));
        }
        Ok(())
    }
}

impl Bodies {
    /// The request with its whole body, which has seconds, and more only as far as it comes at a rate.
    async fn read(&self, request: Request, http: &Http) -> Result<(Request, Held), Failure> {
        let mut held = Held { bodies: self.clone(), bytes: 0 };
        if request.body().is_end_stream() {
            return Ok((request, held));
        }
        let (parts, body) = request.into_parts();
        let body = read(body, http, &mut held).await?;
        Ok((Request::from_parts(parts, Body::from(body)), held))
    }
}

async fn read(body: Body, http: &Http, held: &mut Held) -> Result<Bytes, Failure> {
    let too_large = || Failure::new(ErrorCode::TooLarge, format!("at most {HTTP_BODY_BYTES_MAX} bytes"));
    if body.size_hint().lower() > HTTP_BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let (begun, mut read, mut body) = (Instant::now(), BytesMut::new(), body.into_data_stream());
    loop {
        let earned = Duration::from_millis(read.len() as u64 * 1_000 / http.body_bytes_per_second_min.max(1));
        let most = millis(http.request_timeout_ms.max(http.body_timeout_ms));
        let due = begun + (millis(http.body_timeout_ms) + earned).min(most);
        let chunk = match timeout_at(due, body.next()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => {
                return Err(Failure::new(ErrorCode::Malformed, format!("the body broke off: {error}")));
            }
            Err(_) => {
                metrics::counter!("nepto_http_slow_bodies_total").increment(1);
                return Err(Failure::new(ErrorCode::Timeout, "the body of the request came too slowly"));
            }
        };
        if read.len() + chunk.len() > HTTP_BODY_BYTES_MAX {
            return Err(too_large());
        }
        held.grow(chunk.len())?;
        read.extend_from_slice(&chunk);
    }
}

/// The methods that we answer; whoever sends others must not make a new metric with each.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.iter().position(|known| known == method).map_or("other", |index| NAMES[index])
}

/// A middleware: answers with an id, and counts.
pub async fn observe(State(gate): State<Gatekeeper>, mut request: Request, next: Next) -> Response {
    let ctx = &gate.ctx;
    let given = request.headers().get(RequestId::HEADER).and_then(|value| value.to_str().ok()).map(RequestId::from);
    let id = match given {
        Some(id) if id != RequestId::none() => id,
        _ => RequestId::new(ctx),
    };
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let span = tracing::info_span!("http", method, path, request_id = %id, status = tracing::field::Empty);
    let started = std::time::Instant::now();
    request.extensions_mut().insert(ctx.clone());
    let mut response = id.clone().scope(gate.answer(request, next)).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("status", status);
    span.in_scope(|| tracing::debug!(status, took_us = started.elapsed().as_micros() as u64, "answered"));
    metrics::histogram!("nepto_http_seconds", "method" => method, "path" => path, "status" => status.to_string())
        .record(started.elapsed());
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(RequestId::HEADER, value);
    }
    // what was refused here is told to pages in browsers as well
    headers.entry(header::ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(HeaderValue::from_static("*"));
    if !headers.contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS) {
        for name in EXPOSED {
            headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, name.into());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn http() -> Http {
        Http { body_timeout_ms: 5_000, body_bytes_per_second_min: 1_000, ..Http::default() }
    }

    fn held() -> Held {
        Held { bodies: Bodies::default(), bytes: 0 }
    }

    /// A body of chunks of a size, with a pause before each.
    fn dripping(chunks: usize, bytes: usize, pause: Duration) -> Body {
        Body::from_stream(stream::iter(0..chunks).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(vec![b' '; bytes])
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_seconds_and_more_only_at_a_rate() {
        let second = Duration::from_secs(1);
        let whole = read(dripping(10, 2_000, second), &http(), &mut held()).await.unwrap();
        assert_eq!(whole.len(), 20_000);
        for (chunks, bytes, pause, seconds) in [(100, 1, second, 5), (1, 1, second * 100, 5), (100, 900, second, 15)] {
            let started = Instant::now();
            let failure = read(dripping(chunks, bytes, pause), &http(), &mut held()).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::Timeout);
            let took = started.elapsed();
            // the first bytes have earned some milliseconds
            assert!(took < second * seconds + second / 10, "{chunks} chunks of {bytes}: {took:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_not_read_to_its_end() {
        let large = Body::from(vec![0; HTTP_BODY_BYTES_MAX + 1]);
        let endless = Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1_000])));
        for body in [large, endless] {
            assert_eq!(read(body, &http(), &mut held()).await.unwrap_err().code, ErrorCode::TooLarge);
        }
    }

    #[tokio::test]
    async fn bodies_together_have_a_bound_and_give_back_what_they_held() {
        let bodies = Bodies::default();
        let mut first = Held { bodies: bodies.clone(), bytes: 0 };
        first.grow(BODIES_BYTES_MAX).unwrap();
        let mut second = Held { bodies: bodies.clone(), bytes: 0 };
        assert_eq!(second.grow(1).unwrap_err().code, ErrorCode::Unavailable);
        drop((first, second));
        assert_eq!(bodies.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn strangers_make_no_labels() {
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        assert_eq!(method_label(&Method::from_bytes(b"PROPFIND-1").unwrap()), "other");
    }
}
