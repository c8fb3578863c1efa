//! One message.

use std::io::Read;
use std::time::Duration;

use clap::Args;
use nepto_proto::{AccountId, ClientMsgId};
use nepto_sdk::model::{self, MessageId, Status};
use nepto_sdk::{Client, Event, SdkError};
use serde_json::json;

use super::find;
use crate::app::App;
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::{parse_timer, parse_wait};
use crate::failure::{Exit, Failure};
use crate::names::Names;
use crate::render::{failure_text, notice_text};

/// Sends a message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto send @bob \"see you at eight\"
  df -h / | nepto send 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
  nepto send @bob --expire 1h \"the code is 4711\"
  nepto send @bob --reply-to 12 yes                numbers are those of nepto history

Prints the message's id once the server has stored it. If that does not happen in time, the message stays in the
profile's queue and goes out with the next command that connects.")]
pub struct SendArgs {
    /// To whom: wallet address, handle or account id
    peer: String,

    /// What to say; without it standard input is read
    #[arg(trailing_var_arg = false)]
    text: Vec<String>,

    /// Give up waiting after this time
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = parse_wait)]
    timeout: Duration,

    /// Let it disappear this long after it was read; off: never [default: the conversation's timer]
    #[arg(long, value_name = "TIME", value_parser = parse_timer)]
    expire: Option<u32>,

    /// Answer this message: its number in the history, or its id
    #[arg(long, value_name = "MESSAGE")]
    reply_to: Option<String>,
}

pub async fn run(app: &App, args: SendArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let text = text(args.text)?;
    let peer = find(&client, &args.peer).await?;
    let to = peer.account;
    let mut names = Names::new(client.account());
    names.insert(peer);
    let reply_to = args.reply_to.map(|reference| find_message(&client, to, &reference)).transpose()?;
    let mut connection = Connection::open(&client).await?;
    let message = client.send_text(to, &text, reply_to, args.expire)?;
    let sent = connection.until(args.timeout, client.wait_sent(message.id.id), |event| {
        if let Some(text) = warning(event, to, &names) {
            app.note(format!("note: {text}"));
        }
    });
    match sent.await {
        Ok(()) => {}
        Err(failure) if failure.exit == Exit::Unreachable => {
            let detail = format!("{}; the message waits in the queue of this profile", failure.detail);
            return Err(Failure { detail, ..failure });
        }
        Err(failure) => return Err(why_not_sent(&client, message.id).unwrap_or(failure)),
    }
    connection.farewell(&client).await;
    if app.json() {
        return app.say_json(&json!({
            "id": message.id.id, "number": message.order, "to": to, "status": "stored",
        }));
    }
    app.say(message.id.id.uuid().to_string())
}

fn text(words: Vec<String>) -> Result<String, Failure> {
    let text = if words.is_empty() {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        words.join(" ")
    };
    if text.trim().is_empty() { Err(Failure::usage("there is nothing to send")) } else { Ok(text) }
}

/// The server's code, which the message remembers.
pub fn why_not_sent(client: &Client, id: MessageId) -> Option<Failure> {
    let Status::Failed(failure) = client.message(id).ok()??.status else { return None };
    let detail = format!("the message was not sent: {}", failure_text(failure));
    Some(match failure {
        model::Failure::Server(code) => Failure::refused(code, format!("the message was not sent: {}", code.title())),
        model::Failure::KeysChanged => SdkError::KeysChanged(id.author).into(),
        model::Failure::Uncertified => Failure::new(Exit::Error, "uncertified", detail),
        _ => Failure::other(detail),
    })
}

/// Finds a message by its number in the history, or by its id.
pub fn find_message(client: &Client, peer: AccountId, reference: &str) -> Result<MessageId, Failure> {
    let unknown = || Failure::usage(format!("there is no message {reference} in this conversation"));
    if let Ok(number) = reference.trim_start_matches('#').parse::<u64>() {
        let found = client.history(peer, Some(number.saturating_add(1)), 1)?;
        return found.first().filter(|message| message.order == number).map(|m| m.id).ok_or_else(unknown);
    }
    let id: ClientMsgId = reference.parse().map_err(|_| unknown())?;
    for author in [peer, client.account()] {
        let name = MessageId { author, id };
        if client.message(name)?.is_some_and(|message| message.conversation == peer) {
            return Ok(name);
        }
    }
    Err(unknown())
}

/// What happened to the keys of a peer, or of one's own account.
pub fn warning(event: &Event, peer: AccountId, names: &Names) -> Option<String> {
    use model::Notice;
    let (account, notice) = match event {
        Event::DeviceAdded { account, device, .. } => (account, Notice::DeviceAdded { device: *device }),
        Event::IdentityChanged { account, device } => (account, Notice::IdentityChanged { device: *device }),
        Event::RootChanged { account, from, to } => {
            (account, Notice::RootChanged { from: from.clone(), to: to.clone() })
        }
        Event::Uncertified { account, device, .. } => (account, Notice::Uncertified { device: *device }),
        _ => return None,
    };
    (*account == peer).then(|| notice_text(&notice, *account, names))
}
