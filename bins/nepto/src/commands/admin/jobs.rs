//! Background jobs: when they run, how they went, and running them by hand.

use clap::Subcommand;
use nepto_proto::api::operator::{JobOutcome, JobRun, JobStatus};
use reqwest::Method;
use serde_json::json;
use time::OffsetDateTime;

use super::{Operator, done, one_part, when};
use crate::app::App;
use crate::commands::table;
use crate::failure::Failure;
use crate::text::clean_line;

/// `nepto admin jobs`: what is done with background jobs.
#[derive(Debug, Subcommand)]
pub enum JobsWhat {
    /// Show them: when each is due, and how it went last
    List,
    /// Run one now, also one that is paused
    Run {
        /// Its name, as in the list
        name: String,
    },
    /// Keep one from running; a run that has begun goes on
    Pause {
        /// Its name, as in the list
        name: String,
    },
    /// Let one run again
    Resume {
        /// Its name, as in the list
        name: String,
    },
    /// Show the last runs of one, the newest first
    History {
        /// Its name, as in the list
        name: String,
    },
}

pub async fn run(app: &App, operator: &Operator, what: JobsWhat) -> Result<(), Failure> {
    let order =
        async |name: &str, what: &str| operator.order(Method::POST, &format!("/jobs/{}/{what}", one_part(name)?)).await;
    match what {
        JobsWhat::List => list(app, operator).await,
        JobsWhat::History { name } => history(app, operator, &name).await,
        JobsWhat::Run { name } => {
            order(&name, "run").await?;
            let text = format!("{name} runs within a second or two; see nepto admin jobs history {name}");
            done(app, &json!({ "asked": name }), &text)
        }
        JobsWhat::Pause { name } => {
            order(&name, "pause").await?;
            done(app, &json!({ "paused": name }), &format!("{name} is paused."))
        }
        JobsWhat::Resume { name } => {
            order(&name, "resume").await?;
            done(app, &json!({ "resumed": name }), &format!("{name} runs again when it is due."))
        }
    }
}

async fn list(app: &App, operator: &Operator) -> Result<(), Failure> {
    let jobs: Vec<JobStatus> = operator.get("/jobs").await?;
    if app.json() {
        return jobs.iter().try_for_each(|job| app.say_json(job));
    }
    if jobs.is_empty() {
        return app.say("No job was ever due: start `nepto-server cron`.");
    }
    let rows: Vec<[String; 6]> = jobs
        .iter()
        .map(|job| {
            let due = match job {
                JobStatus { running_since: Some(since), .. } => format!("runs since {}", when(app, *since)),
                JobStatus { is_asked: true, .. } => "now".to_owned(),
                JobStatus { is_paused: true, .. } => "paused".to_owned(),
                job => at(app, job.due_at),
            };
            let last = job.last.as_ref();
            [
                clean_line(&job.name),
                clean_line(&job.domain),
                clean_line(&job.schedule),
                due,
                last.map_or_else(|| "never".to_owned(), |run| outcome(run.outcome).to_owned()),
                last.map(|run| clean_line(&run.detail)).unwrap_or_default(),
            ]
        })
        .collect();
    table::print(app, ["JOB", "DOMAIN", "SCHEDULE", "DUE", "LAST", "DETAIL"], &rows)
}

async fn history(app: &App, operator: &Operator, name: &str) -> Result<(), Failure> {
    let runs: Vec<JobRun> = operator.get(&format!("/jobs/{}/runs", one_part(name)?)).await?;
    if app.json() {
        return runs.iter().try_for_each(|run| app.say_json(run));
    }
    if runs.is_empty() {
        return app.say(format!("{name} has not run yet."));
    }
    let rows: Vec<[String; 7]> = runs
        .iter()
        .map(|run| {
            let took = run.ended_at.map(|ended| format!("{} ms", (ended - run.started_at).whole_milliseconds()));
            [
                run.number.to_string(),
                if run.is_manual { "by hand".to_owned() } else { at(app, run.due_at) },
                at(app, run.started_at),
                took.unwrap_or_default(),
                outcome(run.outcome).to_owned(),
                clean_line(&run.node),
                clean_line(&run.detail),
            ]
        })
        .collect();
    table::print(app, ["RUN", "DUE", "BEGAN", "TOOK", "OUTCOME", "PROCESS", "DETAIL"], &rows)
}

fn outcome(outcome: JobOutcome) -> &'static str {
    outcome.as_str()
}

/// To the second: jobs may be due every few of them.
fn at(app: &App, at: OffsetDateTime) -> String {
    format!("{}:{:02}", when(app, at), at.second())
}
