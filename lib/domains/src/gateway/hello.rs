//! The beginning of a connection: its first frame, and what it needs from then on.

use axum::body::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_kit::Failure;
use nepto_kit::frames::{AnySession, Opening, Refusal};
use nepto_kit::subscriptions::Listener;
use nepto_kit::token::{self, Claims};
use nepto_proto::frame::{self, ClientKind, encode_server};
use nepto_proto::limits::HELLO_TIMEOUT;
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, Hello, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use tokio::time::{Instant, timeout};
use tungstenite::Message;

use super::allowance::{Allowance, CONTROL, Passage};
use super::closing::broken;
use super::connection::OWN;
use super::presence::PresenceGuard;
use super::upgrade::Socket;
use super::{Gateway, hellos};

/// What a connection that has said hello begins with.
pub struct Handshake {
    pub claims: Claims,
    pub listener: Listener,
    /// One for each domain, in the order of the handlers.
    pub sessions: Vec<Box<dyn AnySession>>,
}

/// Waits for the first frame, and answers it.
pub async fn hello(
    gateway: &Gateway,
    socket: &mut Socket,
    allowance: &mut Allowance,
) -> Result<(PresenceGuard, Handshake), CloseCode> {
    let first = timeout(HELLO_TIMEOUT, first_frame(socket, allowance));
    // a gateway that stops does not wait for who has said nothing
    let first = gateway.ctx.closing.run_until_cancelled(first).await.ok_or(CloseCode::Restart)?;
    let bytes = first.map_err(|_| CloseCode::Unauthenticated)??;
    let first = frame::open_envelope(bytes, |kind| gateway.routes.knows(kind)).map_err(|_| CloseCode::Malformed)?;
    let Some((Hello::NUMBER, hello)) = first.kind else { return Err(CloseCode::Unauthenticated) };
    let hello = Hello::read(hello).map_err(|_| CloseCode::Malformed)?;
    // boxed: whoever connects may make us wait for a hello, and a future holds room for all that it may come to
    match Box::pin(open(gateway, &hello)).await {
        Ok((guard, handshake, welcome)) => {
            let welcome = encode_server(first.id, server_frame::Kind::Welcome(welcome));
            socket.send(Message::Binary(welcome)).await.map_err(|_| CloseCode::Normal)?;
            Ok((guard, handshake))
        }
        Err(failure) => {
            failure.log();
            let code = failure.code;
            let refusal = Refusal { reply_to: first.id, failure, client_msg_id: Vec::new() };
            let _ = socket.send(Message::Binary(refusal.into_frame())).await;
            Err(match code {
                ErrorCode::SessionRevoked => CloseCode::SessionRevoked,
                ErrorCode::RateLimited => CloseCode::Abuse,
                ErrorCode::TokenInvalid | ErrorCode::TokenExpired => CloseCode::Unauthenticated,
                _ => CloseCode::Unavailable,
            })
        }
    }
}

/// Pings and pongs may come at any time (RFC 6455, 5.5.2).
async fn first_frame(socket: &mut Socket, allowance: &mut Allowance) -> Result<Bytes, CloseCode> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                if allowance.spend(CONTROL, Instant::now()) == Passage::Over {
                    return Err(CloseCode::Abuse);
                }
            }
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(CloseCode::Malformed),
            Some(Ok(Message::Close(_))) | None => return Err(CloseCode::Normal),
            Some(Err(error)) => return Err(broken(&error)),
        }
    }
}

async fn open(gateway: &Gateway, hello: &Hello) -> Result<(PresenceGuard, Handshake, wire::Welcome), Failure> {
    let ctx = &gateway.ctx;
    let claims = token::authenticate(ctx, &hello.access_token).await?;
    hellos::admit(ctx, &claims).await?;
    let (account, device) = (claims.account, claims.device);
    // first the subscription, then whatever the domains read: what comes in between is seen twice rather than never
    let listener = gateway.subscriptions.listener();
    listener.subscribe(&Live::all(account, device), OWN).await?;
    let mut welcome = wire::Welcome { account: account.to_vec(), device: device.into(), ..wire::Welcome::default() };
    let sessions = async {
        let mut sessions = Vec::with_capacity(gateway.handlers.len());
        for handler in &gateway.handlers {
            sessions.push(handler.open(Opening { claims, hello, welcome: &mut welcome }).await?);
        }
        Ok::<_, Failure>(sessions)
    };
    let (guard, sessions) = tokio::try_join!(gateway.presence.connect(claims), sessions)?;
    welcome.server_time_ms = ctx.clock.now_ms().unsigned_abs();
    Ok((guard, Handshake { claims, listener, sessions }, welcome))
}
