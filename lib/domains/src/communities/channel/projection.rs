//! What a channel is after its events: a fold over them, in their order, without I/O. The worker commits what it changes, and whoever
//! reads folds what is not committed yet.
//!
//! What must hold: the same events in the same order make the same, in however many pieces they are taken, and events that are taken
//! again change nothing; a message is posted once, whoever sends it again; what is said of a message that is not there is void.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use nepto_proto::wire::{ChannelMentions, MessagePosted, ReactionChanged, channel_event};
use nepto_proto::{AccountId, ChannelId, ClientMsgId, MessageId};

use super::stream::Event;

/// Kinds of reactions that a message has at the very most: two that come at once may both pass the check of the setting.
const REACTIONS_HARD_MAX: usize = 200;

/// A message of a channel.
pub type Key = (ChannelId, MessageId);
/// A reaction of an account to a message.
pub type ReactionKey = (ChannelId, MessageId, String, AccountId);
/// What an author calls a message.
pub type ClientKey = (AccountId, ClientMsgId);

/// A message, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub author: AccountId,
    pub client_msg_id: ClientMsgId,
    pub text: String,
    pub posted_at_ms: i64,
    pub edited_at_ms: Option<i64>,
    pub reply_to: Option<MessageId>,
    pub mentions: ChannelMentions,
    /// Each kind with how many there are, in the order in which they were first used.
    pub reactions: Vec<(String, u32)>,
    pub pinned_at_ms: Option<i64>,
}

/// What must be known of before to fold some events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    pub posted: BTreeSet<ClientKey>,
    pub messages: BTreeSet<Key>,
    pub reactions: BTreeSet<ReactionKey>,
}

impl Needs {
    /// For these events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut needs = Self::default();
        for event in events {
            let (Some(by), channel) = (event.by(), event.channel) else { continue };
            let mut message = |id: &[u8]| needs.messages.extend(MessageId::from_bytes(id).map(|id| (channel, id)));
            match &event.event.kind {
                Some(channel_event::Kind::Posted(posted)) => {
                    needs.posted.extend(ClientMsgId::from_bytes(&posted.client_msg_id).map(|id| (by, id)));
                }
                Some(channel_event::Kind::Edited(edited)) => message(&edited.message),
                Some(channel_event::Kind::Deleted(deleted)) => deleted.messages.iter().for_each(|id| message(id)),
                Some(channel_event::Kind::Pin(pin)) => message(&pin.message),
                Some(channel_event::Kind::Reaction(reaction)) => {
                    message(&reaction.message);
                    needs.reactions.extend(
                        MessageId::from_bytes(&reaction.message).map(|id| (channel, id, reaction.reaction.clone(), by)),
                    );
                }
                None => {}
            }
        }
        needs
    }
}

/// What is known of before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Base {
    /// Which message each client's id stands for.
    pub posted: HashMap<ClientKey, MessageId>,
    pub messages: HashMap<Key, Message>,
    pub reactions: HashSet<ReactionKey>,
}

/// A text that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub of: Key,
    /// Of the event that replaced it.
    pub place: MessageId,
    pub text: String,
    pub replaced_at_ms: i64,
}

/// Channels after some events, and what these changed.
#[derive(Debug, Default)]
pub struct Projection {
    pub now: Base,
    /// Messages that were not there before.
    pub created: BTreeSet<Key>,
    /// Messages that were, and are another now.
    pub changed: BTreeSet<Key>,
    /// Messages that were and are no more, with whom they mentioned.
    pub deleted: BTreeMap<Key, ChannelMentions>,
    /// New names of messages, also of those that are deleted by now.
    pub posted: Vec<(ClientKey, Key)>,
    pub edits: Vec<Edit>,
    /// Reactions that are there now, or not any more.
    pub reactions: BTreeMap<ReactionKey, bool>,
    /// Pins that are there now, or not any more.
    pub pins: BTreeMap<Key, bool>,
}

impl Event {
    /// Whose doing it was.
    pub fn by(&self) -> Option<AccountId> {
        AccountId::from_bytes(&self.event.by).ok()
    }
}

impl Projection {
    /// Over what was before; it must have all that the events [need](Needs::of).
    pub fn over(base: Base) -> Self {
        Self { now: base, ..Self::default() }
    }

