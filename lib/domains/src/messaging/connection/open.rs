//! The beginning of a connection: its first frame, and what it needs from then on.

use axum::body::Bytes;
use futures_util::{SinkExt, StreamExt};
use nepto_kit::subscriptions::Listener;
use nepto_kit::token::{self, Claims};
use nepto_kit::{Ctx, Failure};
use nepto_proto::frame::{self, encode_server};
use nepto_proto::limits::{ACK_WINDOW, HELLO_TIMEOUT};
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, Hello, client_frame, server_frame};
use nepto_proto::{CloseCode, ErrorCode};
use tokio::time::{Instant, timeout};
use tungstenite::Message;

use super::price::{self, Allowance, Passage};
use super::{Closed, broken, error_frame};
use crate::keys::DeviceSeen;
use crate::messaging::acked::Acked;
use crate::messaging::gateway::Gateway;
use crate::messaging::handshake::Socket;
use crate::messaging::hellos;
use crate::messaging::mailbox::{Missed, missed};
use crate::messaging::presence::Here;
use crate::messaging::session::Session;

/// What a connection that has said hello begins with.
pub struct Begun {
    pub claims: Claims,
    pub epoch: u64,
    pub mailbox_epoch: u64,
    pub live: Listener,
    pub session: Session,
    /// Devices of the account that miss messages.
    pub missed: Vec<Missed>,
}

/// Waits for the first frame, and answers it.
pub async fn hello(gateway: &Gateway, socket: &mut Socket, allowance: &mut Allowance) -> Result<(Here, Begun), Closed> {
    let first = timeout(HELLO_TIMEOUT, first_frame(socket, allowance)).await;
    let bytes = first.map_err(|_| CloseCode::Unauthenticated)??;
    let frame = frame::decode_client(bytes).map_err(|_| CloseCode::Malformed)?;
    let Some(client_frame::Kind::Hello(hello)) = frame.kind else { return Err(CloseCode::Unauthenticated) };
    // boxed: whoever connects may make us wait for a hello, and a future holds room for all that it may come to
    match Box::pin(open(gateway, &hello)).await {
        Ok((here, begun, welcome)) => {
            let welcome = encode_server(frame.id, server_frame::Kind::Welcome(welcome));
            socket.send(Message::Binary(welcome)).await.map_err(|_| CloseCode::Normal)?;
            Ok((here, begun))
        }
        Err(failure) => {
            failure.log();
            let code = failure.code;
            let error = encode_server(frame.id, server_frame::Kind::Error(error_frame(failure, Vec::new())));
            let _ = socket.send(Message::Binary(error)).await;
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
async fn first_frame(socket: &mut Socket, allowance: &mut Allowance) -> Result<Bytes, Closed> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                if allowance.spend(price::CONTROL, Instant::now()) == Passage::Over {
                    return Err(CloseCode::Abuse);
                }
            }
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(CloseCode::Malformed),
            Some(Ok(Message::Close(_))) | None => return Err(CloseCode::Normal),
            Some(Err(error)) => return Err(broken(&error)),
        }
    }
}

async fn open(gateway: &Gateway, hello: &Hello) -> Result<(Here, Begun, wire::Welcome), Failure> {
    let ctx = &gateway.ctx;
    let claims = token::authenticate(ctx, &hello.access_token).await?;
    hellos::admit(ctx, &claims).await?;
    let (account, device) = (claims.account, claims.device);
    // first the subscription, then the mailbox: what is stored in between is seen twice rather than never
    let live = gateway.subscriptions.listener();
    live.subscribe(&Live::all(account, device), 0).await?;
    let missed = async {
        let _turn = gateway.reads.acquire().await;
        let missed = missed::of(&ctx.nats, ctx.config.nats.shards.of(account), account).await;
        missed.map_err(|error| Failure::unavailable("JetStream", error))
    };
    let (here, missed) = tokio::try_join!(gateway.presence.appear(claims), missed)?;
    let mailbox_epoch = gateway.epoch_of(account);
    let resume = match &hello.resume {
        Some(cursor) if cursor.epoch == mailbox_epoch => gateway.resume_at(account, cursor.seq).await?,
        _ => 0,
    };
    if resume > 0 {
        // how old these are is not known
        let part = Acked { up_to: resume, stored_at_ms: ctx.clock.now_ms(), messages: 0 };
        gateway.acknowledge(account, device, mailbox_epoch, part);
    }
    note_seen(ctx, claims);
    let welcome = wire::Welcome {
        account: account.to_vec(),
        device: device.into(),
        epoch: mailbox_epoch,
        server_time_ms: ctx.clock.now_ms().unsigned_abs(),
        window: ACK_WINDOW,
    };
    let begun = Begun { claims, epoch: here.epoch, mailbox_epoch, live, session: Session::new(resume), missed };
    Ok((here, begun, welcome))
}

/// Once a day, off the path of the connection.
fn note_seen(ctx: &Ctx, claims: Claims) {
    let ctx = ctx.clone();
    let (account, device) = (claims.account, claims.device);
    ctx.tasks.clone().spawn(async move {
        let first: redis::RedisResult<Option<String>> = redis::cmd("SET")
            .arg(format!("seen:{account}:{device}"))
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(86_400)
            .query_async(&mut ctx.redis.clone())
            .await;
        if let Ok(Some(_)) = first
            && let Err(failure) = ctx.call(&DeviceSeen { account, device }).await
        {
            failure.log();
        }
    });
}
