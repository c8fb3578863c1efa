//! What the screen shows of a conversation, and when to tell that one types.

use std::collections::HashMap;
use std::time::Duration;

use nepto_proto::AccountId;
use nepto_sdk::model::{Conversation, ConversationState, Message, MessageId, Status};
use nepto_sdk::{Client, Event, SdkError, Verification};
use tokio::time::Instant;

use super::input::Input;
use crate::commands::history::answered;
use crate::commands::send::{warning, warns_about};
use crate::json::disconnect_reason;
use crate::names::Names;
use crate::render::excerpt;
use crate::text::clean_line;

/// Somebody's typing is shown this long without a word of it.
const TYPING_SHOWN: Duration = Duration::from_secs(8);
/// While one types it is told again after this time.
const TYPING_AGAIN: Duration = Duration::from_secs(4);
/// One stopped typing when nothing was typed for this time.
const TYPING_STOPS: Duration = Duration::from_secs(6);
/// Lines of our own that are kept.
const NOTES_MAX: usize = 200;

/// Something that we say ourselves, below the message that was the newest then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub after: u64,
    pub text: String,
    pub warn: bool,
}

/// The connection, for the bar at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Connecting,
    Online,
    Offline(String),
}

/// One's own typing, as the peer knows it.
#[derive(Debug, Default)]
struct Typing {
    sent_at: Option<Instant>,
    typed_at: Option<Instant>,
}

/// A conversation on the screen.
pub struct Chat {
    pub me: AccountId,
    pub peer: AccountId,
    pub names: Names,
    pub messages: Vec<Message>,
    pub answered: HashMap<MessageId, Message>,
    pub conversation: Option<Conversation>,
    pub verification: Verification,
    pub notes: Vec<Note>,
    pub input: Input,
    pub link: Link,
    pub peer_online: Option<bool>,
    pub peer_types_until: Option<Instant>,
    /// Rows between the end of the conversation and the lower edge of what is shown.
    pub scrolled: usize,
    /// Messages looked at.
    pub limit: usize,
    typing: Typing,
}

impl Chat {
    pub fn new(me: AccountId, peer: AccountId, names: Names, limit: usize) -> Self {
        Self {
            me,
            peer,
            names,
            messages: Vec::new(),
            answered: HashMap::new(),
            conversation: None,
            verification: Verification::Unverified,
            notes: Vec::new(),
            input: Input::default(),
            link: Link::Connecting,
            peer_online: None,
            peer_types_until: None,
            scrolled: 0,
            limit,
            typing: Typing::default(),
        }
    }

    /// Looks at the store again, and marks what is shown now as read.
    pub fn reload(&mut self, client: &Client) -> Result<(), SdkError> {
        let shown = client.conversation(self.peer)?;
        let accepted = shown.as_ref().is_some_and(|c| c.state == ConversationState::Accepted);
        if let Some(conversation) = shown.as_ref().filter(|c| accepted && c.unread > 0) {
            client.mark_read(self.peer, conversation.last_order)?;
        }
        self.conversation = client.conversation(self.peer)?;
        self.messages = client.history(self.peer, None, self.limit)?;
        self.messages.reverse();
        self.answered = answered(client, &self.messages);
        self.verification = client.verification(self.peer)?;
        Ok(())
    }

    pub fn state(&self) -> ConversationState {
        self.conversation.as_ref().map_or(ConversationState::Accepted, |conversation| conversation.state)
    }

    /// Says something below the newest message.
    pub fn note(&mut self, text: impl Into<String>, warn: bool) {
        let after = self.messages.last().map_or(0, |message| message.order);
        if self.notes.len() == NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(Note { after, text: text.into(), warn });
        self.scrolled = 0;
    }

    /// A message by the number in front of it.
    pub fn numbered(&self, number: u64) -> Result<&Message, String> {
        let found = self.messages.iter().find(|message| message.order == number);
        found.ok_or_else(|| format!("there is no message #{number} on the screen; /history loads older ones"))
    }

    /// The newest message of the other side: what a reaction without a number is meant for.
    pub fn last_of_peer(&self) -> Option<&Message> {
        let of_peer = |message: &&Message| message.id.author == self.peer && message.status != Status::Pending;
        self.messages.iter().rev().find(of_peer)
    }

