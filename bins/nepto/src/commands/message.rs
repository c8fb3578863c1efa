//! What is done with messages of channels after they were posted.

use clap::{Args, Subcommand};
use nepto_proto::{ChannelId, MessageId};
use nepto_sdk::Client;
use serde_json::json;

use super::send::text;
use super::{named, read};
use crate::app::App;
use crate::called::Called;
use crate::failure::Failure;

/// Edits, deletes and pins messages of channels, and reacts to them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto read Gardeners/tomatoes --ids
  nepto message edit Gardeners/tomatoes 01a20f45-3b70-8798-8447-5c3c2f236885 \"the red ones\"
  nepto message react Gardeners/tomatoes 01a20f45-3b70-8798-8447-5c3c2f236885 👍
  nepto message pins Gardeners/tomatoes")]
pub struct MessageArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Replace the text of a message of yours
    Edit {
        #[command(flatten)]
        which: Which,

        /// What it is to say; without it standard input is read
        text: Vec<String>,
    },
    /// Delete a message: yours, or with the permission manage_messages anybody's
    Delete {
        #[command(flatten)]
        which: Which,
    },
    /// React to a message with an emoji
    React {
        #[command(flatten)]
        which: Which,

        /// One emoji, like 👍
        emoji: String,

        /// Take it back
        #[arg(long)]
        remove: bool,
    },
    /// Pin a message, with the permission pin_messages
    Pin {
        #[command(flatten)]
        which: Which,

        /// Take the pin away
        #[arg(long)]
        remove: bool,
    },
    /// Show the pinned messages of a channel, what was pinned last first
    Pins {
        /// COMMUNITY/CHANNEL by their names, or the channel's id
        channel: String,

        /// Show their ids
        #[arg(long)]
        ids: bool,
    },
}

/// Which message.
#[derive(Debug, Args)]
struct Which {
    /// COMMUNITY/CHANNEL by their names, or the channel's id
    channel: String,

    /// The message's id: nepto read CHANNEL --ids
    #[arg(value_parser = named::parse_message)]
    message: MessageId,
}

pub async fn run(app: &App, args: MessageArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    match args.action {
        Action::Edit { which, text: words } => {
            let text = text(words)?;
            let (channel, message) = find(&client, &which).await?;
            client.edit_post(channel, message, &text).await?;
            tell(app, channel, message, "edited", "Edited")
        }
        Action::Delete { which } => {
            let (channel, message) = find(&client, &which).await?;
            client.delete_post(channel, message).await?;
            tell(app, channel, message, "deleted", "Deleted")
        }
        Action::React { which, emoji, remove } => {
            let (channel, message) = find(&client, &which).await?;
            client.react_to_post(channel, message, &emoji, remove).await?;
            match remove {
                true => tell(app, channel, message, "reaction_removed", "Taken back"),
                false => tell(app, channel, message, "reacted", "Reacted"),
            }
        }
        Action::Pin { which, remove } => {
            let (channel, message) = find(&client, &which).await?;
            client.pin_post(channel, message, remove).await?;
            match remove {
                true => tell(app, channel, message, "unpinned", "Not pinned any more"),
                false => tell(app, channel, message, "pinned", "Pinned"),
            }
        }
        Action::Pins { channel, ids } => pins(app, &client, &channel, ids).await,
    }
}

async fn find(client: &Client, which: &Which) -> Result<(ChannelId, MessageId), Failure> {
    Ok((named::place(client, &which.channel).await?.channel, which.message))
}

fn tell(app: &App, channel: ChannelId, message: MessageId, done: &str, said: &str) -> Result<(), Failure> {
    match app.json() {
        true => app.say_json(&json!({ "channel": channel, "message": message, "done": done })),
        false => app.say(said),
    }
}

async fn pins(app: &App, client: &Client, channel: &str, ids: bool) -> Result<(), Failure> {
    let place = named::place(client, channel).await?;
    let pinned = client.pins(place.channel).await?;
    if pinned.is_empty() {
        app.note("Nothing is pinned there.");
    }
    read::print(app, client, &mut Called::of(client, place.community), (place.channel, &pinned), ids).await
}
