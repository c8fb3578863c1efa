//! For operators: what the server's operator listener tells. It is on the server's machine and asks for no sign-in.

mod people;

use std::time::Duration;

use clap::{Args, Subcommand};
use nepto_proto::api::chain::ChainStatus;
use nepto_proto::api::operator::DeadLetters;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
    /// What consumers gave up
    #[command(subcommand)]
    DeadLetters(Letters),
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

#[derive(Debug, Subcommand)]
enum Letters {
    /// Show them, the oldest first
    List {
        /// Only of this consumer
        #[arg(long)]
        consumer: Option<String>,
    },
    /// Give one back to its consumer, after what was wrong is mended; or all
    Replay {
        /// Its number
        #[arg(required_unless_present = "all")]
        number: Option<u64>,
        /// Every one, of this consumer if one is named
        #[arg(long, conflicts_with = "number")]
        all: bool,
        /// Only of this consumer
        #[arg(long, requires = "all")]
        consumer: Option<String>,
    },
    /// Drop one for good
    Drop {
        /// Its number
        number: u64,
    },
}

pub async fn run(app: &App, args: AdminArgs) -> Result<(), Failure> {
    let operator = Operator { url: args.operator.trim_end_matches('/').to_owned() };
    match args.what {
        What::Chain(Chain::Status) => chains(app, &operator).await,
        What::Invites(what) => people::invites(app, &operator, what).await,
        What::Handles(what) => people::handles(app, &operator, what).await,
        What::DeadLetters(Letters::List { consumer }) => list(app, &operator, consumer.as_deref()).await,
        What::DeadLetters(Letters::Drop { number }) => {
            operator.order(Method::DELETE, &format!("/dead-letters/{number}")).await?;
            done(app, &json!({ "dropped": number }), &format!("Dropped {number}."))
        }
        What::DeadLetters(Letters::Replay { number: Some(number), .. }) => {
            operator.order(Method::POST, &format!("/dead-letters/{number}/replay")).await?;
            done(app, &json!({ "replayed": 1 }), &format!("Gave {number} back."))
        }
        What::DeadLetters(Letters::Replay { consumer, .. }) => {
            let mut replayed = 0;
            // what is put aside again meanwhile has a higher number, and is left for the next time
            let all = letters(&operator, consumer.as_deref()).await?;
            for letter in all.letters {
                operator.order(Method::POST, &format!("/dead-letters/{}/replay", letter.number)).await?;
                replayed += 1;
            }
            done(app, &json!({ "replayed": replayed }), &format!("Gave {replayed} back."))
        }
    }
}

fn done(app: &App, json: &serde_json::Value, text: &str) -> Result<(), Failure> {
    if app.json() { app.say_json(json) } else { app.say(text) }
}

async fn letters(operator: &Operator, consumer: Option<&str>) -> Result<DeadLetters, Failure> {
    let mut all = DeadLetters { letters: Vec::new() };
    loop {
        let after = all.letters.last().map_or(0, |last| last.number);
        let consumer = consumer.map(|consumer| format!("&consumer={consumer}")).unwrap_or_default();
        let page: DeadLetters = operator.get(&format!("/dead-letters?after={after}{consumer}")).await?;
        if page.letters.is_empty() {
            return Ok(all);
        }
        all.letters.extend(page.letters);
    }
}

async fn list(app: &App, operator: &Operator, consumer: Option<&str>) -> Result<(), Failure> {
    let all = letters(operator, consumer).await?;
    if app.json() {
        return all.letters.iter().try_for_each(|letter| app.say_json(letter));
    }
    if all.letters.is_empty() {
        return app.say("Nothing was given up.");
    }
    let rows: Vec<[String; 4]> = all
        .letters
        .iter()
        .map(|letter| {
            let at = letter.at.to_offset(app.offset);
            let when = format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute());
            [letter.number.to_string(), clean_line(&letter.consumer), when, clean_line(&letter.reason)]
        })
        .collect();
    table::print(app, ["NUMBER", "CONSUMER", "SINCE", "REASON"], &rows)
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
    if let Some(trouble) = &chain.trouble {
        app.say(format!("  standing still: {}", clean_line(trouble)))?;
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
                clean_line(pipeline.trouble.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    table::print(app, ["PIPELINE", "HEIGHT", "BEHIND", "EVENTS", "PUT ASIDE", "TROUBLE"], &rows)?;
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
}

impl Operator {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> Result<T, Failure> {
        let response = self.send(method, path, body).await?;
        response.json().await.map_err(|error| Failure::other(format!("an answer that can't be read: {error}")))
    }

    async fn order(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(method, path, None).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<reqwest::Response, Failure> {
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.url)).timeout(ANSWER_WITHIN);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.map_err(|_| {
            let detail = format!("{} does not answer; name the server's admin.listen with --operator", self.url);
            Failure::new(Exit::Unreachable, "unreachable", detail)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let problem: nepto_proto::api::Problem = response
            .json()
            .await
            .map_err(|_| Failure::other(format!("{} is no operator's listener that knows {path}", self.url)))?;
        Err(Failure::refused(problem.code, clean_line(&problem.detail)))
    }
}
