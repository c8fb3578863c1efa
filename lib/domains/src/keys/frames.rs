//! On the sockets: that a device was seen, that one's devices have changed, and that prekeys run out.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use nepto_kit::frames::{
    AnySession, Connections, Effects, Frame, FrameHandler, FrameKind, FrameSession, Frames, Opening,
};
use nepto_kit::subscriptions::Message;
use nepto_kit::token::Claims;
use nepto_kit::{Ctx, Failure};
use nepto_proto::CloseCode;
use nepto_proto::event::KeysNotice;
use nepto_proto::subject::Live;
use nepto_proto::wire::{self, server_frame};

use nepto_proto::svc::keys::DeviceSeen;

/// A device that connects is seen, once in so long.
const SEEN_EVERY_S: u32 = 86_400;

pub fn mount(ctx: Ctx, _: Arc<dyn Connections>) -> BoxFuture<'static, anyhow::Result<Frames>> {
    Box::pin(async move { Ok(Frames { handler: Arc::new(KeysFrames { ctx }), parts: Vec::new() }) })
}

struct KeysFrames {
    ctx: Ctx,
}

impl FrameHandler for KeysFrames {
    fn domain(&self) -> &'static str {
        "keys"
    }

    fn kinds(&self) -> &'static [FrameKind] {
        &[]
    }

    fn live(&self) -> &'static [Live] {
        &[Live::Keys]
    }

    fn open<'a>(&'a self, opening: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>> {
        note_seen(&self.ctx, opening.claims);
        Box::pin(std::future::ready(Ok(Box::new(Notices) as Box<dyn AnySession>)))
    }
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
            .arg(SEEN_EVERY_S)
            .query_async(&mut ctx.redis.clone())
            .await;
        if let Ok(Some(_)) = first
            && let Err(failure) = ctx.call(&DeviceSeen { account, device }).await
        {
            failure.log();
        }
    });
}

/// Passes on what concerns the device's keys.
struct Notices;

impl FrameSession for Notices {
    type Done = Infallible;

    fn frame(&mut self, _: Frame, _: &mut Effects<Infallible>) -> Result<(), CloseCode> {
        Ok(())
    }

    fn live(&mut self, message: &Arc<Message>, effects: &mut Effects<Infallible>) -> Result<(), CloseCode> {
        match serde_json::from_slice(&message.payload) {
            Ok(KeysNotice::DevicesChanged) => {
                effects.reply(0, server_frame::Kind::DevicesChanged(wire::DevicesChanged {}));
            }
            Ok(KeysNotice::PrekeysLow { ec, kyber }) => {
                effects.reply(0, server_frame::Kind::PrekeysLow(wire::PrekeysLow { ec, kyber }));
            }
            // of a newer version
            Err(_) => {}
        }
        Ok(())
    }

    fn done(&mut self, done: Infallible, _: &mut Effects<Infallible>) -> Result<(), CloseCode> {
        match done {}
    }
}
