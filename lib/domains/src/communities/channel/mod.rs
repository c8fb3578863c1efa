//! Messages of channels, and the live path (docs/adr/0042).
//!
//! What must hold:
//! - an author is answered when JetStream has the message, and from then on everybody who may sees it, whatever else runs;
//! - what a channel is follows from its events in the order of the stream; the tables are those events, each counted once;
//! - who follows a channel gets every event once and in order, or is told to load the history;
//! - nothing is opened while nobody knows whether it may be, and what is open is closed within a second of its loss;
//! - markers only move forward, and what is unread is counted from facts when somebody asks.

mod access;
mod config;
mod follow;
mod following;
pub mod frames;
mod history;
mod marks;
mod metrics;
mod ops;
mod post;
mod projection;
mod publisher;
mod removal;
mod routes;
mod rows;
mod schema;
mod shared;
mod slow_mode;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod typing;
mod unread;
mod work;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nepto_kit::config::Declared;
use nepto_kit::consumer::Consumer;
use nepto_kit::domain::Parts;
use nepto_kit::http::Routes;
use nepto_kit::nats::ChannelBounds;
use nepto_kit::service::Service;
use nepto_kit::{Config, Failure};
use nepto_proto::api::communities::channels::ChannelKind;
use nepto_proto::event::ChannelRemoved;
use nepto_proto::{AccountId, ChannelId, CommunityId};

use super::ops::Communities;

pub use self::config::Channels;
pub use self::metrics::METRICS;
pub use self::schema::SCHEMA;

/// What this part of the domain reads of the configuration.
pub const SECTION: Declared = Declared::of::<Channels>();
/// The queues of its workers.
pub const HISTORY: &str = worker::NAME;
pub const REMOVED: &str = removal::NAME;

/// Finds the channels of a community that an account may see, or fails with `not_found` where it may not see the community.
type Visible = Arc<dyn Fn(CommunityId, AccountId) -> BoxFuture<'static, Result<Vec<ChannelId>, Failure>> + Send + Sync>;

/// The workers of [`HISTORY`] and [`REMOVED`].
pub fn workers(parts: &Parts) -> anyhow::Result<Vec<Consumer>> {
    let (store, removing) = (store::Store::new(parts.db()?.clone()), store::Store::new(parts.db()?.clone()));
    let ctx = parts.ctx.clone();
    Ok(vec![
        Consumer::new(worker::NAME, move |ctx| worker::serve(ctx, store)),
        Consumer::of_event(removal::NAME, move |event: ChannelRemoved| {
            removal::remove(ctx.clone(), removing.clone(), event)
        }),
    ])
}

/// The routes of messages. What is stored from here goes through a writer of this process, which runs until it stops.
pub fn routes(parts: &Parts) -> anyhow::Result<Routes> {
    let (ctx, communities) = (&parts.ctx, parts.shared(Communities::new)?);
    let visible: Visible = Arc::new(move |community, account| {
        let communities = communities.clone();
        Box::pin(async move {
            let seen = communities.channels(community, account).await?.channels.into_iter();
            Ok(seen.filter(|channel| channel.kind != ChannelKind::Category).map(|channel| channel.channel).collect())
        })
    });
    let (shared, writer) = shared::Shared::new(ctx);
    ctx.tasks.spawn(writer.run(ctx.stop.clone()));
    let (watching, of_process) = (shared.stream.clone(), ctx.clone());
    ctx.tasks.spawn(async move {
        if let Err(error) = watching.watch(&of_process).await {
            // whoever needs to know looks
            tracing::warn!(error = format!("{error:#}"), "the stream of channels is not watched");
        }
    });
    let store = store::Store::new(parts.db()?.clone());
    let history = history::History { ctx: ctx.clone(), store, stream: shared.stream.clone() };
    Ok(routes::routes(ops::Channels { history, posting: shared.posting, visible }))
}

/// What others ask: nothing, so far. What they hear of stands in the stream.
pub fn services(_: &Parts) -> anyhow::Result<Vec<Service>> {
    Ok(Vec::new())
}

/// What the stream may hold.
pub fn stream_bounds(config: &Config) -> ChannelBounds {
    let channels = config.section::<Channels>();
    ChannelBounds { max_age: Duration::from_secs(channels.stream_age_s), bytes_max: channels.stream_bytes_max }
}
