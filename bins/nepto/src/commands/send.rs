//! Sending one message.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nepto_proto::api::accounts::Account;
use nepto_proto::content::ATTACHMENTS_MAX;
use nepto_proto::{AccountId, ClientMsgId};
use nepto_sdk::model::{self, MessageId, Notice, Status};
use nepto_sdk::{Client, Event, SdkError};
use serde_json::json;
use tokio::time::Instant;

use super::{find_by, known_or, progress};
use crate::app::App;
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::{parse_timer, parse_wait};
use crate::failure::{Exit, Failure, RETURNED_HINT};
use crate::json;
use crate::names::Names;
use crate::render::{failure_text, notice_text};

/// To look up who is meant, where the message itself is not waited for.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// Sends a message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto send @bob \"see you at eight\"
  df -h / | nepto send 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
  nepto send @bob --expire 1h \"the code is 4711\"
  nepto send @bob --reply-to 12 yes                numbers are those of nepto history
  nepto send @bob --file photo.jpg \"from today\"   files are encrypted as texts are

Prints the message's id once the server has stored it. If that does not happen in time, or this device turns out to be \
signed out, the message stays in the profile's queue and goes out with the next command that connects. Without the server only people are known that this \
profile has met; a handle means whom it meant before. If the server names somebody else for it, nothing is sent until you \
decide: nepto contacts who @bob.")]
pub struct SendArgs {
    /// To whom: wallet address, handle or account id
    peer: String,

    /// What to say; without it standard input is read, unless there are files
    #[arg(trailing_var_arg = false)]
    text: Vec<String>,

    /// Send this file with it; several times for several files
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,

    /// Give up waiting after this time, which begins when files are uploaded
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
    if args.file.len() > ATTACHMENTS_MAX {
        return Err(SdkError::TooManyFiles.into());
    }
    let text = if args.text.is_empty() && !args.file.is_empty() { String::new() } else { text(args.text)? };
    let mut names = Names::of(&client);
    let ask = look_up(&client, &args.peer, args.timeout);
    let to = known_or(&client, &args.peer, &mut names, ask).await?;
    let reply_to = args.reply_to.map(|reference| find_message(&client, to, &reference)).transpose()?;
    let mut files = Vec::new();
    for path in &args.file {
        let bar = progress::bar(app, &path.display().to_string());
        let uploaded = client.upload(path, |done, of| progress::show(&bar, done, of)).await;
        bar.finish_and_clear();
        files.push(uploaded.map_err(|error| Failure::from(error).before_queued())?);
    }
    let deadline = Instant::now() + args.timeout;
    let mut connection = Connection::open(app, &client).await.map_err(Failure::before_queued)?;
    let message = client.send_files(to, &text, files, reply_to, args.expire)?;
    let mut warnings = Vec::new();
    let mut told = |event: &Event| {
        if let Some(text) = warning(event, &names) {
            app.note(format!("note: {text}"));
            warnings.push(json::event(event, client.account(), &names));
        }
    };
    match connection.until(deadline, client.wait_sent(message.id.id), &mut told).await {
        Ok(()) => {}
        Err(failure) => {
            return Err(why_not_sent(&client, message.id).unwrap_or_else(|| failure.while_queued("the message")));
        }
    }
    connection.farewell(&client, &mut told).await;
    if app.json() {
        let mut said = json!({
            "id": message.id.id, "number": message.order, "to": to, "status": "stored", "warnings": warnings,
        });
        if !message.attachments.is_empty() {
            said["attachments"] = json::attachments(&message.attachments).into();
        }
        return app.say_json(&said);
    }
    app.say(message.id.id.uuid().to_string())
}

/// Who is meant; without the server nobody knows, and there is nothing to queue.
async fn look_up(client: &Client, peer: &str, limit: Duration) -> Result<Account, Failure> {
    // a caller that does not want to wait for the message has to wait for this
    let limit = if limit.is_zero() { LOOK_UP_WITHIN } else { limit };
    find_by(client, peer, Instant::now() + limit).await.map_err(Failure::before_queued)
}

