//! What the user does in a conversation: each writes its history and queues what others must hear.

use nepto_proto::content::{
    ATTACHMENTS_MAX, Content, Delete, Edit, Reaction, ReadSync, Receipt, Text, Timer, content::Kind, receipt,
};
use nepto_proto::limits::{RECEIPT_IDS_MAX, TEXT_BYTES_MAX};
use nepto_proto::{AccountId, ClientMsgId};

use crate::SdkError;
use crate::attachment::with_files;
use crate::core::Core;
use crate::event::Event;
use crate::interpret::write_ref;
use crate::model::{Attachment, Body, Conversation, ConversationState, Failure, Message, MessageId, Notice, Status};
use crate::store::Txn;
use crate::store::backend::Durability;

/// Messages that one sweep removes.
const SWEEP_MAX: usize = 500;

impl Core {
    /// Writes a text. It is `pending` until the server has it.
    pub fn send_text(
        &mut self,
        to: AccountId,
        body: &str,
        reply_to: Option<MessageId>,
        expire_after_s: Option<u32>,
    ) -> Result<Message, SdkError> {
        self.send_files(to, body, Vec::new(), reply_to, expire_after_s)
    }

    /// The same with files that were uploaded before. The text may be empty then.
    pub fn send_files(
        &mut self,
        to: AccountId,
        body: &str,
        attachments: Vec<Attachment>,
        reply_to: Option<MessageId>,
        expire_after_s: Option<u32>,
    ) -> Result<Message, SdkError> {
        if attachments.len() > ATTACHMENTS_MAX {
            return Err(SdkError::TooManyFiles);
        }
        if body.len() > TEXT_BYTES_MAX {
            return Err(SdkError::TextTooLong(body.len()));
        }
        let txn = self.store.begin();
        let conversation = self.writable(&txn, to)?;
        let now_ms = self.env.now_ms();
        let expire_after_s = expire_after_s.unwrap_or(conversation.expire_after_s);
        let id = self.new_id();
        let message = Message {
            order: 0,
            conversation: to,
            id,
            sent_at_ms: now_ms,
            at_ms: now_ms,
            body: Body::Text(body.to_owned()),
            attachments,
            status: Status::Pending,
            reply_to,
            reactions: Vec::new(),
            edited: false,
            expire_after_s,
            expires_at_ms: None,
        };
        let message =
            txn.add_message(message, conversation)?.ok_or(SdkError::Internal("a random id was drawn twice"))?;
        let text = Text { body: body.to_owned(), reply_to: reply_to.map(write_ref), ..Text::default() };
        let text = with_files(text, &message);
        let content = Content { sent_at_ms: now_ms, expire_after_s, kind: Some(Kind::Text(text)) };
        self.enqueue(&txn, to, id.id, &content, (true, true))?;
        txn.commit(Durability::Now)?;
        Ok(message)
    }

    /// Puts an own message that was refused into the queue again, under the same id.
    pub fn send_again(&mut self, id: ClientMsgId) -> Result<Message, SdkError> {
        let txn = self.store.begin();
        let name = MessageId { author: self.me.account, id };
        let mut message = txn.message(name)?.ok_or(SdkError::MessageUnknown)?;
        let (Status::Failed(_), Body::Text(body)) = (message.status, message.body.clone()) else {
            return Err(SdkError::MessageUnknown);
        };
        self.writable(&txn, message.conversation)?;
        let unread = message.status == Status::Failed(Failure::Unread);
        message.status = Status::Pending;
        txn.set_message(&message)?;
        if unread {
            // the user knows which devices there are now; under the same id the server would take it for a repetition
            let now = Message { at_ms: self.env.now_ms(), ..message.clone() };
            if !self.send_unread_again(&txn, &now, self.new_id().id)? {
                return Err(SdkError::MessageUnknown);
            }
            txn.commit(Durability::Now)?;
            return Ok(message);
        }
        let text = Text { body, reply_to: message.reply_to.map(write_ref), ..Text::default() };
        let text = with_files(text, &message);
        let Message { sent_at_ms, expire_after_s, .. } = message;
        let content = Content { sent_at_ms, expire_after_s, kind: Some(Kind::Text(text)) };
        self.enqueue(&txn, message.conversation, id, &content, (true, true))?;
        txn.commit(Durability::Now)?;
        Ok(message)
    }

