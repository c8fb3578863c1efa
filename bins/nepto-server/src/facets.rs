//! Which facets of which domains a process runs. Each domain that one of them belongs to is opened once; no other is opened.

use std::collections::BTreeSet;

use nepto_domains::gateway::Gateway;
use nepto_kit::domain::{Domain, Parts};
use nepto_kit::{Ctx, http, job};

use crate::process::Running;
use crate::{meta, service_manager};

/// A choice of names, empty for all.
#[derive(Clone, Copy)]
pub struct Only<'a>(pub &'a [String]);

impl Only<'_> {
    const ALL: Self = Self(&[]);

    /// Whether this name is chosen.
    pub fn takes(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|chosen| chosen == name)
    }

    /// A name that does not exist is a mistake, not an empty choice.
    pub fn check(&self, what: &str, known: &BTreeSet<&str>) -> anyhow::Result<()> {
        match self.0.iter().find(|chosen| !known.contains(chosen.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<&str> = known.iter().copied().collect();
                anyhow::bail!("there is no {what} {unknown:?}; there are {}", known.join(", "))
            }
        }
    }
}

/// The facets that a role runs.
#[derive(Clone, Copy, Default)]
pub struct Facets<'a> {
    /// The API of these domains.
    pub api: Option<Only<'a>>,
    /// The workers of these queues.
    pub workers: Option<Only<'a>>,
    /// The background jobs.
    pub jobs: bool,
    /// What is watched outside.
    pub watchers: bool,
    /// The sockets, which belong to no domain that is opened.
    pub sockets: bool,
}

impl Facets<'_> {
    /// Everything that there is.
    pub const ALL: Self =
        Self { api: Some(Only::ALL), workers: Some(Only::ALL), jobs: true, watchers: true, sockets: true };

    /// Refuses names that do not exist.
    pub fn check(&self) -> anyhow::Result<()> {
        let domains = nepto_domains::all();
        if let Some(only) = self.api {
            only.check("domain", &domains.iter().map(|domain| domain.name).collect())?;
        }
        if let Some(only) = self.workers {
            only.check("queue", &domains.iter().flat_map(|domain| domain.queues).copied().collect())?;
        }
        Ok(())
    }

    /// Whether it opens the public listener.
    pub const fn listens(&self) -> bool {
        self.api.is_some() || self.sockets
    }

    /// The domains that have any of it.
    pub fn domains(&self) -> Vec<Domain> {
        let mut domains = nepto_domains::all();
        domains.retain(|domain| {
            self.api.is_some_and(|only| domain.api.is_some() && only.takes(domain.name))
                || self.workers.is_some_and(|only| domain.queues.iter().any(|queue| only.takes(queue)))
                || (self.jobs && domain.jobs.is_some())
                || (self.watchers && domain.watchers.is_some())
        });
        domains
    }

    /// Opens them, and starts everything. Returns the routes of the operator's listener.
    pub async fn start(&self, ctx: &Ctx, running: &mut Running) -> anyhow::Result<axum::Router> {
        let (mut api, mut operators) = (Vec::new(), axum::Router::new());
        for domain in self.domains() {
            let parts = domain.open(ctx).await?;
            if domain.has_tables() {
                // wherever a domain may write an event, so that nobody else needs to run for it to be heard
                running.start(format!("outbox of {}", domain.name), parts.outbox()?.clone().serve());
            }
            if let Some(mount) = domain.operators {
                operators = operators.merge(mount(&parts)?);
            }
            let mut mounting = Mounting { domain: &domain, parts: &parts, running };
            api.extend(mounting.api(self.api)?);
            mounting.workers(self.workers)?;
            mounting.jobs(self.jobs).await?;
            mounting.watchers(self.watchers)?;
        }
        let mut public = axum::Router::new();
        if self.api.is_some() {
            public = public.merge(meta::with_description(ctx, api));
        }
        if self.sockets {
            public = public.merge(gateway(ctx, running).await?);
        }
        if self.listens() {
            listen(ctx, running, public)?;
        }
        Ok(operators)
    }
}

/// A domain that is open, and where its parts run.
struct Mounting<'a> {
    domain: &'a Domain,
    parts: &'a Parts,
    running: &'a mut Running,
}

