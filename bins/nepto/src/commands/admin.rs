//! For operators: what the server's operator listener tells. It is on the server's machine and asks for no sign-in.

mod dead_letters;
mod jobs;
mod people;

use std::time::Duration;

use clap::{Args, Subcommand};
use nepto_proto::api::chain::ChainStatus;
use nepto_proto::api::endpoint::Endpoint;
use nepto_proto::api::endpoints::meta::GetInfo;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::table;
use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::text::clean_line;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Looks at a server.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The operator's listener (`admin.listen` of the server)
    #[arg(long, global = true, value_name = "URL", env = "NEPTO_OPERATOR", default_value = "http://127.0.0.1:9464")]
    operator: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The chains that are followed
    #[command(subcommand)]
    Chain(Chain),
    /// What consumers could not process
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersWhat),
    /// Background jobs
    #[command(subcommand)]
    Jobs(jobs::JobsWhat),
    /// Codes that let new accounts in
    #[command(subcommand)]
    Invites(people::InvitesWhat),
    /// Handles that rest
    #[command(subcommand)]
    Handles(people::HandlesWhat),
}

#[derive(Debug, Subcommand)]
enum Chain {
    /// Heights, lag, gaps, how much is proven, the pipelines and the nodes
    Status,
}

pub async fn run(app: &App, args: AdminArgs) -> Result<(), Failure> {
    let url = args.operator.trim_end_matches('/').to_owned();
    let operator = Operator { url, http: reqwest::Client::new() };
    match args.what {
        What::Chain(Chain::Status) => chains(app, &operator).await,
        What::Invites(what) => people::invites(app, &operator, what).await,
        What::Handles(what) => people::handles(app, &operator, what).await,
        What::DeadLetters(what) => dead_letters::run(app, &operator, what).await,
        What::Jobs(what) => jobs::run(app, &operator, what).await,
    }
}

fn done(app: &App, json: &serde_json::Value, text: &str) -> Result<(), Failure> {
    if app.json() { app.say_json(json) } else { app.say(text) }
}

async fn chains(app: &App, operator: &Operator) -> Result<(), Failure> {
    let chains: Vec<ChainStatus> = operator.get("/chains").await?;
    if app.json() {
        return chains.iter().try_for_each(|chain| app.say_json(chain));
    }
    if chains.is_empty() {
        return app.say("No chain is configured: see [[chains]] in docs/nepto.example.toml.");
    }
    for (number, chain) in chains.iter().enumerate() {
        if number > 0 {
            app.say("")?;
        }
        show(app, chain)?;
    }
    Ok(())
}

fn show(app: &App, chain: &ChainStatus) -> Result<(), Failure> {
    let all = chain.proven_blocks + chain.compared_blocks;
    let proven = if all == 0 { 100.0 } else { chain.proven_blocks as f64 * 100.0 / all as f64 };
    let watched = if chain.watched { "" } else { "  (no watcher was heard in the last half minute)" };
    app.say(format!("chain {}{watched}", chain.chain_id))?;
    app.say(format!(
        "  height {} of {} ({} behind), final {}; collected since {}",
        chain.height, chain.head, chain.lag_blocks, chain.final_height, chain.first_block
    ))?;
    app.say(format!(
        "  {} events of {} contracts in {all} blocks, {proven:.2} % of them proven complete",
        chain.logs, chain.contracts
    ))?;
    app.say(format!("  {} reorganizations, the deepest of {} blocks", chain.reverts, chain.deepest_revert_blocks))?;
    if let Some(last_error) = &chain.last_error {
        app.say(format!("  standing still: {}", clean_line(last_error)))?;
    }
    if chain.gaps.is_empty() {
        app.say("  no gaps")?;
    }
    for gap in &chain.gaps {
        app.say(format!("  gap: blocks {} to {} of {}", gap.from, gap.to, clean_line(&gap.contract)))?;
    }
    let rows: Vec<[String; 6]> = chain
        .pipelines
        .iter()
        .map(|pipeline| {
            [
                clean_line(&pipeline.name),
                pipeline.height.to_string(),
                pipeline.behind_steps.to_string(),
                pipeline.events.to_string(),
                pipeline.dead_letters.to_string(),
                clean_line(pipeline.last_error.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    table::print(app, ["PIPELINE", "HEIGHT", "BEHIND", "EVENTS", "DEAD LETTERS", "LAST ERROR"], &rows)?;
    let rows: Vec<[String; 7]> = chain
        .endpoints
        .iter()
        .map(|endpoint| {
            [
                clean_line(&endpoint.name),
                endpoint.head.to_string(),
                format!("{} ms", endpoint.latency_ms),
                endpoint.asked.to_string(),
                endpoint.failed.to_string(),
                endpoint.lied.to_string(),
                clean_line(endpoint.last_error.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    table::print(app, ["NODE", "HEAD", "ANSWERS IN", "ASKED", "FAILED", "FALSE", "LAST ERROR"], &rows)
}

/// The operator's listener of a server.
struct Operator {
    url: String,
    http: reqwest::Client,
}

impl Operator {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// The same with parameters.
    async fn query<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Failure> {
        read(self.answer(self.request(method, path).query(query), path).await?).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> Result<T, Failure> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(self.answer(request, path).await?).await
    }

    async fn order(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.answer(self.request(method, path), path).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).timeout(ANSWER_WITHIN)
    }

    /// Whether everybody is told there what server it is, which the operator's listener tells nobody.
    async fn is_public(&self) -> bool {
        let answer = self.request(Method::GET, GetInfo::PATH).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn answer(&self, request: RequestBuilder, path: &str) -> Result<reqwest::Response, Failure> {
        let response = request.send().await.map_err(|_| {
            let detail = format!("{} does not answer; name the server's admin.listen with --operator", self.url);
            Failure::new(Exit::Unreachable, "unreachable", detail)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::NOT_FOUND && self.is_public().await {
            return Err(Failure::usage(format!(
                "{} is where people reach the server; name its operator's listener with --operator: admin.listen of its \
                 configuration, http://127.0.0.1:9464 unless that says otherwise",
                self.url
            )));
        }
        let problem: nepto_proto::api::Problem = response
            .json()
            .await
            .map_err(|_| Failure::other(format!("{} is no operator's listener that knows {path}", self.url)))?;
        Err(Failure::refused(problem.code, clean_line(&problem.detail)))
    }
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, Failure> {
    response.json().await.map_err(|error| Failure::other(format!("an answer that can't be read: {error}")))
}

fn when(app: &App, at: OffsetDateTime) -> String {
    let at = at.to_offset(app.offset);
    format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute())
}

/// What stands in a path between two slashes, and is nothing else.
fn one_part(text: &str) -> Result<&str, Failure> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    plain.then_some(text).ok_or_else(|| Failure::usage(format!("{text:?} has other characters than a-z, 0-9, _ and -")))
}
