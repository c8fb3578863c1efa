//! The loop of the full-screen chat: keys, events and time come in, the screen and the client's calls go out.

use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream, KeyEvent, KeyEventKind};
use futures_util::{FutureExt, StreamExt};
use nepto_proto::AccountId;
use nepto_proto::api::accounts::Account;
use nepto_sdk::{Client, SafetyNumber, SdkError};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::keys::{self, Pressed};
use super::screen;
use super::slash::{self, COMMANDS, Command, Entry};
use super::state::{Chat, Link};
use super::terminal::Terminal;
use crate::app::App;
use crate::commands::safety::groups;
use crate::connection::Connection;
use crate::duration::show_timer;
use crate::failure::Failure;
use crate::names::{Names, look_up};
use crate::text::clean;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Between two questions whether the peer is online.
const PRESENCE_EVERY: Duration = Duration::from_secs(15);
/// Events taken before the screen is drawn again.
const EVENTS_PER_FRAME: usize = 256;

/// What a call in the background came to.
enum Done {
    Say(String),
    Refused(SdkError),
    Online(bool),
    Named(Account),
    /// Safety numbers, and what to say about them.
    Compare(Vec<SafetyNumber>, String),
}

struct Live {
    client: Client,
    chat: Chat,
    done: mpsc::UnboundedSender<Done>,
    /// The safety numbers that were shown last.
    shown: Vec<SafetyNumber>,
    over: bool,
}

pub async fn run(
    app: &App,
    client: Client,
    mut connection: Connection,
    names: Names,
    peer: AccountId,
    limit: usize,
) -> Result<(), Failure> {
    let (done, mut results) = mpsc::unbounded_channel();
    let chat = Chat::new(client.account(), peer, names, limit);
    let mut live = Live { client: client.clone(), chat, done, shown: Vec::new(), over: false };
    let mut terminal = Terminal::open(app.color)?;
    let mut keys = EventStream::new();
    let (mut tick, mut presence) = (interval(TICK), interval(PRESENCE_EVERY));
    let mut stop = std::pin::pin!(stopped());
    while !live.over {
        live.chat.reload(&client)?;
        let frame = screen::draw(&mut live.chat, terminal.size(), app.now());
        terminal.show(frame)?;
        tokio::select! {
            event = connection.next() => {
                live.event(&event?);
                for _ in 0..EVENTS_PER_FRAME {
                    let Some(more) = connection.next().now_or_never() else { break };
                    live.event(&more?);
                }
            }
            event = keys.next() => match event {
                Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => live.key(key, &mut terminal)?,
                Some(Ok(TerminalEvent::Paste(text))) => {
                    live.chat.input.insert(&clean(&text));
                    live.typed(true);
                }
                Some(Ok(TerminalEvent::Resize(..))) => terminal.forget()?,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => live.over = true,
            },
            Some(result) = results.recv() => live.take(result),
            _ = tick.tick() => {
                live.chat.tick(Instant::now());
                live.typed(false);
            }
            _ = presence.tick() => live.ask_presence(),
            () = &mut stop => live.over = true,
        }
    }
    drop(terminal);
    live.chat.input.take();
    live.typed(true);
    connection.farewell(&client, |_| {}).await;
    Ok(())
}

/// The machine goes down, or the window was closed.
pub(super) async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut hup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
    #[cfg(not(unix))]
    std::future::pending::<()>().await;
}

impl Live {
    fn event(&mut self, event: &nepto_sdk::Event) {
        use nepto_sdk::Event;
        if let Event::Message(message) | Event::Request(message) = event {
            self.learn(message.conversation);
        }
        self.chat.on_event(event, Instant::now());
        if matches!(event, Event::Connected) {
            self.learn(self.chat.peer);
            self.ask_presence();
        }
    }

    /// Asks for a name while the screen stays alive.
    fn learn(&mut self, account: AccountId) {
        self.chat.names.remember(&self.client, account);
        if self.chat.names.lacks(account) {
            let (client, done) = (self.client.clone(), self.done.clone());
            tokio::spawn(async move {
                if let Ok(found) = look_up(&client, account).await {
                    let _ = done.send(Done::Named(found));
                }
            });
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Named(account) => self.chat.names.insert(account),
            Done::Compare(numbers, text) => {
                self.shown = numbers;
                self.chat.note(text, false);
            }
            Done::Say(text) => self.chat.note(text, false),
            Done::Refused(error) => self.chat.note(Failure::from(error).detail, true),
            Done::Online(online) => self.chat.peer_online = Some(online),
        }
    }

    fn key(&mut self, key: KeyEvent, terminal: &mut Terminal) -> std::io::Result<()> {
        let page = usize::from(terminal.size().1).saturating_sub(4).max(1);
        let complete = |begun: &str| slash::complete(begun, COMMANDS);
        match keys::press(key, &mut self.chat.input, &mut self.chat.scrolled, page, complete) {
            Pressed::Edited => {}
            Pressed::Submit => self.submit(),
            Pressed::Leave => self.over = true,
            Pressed::Redraw => terminal.forget()?,
        }
        self.typed(true);
        Ok(())
    }

