//! Without a terminal: each line is a message, what arrives is printed, and the end comes once everything is stored.

use std::io::BufRead;
use std::time::Duration;

use nepto_proto::AccountId;
use nepto_sdk::model::{Message, MessageId, Status};
use nepto_sdk::{Client, Event};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::app::App;
use crate::commands::history;
use crate::commands::send::{warn, why_not_sent};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;

/// Lines read ahead.
const LINES_MAX: usize = 16;
/// Of what was written, what the server has not said yes or no to.
const NOT_STORED: &str = "what is not stored yet";
/// Messages whose outcome is looked at in the end.
const SENT_MAX: usize = 100_000;

pub async fn run(
    app: &App,
    client: Client,
    mut connection: Connection,
    names: Names,
    (peer, called): (AccountId, &str),
    (begin_with, timeout): (usize, Duration),
) -> Result<(), Failure> {
    let mut before = client.history(peer, None, begin_with)?;
    before.reverse();
    history::print(app, &client, &names, &before)?;
    let chat = format!("{} chat {called}", app.nepto());
    let mut lines = read_lines();
    let mut sent: Vec<MessageId> = Vec::new();
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line.transpose()? else { break };
                if line.trim().is_empty() {
                    continue;
                }
                let message = client.send_text(peer, line.trim_end_matches('\r'), None, None)?;
                sent.push(message.id);
                if sent.len() == SENT_MAX {
                    stored(app, &client, &mut connection, &names, peer, timeout).await?;
                    check(&client, &sent, &chat)?;
                    sent.clear();
                }
            }
            event = connection.next() => {
                let event = event.map_err(|failure| if sent.is_empty() { failure } else { failure.while_queued(NOT_STORED) })?;
                arrived(app, &client, &names, peer, &event)?;
            }
        }
    }
    stored(app, &client, &mut connection, &names, peer, timeout).await?;
    connection.farewell(&client, |event| drop(warn(app, &client, &names, event))).await;
    check(&client, &sent, &chat)
}

/// Waits until the server has everything, and prints what arrives meanwhile.
async fn stored(
    app: &App,
    client: &Client,
    connection: &mut Connection,
    names: &Names,
    peer: AccountId,
    timeout: Duration,
) -> Result<(), Failure> {
    let mut failed = Ok(());
    let all = connection.until(Instant::now() + timeout, client.wait_all_sent(), |event| {
        if failed.is_ok() {
            failed = arrived(app, client, names, peer, event);
        }
    });
    let all = all.await;
    failed?;
    all.map_err(|failure| failure.while_queued(NOT_STORED))
}

/// The first message that was refused is the error, which says how many there are.
fn check(client: &Client, sent: &[MessageId], chat: &str) -> Result<(), Failure> {
    let refused: Vec<(MessageId, Failure)> =
        sent.iter().filter_map(|id| Some((*id, why_not_sent(client, *id)?))).collect();
    let count = refused.len();
    let Some((first, failure)) = refused.into_iter().next() else { return Ok(()) };
    let number = client.message(first)?.map_or(0, |message| message.order);
    Err(refusal(failure, (count, sent.len()), number, chat))
}

fn refusal(failure: Failure, (refused, all): (usize, usize), number: u64, chat: &str) -> Failure {
    let begin = match all {
        1 => String::new(),
        _ => format!("{refused} of {all} lines were refused, the first of them #{number}: "),
    };
    let again = format!("to try one again: /retry N in {chat}, where N is its number, like {number}");
    Failure { detail: format!("{begin}{}; {again}", failure.detail.trim_end_matches('.')), ..failure }
}

fn arrived(app: &App, client: &Client, names: &Names, peer: AccountId, event: &Event) -> Result<(), Failure> {
    let about: Option<&Message> = match event {
        Event::Message(message) | Event::Request(message) if message.status == Status::Unread => Some(message),
        _ => None,
    };
    let Some(message) = about.filter(|message| message.conversation == peer) else {
        return warn(app, client, names, event);
    };
    if app.json() {
        app.say_json(&json::event(event, client.account(), names))?;
    } else {
        history::print(app, client, names, std::slice::from_ref(message))?;
    }
    client.mark_read(peer, message.order)?;
    Ok(())
}

/// Standard input can't be waited for without a thread; the process does not wait for it in the end.
pub(super) fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::ErrorCode;

    #[test]
    fn lines_that_were_refused_are_counted_and_can_be_sent_again() {
        let failure = || Failure::refused(ErrorCode::MailboxFull, "the message was not sent: It is full.");
        let several = refusal(failure(), (8, 9), 12, "nepto chat @bob");
        assert_eq!(
            several.detail,
            "8 of 9 lines were refused, the first of them #12: the message was not sent: It is full; \
             to try one again: /retry N in nepto chat @bob, where N is its number, like 12"
        );
        assert_eq!((several.code, several.exit), (failure().code, failure().exit));
        assert!(refusal(failure(), (1, 1), 12, "nepto chat @bob").detail.starts_with("the message was not sent"));
    }
}
