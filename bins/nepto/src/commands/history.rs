//! A conversation's messages, from the profile.

use std::collections::HashMap;

use clap::Args;
use nepto_sdk::Client;
use nepto_sdk::model::{Body, Message, MessageId, Notice};

use super::{find, known_or};
use crate::app::App;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;
use crate::render::{MessageView, Style, lay_out, span};

/// Shows messages.
#[derive(Debug, Args)]
#[command(after_help = "\
Marks of your own messages:  · on its way   ✓ stored   ✓✓ delivered   ✓✓ read   ✗ not sent
The history is what this device sent and received; nepto inbox fetches what is new.")]
pub struct HistoryArgs {
    /// With whom: wallet address, handle or account id
    peer: String,

    /// How many messages, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Only older ones than the message with this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

pub async fn run(app: &App, args: HistoryArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let mut names = Names::of(&client);
    let peer = known_or(&client, &args.peer, &mut names, find(&client, &args.peer)).await?;
    names.learn(&client, [peer]).await;
    client.sweep()?;
    let mut messages = client.history(peer, args.before, args.limit as usize)?;
    messages.reverse();
    if messages.is_empty() {
        let (nepto, name) = (app.nepto(), names.peer(peer));
        app.note(format!("No messages with {name} here. Write one: {nepto} send {} TEXT", args.peer));
    }
    print(app, &client, &names, &messages)
}

/// Prints messages, oldest first.
pub fn print(app: &App, client: &Client, names: &Names, messages: &[Message]) -> Result<(), Failure> {
    let me = client.account();
    if app.json() {
        for message in messages {
            app.say_json(&json::message(message, me, names))?;
        }
        return Ok(());
    }
    let answered = answered(client, messages);
    let view = MessageView { names, me, now: app.now(), days_between: false };
    for same in messages.chunk_by(report_the_same) {
        let Some(message) = same.first() else { continue };
        let mut block = view.block(message, message.reply_to.and_then(|id| answered.get(&id)));
        if let (true, Some(line)) = (same.len() > 1, block.body.last_mut()) {
            line.push(span(Style::Warn, format!(" ({} times)", same.len())));
        }
        app.show(&lay_out(&block, None))?;
    }
    Ok(())
}

/// Whether two neighbours are one loss told twice: of a device whose session broke, each message is.
fn report_the_same(one: &Message, next: &Message) -> bool {
    matches!(one.body, Body::Notice(Notice::Undecryptable { .. })) && one.body == next.body
}

/// The messages that these answer, where they are still here.
pub fn answered(client: &Client, messages: &[Message]) -> HashMap<MessageId, Message> {
    let ids = messages.iter().filter_map(|message| message.reply_to);
    ids.filter_map(|id| Some((id, client.message(id).ok()??))).collect()
}