    /// Reacts to a message of a conversation, or takes a reaction back.
    pub fn react(
        &mut self,
        to: AccountId,
        target: MessageId,
        emoji: &str,
        remove: bool,
    ) -> Result<Vec<Event>, SdkError> {
        let txn = self.store.begin();
        self.writable(&txn, to)?;
        txn.message(target)?.filter(|m| m.conversation == to).ok_or(SdkError::MessageUnknown)?;
        let events = self.react_to(&txn, to, self.me.account, target, emoji, remove)?;
        let reaction = Reaction { target: Some(write_ref(target)), emoji: emoji.to_owned(), remove };
        self.send_change(txn, to, Kind::Reaction(reaction))?;
        Ok(events)
    }

    /// Changes one's own message.
    pub fn edit(&mut self, to: AccountId, id: ClientMsgId, body: &str) -> Result<Vec<Event>, SdkError> {
        if body.len() > TEXT_BYTES_MAX {
            return Err(SdkError::TextTooLong(body.len()));
        }
        let edit = Edit { client_msg_id: id.to_vec(), body: body.to_owned() };
        self.change_own(to, id, Body::Text(body.to_owned()), Kind::Edit(edit))
    }

    /// Takes one's own message back.
    pub fn delete(&mut self, to: AccountId, id: ClientMsgId) -> Result<Vec<Event>, SdkError> {
        self.change_own(to, id, Body::Deleted, Kind::Delete(Delete { client_msg_id: id.to_vec() }))
    }

    fn change_own(&mut self, to: AccountId, id: ClientMsgId, body: Body, kind: Kind) -> Result<Vec<Event>, SdkError> {
        let txn = self.store.begin();
        self.writable(&txn, to)?;
        let target = MessageId { author: self.me.account, id };
        let events = self.rewrite(&txn, to, target, body)?;
        if events.is_empty() {
            return Err(SdkError::MessageUnknown);
        }
        self.send_change(txn, to, kind)?;
        Ok(events)
    }

