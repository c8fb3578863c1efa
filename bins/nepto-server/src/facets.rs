//! Which parts of which domains a role runs.

use std::collections::BTreeSet;

use nepto_domains::messaging::Gateway;
use nepto_kit::{Ctx, http, job};

use crate::meta;
use crate::process::Running;

/// A choice of names, empty for all.
pub struct Only<'a>(pub &'a [String]);

impl Only<'_> {
    fn takes(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|chosen| chosen == name)
    }

    /// A name that does not exist is a mistake, not an empty choice.
    fn check(&self, what: &str, known: &BTreeSet<&str>) -> anyhow::Result<()> {
        match self.0.iter().find(|chosen| !known.contains(chosen.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<&str> = known.iter().copied().collect();
                anyhow::bail!("there is no {what} {unknown:?}; there are {}", known.join(", "))
            }
        }
    }
}

/// What a role serves over HTTP.
#[derive(Default)]
pub struct Routes {
    /// To everybody.
    pub public: axum::Router,
    /// To the operator.
    pub admin: axum::Router,
}

/// The HTTP API of some domains, what they answer to others, and their outboxes. Returns the routes.
pub async fn api(ctx: &Ctx, running: &mut Running, only: Only<'_>) -> anyhow::Result<Routes> {
    let domains = nepto_domains::all();
    only.check("domain", &domains.iter().map(|domain| domain.name).collect())?;
    let (mut routes, mut admin) = (Vec::new(), axum::Router::new());
    for domain in domains.into_iter().filter(|domain| only.takes(domain.name)) {
        let parts = domain.parts(ctx).await?;
        let facets = (domain.mount)(&parts)?;
        routes.push(facets.routes);
        admin = admin.merge(facets.admin);
        if !domain.schema.is_empty() {
            running.start(format!("outbox of {}", domain.name), parts.outbox.serve());
        }
        for service in facets.services {
            running.start(service.subject(), service.serve(ctx.clone()));
        }
    }
    Ok(Routes { public: meta::with_description(ctx, routes)?, admin })
}

/// What is watched outside. Returns the operator's routes.
pub async fn watchers(ctx: &Ctx, running: &mut Running) -> anyhow::Result<axum::Router> {
    let mut admin = axum::Router::new();
    for domain in nepto_domains::all() {
        let facets = (domain.mount)(&domain.parts(ctx).await?)?;
        admin = admin.merge(facets.admin);
        for watcher in facets.watchers {
            running.start(format!("watcher of {}", watcher.name), watcher.watch);
        }
    }
    Ok(admin)
}

/// The queue workers.
pub async fn workers(ctx: &Ctx, running: &mut Running, only: Only<'_>) -> anyhow::Result<()> {
    let mut consumers = Vec::new();
    for domain in nepto_domains::all() {
        consumers.extend((domain.mount)(&domain.parts(ctx).await?)?.consumers);
    }
    only.check("queue", &consumers.iter().map(|consumer| consumer.name).collect())?;
    for consumer in consumers.into_iter().filter(|consumer| only.takes(consumer.name)) {
        running.start(format!("consumer {}", consumer.name), consumer.serve(ctx.clone()));
    }
    Ok(())
}

/// The background jobs.
pub async fn jobs(ctx: &Ctx, running: &mut Running) -> anyhow::Result<()> {
    for domain in nepto_domains::all() {
        let parts = domain.parts(ctx).await?;
        let jobs = (domain.mount)(&parts)?.jobs;
        if !jobs.is_empty() {
            running.start(format!("jobs of {}", domain.name), job::serve(ctx.clone(), parts.db, jobs));
        }
    }
    Ok(())
}

/// The sockets.
pub async fn gateway(ctx: &Ctx, running: &mut Running) -> anyhow::Result<axum::Router> {
    let (gateway, parts) = Gateway::new(ctx).await?;
    for (name, part) in parts {
        running.start(name, part);
    }
    Ok(gateway.routes())
}

/// Opens the public listener with these routes.
pub fn listen(ctx: &Ctx, running: &mut Running, routes: axum::Router) {
    let (ctx, router) = (ctx.clone(), http::public(ctx, routes));
    running.start("public listener".to_owned(), async move {
        let door = http::Door::public(&ctx.config.http);
        http::serve(&ctx, "public listener", ctx.config.http.listen, door, router).await
    });
}