/// What the words of a command line say, or standard input where there are none.
pub fn text(words: Vec<String>) -> Result<String, Failure> {
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
    let message = client.message(id).ok()??;
    let Status::Failed(failure) = message.status else { return None };
    let detail = format!("the message was not sent: {}", failure_text(failure));
    Some(match failure {
        model::Failure::Server(code) => Failure::refused(code, format!("the message was not sent: {}", code.title())),
        model::Failure::KeysChanged => SdkError::KeysChanged(message.conversation).into(),
        model::Failure::RootChanged => Failure::new(Exit::Error, "root_changed", detail),
        model::Failure::DeviceReturned => {
            Failure::new(Exit::Error, "device_returned", format!("{detail} {RETURNED_HINT}"))
        }
        model::Failure::Uncertified => Failure::new(Exit::Error, "uncertified", detail),
        model::Failure::NodeNeeded(_) => Failure::new(Exit::Error, "node_needed", detail),
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

/// Whom a warning is about: what happened to keys, and what was lost.
pub fn warns_about(event: &Event) -> Option<AccountId> {
    warned(event).map(|(account, _)| account)
}

/// The same in words.
pub fn warning(event: &Event, names: &Names) -> Option<String> {
    warned(event).map(|(account, notice)| notice_text(&notice, account, names))
}

/// Tells a warning: as an event to a program, as a note to a person. Other events are none.
pub fn warn(app: &App, client: &Client, names: &Names, event: &Event) -> Result<(), Failure> {
    match warning(event, names) {
        Some(_) if app.json() => app.say_json(&json::event(event, client.account(), names)),
        Some(text) => {
            app.note(format!("note: {text}"));
            Ok(())
        }
        None => Ok(()),
    }
}

fn warned(event: &Event) -> Option<(AccountId, Notice)> {
    let (account, notice) = match event {
        Event::DeviceAdded { account, device, .. } => (account, Notice::DeviceAdded { device: *device }),
        Event::IdentityChanged { account, device } => (account, Notice::IdentityChanged { device: *device }),
        Event::RootChanged { account, from, to } => {
            (account, Notice::RootChanged { from: from.clone(), to: to.clone() })
        }
        Event::WalletUnlinked { account, wallet } => (account, Notice::WalletUnlinked { wallet: wallet.clone() }),
        Event::DeviceReturned { account, device, .. } => (account, Notice::DeviceReturned { device: *device }),
        Event::Uncertified { account, device, .. } => (account, Notice::Uncertified { device: *device }),
        Event::Undecryptable { account, device, .. } => (account, Notice::Undecryptable { device: *device }),
        Event::Missed { account, device, since_ms } => {
            (account, Notice::Missed { device: *device, since_ms: *since_ms })
        }
        Event::SessionReset { account, device, resent, unread } => {
            let (resent, unread) = (resent.len() as u32, unread.len() as u32);
            (account, Notice::SessionReset { device: *device, resent, unread })
        }
        Event::NotSent { conversation, change, failure } => {
            (conversation, Notice::NotSent { change: *change, failure: *failure })
        }
        _ => return None,
    };
    Some((*account, notice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::DeviceId;
    use uuid::Uuid;

    #[test]
    fn what_is_lost_or_changed_is_a_warning() {
        let (me, account) = (AccountId::new(Uuid::from_u128(1)), AccountId::new(Uuid::from_u128(2)));
        let (names, device) = (Names::new(me), DeviceId::try_from(3).unwrap());
        let (reason, from, to) = (String::new(), String::new(), String::new());
        let (change, failure) = (model::Change::Edit, model::Failure::BadKeys);
        for event in [
            Event::DeviceAdded { account, device, wallet: String::new() },
            Event::IdentityChanged { account, device },
            Event::RootChanged { account, from, to },
            Event::WalletUnlinked { account, wallet: String::new() },
            Event::DeviceReturned { account, device, wallet: String::new() },
            Event::Uncertified { account, device, reason: reason.clone() },
            Event::Undecryptable { account, device, reason },
            Event::SessionReset { account, device, resent: Vec::new(), unread: Vec::new() },
            Event::NotSent { conversation: account, change, failure },
            Event::Missed { account, device, since_ms: 0 },
        ] {
            assert_eq!(warns_about(&event), Some(account), "{event:?}");
            assert!(warning(&event, &names).unwrap().contains("…000000000002"), "{event:?}");
        }
        assert_eq!(warning(&Event::CaughtUp, &names), None);
        let own = warning(&Event::IdentityChanged { account: me, device }, &names).unwrap();
        assert!(own.contains("device 3 of your account"), "{own}");
    }
}
