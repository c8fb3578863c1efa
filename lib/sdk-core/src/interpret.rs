//! What decrypted content does to history.

use nepto_proto::content::{Content, MessageRef, Receipt, content::Kind, receipt};
use nepto_proto::limits::{RECEIPT_IDS_MAX, TEXT_BYTES_MAX};
use nepto_proto::{AccountId, ClientMsgId};

use crate::SdkError;
use crate::attachment::read_all;
use crate::core::Core;
use crate::event::Event;
use crate::inbox::Origin;
use crate::model::{Attachment, Body, Conversation, ConversationState, Message, MessageId, Notice, Reaction, Status};
use crate::outbox::{read_id, start_timer};
use crate::store::Txn;

/// The longest emoji of a reaction: a family of four with skin tones is 41 bytes.
const EMOJI_BYTES_MAX: usize = 64;
/// Reactions to one message.
const REACTIONS_MAX: usize = 100;

/// Content with its author and conversation settled.
struct Said {
    origin: Origin,
    /// Who wrote it: the sender, and with a sync oneself.
    author: AccountId,
    conversation: AccountId,
    sent_at_ms: u64,
    expire_after_s: u32,
}

impl Core {
    pub(crate) fn interpret(&self, txn: &Txn<'_>, origin: Origin, content: Content) -> Result<Vec<Event>, SdkError> {
        let me = self.me.account;
        match content.kind {
            Some(Kind::SentSync(sync)) if origin.account == me => {
                let (Ok(to), Some(inner)) = (AccountId::from_bytes(&sync.to), sync.content) else {
                    return Ok(Vec::new());
                };
                let id = ClientMsgId::from_bytes(&sync.client_msg_id).unwrap_or(origin.id);
                let said = Said::new(Origin { id, ..origin }, me, to, &inner);
                self.apply(txn, said, inner.kind)
            }
            Some(Kind::ReadSync(sync)) if origin.account == me => self.read_elsewhere(txn, &sync.read),
            // only one's own devices may say what one did
            Some(Kind::SentSync(_) | Kind::ReadSync(_)) => Ok(Vec::new()),
            _ => {
                let said = Said::new(origin, origin.account, origin.account, &content);
                self.apply(txn, said, content.kind)
            }
        }
    }

    fn apply(&self, txn: &Txn<'_>, said: Said, kind: Option<Kind>) -> Result<Vec<Event>, SdkError> {
        let me = self.me.account;
        let known = txn.conversation(said.conversation)?;
        if said.author != me && known.as_ref().is_some_and(|c| c.state == ConversationState::Blocked) {
            return Ok(Vec::new());
        }
        match kind {
            Some(Kind::Text(text)) if text.body.len() <= TEXT_BYTES_MAX => {
                let Some(attachments) = read_all(text.attachments) else {
                    return self.new_message(txn, said, Body::Unsupported, Vec::new(), None);
                };
                let reply_to = text.reply_to.as_ref().and_then(read_ref);
                // sent before, and not read here: who has read it elsewhere knows it
                let said = match ClientMsgId::from_bytes(&text.again) {
                    Ok(id) => Said { origin: Origin { id, ..said.origin }, ..said },
                    Err(_) => said,
                };
                self.new_message(txn, said, Body::Text(text.body), attachments, reply_to)
            }
            // too long, or of a newer version
            Some(Kind::Text(_)) | None => self.new_message(txn, said, Body::Unsupported, Vec::new(), None),
            Some(Kind::Reaction(reaction)) => {
                let Some(target) = reaction.target.as_ref().and_then(read_ref) else { return Ok(Vec::new()) };
                if reaction.emoji.is_empty() || reaction.emoji.len() > EMOJI_BYTES_MAX {
                    return Ok(Vec::new());
                }
                self.react_to(txn, said.conversation, said.author, target, &reaction.emoji, reaction.remove)
            }
            Some(Kind::Edit(edit)) => match read_id(said.author, &edit.client_msg_id) {
                Some(target) => {
                    let fits = edit.body.len() <= TEXT_BYTES_MAX;
                    let body = if fits { Body::Text(edit.body) } else { Body::Unsupported };
                    self.rewrite(txn, said.conversation, target, body)
                }
                None => Ok(Vec::new()),
            },
            Some(Kind::Delete(delete)) => match read_id(said.author, &delete.client_msg_id) {
                Some(target) => self.rewrite(txn, said.conversation, target, Body::Deleted),
                None => Ok(Vec::new()),
            },
            Some(Kind::Receipt(receipt)) if said.author != me => self.receipt(txn, &said, &receipt),
            Some(Kind::Timer(timer)) => self.timer(txn, &said, timer.expire_after_s),
            Some(Kind::SessionReset(reset)) => self.was_reset(txn, said.origin, &reset),
            // in a place where it means nothing
            _ => Ok(Vec::new()),
        }
    }

