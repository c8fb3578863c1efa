//! A board that everybody who follows it hears at once: two kinds of frames, work in sequence, and a live subject.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use nepto_kit::frames::{
    AnySession, Connections, Effects, Frame, FrameHandler, FrameKind, FrameSession, Frames, Opening, Order, Price,
};
use nepto_kit::subscriptions::Message;
use nepto_kit::{Ctx, Failure};
use nepto_proto::frame::{ClientKind, encode_kind};
use nepto_proto::{CloseCode, ErrorCode};
use prost::Message as _;

/// Where what is said goes.
pub const BOARD: &str = "example.board";
/// Lets what waits go on.
pub const GO_ON: &str = "example.go_on";

/// Says something on the board, from a client; and what was said, from the gateway.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Say {
    #[prost(string, tag = "1")]
    pub text: String,
    /// How many of these were encoded before in this process.
    #[prost(uint32, tag = "2")]
    pub encoded: u32,
}

/// Follows the board, or leaves it; answered with itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Follow {
    #[prost(bool, tag = "1")]
    pub leave: bool,
}

/// Waits until somebody says `GO_ON`; answered with itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Wait {}

impl ClientKind for Say {
    const NUMBER: u32 = 2000;
}

impl ClientKind for Follow {
    const NUMBER: u32 = 2001;
}

impl ClientKind for Wait {
    const NUMBER: u32 = 2002;
}

pub fn mount(ctx: Ctx, _: Arc<dyn Connections>) -> BoxFuture<'static, anyhow::Result<Frames>> {
    let handler = Arc::new(ExampleFrames { ctx, encoded: Arc::default() });
    Box::pin(async move { Ok(Frames { handler, parts: Vec::new() }) })
}

struct ExampleFrames {
    ctx: Ctx,
    encoded: Arc<AtomicU32>,
}

impl FrameHandler for ExampleFrames {
    fn domain(&self) -> &'static str {
        "example"
    }

    fn kinds(&self) -> &'static [FrameKind] {
        const KINDS: &[FrameKind] = &[
            FrameKind::of::<Say>(Price::Units(1)),
            FrameKind::of::<Follow>(Price::Units(1)),
            FrameKind::of::<Wait>(Price::Units(1)),
        ];
        KINDS
    }

    fn open<'a>(&'a self, _: Opening<'a>) -> BoxFuture<'a, Result<Box<dyn AnySession>, Failure>> {
        let session = Follower { ctx: self.ctx.clone(), encoded: self.encoded.clone(), asked: None };
        Box::pin(std::future::ready(Ok(Box::new(session) as Box<dyn AnySession>)))
    }
}

struct Follower {
    ctx: Ctx,
    encoded: Arc<AtomicU32>,
    /// The request that is answered when the board is followed.
    asked: Option<u32>,
}

impl FrameSession for Follower {
    /// A request that waited.
    type Done = u32;

    fn frame(&mut self, frame: Frame, effects: &mut Effects<u32>) -> Result<(), CloseCode> {
        match frame.kind {
            Say::NUMBER => {
                let say: Say = frame.read()?;
                if say.text.is_empty() {
                    effects.refuse(frame.id, Failure::new(ErrorCode::Malformed, "say something"));
                    return Ok(());
                }
                let ctx = self.ctx.clone();
                effects.answer(Order::Parallel, async move {
                    let said = ctx.nats.publish(BOARD, say.encode_to_vec().into()).await;
                    said.ok().map(|()| encode_kind(frame.id, Say::NUMBER, &Say::default()))
                });
            }
            Follow::NUMBER => {
                if frame.read::<Follow>()?.leave {
                    effects.unsubscribe(BOARD.to_owned());
                    effects.send(encode_kind(frame.id, Follow::NUMBER, &Follow { leave: true }));
                } else {
                    self.asked = Some(frame.id);
                    effects.subscribe(BOARD.to_owned());
                }
            }
            Wait::NUMBER => {
                let ctx = self.ctx.clone();
                effects.run(Order::InSequence, async move {
                    if let Ok(mut signal) = ctx.nats.subscribe(GO_ON).await {
                        let _ = ctx.nats.flush().await;
                        signal.next().await;
                    }
                    frame.id
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn live(&mut self, message: &Arc<Message>, effects: &mut Effects<u32>) -> Result<(), CloseCode> {
        effects.send(message.frame(|message| {
            let text = Say::decode(message.payload.clone()).unwrap_or_default().text;
            encode_kind(0, Say::NUMBER, &Say { text, encoded: self.encoded.fetch_add(1, Ordering::Relaxed) })
        }));
        Ok(())
    }

    fn subscribed(
        &mut self,
        _: &str,
        outcome: Result<(), Failure>,
        effects: &mut Effects<u32>,
    ) -> Result<(), CloseCode> {
        let Some(id) = self.asked.take() else { return Ok(()) };
        match outcome {
            Ok(()) => effects.send(encode_kind(id, Follow::NUMBER, &Follow::default())),
            Err(failure) => effects.refuse(id, failure),
        }
        Ok(())
    }

    fn done(&mut self, id: u32, effects: &mut Effects<u32>) -> Result<(), CloseCode> {
        effects.send(encode_kind(id, Wait::NUMBER, &Wait {}));
        Ok(())
    }
}
