//! The socket gateway: holds connections, and knows no domain. It imports only the kit and the wire, and a test checks that.
//!
//! What must hold:
//! - `kill -9` of a gateway loses nothing that was acknowledged: it holds no state that its death would lose, and no database;
//! - of two connections of a device the newer one stays, wherever they are;
//! - what a connection may send, keep open and have under way is bounded, and who goes past it is told, then closed;
//! - nothing here waits without a bound: not for a client, not for Redis, not for NATS.
//!
//! What frames mean is up to the domains: each brings a [`FrameHandler`](nepto_kit::frames::FrameHandler).

mod allowance;
mod closing;
mod config;
mod connection;
mod hello;
mod hellos;
mod metrics;
mod permit;
mod pieces;
mod presence;
mod routes;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use futures_util::FutureExt;
use nepto_kit::Ctx;
use nepto_kit::domain::Domain;
use nepto_kit::frames::{FrameHandler, Part};
use nepto_kit::subscriptions::Subscriptions;

use self::allowance::Spent;
pub use self::config::SECTIONS;
pub use self::metrics::METRICS;
use self::permit::Permits;
use self::presence::Presence;
pub use self::presence::connected;
use self::routes::Routes;
use self::upgrade::upgrade;

/// What the connections of a process share.
pub struct Gateway {
    ctx: Ctx,
    config: Arc<config::Gateway>,
    presence: Arc<Presence>,
    subscriptions: Subscriptions,
    /// The domains behind the sockets; everywhere else they are known by their place here.
    handlers: Vec<Arc<dyn FrameHandler>>,
    routes: Routes,
    permits: Permits,
    spent: Spent,
}

impl Gateway {
    /// A gateway before these domains, and what must run beside its connections. Fails if two of them want the same frames.
    pub async fn new(ctx: &Ctx, domains: &[Domain]) -> anyhow::Result<(Arc<Self>, Vec<Part>)> {
        let (subscriptions, link) =
            Subscriptions::connect(&ctx.config.nats, &ctx.node, &ctx.health, ctx.stop.clone()).await?;
        let presence = Arc::new(Presence::new(ctx, subscriptions.clone()));
        let refreshing = presence.clone();
        let mut parts: Vec<Part> = vec![
            ("subscriptions".to_owned(), Box::pin(link.run().map(Ok))),
            ("presence".to_owned(), Box::pin(async move { refreshing.run().map(Ok).await })),
        ];
        let mut handlers = Vec::new();
        for mount in domains.iter().filter_map(|domain| domain.frames) {
            let frames = mount(ctx.clone(), presence.clone()).await?;
            handlers.push(frames.handler);
            parts.extend(frames.parts);
        }
        let routes = Routes::of(&handlers)?;
        let config = ctx.config.section::<config::Gateway>();
        let (permits, spent) = (Permits::new(&ctx.config.http, &config), Spent::default());
        let ctx = ctx.clone();
        Ok((Arc::new(Self { ctx, config, presence, subscriptions, handlers, routes, permits, spent }), parts))
    }

    /// The route of the socket.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new().route("/v1/socket", get(upgrade)).with_state(self)
    }
}
