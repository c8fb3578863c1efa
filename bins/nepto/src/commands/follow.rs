//! What happens in a channel, until somebody ends it.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use nepto_proto::api::channels::ChannelMessage;
use nepto_proto::api::endpoints::channels::HistoryPage;
use nepto_proto::{ChannelId, ErrorCode, MessageId};
use nepto_sdk::channels::{ChannelEnd, ChannelEvent, Happened};
use nepto_sdk::{Client, Event};
use tokio::time::Instant;

use super::named::{self, Place};
use super::send::warn;
use crate::app::App;
use crate::called::Called;
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::parse_wait;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;
use crate::render::{ChannelView, Recent, lay_out};
use crate::text::clean_line;

/// Messages that a person begins with.
const HISTORY: u32 = 10;
/// Messages read at once where it is not known what was missed.
const PAGE: usize = 200;
/// Such pages; what is beyond them is read with `nepto read`.
const PAGES_MAX: usize = 25;

/// Follows a channel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto follow Gardeners/tomatoes
  nepto follow Gardeners/tomatoes --json    one object a line: channel_posted, channel_edited, channel_deleted, channel_reaction, channel_pin, \
channel_typing, …

Goes on until it is interrupted (Ctrl-C). What was missed while there was no connection is shown when there is one again. Nothing is marked as read.")]
pub struct FollowArgs {
    /// COMMUNITY/CHANNEL by their names, or the channel's id
    channel: String,

    /// How many messages to begin with [default: 10, with --json none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=200))]
    history: Option<u32>,

    /// Show the ids of messages
    #[arg(long)]
    ids: bool,

    /// Give up after this time if the channel can't be followed
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = parse_wait)]
    timeout: Duration,
}

/// A channel that is followed, and printed.
pub struct Following<'a> {
    app: &'a App,
    client: &'a Client,
    place: Place,
    called: Called,
    recent: Recent,
    ids: bool,
    /// Messages to begin with.
    history: usize,
    /// Up to where everything was shown; nothing was yet if absent.
    shown: Option<MessageId>,
}

pub async fn run(app: &App, args: FollowArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let deadline = Instant::now() + args.timeout;
    let place = named::place(&client, &args.channel).await?;
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    // it is listened for from here on
    if let Some(early) = interrupted.as_mut().now_or_never() {
        return Ok(early?);
    }
    let mut connection = Connection::open(app, &client).await?;
    client.follow(place.channel);
    let history = args.history.unwrap_or(if app.json() { 0 } else { HISTORY });
    let mut following = Following::new(app, &client, place, history as usize, args.ids);
    let over = tokio::select! {
        over = following.run(&mut connection, deadline) => over,
        _ = interrupted => Ok(()),
    };
    connection.farewell(&client, |event| drop(warn(app, &client, following.names(), event))).await;
    over
}

impl<'a> Following<'a> {
    /// Begins with so many messages once the client follows it.
    pub fn new(app: &'a App, client: &'a Client, place: Place, history: usize, ids: bool) -> Self {
        let called = Called::of(client, place.community);
        Self { app, client, place, called, recent: Recent::default(), ids, history, shown: None }
    }

    pub fn names(&self) -> &Names {
        &self.called.names
    }

    async fn run(&mut self, connection: &mut Connection, deadline: Instant) -> Result<(), Failure> {
        loop {
            let event = match self.shown {
                Some(_) => connection.next().await?,
                None => connection.next_by(deadline).await?,
            };
            self.take(event).await?;
        }
    }

    /// Takes an event in, and prints what it says of the channel. An error is the end of it.
    pub async fn take(&mut self, event: Event) -> Result<(), Failure> {
        if self.app.json() && is_told(&event, self.place.channel) {
            self.app.say_json(&json::event(&event, self.client.account(), &self.called.names))?;
        }
        match event {
            Event::ChannelFollowed { channel, community, at, reload } if channel == self.place.channel => {
                self.called.set_community(community);
                match self.shown {
                    None => self.begin().await?,
                    Some(shown) if reload => self.load_after(shown).await?,
                    Some(_) => {}
                }
                self.shown = self.shown.max(Some(at));
            }
            Event::Channel(event) if event.channel == self.place.channel => self.happened(event).await?,
            Event::ChannelClosed { channel, why } if channel == self.place.channel => return Err(closed(why)),
            Event::Connected | Event::Disconnected { .. } => self.connection(&event),
            event => warn(self.app, self.client, &self.called.names, &event)?,
        }
        Ok(())
    }

