//! Conversations: writing, reading, deciding.

use std::time::Duration;

use nepto_proto::api::accounts::Consent;
use nepto_proto::limits::PRESENCE_QUERY_MAX;
use nepto_proto::wire::{PresenceQuery, Typing, client_frame, server_frame};
use nepto_proto::{AccountId, ClientMsgId, ErrorCode};

use super::Client;
use crate::model::{Conversation, ConversationState, Failure, Message, MessageId, Settings, Status};
use crate::{Event, SdkError};

/// How long a presence query may take.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// Writes a text. It is in the history, `pending`, when this returns, and on its way as soon as there is a connection:
    /// see [`Client::wait_sent`]. Without `expire_after_s` the timer of the conversation counts.
    pub fn send_text(
        &self,
        to: AccountId,
        body: &str,
        reply_to: Option<MessageId>,
        expire_after_s: Option<u32>,
    ) -> Result<Message, SdkError> {
        let message = self.inner.core().send_text(to, body, reply_to, expire_after_s)?;
        self.inner.queued.notify_one();
        Ok(message)
    }

    /// Tries an own message again that was refused.
    pub fn send_again(&self, id: ClientMsgId) -> Result<Message, SdkError> {
        let message = self.inner.core().send_again(id)?;
        self.inner.queued.notify_one();
        Ok(message)
    }

    /// Waits until the server has an own message or refused it. Take events meanwhile, or they fill up.
    pub async fn wait_sent(&self, id: ClientMsgId) -> Result<(), SdkError> {
        let mut sent = self.inner.sent.subscribe();
        loop {
            sent.mark_unchanged();
            let name = MessageId { author: self.account(), id };
            let status = self.inner.core().message(name)?.map(|message| message.status);
            match status {
                Some(Status::Pending) => {}
                Some(Status::Failed(failure)) => return Err(SdkError::NotSent(explain(failure))),
                Some(_) => return Ok(()),
                None => return Err(SdkError::MessageUnknown),
            }
            sent.changed().await.map_err(|_| SdkError::NotConnected)?;
        }
    }

    /// Waits until nothing is queued any more: texts, edits, receipts. Take events meanwhile, or they fill up.
    pub async fn wait_all_sent(&self) -> Result<(), SdkError> {
        let mut sent = self.inner.sent.subscribe();
        loop {
            sent.mark_unchanged();
            if self.inner.core().queue_is_empty()? {
                return Ok(());
            }
            sent.changed().await.map_err(|_| SdkError::NotConnected)?;
        }
    }

    /// Reacts to a message, or takes a reaction back.
    pub fn react(&self, to: AccountId, target: MessageId, emoji: &str, remove: bool) -> Result<Vec<Event>, SdkError> {
        let events = self.inner.core().react(to, target, emoji, remove)?;
        self.inner.queued.notify_one();
        Ok(events)
    }

    /// Changes an own message.
    pub fn edit(&self, to: AccountId, id: ClientMsgId, body: &str) -> Result<Vec<Event>, SdkError> {
        let events = self.inner.core().edit(to, id, body)?;
        self.inner.queued.notify_one();
        Ok(events)
    }

    /// Takes an own message back. Its files are deleted from the server in the background; if that fails, they expire.
    pub fn delete(&self, to: AccountId, id: ClientMsgId) -> Result<Vec<Event>, SdkError> {
        let message = self.inner.core().message(MessageId { author: self.account(), id })?;
        let events = self.inner.core().delete(to, id)?;
        self.inner.queued.notify_one();
        self.forget_files(message.map(|message| message.attachments).unwrap_or_default());
        Ok(events)
    }

    /// Sets the timer of disappearing messages of a conversation; 0 switches it off.
    pub fn set_timer(&self, to: AccountId, expire_after_s: u32) -> Result<(), SdkError> {
        self.inner.core().set_timer(to, expire_after_s)?;
        self.inner.queued.notify_one();
        Ok(())
    }

    /// Tells that one types, or stopped. Only while connected, and only if the settings allow it.
    pub async fn typing(&self, to: AccountId, active: bool) -> Result<(), SdkError> {
        let allowed = self.inner.core().may_send_typing(to)?;
        if !allowed {
            return Ok(());
        }
        self.inner.link()?.notify(client_frame::Kind::Typing(Typing { to: to.to_vec(), active })).await
    }

    /// Which of these accounts have a device connected right now.
    pub async fn online(&self, accounts: &[AccountId]) -> Result<Vec<AccountId>, SdkError> {
        let link = self.inner.link()?;
        let mut online = Vec::new();
        for part in accounts.chunks(PRESENCE_QUERY_MAX) {
            let query = PresenceQuery { accounts: part.iter().map(|account| account.to_vec()).collect() };
            match link.request(client_frame::Kind::PresenceQuery(query), PRESENCE_TIMEOUT).await? {
                server_frame::Kind::Presence(answer) => {
                    online.extend(answer.online.iter().filter_map(|id| AccountId::from_bytes(id).ok()));
                }
                server_frame::Kind::Error(error) => {
                    return Err(SdkError::server(error.code.parse().unwrap_or(ErrorCode::Internal), error.detail));
                }
                _ => return Err(SdkError::Internal("the gateway answered with another kind of frame")),
            }
        }
        Ok(online)
    }

    /// Marks everything in a conversation up to this [`Message::order`] as read. Returns how many were not read yet.
    pub fn mark_read(&self, peer: AccountId, up_to: u64) -> Result<u32, SdkError> {
        let count = self.inner.core().mark_read(peer, up_to)?;
        self.inner.owed.notify_one();
        self.inner.queued.notify_one();
        Ok(count)
    }

    /// Messages of a conversation, newest first, before this [`Message::order`] or from the end.
    pub fn history(&self, peer: AccountId, before: Option<u64>, limit: usize) -> Result<Vec<Message>, SdkError> {
        self.inner.core().history(peer, before, limit)
    }

    /// Unread messages of a conversation, oldest first, after this [`Message::order`].
    pub fn unread(&self, peer: AccountId, after: u64, limit: usize) -> Result<Vec<Message>, SdkError> {
        self.inner.core().unread(peer, after, limit)
    }

    /// The message of this id, if the history still has it.
    pub fn message(&self, id: MessageId) -> Result<Option<Message>, SdkError> {
        self.inner.core().message(id)
    }

    /// Accepted conversations, the liveliest first.
    pub fn conversations(&self) -> Result<Vec<Conversation>, SdkError> {
        self.inner.core().conversations(ConversationState::Accepted)
    }

    /// Conversations that somebody began and that were not decided about.
    pub fn requests(&self) -> Result<Vec<Conversation>, SdkError> {
        self.inner.core().conversations(ConversationState::Requested)
    }

    /// Conversations with accounts that are blocked.
    pub fn blocked(&self) -> Result<Vec<Conversation>, SdkError> {
        self.inner.core().conversations(ConversationState::Blocked)
    }

    /// The conversation with this account, if there is one.
    pub fn conversation(&self, peer: AccountId) -> Result<Option<Conversation>, SdkError> {
        self.inner.core().conversation(peer)
    }

    /// Welcomes an account that wrote first.
    pub async fn accept(&self, peer: AccountId) -> Result<(), SdkError> {
        self.decide(peer, Consent::Accepted, ConversationState::Accepted).await
    }

    /// Refuses an account: nothing of it arrives any more.
    pub async fn block(&self, peer: AccountId) -> Result<(), SdkError> {
        self.decide(peer, Consent::Blocked, ConversationState::Blocked).await
    }

    /// Undoes a block. What the account writes then are requests.
    pub async fn unblock(&self, peer: AccountId) -> Result<(), SdkError> {
        self.decide(peer, Consent::Requested, ConversationState::Requested).await
    }

    async fn decide(&self, peer: AccountId, consent: Consent, state: ConversationState) -> Result<(), SdkError> {
        self.inner.http.set_consent(peer, consent).await?;
        self.inner.core().decide(peer, state)
    }

    /// What this device does by itself.
    pub fn settings(&self) -> Result<Settings, SdkError> {
        Ok(self.inner.core().store.settings()?)
    }

    /// Changes what this device does by itself.
    pub fn set_settings(&self, settings: &Settings) -> Result<(), SdkError> {
        Ok(self.inner.core().store.set_settings(settings)?)
    }

    /// Removes messages whose time has come. A connected client does so by itself.
    pub fn sweep(&self) -> Result<Vec<Message>, SdkError> {
        self.inner.core().sweep()
    }
}

fn explain(failure: Failure) -> String {
    match failure {
        Failure::Server(code) => code.title().to_owned(),
        Failure::Uncertified => "A device of the recipient is not certified by a wallet of theirs.".to_owned(),
        Failure::KeysChanged => "The keys of this contact changed; compare the safety number again.".to_owned(),
        Failure::RootChanged => "The server names another wallet as this contact's.".to_owned(),
        Failure::DeviceReturned => "A device of this contact that was removed is listed again.".to_owned(),
        Failure::BadKeys => "The recipient's keys can't be used.".to_owned(),
        Failure::NodeNeeded(chain) => {
            format!("The recipient's wallet is a contract on chain {chain}; name a node of that chain, to ask it.")
        }
        Failure::Encryption => "It could not be encrypted.".to_owned(),
        Failure::Unread => "A device of the recipient could not read it.".to_owned(),
    }
}
