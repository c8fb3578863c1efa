//! What arrived and was not read yet.

use std::time::Duration;

use clap::Args;
use nepto_proto::AccountId;
use nepto_sdk::model::{Conversation, Message, Status};
use nepto_sdk::{Client, Event};
use tokio::time::{Instant, timeout_at};

use super::send::warning;
use super::{find, history};
use crate::app::App;
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::parse_wait;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;
use crate::render::{Style, span};

/// Messages of one conversation looked at for unread ones.
const LOOK_BACK: usize = 1_000;

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
    let mut names = Names::new(client.account());
    let peer = match &args.peer {
        Some(peer) => Some(find(&client, peer).await?.account),
        None => None,
    };
    let filter = Filter { peer, requests: args.requests };
    let mut connection = Connection::open(&client).await?;
    let mut warnings = Vec::new();
    connection.caught_up(args.timeout, |event| warnings.push(event.clone())).await?;
    let mut unread = unread(&client, &filter)?;
    if let (true, Some(wait)) = (unread.is_empty(), args.wait) {
        wait_for_one(&mut connection, &filter, wait).await?;
        unread = self::unread(&client, &filter)?;
    }
    names.learn(&client, unread.iter().map(|(conversation, _)| conversation.peer)).await;
    for event in warnings {
        warn(app, &event, &mut names, &client).await;
    }
    if unread.is_empty() && !args.follow {
        app.note("Nothing new.");
    }
    for (conversation, messages) in &unread {
        show(app, &client, &names, conversation, messages)?;
        if let Some(last) = messages.last().filter(|_| !args.peek) {
            client.mark_read(conversation.peer, last.order)?;
        }
    }
    remind(app, &client, &unread)?;
    if !args.follow {
        connection.farewell(&client).await;
        return Ok(());
    }
    let over = tokio::select! {
        over = follow(app, &client, connection, names, &filter, !args.peek) => over,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    client.close().await;
    over
}

/// Conversations with unread messages, oldest message first.
fn unread(client: &Client, filter: &Filter) -> Result<Vec<(Conversation, Vec<Message>)>, Failure> {
    let requests = client.requests()?.into_iter().map(|conversation| (conversation, true));
    let accepted = client.conversations()?.into_iter().map(|conversation| (conversation, false));
    let wanted = accepted.chain(requests).filter(|(c, request)| c.unread > 0 && filter.wants(c.peer, *request));
    let mut found = Vec::new();
    for (conversation, _) in wanted {
        let mut messages = client.history(conversation.peer, None, LOOK_BACK)?;
        messages.retain(|message| message.status == Status::Unread);
        messages.reverse();
        if !messages.is_empty() {
            found.push((conversation, messages));
        }
    }
    Ok(found)
}

/// Requests that were shown before and are not decided.
fn remind(app: &App, client: &Client, shown: &[(Conversation, Vec<Message>)]) -> Result<(), Failure> {
    let is_shown = |peer| shown.iter().any(|(conversation, _)| conversation.peer == peer);
    let waiting = client.requests()?.iter().filter(|request| !is_shown(request.peer)).count();
    if waiting > 0 {
        let people = if waiting == 1 { "1 person waits".to_owned() } else { format!("{waiting} people wait") };
        app.note(format!("{people} for your decision: nepto contacts"));
    }
    Ok(())
}

async fn wait_for_one(connection: &mut Connection, filter: &Filter, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while let Ok(event) = timeout_at(deadline, connection.next()).await {
        match event? {
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

fn show(
    app: &App,
    client: &Client,
    names: &Names,
    conversation: &Conversation,
    messages: &[Message],
) -> Result<(), Failure> {
    let request = conversation.state == nepto_sdk::model::ConversationState::Requested;
    if app.json() {
        for message in messages {
            let mut object = json::message(message, client.account(), names);
            object["event"] = if request { "request" } else { "message" }.into();
            app.say_json(&object)?;
        }
        return Ok(());
    }
    let peer = names.peer(conversation.peer);
    if request {
        let reference = names.reference(conversation.peer);
        let title = format!("{peer} wants to write to you");
        let hint = format!("  nepto contacts accept {reference}   or   nepto contacts block {reference}");
        app.show(&[vec![span(Style::Warn, title)], vec![span(Style::Dim, hint)]])?;
    } else {
        app.show(&[vec![span(Style::Bold, format!("{peer} · {} new", messages.len()))]])?;
    }
    history::print(app, client, names, messages)?;
    app.say("")
}

async fn warn(app: &App, event: &Event, names: &mut Names, client: &Client) {
    let account = match event {
        Event::DeviceAdded { account, .. }
        | Event::IdentityChanged { account, .. }
        | Event::RootChanged { account, .. }
        | Event::Uncertified { account, .. } => *account,
        _ => return,
    };
    names.learn(client, [account]).await;
    if let Some(text) = warning(event, account, names) {
        app.note(format!("note: {text}"));
    }
}

async fn follow(
    app: &App,
    client: &Client,
    mut connection: Connection,
    mut names: Names,
    filter: &Filter,
    mark_read: bool,
) -> Result<(), Failure> {
    loop {
        let event = connection.next().await?;
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
            app.say_json(&json::event(&event, client.account(), &names))?;
        } else {
            narrate(app, client, &mut names, &event).await?;
        }
        if let Some((message, _)) = about.filter(|(message, _)| mark_read && message.status == Status::Unread) {
            client.mark_read(message.conversation, message.order)?;
        }
    }
}

async fn narrate(app: &App, client: &Client, names: &mut Names, event: &Event) -> Result<(), Failure> {
    match event {
        Event::Request(message) => {
            let reference = names.reference(message.conversation);
            app.note(format!(
                "{} wants to write to you: nepto contacts accept {reference}",
                names.peer(message.conversation)
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
            warn(app, event, names, client).await;
            Ok(())
        }
    }
}
