//! From an HTTP request to a WebSocket (RFC 6455, 4.2). Not the framework's own, because the stream below is counted; see
//! `pieces.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use nepto_kit::Failure;
use nepto_kit::http::{Acquaintance, Origin};
use nepto_proto::ErrorCode;
use nepto_proto::frame::SUBPROTOCOL;
use nepto_proto::limits::FRAME_BYTES_MAX;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::allowance::Allowance;
use super::permit::ConnectionPermit;
use super::pieces::Pieces;
use super::{Gateway, connection};

/// Bytes of a connection's read buffer: idle sockets are many, and it is kept for as long as they live. A message of a
/// kilobyte fits; larger frames take more than one read.
const READ_BUFFER_BYTES: usize = 1_536;
/// An address that has its share may come back after this.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);
/// Frames that are ready together leave together, up to so many bytes.
const WRITE_BUFFER_BYTES: usize = 8_192;
/// Bytes that may wait to be written on one connection; past it the client is too slow.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// A client's WebSocket, whose bytes are counted below it.
pub type Socket = WebSocketStream<Pieces<TokioIo<Upgraded>>>;

/// Answers the handshake, and serves the socket that comes of it.
pub async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    origin: Origin,
    acquaintance: Acquaintance,
    mut request: Request,
) -> Response {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let mut response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let detail = format!("open it as a WebSocket (RFC 6455): {error}");
            return Failure::new(ErrorCode::Malformed, detail).into_response();
        }
    };
    if !asks_for_us(request.headers()) {
        let detail = format!("ask for the WebSocket subprotocol {SUBPROTOCOL}");
        return Failure::new(ErrorCode::Malformed, detail).into_response();
    }
    if gateway.ctx.closing.is_cancelled() {
        return Failure::new(ErrorCode::Unavailable, "this gateway is stopping").into_response();
    }
    let permit = match ConnectionPermit::take(&gateway, origin, acquaintance) {
        Ok(permit) => permit,
        Err(full) if full.is_theirs() => {
            let detail = "your address has as many sockets as it may; close some, or say hello on those that are open";
            return Failure::rate_limited(COME_BACK_AFTER, detail).into_response();
        }
        Err(_) => return Failure::new(ErrorCode::Unavailable, "this gateway is full; try another").into_response(),
    };
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let visits = gateway.ctx.visits.clone();
    visits.spawn(async move {
        match open(on_upgrade, permit.gateway()).await {
            Ok(socket) => connection::serve(permit, socket).await,
            Err(error) => tracing::debug!(%error, "a client left before it had a socket"),
        }
    });
    response
}

/// Boxed: a future holds room for whatever it passes on, once for each hand that it goes through.
async fn open(on_upgrade: OnUpgrade, gateway: &Gateway) -> hyper::Result<Box<Socket>> {
    let limits = &gateway.config;
    let allowance = Allowance::new(limits.frames_per_second, limits.frames_burst, Instant::now());
    let stream = Pieces::new(TokioIo::new(on_upgrade.await?), allowance);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .max_message_size(Some(FRAME_BYTES_MAX));
    Ok(Box::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await))
}

/// Whether our subprotocol is among those that the client offers.
fn asks_for_us(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|offer| offer.to_str().ok());
    offers.flat_map(|offer| offer.split(',')).any(|offer| offer.trim() == SUBPROTOCOL)
}
