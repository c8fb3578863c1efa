//! Conversations and their messages.

use nepto_proto::AccountId;
use serde::{Deserialize, Serialize};

use super::profile::Counter;
use super::{Range, StoreError, Table, Txn, from_json};
use crate::model::{Body, Conversation, ConversationState, Message, MessageId, Notice, Status};

/// Conversations listed at once.
const CONVERSATIONS_MAX: usize = 10_000;

/// Messages looked at together for unread ones.
const UNREAD_PAGE: usize = 200;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spot {
    pub conversation: AccountId,
    pub order: u64,
}

impl Txn<'_> {
    pub fn conversation(&self, peer: AccountId) -> Result<Option<Conversation>, StoreError> {
        self.get_json(Table::Conversation, &self.conversation_key(peer)?)
    }

    pub fn set_conversation(&self, conversation: &Conversation) -> Result<(), StoreError> {
        self.put_json(Table::Conversation, &self.conversation_key(conversation.peer)?, conversation)
    }

    /// The conversation, begun in this state if there was none.
    pub fn conversation_or(&self, peer: AccountId, state: ConversationState) -> Result<Conversation, StoreError> {
        Ok(self.conversation(peer)?.unwrap_or(Conversation {
            peer,
            state,
            expire_after_s: 0,
            unread: 0,
            last_order: 0,
            last_at_ms: 0,
            read_up_to: 0,
        }))
    }

    pub fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        let rows = self.scan(Table::Conversation, Range::all(&[], CONVERSATIONS_MAX))?;
        rows.iter().map(|(_, value)| from_json(value)).collect()
    }

    /// Adds a message with its order drawn, and moves its conversation up. `None` if its id is known already.
    pub fn add_message(
        &self,
        mut message: Message,
        mut conversation: Conversation,
    ) -> Result<Option<Message>, StoreError> {
        if self.spot(message.id)?.is_some() {
            return Ok(None);
        }
        message.order = self.next(Counter::Order)?;
        conversation.last_order = message.order;
        conversation.last_at_ms = message.at_ms;
        if message.status == Status::Unread {
            conversation.unread += 1;
        }
        self.set_conversation(&conversation)?;
        let spot = Spot { conversation: message.conversation, order: message.order };
        self.put_json(Table::MessageIndex, &self.index_key(message.id)?, &spot)?;
        self.set_message(&message)?;
        self.set_due(&message)?;
        Ok(Some(message))
    }

    /// Adds a notice to a conversation that exists. Without one there is nobody to tell.
    pub fn add_notice(
        &self,
        peer: AccountId,
        notice: Notice,
        id: MessageId,
        now_ms: u64,
    ) -> Result<Option<Message>, StoreError> {
        let Some(conversation) = self.conversation(peer)? else { return Ok(None) };
        let message = Message {
            order: 0,
            conversation: peer,
            id,
            sent_at_ms: now_ms,
            at_ms: now_ms,
            body: Body::Notice(notice),
            attachments: Vec::new(),
            status: Status::Read,
            reply_to: None,
            reactions: Vec::new(),
            edited: false,
            expire_after_s: 0,
            expires_at_ms: None,
        };
        self.add_message(message, conversation)
    }

    pub fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        match self.spot(id)? {
            Some(spot) => self.message_at(spot),
            None => Ok(None),
        }
    }

    pub fn message_at(&self, spot: Spot) -> Result<Option<Message>, StoreError> {
        self.get_json(Table::Message, &self.message_key(spot)?)
    }

    /// Writes a message back whose order is known.
    pub fn set_message(&self, message: &Message) -> Result<(), StoreError> {
        let spot = Spot { conversation: message.conversation, order: message.order };
        self.put_json(Table::Message, &self.message_key(spot)?, message)
    }

    /// Newest first, those before an order.
    pub fn history(&self, peer: AccountId, before: Option<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let prefix = self.conversation_key(peer)?;
        let to = before.map(u64::to_be_bytes);
        let to = to.as_ref().map(<[u8; 8]>::as_slice);
        let range = Range { prefix: &prefix, from: &[], to, descending: true, limit };
        self.scan(Table::Message, range)?.iter().map(|(_, value)| from_json(value)).collect()
    }

    /// Oldest first, those after an order and up to another.
    pub fn messages_between(&self, peer: AccountId, after: u64, up_to: u64) -> Result<Vec<Message>, StoreError> {
        let prefix = self.conversation_key(peer)?;
        let (from, to) = (after.saturating_add(1).to_be_bytes(), up_to.saturating_add(1).to_be_bytes());
        let range = Range { prefix: &prefix, from: &from, to: Some(&to), descending: false, limit: usize::MAX };
        self.scan(Table::Message, range)?.iter().map(|(_, value)| from_json(value)).collect()
    }

    /// Unread ones, oldest first, those after an order.
    pub fn unread(&self, peer: AccountId, after: u64, limit: usize) -> Result<Vec<Message>, StoreError> {
        let Some(conversation) = self.conversation(peer)? else { return Ok(Vec::new()) };
        let prefix = self.conversation_key(peer)?;
        let (mut after, mut found) = (after.max(conversation.read_up_to), Vec::new());
        loop {
            let from = after.saturating_add(1).to_be_bytes();
            let page = self.scan(Table::Message, Range { from: &from, ..Range::all(&prefix, UNREAD_PAGE) })?;
            let Some((_, last)) = page.last() else { return Ok(found) };
            after = from_json::<Message>(last)?.order;
            for (_, value) in &page {
                let message: Message = from_json(value)?;
                if message.status == Status::Unread {
                    found.push(message);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    }

    /// Lists a message among those that disappear, if its time runs.
    pub fn set_due(&self, message: &Message) -> Result<(), StoreError> {
        let Some(due) = message.expires_at_ms else { return Ok(()) };
        let spot = Spot { conversation: message.conversation, order: message.order };
        self.put_json(Table::Due, &due_key(due, message.order), &spot)
    }

    /// Removes up to `limit` messages whose time has come.
    pub fn sweep(&self, now_ms: u64, limit: usize) -> Result<Vec<Message>, StoreError> {
        let to = now_ms.saturating_add(1).to_be_bytes();
        let range = Range { prefix: &[], from: &[], to: Some(&to), descending: false, limit };
        let mut gone = Vec::new();
        for (key, value) in self.scan(Table::Due, range)? {
            self.delete(Table::Due, &key);
            if let Some(message) = self.message_at(from_json(&value)?)? {
                self.remove_message(&message)?;
                gone.push(message);
            }
        }
        Ok(gone)
    }

    fn remove_message(&self, message: &Message) -> Result<(), StoreError> {
        let spot = Spot { conversation: message.conversation, order: message.order };
        self.delete(Table::Message, &self.message_key(spot)?);
        self.delete(Table::MessageIndex, &self.index_key(message.id)?);
        if message.status == Status::Unread
            && let Some(mut conversation) = self.conversation(message.conversation)?
        {
            conversation.unread = conversation.unread.saturating_sub(1);
            self.set_conversation(&conversation)?;
        }
        Ok(())
    }

    fn spot(&self, id: MessageId) -> Result<Option<Spot>, StoreError> {
        self.get_json(Table::MessageIndex, &self.index_key(id)?)
    }

    fn conversation_key(&self, peer: AccountId) -> Result<[u8; 16], StoreError> {
        self.blind(Table::Conversation, &[peer.uuid().as_bytes()])
    }

    fn message_key(&self, spot: Spot) -> Result<Vec<u8>, StoreError> {
        Ok([self.conversation_key(spot.conversation)?.as_slice(), &spot.order.to_be_bytes()].concat())
    }

    fn index_key(&self, id: MessageId) -> Result<[u8; 16], StoreError> {
        self.blind(Table::MessageIndex, &[id.author.uuid().as_bytes(), id.id.uuid().as_bytes()])
    }
}

fn due_key(due_ms: u64, order: u64) -> Vec<u8> {
    [due_ms.to_be_bytes(), order.to_be_bytes()].concat()
}
