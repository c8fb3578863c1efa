//! Routes of the operator's listener: jobs and their runs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use nepto_proto::ErrorCode;
use nepto_proto::api::operator::{JobRun, JobStatus};

use super::store::{JobRow, RunRow, Store};
use crate::clock::from_ms;
use crate::domain::Domain;
use crate::http::Path;
use crate::{Ctx, Failure};

/// The process, and the domains that have jobs.
#[derive(Clone)]
struct Jobs {
    ctx: Ctx,
    domains: Vec<Domain>,
}

/// `/jobs`, in a process that has the database. Those of all domains: whoever asks need not know which process runs which.
pub fn routes(ctx: &Ctx, domains: &[Domain]) -> Router {
    if ctx.databases.is_none() {
        return Router::new();
    }
    let domains = domains.iter().filter(|domain| domain.jobs.is_some()).copied().collect();
    Router::new()
        .route("/jobs", get(list))
        .route("/jobs/{name}/runs", get(history))
        .route("/jobs/{name}/run", post(run))
        .route("/jobs/{name}/pause", post(pause))
        .route("/jobs/{name}/resume", post(resume))
        .with_state(Jobs { ctx: ctx.clone(), domains })
}

impl Jobs {
    async fn stores(&self) -> Result<Vec<Store>, Failure> {
        let mut stores = Vec::new();
        for domain in &self.domains {
            let db = domain.database(&self.ctx).await.map_err(|error| Failure::unavailable("the database", error))?;
            stores.push(Store(db));
        }
        Ok(stores)
    }

    /// The database in which a job is.
    async fn store_of(&self, name: &str) -> Result<Store, Failure> {
        for store in self.stores().await? {
            if store.job(name).await?.is_some() {
                return Ok(store);
            }
        }
        let detail = format!("there is no job {name:?}, or none ever ran here; see `nepto admin jobs list`");
        Err(Failure::new(ErrorCode::NotFound, detail))
    }
}

async fn list(State(jobs): State<Jobs>) -> Result<Json<Vec<JobStatus>>, Failure> {
    let mut all = Vec::new();
    for store in jobs.stores().await? {
        for row in store.jobs().await? {
            let last = store.run_of(row.name(), row.fence).await?;
            all.push(status(store.0.name(), &row, last.as_ref()));
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(all))
}

async fn history(State(jobs): State<Jobs>, Path(name): Path<String>) -> Result<Json<Vec<JobRun>>, Failure> {
    let runs = jobs.store_of(&name).await?.runs(&name).await?;
    Ok(Json(runs.iter().map(shown).collect()))
}

async fn run(State(jobs): State<Jobs>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    jobs.store_of(&name).await?.ask(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(jobs): State<Jobs>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    jobs.store_of(&name).await?.pause(&name, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(State(jobs): State<Jobs>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    jobs.store_of(&name).await?.pause(&name, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn status(domain: &str, row: &JobRow, last: Option<&RunRow>) -> JobStatus {
    JobStatus {
        name: row.name().to_owned(),
        domain: domain.to_owned(),
        schedule: row.schedule.clone(),
        due_at: from_ms(row.due_at_ms),
        is_paused: row.is_paused,
        is_asked: row.is_asked,
        running_since: (row.held_until_ms > 0).then(|| from_ms(row.started_at_ms)),
        last: last.map(shown),
    }
}

fn shown(row: &RunRow) -> JobRun {
    JobRun {
        number: row.number().unsigned_abs(),
        due_at: from_ms(row.due_at_ms),
        started_at: from_ms(row.started_at_ms),
        ended_at: row.ended_at_ms.map(from_ms),
        outcome: row.outcome.0,
        detail: row.detail.clone(),
        node: row.node.clone(),
        is_manual: row.is_manual,
    }
}