    /// Takes an event in. What is in the store already is not repeated here.
    pub fn on_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected => self.link = Link::Online,
            Event::Disconnected { reason, .. } => {
                self.link = Link::Offline(clean_line(disconnect_reason(reason)));
                (self.peer_online, self.peer_types_until) = (None, None);
            }
            Event::Typing { account, active } if *account == self.peer => {
                self.peer_types_until = active.then(|| now + TYPING_SHOWN);
                self.peer_online = Some(true);
            }
            Event::Message(message) if message.conversation == self.peer && message.id.author == self.peer => {
                (self.peer_types_until, self.peer_online) = (None, Some(true));
            }
            Event::Message(message) if message.id.author != self.me => {
                let text = format!("{} wrote: {}", self.names.label(message.conversation), excerpt(message));
                self.note(text, false);
            }
            Event::Request(message) if message.conversation != self.peer => {
                let name = self.names.label(message.conversation);
                self.note(format!("{name} wants to write to you: nepto inbox --requests"), false);
            }
            // those of the peer are in the history
            event => {
                if let Some(text) = warning(event, &self.names).filter(|_| warns_about(event) != Some(self.peer)) {
                    self.note(text, true);
                }
            }
        }
    }

    /// What to tell the peer about typing now, if anything. Called after each change of the input, and now and then.
    pub fn typing_to_send(&mut self, typed: bool, now: Instant) -> Option<bool> {
        let writing = !self.input.text().trim().is_empty() && !self.input.text().starts_with('/');
        if typed && writing {
            self.typing.typed_at = Some(now);
        }
        let idle = self.typing.typed_at.is_none_or(|at| now.duration_since(at) >= TYPING_STOPS);
        if !writing || idle {
            self.typing.typed_at = None;
            return self.typing.sent_at.take().map(|_| false);
        }
        if self.typing.sent_at.is_none_or(|at| typed && now.duration_since(at) >= TYPING_AGAIN) {
            self.typing.sent_at = Some(now);
            return Some(true);
        }
        None
    }

    /// Lets what is over disappear. `true` if something did.
    pub fn tick(&mut self, now: Instant) -> bool {
        let over = self.peer_types_until.is_some_and(|until| until <= now);
        if over {
            self.peer_types_until = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn chat() -> Chat {
        let (me, peer) = (AccountId::new(Uuid::from_u128(1)), AccountId::new(Uuid::from_u128(2)));
        Chat::new(me, peer, Names::new(me), 10)
    }

    #[test]
    fn typing_is_told_now_and_then_and_its_end_once() {
        let (mut chat, start) = (chat(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(chat.typing_to_send(true, at(0)), None, "nothing is written");
        chat.input.insert("h");
        assert_eq!(chat.typing_to_send(true, at(0)), Some(true));
        assert_eq!(chat.typing_to_send(true, at(1)), None);
        assert_eq!(chat.typing_to_send(true, at(5)), Some(true));
        assert_eq!(chat.typing_to_send(false, at(10)), None);
        assert_eq!(chat.typing_to_send(false, at(11)), Some(false));
        assert_eq!(chat.typing_to_send(false, at(12)), None);
        assert_eq!(chat.typing_to_send(true, at(13)), Some(true));
        chat.input.take();
        assert_eq!(chat.typing_to_send(true, at(13)), Some(false));
        chat.input.insert("/delete 3");
        assert_eq!(chat.typing_to_send(true, at(14)), None, "a command is nobody's business");
    }

    #[test]
    fn somebodys_typing_ends_by_itself_and_with_their_message() {
        let (mut chat, now) = (chat(), Instant::now());
        let peer = chat.peer;
        chat.on_event(&Event::Typing { account: peer, active: true }, now);
        assert!(chat.peer_types_until.is_some() && !chat.tick(now));
        assert!(chat.tick(now + TYPING_SHOWN) && chat.peer_types_until.is_none());
        chat.on_event(&Event::Typing { account: chat.me, active: true }, now);
        assert!(chat.peer_types_until.is_none(), "only the peer's counts");
    }

    #[test]
    fn a_new_device_of_ones_own_is_told() {
        let mut chat = chat();
        let device = nepto_proto::DeviceId::try_from(3).unwrap();
        let event = Event::DeviceAdded { account: chat.me, device, wallet: "0x".into() };
        chat.on_event(&event, Instant::now());
        assert!(chat.notes[0].warn && chat.notes[0].text.contains("(3)"), "{:?}", chat.notes);
    }
}