    /// The conversation that something was said in, begun by it if there was none.
    fn begun(&self, txn: &Txn<'_>, said: &Said) -> Result<Conversation, SdkError> {
        let asked = said.origin.request && said.author != self.me.account;
        let begin = if asked { ConversationState::Requested } else { ConversationState::Accepted };
        let mut conversation = txn.conversation_or(said.conversation, begin)?;
        if !asked && conversation.state == ConversationState::Requested {
            // accepted, on another device
            conversation.state = ConversationState::Accepted;
        }
        Ok(conversation)
    }

    fn new_message(
        &self,
        txn: &Txn<'_>,
        said: Said,
        body: Body,
        attachments: Vec<Attachment>,
        reply_to: Option<MessageId>,
    ) -> Result<Vec<Event>, SdkError> {
        let me = self.me.account;
        let own = said.author == me;
        let conversation = self.begun(txn, &said)?;
        let accepted = conversation.state == ConversationState::Accepted;
        let now_ms = self.env.now_ms();
        let mut message = Message {
            order: 0,
            conversation: said.conversation,
            id: MessageId { author: said.author, id: said.origin.id },
            sent_at_ms: said.sent_at_ms,
            at_ms: now_ms,
            body,
            attachments,
            status: if !own {
                Status::Unread
            } else if said.conversation == me {
                Status::Read
            } else {
                Status::Stored
            },
            reply_to,
            reactions: Vec::new(),
            edited: false,
            expire_after_s: said.expire_after_s,
            expires_at_ms: None,
        };
        if own && message.expire_after_s > 0 {
            let sent = said.sent_at_ms.min(said.origin.stored_at_ms);
            message.expires_at_ms = Some(sent.saturating_add(u64::from(message.expire_after_s) * 1000));
        }
        let Some(message) = txn.add_message(message, conversation)? else { return Ok(Vec::new()) };
        if !own && accepted {
            txn.owe_receipt(said.conversation, |owed| owed.delivered.push(said.origin.id))?;
        }
        Ok(vec![if accepted { Event::Message(message) } else { Event::Request(message) }])
    }

    /// Adds or removes a reaction of somebody to a message of this conversation.
    pub(crate) fn react_to(
        &self,
        txn: &Txn<'_>,
        conversation: AccountId,
        by: AccountId,
        target: MessageId,
        emoji: &str,
        remove: bool,
    ) -> Result<Vec<Event>, SdkError> {
        let Some(mut message) = txn.message(target)?.filter(|m| m.conversation == conversation) else {
            return Ok(Vec::new());
        };
        let before = message.reactions.len();
        message.reactions.retain(|reaction| !(reaction.by == by && reaction.emoji == emoji));
        if !remove && message.reactions.len() < REACTIONS_MAX {
            message.reactions.push(Reaction { by, emoji: emoji.to_owned() });
        }
        if message.reactions.len() == before {
            return Ok(Vec::new());
        }
        txn.set_message(&message)?;
        Ok(vec![Event::Changed(message)])
    }

