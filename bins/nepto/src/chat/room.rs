//! A channel, live: what the screen shows of it. What it shows is what the server said last: the history, and every event since.

mod live;
mod pipe;
mod screen;

use std::collections::BTreeMap;
use std::time::Duration;

use nepto_proto::api::channels::{ChannelHistory, ChannelMessage, Reaction};
use nepto_proto::{AccountId, MessageId};
use nepto_sdk::Event;
use nepto_sdk::channels::{ChannelEvent, Happened};
use time::OffsetDateTime;
use tokio::time::Instant;

pub use live::run as on_screen;
pub use pipe::run as in_pipe;

use super::input::Input;
use super::state::Link;
use crate::called::Called;
use crate::commands::named::Place;
use crate::commands::send::warning;
use crate::json::disconnect_reason;
use crate::text::clean_line;

/// The most messages that the server gives at once.
pub const HISTORY_MAX: usize = 200;
/// Messages that are kept; the oldest go first.
const MESSAGES_MAX: usize = 5_000;
/// Lines of our own that are kept.
const NOTES_MAX: usize = 200;
/// Somebody's typing is shown this long without a word of it.
const TYPING_SHOWN: Duration = Duration::from_secs(6);
/// While one types it is told again after this time.
const TYPING_AGAIN: Duration = Duration::from_secs(3);

/// A message with the number in front of it, which it keeps.
#[derive(Debug)]
pub struct Numbered {
    pub number: u64,
    pub message: ChannelMessage,
}

/// Something that we say ourselves, below the message that was the newest then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub after: Option<MessageId>,
    pub text: String,
    pub warn: bool,
}

/// A channel on the screen.
pub struct Room {
    pub place: Place,
    pub called: Called,
    pub messages: BTreeMap<MessageId, Numbered>,
    /// There are older ones than those.
    pub older: bool,
    pub notes: Vec<Note>,
    pub input: Input,
    pub link: Link,
    /// Rows between the end and the lower edge of what is shown.
    pub scrolled: usize,
    /// Messages of ours that the server has not answered for.
    pub on_their_way: usize,
    /// Who types, how many others, and until when that is shown.
    pub types: Option<(Vec<AccountId>, u32, Instant)>,
    /// What happened while the history is being loaded: it may not be in there.
    held: Option<Vec<ChannelEvent>>,
    numbers: u64,
    typing_told_at: Option<Instant>,
}

impl Room {
    pub fn new(place: Place, called: Called) -> Self {
        Self {
            place,
            called,
            messages: BTreeMap::new(),
            older: false,
            notes: Vec::new(),
            input: Input::default(),
            link: Link::Connecting,
            scrolled: 0,
            on_their_way: 0,
            types: None,
            held: None,
            numbers: 0,
            typing_told_at: None,
        }
    }

    /// From now on the history is being loaded. `false`: it is already.
    pub fn begin_loading(&mut self) -> bool {
        let begins = self.held.is_none();
        self.held.get_or_insert_default();
        begins
    }