    /// The next event.
    pub fn apply(&mut self, event: &Event) {
        let (Some(by), Some(kind)) = (event.by(), &event.event.kind) else { return };
        let of = |id: &[u8]| MessageId::from_bytes(id).ok().map(|id| (event.channel, id));
        match kind {
            channel_event::Kind::Posted(posted) => self.post(event, by, posted),
            channel_event::Kind::Edited(edited) => {
                if let Some(of) = of(&edited.message) {
                    self.edit(event, of, &edited.text);
                }
            }
            channel_event::Kind::Deleted(deleted) => {
                deleted.messages.iter().filter_map(|id| of(id)).for_each(|key| self.delete(key));
            }
            channel_event::Kind::Reaction(reaction) => {
                if let Some(of) = of(&reaction.message) {
                    self.react(of, by, reaction);
                }
            }
            channel_event::Kind::Pin(pin) => {
                if let Some(of) = of(&pin.message) {
                    self.pin(of, (!pin.unpinned).then_some(event.stored_at_ms));
                }
            }
        }
    }

    fn post(&mut self, event: &Event, by: AccountId, posted: &MessagePosted) {
        let Ok(client_msg_id) = ClientMsgId::from_bytes(&posted.client_msg_id) else { return };
        let (name, key) = ((by, client_msg_id), (event.channel, event.place));
        // named before: by an earlier event, which counts, or by this very one
        if self.now.posted.contains_key(&name) {
            return;
        }
        self.now.posted.insert(name, event.place);
        self.posted.push((name, key));
        self.created.insert(key);
        let message = Message {
            author: by,
            client_msg_id,
            text: posted.text.clone(),
            posted_at_ms: event.stored_at_ms,
            edited_at_ms: None,
            reply_to: MessageId::from_bytes(&posted.reply_to).ok(),
            mentions: posted.mentions.clone().unwrap_or_default(),
            reactions: Vec::new(),
            pinned_at_ms: None,
        };
        self.now.messages.insert(key, message);
    }

    fn edit(&mut self, event: &Event, of: Key, text: &str) {
        let Some(message) = self.now.messages.get_mut(&of) else { return };
        let before = std::mem::replace(&mut message.text, text.to_owned());
        message.edited_at_ms = Some(event.stored_at_ms);
        self.edits.push(Edit { of, place: event.place, text: before, replaced_at_ms: event.stored_at_ms });
        self.touch(of);
    }

    fn delete(&mut self, of: Key) {
        let Some(message) = self.now.messages.remove(&of) else { return };
        if !self.created.remove(&of) {
            self.deleted.insert(of, message.mentions);
        }
        self.changed.remove(&of);
        self.edits.retain(|edit| edit.of != of);
        self.reactions.retain(|(channel, message, ..), _| (*channel, *message) != of);
        self.now.reactions.retain(|(channel, message, ..)| (*channel, *message) != of);
        if message.pinned_at_ms.is_some() || self.pins.contains_key(&of) {
            self.pins.insert(of, false);
        }
    }

    fn react(&mut self, of: Key, by: AccountId, ReactionChanged { reaction, removed, .. }: &ReactionChanged) {
        let Some(message) = self.now.messages.get_mut(&of) else { return };
        let key = (of.0, of.1, reaction.clone(), by);
        let at = message.reactions.iter().position(|(kind, _)| kind == reaction);
        if *removed {
            if !self.now.reactions.remove(&key) {
                return;
            }
            if let Some(at) = at {
                message.reactions[at].1 = message.reactions[at].1.saturating_sub(1);
                if message.reactions[at].1 == 0 {
                    message.reactions.remove(at);
                }
            }
        } else {
            if self.now.reactions.contains(&key) || (at.is_none() && message.reactions.len() >= REACTIONS_HARD_MAX) {
                return;
            }
            self.now.reactions.insert(key.clone());
            match at {
                Some(at) => message.reactions[at].1 += 1,
                None => message.reactions.push((reaction.clone(), 1)),
            }
        }
        self.reactions.insert(key, !removed);
        self.touch(of);
    }

    fn pin(&mut self, of: Key, at_ms: Option<i64>) {
        let Some(message) = self.now.messages.get_mut(&of) else { return };
        if message.pinned_at_ms.is_some() == at_ms.is_some() {
            return;
        }
        message.pinned_at_ms = at_ms;
        self.pins.insert(of, at_ms.is_some());
        self.touch(of);
    }

    fn touch(&mut self, of: Key) {
        if !self.created.contains(&of) {
            self.changed.insert(of);
        }
    }
}

#[cfg(test)]
mod tests;
