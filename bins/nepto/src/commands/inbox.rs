//! What arrived and was not read yet.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use nepto_proto::AccountId;
use nepto_sdk::model::{Conversation, ConversationState, Message, Status};
use nepto_sdk::{Client, Event};
use tokio::time::{Instant, timeout_at};

use super::send::{warn, warning, warns_about};
use super::{find_by, history};
use crate::app::App;
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::parse_wait;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;
use crate::render::{Style, span};

/// Unread messages printed, and then marked as read, at once.
const BATCH: usize = 200;
/// After Ctrl-C, if nobody takes what is still to be printed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Fetches unread messages.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto inbox                          what is new; marks it as read
  nepto inbox --peek                   the same, and it stays unread
  nepto inbox --json --wait 60         one object a line; waits a minute for the first message
  nepto inbox --follow --json          everything that happens, for ever: messages, receipts, typing, warnings

Messages of people whom you have not accepted are requests; nothing is told to them until you accept.")]
pub struct InboxArgs {
    /// Stay and show what happens
    #[arg(long, conflicts_with = "wait")]
    follow: bool,

    /// Only requests of people who were not accepted yet
    #[arg(long)]
    requests: bool,

    /// Only messages of this peer: wallet address, handle or account id
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,

    /// If nothing is new, wait this long for a first message
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    wait: Option<Duration>,

    /// Don't mark anything as read
    #[arg(long)]
    peek: bool,

    /// Give up after this time if the server can't be reached
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = parse_wait)]
    timeout: Duration,
}

/// Which conversations are asked for.
struct Filter {
    peer: Option<AccountId>,
    requests: bool,
}

impl Filter {
    fn wants(&self, conversation: AccountId, is_request: bool) -> bool {
        self.peer.is_none_or(|peer| peer == conversation) && (is_request || !self.requests)
    }
}

pub async fn run(app: &App, args: InboxArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let deadline = Instant::now() + args.timeout;
    let mut names = Names::of(&client);
    let peer = match &args.peer {
        Some(peer) => Some(find_by(&client, peer, deadline).await?.account),
        None => None,
    };
    let filter = Filter { peer, requests: args.requests };
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    if args.follow {
        // it is listened for from here on: what is shown below must also be told to have been read
        if let Some(early) = interrupted.as_mut().now_or_never() {
            return Ok(early?);
        }
        tokio::spawn(end_at_last());
    }
    let mut connection = Connection::open(app, &client).await?;
    let mut warnings = Vec::new();
    let mut keep = |event: &Event| warnings.extend(warns_about(event).map(|account| (account, event.clone())));
    tokio::select! {
        caught_up = connection.caught_up(deadline, &mut keep) => caught_up?,
        ended = interrupted.as_mut(), if args.follow => return Ok(ended?),
    }
    let mut unread = unread(&client, &filter)?;
    if let (true, Some(wait)) = (unread.is_empty(), args.wait) {
        wait_for_one(&mut connection, &filter, wait, keep).await?;
        unread = self::unread(&client, &filter)?;
    }
    let warned = warnings.iter().map(|(account, _)| *account);
    names.learn(&client, unread.iter().map(|conversation| conversation.peer).chain(warned)).await;
    let warnings: Vec<Event> = warnings.into_iter().map(|(_, event)| event).collect();
    for same in warnings.chunk_by(|one, next| !app.json() && warning(one, &names) == warning(next, &names)) {
        match same {
            [event] => warn(app, &client, &names, event)?,
            _ => app.note(summary_of(same, &names)),
        }
    }
    if unread.is_empty() && !args.follow {
        app.note("Nothing new.");
    }
    let mut shown = HashMap::new();
    for conversation in &unread {
        let last = show(app, &client, &names, conversation, !args.peek)?;
        shown.insert(conversation.peer, last);
    }
    remind(app, &client, &shown)?;
    if !args.follow {
        connection.farewell(&client, |event| drop(warn(app, &client, &names, event))).await;
        return Ok(());
    }
    let over = tokio::select! {
        over = follow(app, &client, &mut connection, &mut names, &filter, shown, !args.peek) => over,
        _ = interrupted => Ok(()),
    };
    // what was shown last must still be told to have been read
    connection.farewell(&client, |event| drop(warn(app, &client, &names, event))).await;
    over
}