    pub fn is_loading(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the newest messages in the place of all others, or nothing if they could not be read.
    pub fn loaded(&mut self, newest: Option<ChannelHistory>) {
        if let Some(history) = newest {
            self.messages.clear();
            self.older = history.older;
            history.messages.into_iter().for_each(|message| self.insert(message));
        }
        for event in self.held.take().unwrap_or_default() {
            self.happened(event);
        }
    }

    /// Takes messages from before the oldest one.
    pub fn loaded_older(&mut self, history: ChannelHistory) {
        self.older = history.older;
        history.messages.into_iter().for_each(|message| self.insert(message));
        self.scrolled = usize::MAX;
    }

    /// Takes in what happened in this channel.
    pub fn happened(&mut self, event: ChannelEvent) {
        if let Some(held) = &mut self.held {
            return held.push(event);
        }
        match event.what {
            Happened::Posted(message) => {
                if let Some((typing, ..)) = &mut self.types {
                    typing.retain(|account| *account != event.by);
                }
                self.insert(*message);
            }
            Happened::Edited { message, text } => {
                if let Some(shown) = self.messages.get_mut(&message) {
                    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.at_ms) * 1_000_000);
                    (shown.message.text, shown.message.edited_at) = (text, at.ok());
                }
            }
            Happened::Deleted { messages } => self.messages.retain(|id, _| !messages.contains(id)),
            Happened::Reaction { message, reaction, removed } => {
                let is_own = event.by == self.called.me;
                if let Some(shown) = self.messages.get_mut(&message) {
                    react(&mut shown.message.reactions, reaction, removed, is_own);
                }
            }
            Happened::Pin { message, unpinned } => {
                if let Some(shown) = self.messages.get_mut(&message) {
                    shown.message.pinned = !unpinned;
                }
            }
        }
    }

    /// Takes another event in. Those of this channel are not among them.
    pub fn on_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected => self.link = Link::Online,
            Event::Disconnected { reason, .. } => {
                self.link = Link::Offline(clean_line(disconnect_reason(reason)));
                self.types = None;
            }
            Event::ChannelTyping { channel, accounts, more } if *channel == self.place.channel => {
                let others = accounts.iter().copied().filter(|account| *account != self.called.me).collect();
                self.types = Some((others, *more, now + TYPING_SHOWN));
            }
            Event::Message(message) | Event::Request(message) if message.id.author != self.called.me => {
                let name = self.called.names.label(message.conversation);
                self.note(format!("{name} wrote to you alone: nepto inbox"), false);
            }
            event => {
                if let Some(text) = warning(event, &self.called.names) {
                    self.note(text, true);
                }
            }
        }
    }

    /// Says something below the newest message.
    pub fn note(&mut self, text: impl Into<String>, warn: bool) {
        if self.notes.len() == NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(Note { after: self.newest(), text: text.into(), warn });
        self.scrolled = 0;
    }

    pub fn newest(&self) -> Option<MessageId> {
        self.messages.last_key_value().map(|(id, _)| *id)
    }

    /// A message by the number in front of it.
    pub fn numbered(&self, number: u64) -> Result<MessageId, String> {
        let found = self.messages.iter().find(|(_, shown)| shown.number == number);
        found.map(|(id, _)| *id).ok_or_else(|| format!("there is no message #{number} on the screen"))
    }

    /// The newest message of somebody else: what a reaction without a number is meant for.
    pub fn last_of_others(&self) -> Option<MessageId> {
        let of_others = |shown: &&Numbered| shown.message.author != self.called.me;
        self.messages.values().rev().find(of_others).map(|shown| shown.message.message)
    }

    /// Whether to tell now that one types. Called after each change of the input.
    pub fn tells_typing(&mut self, now: Instant) -> bool {
        let text = self.input.text().trim_start();
        let is_due = self.typing_told_at.is_none_or(|at| now.duration_since(at) >= TYPING_AGAIN);
        let tells = is_due && !text.is_empty() && !text.starts_with('/') && self.link == Link::Online;
        if tells {
            self.typing_told_at = Some(now);
        }
        tells
    }

    /// Lets what is over disappear.
    pub fn tick(&mut self, now: Instant) {
        self.types.take_if(|(.., until)| *until <= now);
    }

    /// One that is there already keeps its number.
    fn insert(&mut self, message: ChannelMessage) {
        if let Some(shown) = self.messages.get_mut(&message.message) {
            shown.message = message;
            return;
        }
        self.numbers += 1;
        self.messages.insert(message.message, Numbered { number: self.numbers, message });
        if self.messages.len() > MESSAGES_MAX {
            self.messages.pop_first();
            self.older = true;
        }
    }
}

/// Counts a reaction, or one less.
fn react(reactions: &mut Vec<Reaction>, reaction: String, removed: bool, is_own: bool) {
    match reactions.iter_mut().find(|kind| kind.reaction == reaction) {
        Some(kind) if removed => {
            kind.count = kind.count.saturating_sub(1);
            kind.own &= !is_own;
        }
        Some(kind) => {
            kind.count = kind.count.saturating_add(1);
            kind.own |= is_own;
        }
        None if !removed => reactions.push(Reaction { reaction, count: 1, own: is_own }),
        None => {}
    }
    reactions.retain(|kind| kind.count > 0);
}

#[cfg(test)]
mod tests {
    use nepto_proto::api::channels::MessageMentions;
    use nepto_proto::{ChannelId, ClientMsgId};
    use uuid::Uuid;

    use super::*;
    use crate::names::Names;

    pub(super) fn message(seq: u64, author: u128, text: &str) -> ChannelMessage {
        ChannelMessage {
            message: MessageId::at(1, seq),
            author: AccountId::new(Uuid::from_u128(author)),
            client_msg_id: ClientMsgId::new(Uuid::from_u128(u128::from(seq))),
            text: text.to_owned(),
            posted_at: OffsetDateTime::UNIX_EPOCH,
            edited_at: None,
            reply_to: None,
            mentions: MessageMentions::default(),
            reactions: Vec::new(),
            pinned: false,
        }
    }

