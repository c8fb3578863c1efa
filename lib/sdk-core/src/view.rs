//! What a program shows of a device: conversations, messages, contacts' devices. Nothing here changes anything.

use std::collections::BTreeMap;

use nepto_proto::{AccountId, DeviceId};

use crate::SdkError;
use crate::core::Core;
use crate::model::{Conversation, ConversationState, KnownDevice, Message, MessageId};

/// What is known about a contact's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Safety numbers were not compared.
    Unverified,
    /// They were, and nothing changed.
    Verified,
    /// They were and something changed, another wallet names the account, or a removed device is back: nothing is sent until
    /// the user decides.
    Changed,
}

impl Core {
    /// Messages of a conversation, newest first, before this [`Message::order`] or from the end.
    pub fn history(&self, peer: AccountId, before: Option<u64>, limit: usize) -> Result<Vec<Message>, SdkError> {
        Ok(self.store.begin().history(peer, before, limit)?)
    }

    /// Unread messages of a conversation, oldest first, after this [`Message::order`].
    pub fn unread(&self, peer: AccountId, after: u64, limit: usize) -> Result<Vec<Message>, SdkError> {
        Ok(self.store.begin().unread(peer, after, limit)?)
    }

    /// The message of this id, if the history still has it.
    pub fn message(&self, id: MessageId) -> Result<Option<Message>, SdkError> {
        Ok(self.store.begin().message(id)?)
    }

    /// The conversation with this account, if there is one.
    pub fn conversation(&self, peer: AccountId) -> Result<Option<Conversation>, SdkError> {
        Ok(self.store.begin().conversation(peer)?)
    }

    /// Conversations in a state, the liveliest first.
    pub fn conversations(&self, state: ConversationState) -> Result<Vec<Conversation>, SdkError> {
        let mut all = self.store.begin().conversations()?;
        all.retain(|conversation| conversation.state == state);
        all.sort_by_key(|conversation| std::cmp::Reverse((conversation.last_at_ms, conversation.last_order)));
        Ok(all)
    }

    /// Whether somebody was accepted.
    pub fn is_accepted(&self, peer: AccountId) -> Result<bool, SdkError> {
        Ok(self.conversation(peer)?.is_some_and(|conversation| conversation.state == ConversationState::Accepted))
    }

    /// Whether somebody may be told that one types.
    pub fn may_send_typing(&self, peer: AccountId) -> Result<bool, SdkError> {
        Ok(self.store.settings()?.typing && self.is_accepted(peer)?)
    }

    /// The devices of an account, as they were checked last.
    pub fn devices_of(&self, account: AccountId) -> Result<Vec<KnownDevice>, SdkError> {
        Ok(self.store.begin().peer(account)?.map(|peer| peer.devices).unwrap_or_default())
    }

    /// The wallet that the devices of an account are checked against; `None` before the first look-up.
    pub fn pinned_wallet(&self, account: AccountId) -> Result<Option<String>, SdkError> {
        Ok(self.store.begin().peer(account)?.map(|peer| peer.root))
    }

    /// The wallet that the server names an account by, as it was heard last: the pinned one, or one that claims to be.
    pub fn claimed_wallet(&self, account: AccountId) -> Result<String, SdkError> {
        let peer = self.known(account)?;
        Ok(peer.claimed.unwrap_or(peer.root))
    }

    /// Whether an account is marked verified, and whether something changed since.
    pub fn verification(&self, account: AccountId) -> Result<Verification, SdkError> {
        let peer = self.store.begin().peer(account)?;
        Ok(match peer {
            Some(peer) if peer.changed || peer.claimed.is_some() || !peer.returned.is_empty() => Verification::Changed,
            Some(peer) if peer.verified => Verification::Verified,
            _ => Verification::Unverified,
        })
    }

    /// Own devices that were away for too long: since when each missed messages the last time, milliseconds since 1970.
    pub fn missed_since(&self) -> Result<BTreeMap<DeviceId, u64>, SdkError> {
        Ok(self.store.begin().missed()?)
    }
}
