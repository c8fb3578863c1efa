//! What consumers could not process: looking at it, giving it back, dropping it.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nepto_proto::api::operator::{
    CountedDeadLetters, DeadLetter, DeadLetterFilter, DeadLetters, SettledDeadLetters, ShownDeadLetter,
};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use super::{Operator, done, when};
use crate::app::App;
use crate::commands::table;
use crate::duration::parse_wait;
use crate::failure::{Exit, Failure};
use crate::text::clean_line;

/// Letters that a list shows at most; narrow it down with a filter.
const SHOWN_MAX: usize = 10_000;
/// Reasons that are shown of letters that were refused.
const REFUSED_SHOWN_MAX: usize = 5;

/// `nepto admin dead-letters`: what is done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersWhat {
    /// Show them, the oldest first
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// Show one with its headers and its body
    Show {
        /// Its number, as in the list
        number: u64,
    },
    /// Give one back to its consumer, after what was wrong is mended; or all that a filter means
    Replay(Which),
    /// Drop one for good; or all that a filter means
    Drop(Which),
}

/// One letter, or many.
#[derive(Debug, Args)]
pub struct Which {
    /// Its number, as in the list
    #[arg(
        required_unless_present = "all",
        conflicts_with_all = ["all", "consumer", "subject", "reason", "older_than", "newer_than"]
    )]
    number: Option<u64>,
    /// Every one that these filters mean
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Which letters are meant: those for which everything that is given is true.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only of this consumer
    #[arg(long)]
    consumer: Option<String>,
    /// Only what would go back to this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only with this in the reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only what was dead-lettered so long ago or longer, for example 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    older_than: Option<Duration>,
    /// Only what was dead-lettered since then
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    newer_than: Option<Duration>,
}

impl From<Filter> for DeadLetterFilter {
    fn from(filter: Filter) -> Self {
        Self {
            consumer: filter.consumer,
            subject: filter.subject,
            reason: filter.reason,
            older_than_s: filter.older_than.map(|age| age.as_secs()),
            newer_than_s: filter.newer_than.map(|age| age.as_secs()),
        }
    }
}

/// A filter, and where to go on.
#[derive(Serialize)]
struct Query<'a> {
    after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<u64>,
    #[serde(flatten)]
    filter: &'a DeadLetterFilter,
}

pub async fn run(app: &App, operator: &Operator, what: DeadLettersWhat) -> Result<(), Failure> {
    match what {
        DeadLettersWhat::List { filter } => list(app, operator, &filter.into()).await,
        DeadLettersWhat::Show { number } => show(app, operator, number).await,
        DeadLettersWhat::Replay(Which { number: Some(number), .. }) => {
            operator.order(Method::POST, &format!("/dead-letters/{number}/replay")).await?;
            done(app, &json!({ "replayed": 1 }), &format!("Gave {number} back."))
        }
        DeadLettersWhat::Replay(which) => {
            let replayed = settle_all(app, operator, "/dead-letters/replay", &which.filter.into()).await?;
            done(app, &json!({ "replayed": replayed }), &format!("Gave {replayed} back."))
        }
        DeadLettersWhat::Drop(Which { number: Some(number), .. }) => {
            operator.order(Method::DELETE, &format!("/dead-letters/{number}")).await?;
            done(app, &json!({ "dropped": number }), &format!("Dropped {number}."))
        }
        DeadLettersWhat::Drop(which) => {
            let dropped = settle_all(app, operator, "/dead-letters/drop", &which.filter.into()).await?;
            done(app, &json!({ "dropped_count": dropped }), &format!("Dropped {dropped}."))
        }
    }
}

/// Settles all letters that are there now; how many those were.
async fn settle_all(app: &App, operator: &Operator, path: &str, filter: &DeadLetterFilter) -> Result<u64, Failure> {
    let everything = Query { after: 0, up_to: None, filter };
    let counted: CountedDeadLetters = operator.query(Method::GET, "/dead-letters/count", &everything).await?;
    let bar = progress(app, counted.letters);
    let (mut after, mut settled, mut refused) = (0, 0, Vec::new());
    loop {
        // what is dead-lettered again meanwhile has a higher number, and is left for the next time
        let query = Query { after, up_to: Some(counted.last), filter };
        let some: SettledDeadLetters = operator.query(Method::POST, path, &query).await?;
        settled += some.settled;
        refused.extend(some.refused);
        bar.inc(some.looked_at);
        bar.set_message(format!("{settled} done"));
        match some.next {
            Some(next) => after = next,
            None => break,
        }
    }
    bar.finish_and_clear();
    if refused.is_empty() {
        return Ok(settled);
    }
    let shown: Vec<String> = refused.iter().take(REFUSED_SHOWN_MAX).map(|reason| clean_line(reason)).collect();
    let detail = format!("{settled} done, {} could not be and stay: {}", refused.len(), shown.join("; "));
    Err(Failure::new(Exit::Error, "refused", detail))
}

fn progress(app: &App, letters: u64) -> ProgressBar {
    let template = "{bar:40} {pos}/{len} letters  {per_sec}  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(letters).with_style(style);
    if app.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

async fn list(app: &App, operator: &Operator, filter: &DeadLetterFilter) -> Result<(), Failure> {
    let mut all: Vec<DeadLetter> = Vec::new();
    let mut after = 0;
    while all.len() < SHOWN_MAX {
        let query = Query { after, up_to: None, filter };
        let page: DeadLetters = operator.query(Method::GET, "/dead-letters", &query).await?;
        all.extend(page.letters);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if app.json() {
        return all.iter().try_for_each(|letter| app.say_json(letter));
    }
    if all.is_empty() {
        return app.say("There are no dead letters.");
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|letter| {
            let (consumer, reason) = (clean_line(&letter.consumer), clean_line(&letter.reason));
            [letter.number.to_string(), consumer, when(app, letter.at), reason]
        })
        .collect();
    table::print(app, ["NUMBER", "CONSUMER", "SINCE", "REASON"], &rows)
}

async fn show(app: &App, operator: &Operator, number: u64) -> Result<(), Failure> {
    let shown: ShownDeadLetter = operator.get(&format!("/dead-letters/{number}")).await?;
    if app.json() {
        return app.say_json(&shown);
    }
    let letter = &shown.letter;
    app.say(format!("dead letter {number}"))?;
    app.say(format!("  consumer  {}", clean_line(&letter.consumer)))?;
    app.say(format!("  subject   {}", clean_line(&letter.subject)))?;
    app.say(format!("  since     {}", when(app, letter.at)))?;
    app.say(format!("  reason    {}", clean_line(&letter.reason)))?;
    for (name, value) in &shown.headers {
        app.say(format!("  header    {}: {}", clean_line(name), clean_line(value)))?;
    }
    match &shown.text {
        Some(text) => app.say(clean_line(text)),
        None => app.say(format!("{} bytes, base64: {}", letter.bytes, clean_line(&shown.body))),
    }
}