    pub(super) fn room() -> Room {
        let me = AccountId::new(Uuid::from_u128(1));
        let place = Place { community: None, channel: ChannelId::new(Uuid::from_u128(3)), name: "#tomatoes".into() };
        Room::new(place, Called::new(me, Names::new(me), None))
    }

    pub(super) fn history(messages: Vec<ChannelMessage>) -> ChannelHistory {
        ChannelHistory { messages, older: true, newer: false }
    }

    fn event(by: u128, what: Happened) -> ChannelEvent {
        let channel = ChannelId::new(Uuid::from_u128(3));
        ChannelEvent { channel, at: MessageId::at(1, 99), at_ms: 5_000, by: AccountId::new(Uuid::from_u128(by)), what }
    }

    fn texts(room: &Room) -> Vec<(u64, &str)> {
        room.messages.values().map(|shown| (shown.number, shown.message.text.as_str())).collect()
    }

    #[test]
    fn what_happens_while_the_history_is_loaded_is_not_lost() {
        let mut room = room();
        assert!(room.begin_loading() && !room.begin_loading());
        let message_1 = MessageId::at(1, 1);
        room.happened(event(2, Happened::Edited { message: message_1, text: "new".into() }));
        room.happened(event(2, Happened::Posted(Box::new(message(3, 2, "three")))));
        assert!(room.messages.is_empty() && room.is_loading());
        room.loaded(Some(history(vec![message(1, 2, "one"), message(2, 1, "two")])));
        assert_eq!(texts(&room), [(1, "new"), (2, "two"), (3, "three")]);
        assert!(room.messages[&message_1].message.edited_at.is_some());
        // it comes twice, and older ones come later: numbers stay
        room.happened(event(2, Happened::Posted(Box::new(message(3, 2, "three")))));
        room.loaded_older(history(vec![message(0, 2, "zero")]));
        assert_eq!(texts(&room), [(4, "zero"), (1, "new"), (2, "two"), (3, "three")]);
        assert_eq!(room.numbered(4), Ok(MessageId::at(1, 0)));
        assert_eq!((room.newest(), room.last_of_others()), (Some(MessageId::at(1, 3)), Some(MessageId::at(1, 3))));
        room.happened(event(2, Happened::Deleted { messages: vec![MessageId::at(1, 3)] }));
        assert_eq!(room.last_of_others(), Some(message_1));
        assert!(room.numbered(3).is_err());
    }

    #[test]
    fn reactions_are_counted() {
        let mut room = room();
        room.happened(event(2, Happened::Posted(Box::new(message(1, 2, "one")))));
        let reacted = |removed| Happened::Reaction { message: MessageId::at(1, 1), reaction: "👍".into(), removed };
        let counted = |room: &Room| {
            let reactions = &room.messages[&MessageId::at(1, 1)].message.reactions;
            reactions.iter().map(|kind| (kind.count, kind.own)).collect::<Vec<_>>()
        };
        room.happened(event(2, reacted(false)));
        room.happened(event(1, reacted(false)));
        assert_eq!(counted(&room), [(2, true)]);
        room.happened(event(1, reacted(true)));
        assert_eq!(counted(&room), [(1, false)]);
        room.happened(event(2, reacted(true)));
        room.happened(event(2, reacted(true)));
        assert!(counted(&room).is_empty());
    }

    #[test]
    fn typing_is_told_now_and_then_and_shown_for_a_while() {
        let (mut room, start) = (room(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        room.input.insert("h");
        assert!(!room.tells_typing(at(0)), "not connected");
        room.on_event(&Event::Connected, at(0));
        assert!(room.tells_typing(at(0)) && !room.tells_typing(at(1)) && room.tells_typing(at(3)));
        room.input.set("/help");
        assert!(!room.tells_typing(at(9)), "a command is nobody's business");
        let (me, other) = (room.called.me, AccountId::new(Uuid::from_u128(2)));
        let typing = Event::ChannelTyping { channel: room.place.channel, accounts: vec![me, other], more: 0 };
        room.on_event(&typing, at(0));
        room.tick(at(5));
        assert_eq!(room.types.as_ref().map(|(accounts, ..)| accounts.clone()), Some(vec![other]));
        room.tick(at(6));
        assert!(room.types.is_none());
    }
}