/// Several warnings of the same words.
fn summary_of(same: &[Event], names: &Names) -> String {
    let text = same.first().and_then(|event| warning(event, names)).unwrap_or_default();
    format!("note: {text} ({} times)", same.len())
}

/// Who reads a pipe may have stopped: then nothing else ends us.
async fn end_at_last() {
    if tokio::signal::ctrl_c().await.is_ok() {
        tokio::time::sleep(END_WITHIN).await;
        std::process::exit(130);
    }
}

/// Conversations with unread messages.
fn unread(client: &Client, filter: &Filter) -> Result<Vec<Conversation>, Failure> {
    let requests = client.requests()?.into_iter().map(|conversation| (conversation, true));
    let accepted = client.conversations()?.into_iter().map(|conversation| (conversation, false));
    let wanted = accepted.chain(requests).filter(|(c, request)| c.unread > 0 && filter.wants(c.peer, *request));
    Ok(wanted.map(|(conversation, _)| conversation).collect())
}

/// Requests that were shown before and are not decided.
fn remind(app: &App, client: &Client, shown: &HashMap<AccountId, u64>) -> Result<(), Failure> {
    let waiting = client.requests()?.iter().filter(|request| !shown.contains_key(&request.peer)).count();
    if waiting > 0 {
        let people = if waiting == 1 { "1 person waits".to_owned() } else { format!("{waiting} people wait") };
        app.note(format!("{people} for your decision: {} contacts", app.nepto()));
    }
    Ok(())
}

async fn wait_for_one(
    connection: &mut Connection,
    filter: &Filter,
    limit: Duration,
    mut told: impl FnMut(&Event),
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while let Ok(event) = timeout_at(deadline, connection.next()).await {
        let event = event?;
        told(&event);
        match event {
            Event::Message(message)
                if message.status == Status::Unread && filter.wants(message.conversation, false) =>
            {
                break;
            }
            Event::Request(message) if filter.wants(message.conversation, true) => break,
            _ => {}
        }
    }
    Ok(())
}

/// Prints all unread messages of a conversation, the oldest first, and marks what was printed as read. Returns the order
/// of the last one.
fn show(
    app: &App,
    client: &Client,
    names: &Names,
    conversation: &Conversation,
    mark_read: bool,
) -> Result<u64, Failure> {
    let peer = conversation.peer;
    let mut last = 0;
    loop {
        let messages = client.unread(peer, last, BATCH)?;
        let Some(newest) = messages.last().map(|message| message.order) else { break };
        if last == 0 {
            title(app, names, conversation)?;
        }
        print(app, client, names, conversation, &messages)?;
        if mark_read {
            client.mark_read(peer, newest)?;
        }
        last = newest;
    }
    if last > 0 && !app.json() {
        app.say("")?;
    }
    Ok(last)
}

fn print(
    app: &App,
    client: &Client,
    names: &Names,
    conversation: &Conversation,
    messages: &[Message],
) -> Result<(), Failure> {
    if !app.json() {
        return history::print(app, client, names, messages);
    }
    let request = conversation.state == ConversationState::Requested;
    for message in messages {
        let mut object = json::message(message, client.account(), names);
        object["event"] = if request { "request" } else { "message" }.into();
        app.say_json(&object)?;
    }
    Ok(())
}

fn title(app: &App, names: &Names, conversation: &Conversation) -> Result<(), Failure> {
    if app.json() {
        return Ok(());
    }
    let peer = names.peer(conversation.peer);
    if conversation.state == ConversationState::Requested {
        let reference = names.reference(conversation.peer);
        let title = format!("{peer} wants to write to you");
        let nepto = app.nepto();
        let hint = format!("  {nepto} contacts accept {reference}   or   {nepto} contacts block {reference}");
        app.show(&[vec![span(Style::Warn, title)], vec![span(Style::Dim, hint)]])
    } else {
        app.show(&[vec![span(Style::Bold, format!("{peer} · {} new", conversation.unread))]])
    }
}