    /// Shows the newest messages.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.app.note(format!("Following {}.", self.place.name));
        if self.history == 0 {
            return Ok(());
        }
        let page = HistoryPage { limit: Some(self.history), ..HistoryPage::default() };
        match self.client.channel_history(self.place.channel, &page).await {
            Ok(history) => self.show(history.messages).await,
            // what comes from now on may be seen all the same
            Err(error) if error.code() == Some(ErrorCode::PermissionNeeded) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows what was posted after this place, as it is now.
    async fn load_after(&mut self, shown: MessageId) -> Result<(), Failure> {
        let mut page = HistoryPage { after: Some(shown), limit: Some(PAGE), ..HistoryPage::default() };
        for _ in 0..PAGES_MAX {
            let history = match self.client.channel_history(self.place.channel, &page).await {
                Ok(history) => history,
                Err(error) if error.code() == Some(ErrorCode::PermissionNeeded) => {
                    self.app.note("note: something may be missing here, and you may not read the history");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            page.after = history.messages.last().map(|message| message.message);
            self.show(history.messages).await?;
            if !history.newer || page.after.is_none() {
                return Ok(());
            }
        }
        let (nepto, channel) = (self.app.nepto(), self.place.channel.uuid());
        self.app.note(format!("note: there is more than that; see {nepto} read {channel}"));
        Ok(())
    }

    /// Shows messages of the history that were not shown.
    async fn show(&mut self, messages: Vec<ChannelMessage>) -> Result<(), Failure> {
        if !self.app.json() {
            self.called.learn(self.client, &messages).await;
        }
        for message in messages {
            if self.is_shown(message.message) {
                continue;
            }
            if self.app.json() {
                self.app.say_json(&json::posted(self.place.channel, &message))?;
            } else {
                self.app.show(&lay_out(
                    &self.view().block(&message, message.reply_to.and_then(|id| self.recent.get(id))),
                    None,
                ))?;
            }
            self.shown = Some(message.message);
            self.recent.add(message);
        }
        Ok(())
    }

    async fn happened(&mut self, event: ChannelEvent) -> Result<(), Failure> {
        if self.is_shown(event.at) && matches!(event.what, Happened::Posted(_)) {
            return Ok(());
        }
        if self.app.json() {
            self.app.say_json(&json::happened(&event))?;
        } else {
            self.called.learn_account(self.client, event.by).await;
            if let Happened::Posted(message) = &event.what {
                self.called.learn(self.client, std::slice::from_ref(&**message)).await;
            }
            self.app.show(&lay_out(&self.view().happened(&event, &self.recent), None))?;
        }
        self.shown = self.shown.max(Some(event.at));
        if let Happened::Posted(message) = event.what {
            self.recent.add(*message);
        }
        Ok(())
    }

    fn is_shown(&self, id: MessageId) -> bool {
        self.shown.is_some_and(|shown| id <= shown)
    }

    fn view(&self) -> ChannelView<'_> {
        ChannelView { called: &self.called, now: self.app.now(), ids: self.ids }
    }

    /// Tells a person that the connection was lost, or is there again.
    fn connection(&self, event: &Event) {
        match event {
            // the first try is told of by itself
            _ if self.shown.is_none() => {}
            Event::Disconnected { reason, retry_in } => {
                let reason = clean_line(json::disconnect_reason(reason));
                self.app.note(format!("connection lost ({reason}); trying again in {retry_in:.0?}"));
            }
            _ => self.app.note("connected"),
        }
    }
}

/// Whether `--json` tells an event at once. What happens in the channel may have been shown with the history.
fn is_told(event: &Event, followed: ChannelId) -> bool {
    match event {
        Event::ChannelFollowed { channel, .. }
        | Event::ChannelClosed { channel, .. }
        | Event::ChannelTyping { channel, .. } => *channel == followed,
        Event::ChannelRead(read) => read.channel == followed,
        Event::Connected | Event::Disconnected { .. } => true,
        _ => false,
    }
}

/// Why a channel can't be followed any more.
pub fn closed(why: ChannelEnd) -> Failure {
    match why {
        ChannelEnd::AccessLost => {
            Failure::refused(ErrorCode::NotFound, "you may not see this channel any more, or it was deleted")
        }
        ChannelEnd::Refused(code @ ErrorCode::NotFound) => {
            Failure::refused(code, "there is no such channel, or you may not see it")
        }
        ChannelEnd::Refused(code) => Failure::refused(code, code.title()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn the_end_of_a_channel_is_a_refusal() {
        let lost = closed(ChannelEnd::AccessLost);
        assert_eq!((lost.exit, lost.code), (Exit::Refused, "not_found"));
        assert!(lost.detail.contains("any more"));
        assert_eq!(closed(ChannelEnd::Refused(ErrorCode::FollowLimit)).code, "follow_limit");
    }

    #[test]
    fn of_other_channels_nothing_is_told() {
        let [one, other] = [1, 2].map(|n| ChannelId::new(Uuid::from_u128(n)));
        let typing = Event::ChannelTyping { channel: one, accounts: Vec::new(), more: 0 };
        assert!(is_told(&typing, one) && !is_told(&typing, other));
        assert!(is_told(&Event::Connected, one) && !is_told(&Event::CaughtUp, one));
    }
}
