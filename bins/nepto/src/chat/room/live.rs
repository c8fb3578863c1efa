//! The loop of a channel on the screen: keys, events and time come in, the screen and the client's calls go out.

use std::collections::HashSet;
use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream, KeyEvent, KeyEventKind};
use futures_util::{FutureExt, StreamExt};
use nepto_proto::api::accounts::Account;
use nepto_proto::api::channels::{ChannelHistory, ChannelMessage};
use nepto_proto::api::endpoints::channels::HistoryPage;
use nepto_proto::markdown::mentions;
use nepto_proto::{AccountId, ChannelId, MessageId};
use nepto_sdk::channels::Happened;
use nepto_sdk::{Client, Event, SdkError};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::{HISTORY_MAX, Room, screen};
use crate::app::App;
use crate::called::Called;
use crate::chat::keys::{self, Pressed};
use crate::chat::live::stopped;
use crate::chat::slash::{self, Command, Entry, OF_CHANNELS};
use crate::chat::state::Link;
use crate::chat::terminal::Terminal;
use crate::commands::follow::closed;
use crate::commands::named::Place;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::names::look_up;
use crate::text::clean;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Events taken before the screen is drawn again.
const EVENTS_PER_FRAME: usize = 256;
/// What is on its way when the chat ends is waited for so long.
const POSTED_WITHIN: Duration = Duration::from_secs(10);

/// A message to be posted.
struct Post {
    text: String,
    reply_to: Option<MessageId>,
}

/// What a call in the background came to.
enum Done {
    Nothing,
    Refused(SdkError),
    Newest(Result<ChannelHistory, SdkError>),
    Older(ChannelHistory),
    Posted,
    NotPosted(String, SdkError),
    Named(Account),
}

struct Live {
    client: Client,
    room: Room,
    done: mpsc::UnboundedSender<Done>,
    /// Messages are posted one after the other. Absent at the end.
    posts: Option<mpsc::UnboundedSender<Post>>,
    /// Accounts whose names were asked for.
    asked: HashSet<AccountId>,
    /// Up to where the channel was marked as read.
    marked: Option<MessageId>,
    /// Messages to begin with.
    limit: usize,
    over: bool,
}

pub async fn run(
    app: &App,
    client: Client,
    mut connection: Connection,
    place: Place,
    limit: usize,
) -> Result<(), Failure> {
    let (done, mut results) = mpsc::unbounded_channel();
    let (posts, queue) = mpsc::unbounded_channel();
    let posting = tokio::spawn(post_all(client.clone(), place.channel, queue, done.clone()));
    client.follow(place.channel);
    let mut called = Called::of(&client, place.community);
    called.learn_community(&client).await;
    let (room, asked) = (Room::new(place, called), HashSet::new());
    let limit = limit.min(HISTORY_MAX);
    let mut live =
        Live { client: client.clone(), room, done, posts: Some(posts), asked, marked: None, limit, over: false };
    let mut terminal = Terminal::open(app.color)?;
    let over = live.until_over(app, &mut connection, &mut results, &mut terminal).await;
    drop(terminal);
    live.posts = None;
    let posted = async {
        let _ = posting.await;
        Ok(())
    };
    let _ = connection.until(Instant::now() + POSTED_WITHIN, posted, |_| {}).await;
    connection.farewell(&client, |_| {}).await;
    over?;
    let mut unposted = 0;
    while let Ok(result) = results.try_recv() {
        unposted += usize::from(matches!(result, Done::NotPosted(..)));
        live.take(result);
    }
    match unposted + live.room.on_their_way {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Unreachable, "timeout", "your last message was not posted, or nobody knows yet")),
        more => {
            let detail = format!("your last {more} messages were not posted, or nobody knows yet");
            Err(Failure::new(Exit::Unreachable, "timeout", detail))
        }
    }
}

async fn post_all(
    client: Client,
    channel: ChannelId,
    mut posts: mpsc::UnboundedReceiver<Post>,
    done: mpsc::UnboundedSender<Done>,
) {
    while let Some(Post { text, reply_to }) = posts.recv().await {
        let posted = client.post(channel, &text, reply_to).await;
        let _ = done.send(posted.map_or_else(|error| Done::NotPosted(text, error), |_| Done::Posted));
    }
}

