//! What the connections of a process share about channels.

use std::sync::Arc;

use nepto_kit::Ctx;
use tokio::sync::Semaphore;

use super::post::Posting;
use super::publisher::{Publisher, Writer};
use super::stream::StreamNow;

/// Channels of a process that are read at once: after a lost connection to NATS, everybody's.
const READS_MAX: usize = 64;
/// Questions of a process what an account may see: after a change of roles, everybody's.
const QUESTIONS_MAX: usize = 64;

/// What the connections of a process share.
pub struct Shared {
    pub ctx: Ctx,
    pub posting: Arc<Posting>,
    pub stream: Arc<StreamNow>,
    /// Turns to read the stream.
    pub reads: Semaphore,
    /// Turns to ask for access.
    pub questions: Semaphore,
}

impl Shared {
    pub fn new(ctx: &Ctx) -> (Self, Writer) {
        let (publisher, writer) = Publisher::new(ctx);
        let stream = Arc::new(StreamNow::default());
        register_health(ctx, &publisher, &stream);
        let posting = Posting { ctx: ctx.clone(), publisher, stream: stream.clone(), communities: Default::default() };
        let shared = Self {
            ctx: ctx.clone(),
            posting: Arc::new(posting),
            stream,
            reads: Semaphore::new(READS_MAX),
            questions: Semaphore::new(QUESTIONS_MAX),
        };
        (shared, writer)
    }
}

/// `/readyz` of a process that stores what happens in channels.
pub fn register_health(ctx: &Ctx, publisher: &Publisher, stream: &Arc<StreamNow>) {
    let (ctx_of, publisher, stream) = (ctx.clone(), publisher.clone(), stream.clone());
    ctx.health.register("stream CHANNEL", move || {
        let (ctx, publisher, stream) = (ctx_of.clone(), publisher.clone(), stream.clone());
        async move {
            stream.lately(&ctx).await.map_err(|error| format!("{error:#}"))?;
            publisher.check()
        }
    });
}