    /// Sets the timer of disappearing messages; 0 switches it off.
    pub fn set_timer(&mut self, to: AccountId, expire_after_s: u32) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let mut conversation = self.writable(&txn, to)?;
        conversation.expire_after_s = expire_after_s;
        txn.set_conversation(&conversation)?;
        let notice = Notice::Timer { by: self.me.account, expire_after_s };
        txn.add_notice(to, notice, self.new_id(), self.env.now_ms())?;
        self.send_change(txn, to, Kind::Timer(Timer { expire_after_s }))
    }

    /// Marks everything up to an order as read, and tells the author, if that is wanted, and one's own other devices.
    pub fn mark_read(&mut self, peer: AccountId, up_to: u64) -> Result<u32, SdkError> {
        let txn = self.store.begin();
        let Some(mut conversation) = txn.conversation(peer)? else { return Ok(0) };
        let unread: Vec<Message> = txn
            .messages_between(peer, conversation.read_up_to, up_to)?
            .into_iter()
            .filter(|message| message.status == Status::Unread)
            .collect();
        conversation.read_up_to = conversation.read_up_to.max(up_to.min(conversation.last_order));
        let notify = conversation.state == ConversationState::Accepted && txn.settings()?.read_receipts;
        txn.set_conversation(&conversation)?;
        let ids: Vec<MessageId> = unread.iter().map(|message| message.id).collect();
        for message in unread {
            self.mark(&txn, message)?;
        }
        if notify && !ids.is_empty() {
            txn.owe_receipt(peer, |owed| owed.read.extend(ids.iter().map(|id| id.id)))?;
        }
        for part in ids.chunks(RECEIPT_IDS_MAX) {
            let read = part.iter().copied().map(write_ref).collect();
            let content = self.content(Kind::ReadSync(ReadSync { read }));
            self.enqueue(&txn, self.me.account, self.new_id().id, &content, (false, false))?;
        }
        txn.commit(Durability::Now)?;
        Ok(ids.len() as u32)
    }

    /// Queues the receipts that were earned since the last time. `true` if there were any.
    pub fn queue_receipts(&mut self) -> Result<bool, SdkError> {
        let txn = self.store.begin();
        let all = txn.take_receipts()?;
        let any = !all.is_empty();
        for owed in all {
            let Some(peer) = owed.peer else { continue };
            if txn.conversation(peer)?.is_none_or(|c| c.state != ConversationState::Accepted) {
                continue;
            }
            for (kind, ids) in [(receipt::Kind::Delivered, owed.delivered), (receipt::Kind::Read, owed.read)] {
                for part in ids.chunks(RECEIPT_IDS_MAX) {
                    let client_msg_ids = part.iter().map(|id| id.to_vec()).collect();
                    let content = self.content(Kind::Receipt(Receipt { kind: kind.into(), client_msg_ids }));
                    self.enqueue(&txn, peer, self.new_id().id, &content, (false, false))?;
                }
            }
        }
        txn.commit(Durability::Now)?;
        Ok(any)
    }

    /// Records what the user decided about an account; the server was told before.
    pub fn decide(&mut self, peer: AccountId, state: ConversationState) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let mut conversation = txn.conversation_or(peer, state)?;
        conversation.state = state;
        txn.set_conversation(&conversation)?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// Whom the server must be told again that this account blocks: it was restored, and may have forgotten. Nobody, if it was told.
    pub fn blocks_to_say(&self) -> Result<Vec<AccountId>, SdkError> {
        match self.store.begin().blocks_forgotten()? {
            true => Ok(self.conversations(ConversationState::Blocked)?.iter().map(|blocked| blocked.peer).collect()),
            false => Ok(Vec::new()),
        }
    }

    /// The server was told.
    pub fn said_blocks(&mut self) -> Result<(), SdkError> {
        let txn = self.store.begin();
        if txn.blocks_forgotten()? {
            txn.set_blocks_forgotten(false)?;
            txn.commit(Durability::Now)?;
        }
        Ok(())
    }

    /// Takes over what the user decided on another device. A conversation that was begun here stays accepted.
    pub fn decided_elsewhere(&mut self, peer: AccountId, state: ConversationState) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let Some(mut conversation) = txn.conversation(peer)? else {
            return if state == ConversationState::Blocked { self.decide(peer, state) } else { Ok(()) };
        };
        let undecided = state == ConversationState::Requested && conversation.state != ConversationState::Blocked;
        if undecided || conversation.state == state {
            return Ok(());
        }
        conversation.state = state;
        txn.set_conversation(&conversation)?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// Removes messages whose time has come by the clock.
    pub fn sweep(&mut self) -> Result<Vec<Message>, SdkError> {
        let txn = self.store.begin();
        let gone = txn.sweep(self.env.now_ms(), SWEEP_MAX)?;
        if !gone.is_empty() {
            txn.commit(Durability::Now)?;
        }
        Ok(gone)
    }

    fn content(&self, kind: Kind) -> Content {
        Content { sent_at_ms: self.env.now_ms(), expire_after_s: 0, kind: Some(kind) }
    }

    /// Queues content that changes something, for the peer and one's own devices.
    fn send_change(&self, txn: Txn<'_>, to: AccountId, kind: Kind) -> Result<(), SdkError> {
        self.enqueue(&txn, to, self.new_id().id, &self.content(kind), (true, false))?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// The conversation, if one may write in it. Writing to somebody begins one.
    fn writable(&self, txn: &Txn<'_>, to: AccountId) -> Result<Conversation, SdkError> {
        let conversation = txn.conversation_or(to, ConversationState::Accepted)?;
        match conversation.state {
            ConversationState::Accepted => Ok(conversation),
            ConversationState::Requested => Err(SdkError::NotAccepted),
            ConversationState::Blocked => Err(SdkError::YouBlocked),
        }
    }
}