impl Live {
    async fn until_over(
        &mut self,
        app: &App,
        connection: &mut Connection,
        results: &mut mpsc::UnboundedReceiver<Done>,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let mut keys = EventStream::new();
        let mut tick = interval(TICK);
        let mut stop = std::pin::pin!(stopped());
        while !self.over {
            let frame = screen::draw(&mut self.room, terminal.size(), app.now());
            terminal.show(frame)?;
            tokio::select! {
                event = connection.next() => {
                    self.event(event?)?;
                    for _ in 0..EVENTS_PER_FRAME {
                        let Some(more) = connection.next().now_or_never() else { break };
                        self.event(more?)?;
                    }
                }
                event = keys.next() => match event {
                    Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => self.key(key, terminal)?,
                    Some(Ok(TerminalEvent::Paste(text))) => {
                        self.room.input.insert(&clean(&text));
                        self.typed();
                    }
                    Some(Ok(TerminalEvent::Resize(..))) => terminal.forget()?,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.over = true,
                },
                Some(result) = results.recv() => self.take(result),
                _ = tick.tick() => {
                    self.room.tick(Instant::now());
                    self.mark_read();
                }
                () = &mut stop => self.over = true,
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        let here = self.room.place.channel;
        match event {
            Event::Channel(event) if event.channel == here => {
                self.learn([event.by]);
                if let Happened::Posted(message) = &event.what {
                    self.learn_of(std::slice::from_ref(&**message));
                }
                self.room.happened(event);
            }
            Event::ChannelFollowed { channel, community, reload, .. } if channel == here => {
                self.room.called.set_community(community);
                if (reload || self.room.messages.is_empty()) && self.room.begin_loading() {
                    self.load_newest();
                }
            }
            Event::ChannelClosed { channel, why } if channel == here => return Err(closed(why)),
            event => {
                if let Event::ChannelTyping { channel, accounts, .. } = &event
                    && *channel == here
                {
                    self.learn(accounts.iter().copied());
                }
                self.room.on_event(&event, Instant::now());
            }
        }
        Ok(())
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Refused(error) => self.room.note(Failure::from(error).detail, true),
            Done::Newest(Ok(history)) => {
                self.learn_of(&history.messages);
                self.room.loaded(Some(history));
            }
            Done::Newest(Err(error)) => {
                self.room.loaded(None);
                let why = Failure::from(error).detail;
                self.room.note(format!("what was posted before can't be shown: {why}"), true);
            }
            Done::Older(history) => {
                self.learn_of(&history.messages);
                self.room.loaded_older(history);
            }
            Done::Posted => self.room.on_their_way = self.room.on_their_way.saturating_sub(1),
            Done::NotPosted(text, error) => {
                self.room.on_their_way = self.room.on_their_way.saturating_sub(1);
                let why = Failure::from(error).detail;
                self.room.note(format!("not posted: {why}\n{}", clean(&text)), true);
                // nothing that was written is lost
                if self.room.input.is_empty() {
                    self.room.input.set(text);
                }
            }
            Done::Named(account) => self.room.called.names.insert(account),
        }
    }

    fn key(&mut self, key: KeyEvent, terminal: &mut Terminal) -> std::io::Result<()> {
        let page = usize::from(terminal.size().1).saturating_sub(4).max(1);
        let complete = |begun: &str| slash::complete(begun, OF_CHANNELS);
        match keys::press(key, &mut self.room.input, &mut self.room.scrolled, page, complete) {
            Pressed::Edited => self.typed(),
            Pressed::Submit => self.submit(),
            Pressed::Leave => self.over = true,
            Pressed::Redraw => terminal.forget()?,
        }
        Ok(())
    }

    fn submit(&mut self) {
        self.room.scrolled = 0;
        let line = self.room.input.take();
        let result = match slash::parse(&line, OF_CHANNELS) {
            Ok(None) => Ok(()),
            Ok(Some(Entry::Text(text))) => {
                self.post(text, None);
                Ok(())
            }
            Ok(Some(Entry::Command(command))) => self.command(command),
            Err(why) => Err(why),
        };
        if let Err(why) = result {
            self.room.note(why, true);
            self.room.input.set(line);
        }
    }

    fn post(&mut self, text: String, reply_to: Option<MessageId>) {
        if let Some(posts) = &self.posts
            && posts.send(Post { text, reply_to }).is_ok()
        {
            self.room.on_their_way += 1;
        }
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let (client, channel) = (self.client.clone(), self.room.place.channel);
        match command {
            Command::Help => self.room.note(help(), false),
            Command::Quit => self.over = true,
            Command::React { emoji, number, remove } => {
                let message = match number {
                    Some(number) => self.room.numbered(number)?,
                    None => {
                        let last = self.room.last_of_others();
                        last.ok_or("there is no message of others yet; say which: /react EMOJI N")?
                    }
                };
                self.background(async move { client.react_to_post(channel, message, &emoji, remove).await });
            }
            Command::Reply { number, text } => {
                let answered = self.room.numbered(number)?;
                self.post(text, Some(answered));
            }
            Command::Edit { number, text } => {
                let message = self.room.numbered(number)?;
                self.background(async move { client.edit_post(channel, message, &text).await });
            }
            Command::Delete { number } => {
                let message = self.room.numbered(number)?;
                self.background(async move { client.delete_post(channel, message).await });
            }
            Command::Pin { number, remove } => {
                let message = self.room.numbered(number)?;
                self.background(async move { client.pin_post(channel, message, remove).await });
            }
            Command::History(_) if !self.room.older => return Err("there are no older messages".to_owned()),
            Command::History(count) => {
                let before = self.room.messages.keys().next().copied();
                let page = HistoryPage { before, limit: Some(count.clamp(1, HISTORY_MAX)), ..HistoryPage::default() };
                self.spawn(async move { client.channel_history(channel, &page).await.map(Done::Older) });
            }
            Command::Accept
            | Command::Block
            | Command::Unblock
            | Command::Retry { .. }
            | Command::Timer(_)
            | Command::Safety
            | Command::Verify
            | Command::AcceptChange => return Err("that is for a conversation with one person".to_owned()),
        }
        Ok(())
    }

    fn load_newest(&self) {
        let (client, channel, done) = (self.client.clone(), self.room.place.channel, self.done.clone());
        let page = HistoryPage { limit: Some(self.limit), ..HistoryPage::default() };
        tokio::spawn(async move {
            let _ = done.send(Done::Newest(client.channel_history(channel, &page).await));
        });
    }

    /// What is shown is read. Not worth an error: the next mark says as much.
    fn mark_read(&mut self) {
        let newest = self.room.newest();
        if self.room.link != Link::Online || self.room.is_loading() || newest <= self.marked {
            return;
        }
        self.marked = newest;
        if let Some(newest) = newest {
            let (client, channel) = (self.client.clone(), self.room.place.channel);
            tokio::spawn(async move { client.mark_channel_read(channel, newest).await });
        }
    }

    /// Asks for the names of who wrote these messages, and of whom they mention.
    fn learn_of(&mut self, messages: &[ChannelMessage]) {
        for message in messages {
            self.learn([message.author].into_iter().chain(mentions(&message.text).users));
        }
    }

    /// Asks for names while the screen stays alive.
    fn learn(&mut self, accounts: impl IntoIterator<Item = AccountId>) {
        for account in accounts {
            self.room.called.names.remember(&self.client, account);
            if self.room.called.names.lacks(account) && self.asked.insert(account) {
                let (client, done) = (self.client.clone(), self.done.clone());
                tokio::spawn(async move {
                    if let Ok(found) = look_up(&client, account).await {
                        let _ = done.send(Done::Named(found));
                    }
                });
            }
        }
    }

    /// Runs a call whose effect comes as an event.
    fn background(&self, call: impl Future<Output = Result<(), SdkError>> + Send + 'static) {
        self.spawn(async move { call.await.map(|()| Done::Nothing) });
    }

    fn spawn(&self, call: impl Future<Output = Result<Done, SdkError>> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            let _ = done.send(call.await.unwrap_or_else(Done::Refused));
        });
    }

    /// Tells the others about typing, where there is something to tell. Not worth an error.
    fn typed(&mut self) {
        if self.room.tells_typing(Instant::now()) {
            let (client, channel) = (self.client.clone(), self.room.place.channel);
            tokio::spawn(async move { client.typing_in(channel).await });
        }
    }
}

fn help() -> String {
    let mut lines = vec!["Write and press Enter. N is the number in front of a message.".to_owned()];
    for (name, arguments, what) in OF_CHANNELS {
        lines.push(format!("{:<22} {what}", format!("/{name} {arguments}")));
    }
    lines.push("Alt-Enter: new line. PageUp, PageDown: scroll. // begins a text with a slash.".to_owned());
    lines.join("\n")
}
