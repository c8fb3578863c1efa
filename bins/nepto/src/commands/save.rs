//! Downloading the files of a message.

use std::path::PathBuf;

use clap::Args;
use nepto_proto::{AccountId, ClientMsgId};
use nepto_sdk::Client;
use nepto_sdk::model::{Message, MessageId};
use serde_json::json;

use super::progress;
use crate::app::App;
use crate::failure::Failure;

/// Messages of a conversation that are looked through for the latest files.
const LOOKED_THROUGH: usize = 200;

/// Saves files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto save latest                     of what this device has received; nepto inbox fetches what is new
  nepto save 12 --to ~/Pictures         numbers are those of nepto history

Prints where each file is. Nothing is overwritten: a file of the same name gets a number. A file appears when all of it is there, and \
is the one that was sent. The server keeps files for some time only.")]
pub struct SaveArgs {
    /// Which message: its number in the history, its id, or `latest` for the latest one with files
    message: String,

    /// Into this folder, which exists
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

pub async fn run(app: &App, args: SaveArgs) -> Result<(), Failure> {
    if !args.to.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", args.to.display())));
    }
    let client = app.client().await?;
    let message = match args.message.as_str() {
        "latest" => latest(&client)?.ok_or_else(|| Failure::usage("no message here has files"))?,
        named => find(&client, named)?.ok_or_else(|| Failure::usage(format!("there is no message {named} here")))?,
    };
    if message.attachments.is_empty() {
        return Err(Failure::usage(format!("the message #{} has no files", message.order)));
    }
    for file in &message.attachments {
        let bar = progress::bar(app, &file.name);
        let saved = client.download(file, &args.to, |done, of| progress::show(&bar, done, of)).await;
        bar.finish_and_clear();
        // the name is safe, and the folder is the user's
        let path = saved?.display().to_string();
        match app.json() {
            true => app.say_json(&json!({ "path": path, "name": file.name, "bytes": file.bytes }))?,
            false => app.say(path)?,
        }
    }
    Ok(())
}

/// With whom there are messages here.
fn peers(client: &Client) -> Result<Vec<AccountId>, Failure> {
    let (accepted, requests) = (client.conversations()?, client.requests()?);
    Ok(accepted.iter().chain(&requests).map(|conversation| conversation.peer).collect())
}

/// The latest message with files, of any conversation.
fn latest(client: &Client) -> Result<Option<Message>, Failure> {
    let mut latest: Option<Message> = None;
    for peer in peers(client)? {
        let history = client.history(peer, None, LOOKED_THROUGH)?;
        let found = history.into_iter().find(|message| !message.attachments.is_empty());
        if let Some(found) = found.filter(|found| latest.as_ref().is_none_or(|latest| found.order > latest.order)) {
            latest = Some(found);
        }
    }
    Ok(latest)
}

/// A message by its number, which no other of this device has, or by its id.
fn find(client: &Client, reference: &str) -> Result<Option<Message>, Failure> {
    let number = reference.trim_start_matches('#').parse::<u64>().ok();
    let id = reference.parse::<ClientMsgId>().ok();
    for peer in peers(client)? {
        if let Some(number) = number {
            let found = client.history(peer, Some(number.saturating_add(1)), 1)?;
            if let Some(found) = found.into_iter().find(|message| message.order == number) {
                return Ok(Some(found));
            }
        }
        for author in [peer, client.account()] {
            let Some(id) = id else { continue };
            if let Some(found) = client.message(MessageId { author, id })? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