async fn follow(
    app: &App,
    client: &Client,
    connection: &mut Connection,
    names: &mut Names,
    filter: &Filter,
    shown: HashMap<AccountId, u64>,
    mark_read: bool,
) -> Result<(), Failure> {
    loop {
        let event = connection.next().await?;
        if is_shown(&event, &shown) {
            continue;
        }
        let about = match &event {
            Event::Message(message) | Event::Request(message) | Event::Changed(message) | Event::Deleted(message) => {
                Some((message, matches!(event, Event::Request(_))))
            }
            _ => None,
        };
        if let Some((message, request)) = about {
            if !filter.wants(message.conversation, request) {
                continue;
            }
            names.learn(client, [message.conversation]).await;
        }
        if app.json() {
            app.say_json(&json::event(&event, client.account(), names))?;
        } else {
            narrate(app, client, names, &event).await?;
        }
        if let Some((message, _)) = about.filter(|(message, _)| mark_read && message.status == Status::Unread) {
            client.mark_read(message.conversation, message.order)?;
        }
    }
}

/// Whether an event tells of a message that was printed with the unread ones.
fn is_shown(event: &Event, shown: &HashMap<AccountId, u64>) -> bool {
    let (Event::Message(message) | Event::Request(message)) = event else { return false };
    let last = shown.get(&message.conversation).copied().unwrap_or(0);
    message.status == Status::Unread && message.order <= last
}

async fn narrate(app: &App, client: &Client, names: &mut Names, event: &Event) -> Result<(), Failure> {
    match event {
        Event::Request(message) => {
            let reference = names.reference(message.conversation);
            app.note(format!(
                "{} wants to write to you: {} contacts accept {reference}",
                names.peer(message.conversation),
                app.nepto()
            ));
            history::print(app, client, names, std::slice::from_ref(message))
        }
        Event::Message(message) | Event::Changed(message) | Event::Deleted(message) => {
            history::print(app, client, names, std::slice::from_ref(message))
        }
        Event::Disconnected { reason, retry_in } => {
            let reason = crate::text::clean_line(json::disconnect_reason(reason));
            app.note(format!("connection lost ({reason}); trying again in {:.0?}", retry_in));
            Ok(())
        }
        Event::Connected => {
            app.note("connected");
            Ok(())
        }
        event => {
            names.learn(client, warns_about(event)).await;
            warn(app, client, names, event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::ClientMsgId;
    use nepto_sdk::model::{Body, MessageId};
    use uuid::Uuid;

    #[test]
    fn what_was_lost_several_times_is_one_line() {
        let [me, account] = [1, 2].map(|n| AccountId::new(Uuid::from_u128(n)));
        let device = nepto_proto::DeviceId::try_from(3).unwrap();
        let lost = |reason: &str| Event::Undecryptable { account, device, reason: reason.to_owned() };
        let text = summary_of(&[lost("one"), lost("other")], &Names::new(me));
        assert!(text.contains("could not be decrypted") && text.ends_with("(2 times)"), "{text}");
    }

    #[test]
    fn what_was_printed_with_the_unread_ones_is_not_printed_again() {
        let peer = AccountId::new(Uuid::from_u128(2));
        let message = |order, status| Message {
            order,
            conversation: peer,
            id: MessageId { author: peer, id: ClientMsgId::new(Uuid::from_u128(u128::from(order))) },
            sent_at_ms: 0,
            at_ms: 0,
            body: Body::Text(String::new()),
            attachments: Vec::new(),
            status,
            reply_to: None,
            reactions: Vec::new(),
            edited: false,
            expire_after_s: 0,
            expires_at_ms: None,
        };
        let shown = HashMap::from([(peer, 7)]);
        assert!(is_shown(&Event::Message(message(7, Status::Unread)), &shown));
        assert!(is_shown(&Event::Request(message(3, Status::Unread)), &shown));
        assert!(!is_shown(&Event::Message(message(8, Status::Unread)), &shown));
        assert!(!is_shown(&Event::Message(message(7, Status::Unread)), &HashMap::new()));
        // one's own, of another device, and what became of a message
        assert!(!is_shown(&Event::Message(message(7, Status::Stored)), &shown));
        assert!(!is_shown(&Event::Changed(message(7, Status::Unread)), &shown));
    }
}