    fn submit(&mut self) {
        self.chat.scrolled = 0;
        let line = self.chat.input.take();
        let result = match slash::parse(&line, COMMANDS) {
            Ok(None) => Ok(()),
            Ok(Some(Entry::Text(text))) => {
                let sent = self.client.send_text(self.chat.peer, &text, None, None);
                sent.map(drop).map_err(|error| explain(&error))
            }
            Ok(Some(Entry::Command(command))) => self.command(command),
            Err(why) => Err(why),
        };
        if let Err(why) = result {
            self.chat.note(why, true);
            // nothing that was written is lost
            self.chat.input.set(line);
        }
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let (client, peer, me) = (self.client.clone(), self.chat.peer, self.chat.me);
        let name = self.chat.names.label(peer);
        let sdk = |error: SdkError| explain(&error);
        match command {
            Command::Help => self.chat.note(help(), false),
            Command::Quit => self.over = true,
            Command::Accept => self.background(async move {
                client.accept(peer).await?;
                Ok(format!("{name} may write to you."))
            }),
            Command::Block => self.background(async move {
                client.block(peer).await?;
                Ok(format!("Nothing of {name} arrives any more. /unblock undoes it."))
            }),
            Command::Unblock => self.background(async move {
                client.unblock(peer).await?;
                Ok(format!("{name} is not blocked any more; /accept to write."))
            }),
            Command::React { emoji, number, remove } => {
                let target = match number {
                    Some(number) => self.chat.numbered(number)?,
                    None => self
                        .chat
                        .last_of_peer()
                        .ok_or("there is no message of theirs yet; say which: /react EMOJI N")?,
                };
                client.react(peer, target.id, &emoji, remove).map_err(sdk)?;
            }
            Command::Reply { number, text } => {
                let answered = self.chat.numbered(number)?.id;
                client.send_text(peer, &text, Some(answered), None).map_err(sdk)?;
            }
            Command::Edit { number, text } => {
                let id = self.own(number, me)?;
                client.edit(peer, id, &text).map_err(sdk)?;
            }
            Command::Delete { number } => {
                let id = self.own(number, me)?;
                client.delete(peer, id).map_err(sdk)?;
            }
            Command::Retry { number } => {
                let id = self.own(number, me)?;
                client.send_again(id).map_err(sdk)?;
            }
            Command::Timer(None) => {
                let seconds = self.chat.conversation.as_ref().map_or(0, |conversation| conversation.expire_after_s);
                self.chat.note(format!("New messages disappear after: {}", show_timer(seconds)), false);
            }
            Command::Timer(Some(seconds)) => client.set_timer(peer, seconds).map_err(sdk)?,
            Command::Pin { .. } => return Err("messages are pinned in channels".to_owned()),
            Command::Safety => self.spawn(async move {
                let mut lines = vec![format!("Safety number with {name}; compare it by voice or side by side:")];
                let numbers = client.safety_numbers(peer).await?;
                for number in &numbers {
                    lines.push(format!("device {}", number.device));
                    lines.extend(groups(number).iter().map(|row| format!("  {row}")));
                }
                lines.push("The same? /verify. With a QR code: nepto safety-number PEER --qr".to_owned());
                Ok(Done::Compare(numbers, lines.join("\n")))
            }),
            Command::Verify if self.shown.is_empty() => return Err("compare it first: /safety shows it".to_owned()),
            Command::Verify => {
                let shown = self.shown.clone();
                self.background(async move {
                    // what changed meanwhile was not compared
                    client.safety_numbers(peer).await?;
                    client.mark_verified(peer, &shown)?;
                    Ok(format!("{name} is verified. If keys change, nothing is sent until you decide."))
                });
            }
            Command::AcceptChange => {
                client.accept_change(peer).map_err(sdk)?;
                self.chat.note("The change is accepted; the safety number is not verified any more.", false);
            }
            Command::History(count) => {
                self.chat.limit = self.chat.limit.saturating_add(count);
                self.chat.scrolled = usize::MAX;
            }
        }
        Ok(())
    }

    fn own(&self, number: u64, me: AccountId) -> Result<nepto_proto::ClientMsgId, String> {
        let message = self.chat.numbered(number)?;
        if message.id.author == me { Ok(message.id.id) } else { Err(format!("message #{number} is not yours")) }
    }

    /// Runs a call while the screen stays alive.
    fn background(&self, call: impl Future<Output = Result<String, SdkError>> + Send + 'static) {
        self.spawn(async move { call.await.map(Done::Say) });
    }

    fn spawn(&self, call: impl Future<Output = Result<Done, SdkError>> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            let _ = done.send(call.await.unwrap_or_else(Done::Refused));
        });
    }

    fn ask_presence(&self) {
        if self.chat.link != Link::Online || self.chat.peer == self.chat.me {
            return;
        }
        let (client, peer, done) = (self.client.clone(), self.chat.peer, self.done.clone());
        tokio::spawn(async move {
            if let Ok(online) = client.online(&[peer]).await {
                let _ = done.send(Done::Online(online.contains(&peer)));
            }
        });
    }

    /// Tells the peer about typing, where there is something to tell. Not worth an error.
    fn typed(&mut self, typed: bool) {
        if let Some(active) = self.chat.typing_to_send(typed, Instant::now()) {
            let (client, peer) = (self.client.clone(), self.chat.peer);
            tokio::spawn(async move { client.typing(peer, active).await });
        }
    }
}

/// In a chat the commands behind a slash help, not those of the shell.
fn explain(error: &SdkError) -> String {
    match error {
        SdkError::NotAccepted => "accept this conversation before you write in it: /accept".to_owned(),
        SdkError::YouBlocked => "you have blocked this account: /unblock".to_owned(),
        other => other.to_string(),
    }
}

fn help() -> String {
    let mut lines = vec!["Write and press Enter. N is the number in front of a message.".to_owned()];
    for (name, arguments, what) in COMMANDS {
        lines.push(format!("{:<22} {what}", format!("/{name} {arguments}")));
    }
    lines.push("Alt-Enter: new line. PageUp, PageDown: scroll. // begins a text with a slash.".to_owned());
    lines.push("· on its way   ✓ stored   ✓✓ delivered   ✓✓ read   ✗ not sent".to_owned());
    lines.join("\n")
}