    /// Replaces what a message says. The caller made sure that its author wants that.
    pub(crate) fn rewrite(
        &self,
        txn: &Txn<'_>,
        conversation: AccountId,
        target: MessageId,
        body: Body,
    ) -> Result<Vec<Event>, SdkError> {
        let Some(mut message) = txn.message(target)?.filter(|m| m.conversation == conversation) else {
            return Ok(Vec::new());
        };
        if !matches!(message.body, Body::Text(_) | Body::Unsupported) {
            return Ok(Vec::new());
        }
        let deleted = body == Body::Deleted;
        message.edited = !deleted;
        if deleted {
            message.reactions.clear();
            message.attachments.clear();
            message.reply_to = None;
        }
        message.body = body;
        txn.set_message(&message)?;
        Ok(vec![if deleted { Event::Deleted(message) } else { Event::Changed(message) }])
    }

    fn receipt(&self, txn: &Txn<'_>, said: &Said, receipt: &Receipt) -> Result<Vec<Event>, SdkError> {
        let status = match receipt.kind() {
            receipt::Kind::Delivered => Status::Delivered,
            receipt::Kind::Read => Status::Read,
            receipt::Kind::Unspecified => return Ok(Vec::new()),
        };
        let mut events = Vec::new();
        for id in receipt.client_msg_ids.iter().take(RECEIPT_IDS_MAX).filter_map(|id| read_id(self.me.account, id)) {
            let Some(mut message) = txn.message(id)?.filter(|m| m.conversation == said.conversation) else { continue };
            let better = match message.status {
                Status::Pending | Status::Stored => true,
                Status::Delivered => status == Status::Read,
                _ => false,
            };
            if better {
                message.status = status;
                start_timer(txn, &mut message, self.env.now_ms())?;
                txn.set_message(&message)?;
                events.push(Event::Status { conversation: said.conversation, id, status });
            }
        }
        Ok(events)
    }

    fn timer(&self, txn: &Txn<'_>, said: &Said, expire_after_s: u32) -> Result<Vec<Event>, SdkError> {
        let mut conversation = self.begun(txn, said)?;
        if conversation.expire_after_s == expire_after_s {
            return Ok(Vec::new());
        }
        conversation.expire_after_s = expire_after_s;
        txn.set_conversation(&conversation)?;
        let notice = Notice::Timer { by: said.author, expire_after_s };
        txn.add_notice(said.conversation, notice, self.new_id(), self.env.now_ms())?;
        Ok(vec![Event::Timer { conversation: said.conversation, by: said.author, expire_after_s }])
    }

    fn read_elsewhere(&self, txn: &Txn<'_>, read: &[MessageRef]) -> Result<Vec<Event>, SdkError> {
        let mut by_conversation = std::collections::BTreeMap::<AccountId, Vec<MessageId>>::new();
        for id in read.iter().take(RECEIPT_IDS_MAX).filter_map(read_ref) {
            let Some(message) = txn.message(id)?.filter(|m| m.status == Status::Unread) else { continue };
            by_conversation.entry(message.conversation).or_default().push(id);
            self.mark(txn, message)?;
        }
        let event = |(conversation, messages)| Event::ReadElsewhere { conversation, messages };
        Ok(by_conversation.into_iter().map(event).collect())
    }

    /// Marks an unread message as read and lets its time run.
    pub(crate) fn mark(&self, txn: &Txn<'_>, mut message: Message) -> Result<(), SdkError> {
        message.status = Status::Read;
        start_timer(txn, &mut message, self.env.now_ms())?;
        txn.set_message(&message)?;
        if let Some(mut conversation) = txn.conversation(message.conversation)? {
            conversation.unread = conversation.unread.saturating_sub(1);
            txn.set_conversation(&conversation)?;
        }
        Ok(())
    }
}

impl Said {
    fn new(origin: Origin, author: AccountId, conversation: AccountId, content: &Content) -> Self {
        let Content { sent_at_ms, expire_after_s, .. } = *content;
        Self { origin, author, conversation, sent_at_ms, expire_after_s }
    }
}

fn read_ref(reference: &MessageRef) -> Option<MessageId> {
    let id = ClientMsgId::from_bytes(&reference.client_msg_id).ok()?;
    Some(MessageId { author: AccountId::from_bytes(&reference.author).ok()?, id })
}

/// Names a message on the wire.
pub(crate) fn write_ref(id: MessageId) -> MessageRef {
    MessageRef { author: id.author.to_vec(), client_msg_id: id.id.to_vec() }
}