impl Mounting<'_> {
    fn api(&mut self, only: Option<Only<'_>>) -> anyhow::Result<Option<http::Routes>> {
        let is_chosen = only.is_some_and(|only| only.takes(self.domain.name));
        let Some(mount) = self.domain.api.filter(|_| is_chosen) else { return Ok(None) };
        let api = mount(self.parts)?;
        for service in api.services {
            self.running.start(service.subject(), service.serve(self.parts.ctx.clone()));
        }
        Ok(Some(api.routes))
    }

    fn workers(&mut self, only: Option<Only<'_>>) -> anyhow::Result<()> {
        let Some(only) = only else { return Ok(()) };
        for consumer in self.domain.consumers(self.parts)?.into_iter().filter(|consumer| only.takes(consumer.name)) {
            self.running.start(format!("consumer {}", consumer.name), consumer.serve(self.parts.ctx.clone()));
        }
        Ok(())
    }

    async fn jobs(&mut self, wanted: bool) -> anyhow::Result<()> {
        let Some(mount) = self.domain.jobs.filter(|_| wanted) else { return Ok(()) };
        let (ctx, jobs) = (self.parts.ctx.clone(), mount(self.parts)?);
        let db = match self.domain.has_tables() {
            true => self.parts.db()?.clone(),
            false => self.domain.database(&ctx).await?,
        };
        self.running.start(format!("jobs of {}", self.domain.name), job::serve(ctx, db, jobs));
        Ok(())
    }

    fn watchers(&mut self, wanted: bool) -> anyhow::Result<()> {
        let Some(mount) = self.domain.watchers.filter(|_| wanted) else { return Ok(()) };
        for watcher in mount(self.parts)? {
            self.running.start(format!("watcher of {}", watcher.name), watcher.watch);
        }
        Ok(())
    }
}

/// Starts what sockets need, and returns the route that clients connect to.
pub async fn gateway(ctx: &Ctx, running: &mut Running) -> anyhow::Result<axum::Router> {
    let (gateway, parts) = Gateway::new(ctx, &nepto_domains::all()).await?;
    for (name, part) in parts {
        running.start(name, part);
    }
    Ok(gateway.routes())
}

/// Opens the public listener with these routes, or takes the one that the service manager keeps open.
fn listen(ctx: &Ctx, running: &mut Running, routes: axum::Router) -> anyhow::Result<()> {
    const NAME: &str = "public listener";
    let listener = match service_manager::public_listener()? {
        Some(listener) => listener,
        None => http::listen(NAME, ctx.config.http.listen)?,
    };
    let (ctx, router) = (ctx.clone(), http::public(ctx, routes));
    running.start(NAME.to_owned(), async move {
        let door = http::Door::public(&ctx.config.http);
        http::serve(&ctx, NAME, listener, door, router).await
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(facets: Facets<'_>) -> Vec<&'static str> {
        facets.domains().iter().map(|domain| domain.name).collect()
    }

    #[test]
    fn a_process_opens_only_the_domains_that_it_runs_something_of() {
        let (keys, erc20, router) = (["keys".to_owned()], ["erc20".to_owned()], ["message-router".to_owned()]);
        assert_eq!(names(Facets { api: Some(Only(&keys)), ..Facets::default() }), ["keys"]);
        assert_eq!(names(Facets { workers: Some(Only(&erc20)), ..Facets::default() }), ["assets"]);
        assert_eq!(names(Facets { watchers: true, ..Facets::default() }), ["collector", "assets"]);
        assert!(names(Facets { sockets: true, ..Facets::default() }).is_empty());
        assert_eq!(names(Facets::ALL).len(), nepto_domains::all().len());
        let routing = Facets { workers: Some(Only(&router)), ..Facets::default() };
        assert_eq!(names(routing), ["messaging"]);
        assert!(!routing.domains().iter().any(Domain::has_tables), "it needs no database");
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused_with_those_that_do() {
        let unknown = ["kees".to_owned()];
        let refused = |facets: Facets<'_>| facets.check().unwrap_err().to_string();
        let error = refused(Facets { api: Some(Only(&unknown)), ..Facets::default() });
        assert!(error.contains("no domain \"kees\"") && error.contains("keys"), "{error}");
        let error = refused(Facets { workers: Some(Only(&unknown)), ..Facets::default() });
        assert!(error.contains("no queue \"kees\"") && error.contains("keys-wallet-unlinked"), "{error}");
        Facets::ALL.check().unwrap();
    }
}
