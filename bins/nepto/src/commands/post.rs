//! Posting one message in a channel.

use std::time::Duration;

use clap::Args;
use nepto_proto::MessageId;
use serde_json::json;
use tokio::time::timeout;

use super::named;
use super::send::text;
use crate::app::App;
use crate::connection::DEFAULT_TIMEOUT;
use crate::duration::parse_wait;
use crate::failure::Failure;

/// Posts a message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto post Gardeners/tomatoes \"the **red** ones are ripe\"
  uptime | nepto post Ops/status
  nepto post Gardeners/tomatoes --reply-to 01a20f45-3b70-8798-8447-5c3c2f236885 yes

A text is Markdown, as docs/markdown.md has it; <@ACCOUNT-ID> mentions somebody. Channels are not encrypted end to end: the server reads them. \
Prints the message's id once the server has stored it.")]
pub struct PostArgs {
    /// Where: COMMUNITY/CHANNEL by their names, or the channel's id
    channel: String,

    /// What to say; without it standard input is read
    text: Vec<String>,

    /// Answer the message with this id
    #[arg(long, value_name = "MESSAGE", value_parser = named::parse_message)]
    reply_to: Option<MessageId>,

    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = parse_wait)]
    timeout: Duration,
}

pub async fn run(app: &App, args: PostArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let text = text(args.text)?;
    let place = named::place(&client, &args.channel).await?;
    let posting = client.post(place.channel, &text, args.reply_to);
    let Ok(posted) = timeout(args.timeout, posting).await else {
        let what = format!("{} did not answer in time, and may have stored it all the same", client.http().server());
        return Err(Failure::timeout(&what));
    };
    let posted = posted?;
    if app.json() {
        return app.say_json(&json!({
            "channel": place.channel, "message": posted.message, "duplicate": posted.duplicate,
        }));
    }
    app.say(posted.message.uuid().to_string())
}
