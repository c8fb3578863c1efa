//! From a delivered envelope to history: drop what is known, check who sent it, guard, decrypt, interpret, commit.
//!
//! A delivery changes everything it changes in one transaction. What can't be decrypted is reported and passed over, so
//! that no message can block the mailbox. An envelope that was taken in before is passed over in silence, whoever sent it:
//! a server that was restored delivers it again, and libsignal may have forgotten that it read it.

use nepto_proto::content;
use nepto_proto::wire::{Deliver, Envelope};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};

use crate::SdkError;
use crate::core::Core;
use crate::event::Event;
use crate::model::{ConversationState, Notice};
use crate::resets::is_to_missing_keys;
use crate::signal::{self, Ciphertext};
use crate::store::Txn;
use crate::store::backend::Durability;
use crate::store::profile::MailboxCursor;
use crate::store::taken_in::EnvelopeName;

/// What became of a delivery.
#[derive(Debug)]
pub enum Received {
    /// It is in the store, or passed over.
    Done(Vec<Event>),
    /// First the directory of the sender; then the same delivery again, with `looked_up`.
    NeedDirectory(AccountId),
}

/// Who sent something, and what is known about the way it came.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub account: AccountId,
    pub device: DeviceId,
    pub id: ClientMsgId,
    pub seq: u64,
    pub stored_at_ms: u64,
    pub request: bool,
}

impl Origin {
    fn read(deliver: &Deliver, envelope: &Envelope) -> Option<Self> {
        Some(Self {
            account: AccountId::from_bytes(&envelope.from).ok()?,
            device: envelope.from_device.try_into().ok()?,
            id: ClientMsgId::from_bytes(&envelope.client_msg_id).ok()?,
            seq: deliver.seq,
            stored_at_ms: deliver.stored_at_ms,
            request: envelope.request,
        })
    }
}

impl Core {
    /// The place to resume from. Another epoch means that the mailbox was recreated and begins at 0. Then the server was restored from
    /// a backup, maybe from before somebody was blocked.
    pub fn welcomed(&mut self, epoch: u64) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let known = txn.cursor()?;
        if known.is_none_or(|cursor| cursor.epoch != epoch) {
            if known.is_some() {
                txn.set_blocks_forgotten(true)?;
            }
            txn.set_cursor(MailboxCursor { epoch, seq: 0 })?;
            txn.commit(Durability::Now)?;
        }
        Ok(())
    }

    /// An own device missed messages. The gateway says so until the device has acknowledged something: by then it is kept.
    pub fn missed(&mut self, device: DeviceId, since_ms: u64) -> Result<Option<Event>, SdkError> {
        let txn = self.store.begin();
        let mut missed = txn.missed()?;
        if missed.insert(device, since_ms) == Some(since_ms) {
            return Ok(None);
        }
        txn.set_missed(&missed)?;
        txn.commit(Durability::Now)?;
        Ok(Some(Event::Missed { account: self.me.account, device, since_ms }))
    }

    /// Takes in a delivery. `looked_up`: the sender's directory was fetched for its sake.
    pub fn receive(&mut self, deliver: &Deliver, looked_up: bool) -> Result<Received, SdkError> {
        let cursor = self.store.begin().cursor()?.unwrap_or_default();
        if deliver.seq <= cursor.seq {
            return Ok(Received::Done(Vec::new()));
        }
        let Some((envelope, origin)) = deliver.envelope.as_ref().and_then(|e| Some((e, Origin::read(deliver, e)?)))
        else {
            tracing::warn!(seq = deliver.seq, "an envelope could not be read");
            self.pass_over(deliver.seq)?;
            return Ok(Received::Done(Vec::new()));
        };
        let name = self.store.begin().envelope_name(envelope)?;
        if self.store.begin().is_taken_in(&name)? {
            self.pass_over(origin.seq)?;
            return Ok(Received::Done(Vec::new()));
        }
        let ciphertext = match Ciphertext::read(envelope.r#type, &envelope.ciphertext) {
            Ok(ciphertext) => ciphertext,
            // it never reached the ratchet, so the session is as good as before
            Err(error) => return self.refuse(origin, &error),
        };
        if !self.is_known(origin, &ciphertext)? {
            if !looked_up {
                return Ok(Received::NeedDirectory(origin.account));
            }
            return self.stranger(origin);
        }
        match self.read(origin, &name, &ciphertext) {
            Ok(events) => Ok(Received::Done(events)),
            Err(error) if is_our_fault(&error) => Err(error),
            Err(error) if is_duplicate(&error) => {
                let txn = self.store.begin();
                self.take_in(&txn, origin.seq, &name)?;
                txn.commit(Durability::Later)?;
                Ok(Received::Done(Vec::new()))
            }
            Err(error @ SdkError::Content(_)) => self.refuse(origin, &error),
            Err(error) => self.undecryptable(origin, &ciphertext, &error),
        }
    }

    /// Whether a checked directory names the sending device, and with the key that the message carries.
    fn is_known(&self, origin: Origin, ciphertext: &Ciphertext) -> Result<bool, SdkError> {
        let peer = self.store.begin().peer(origin.account)?;
        // whose wallet is another's by now is no sender any more
        let peer = peer.filter(|peer| !peer.is_due(self.env.now_ms()));
        let known = peer.as_ref().and_then(|peer| peer.sender(origin.device, origin.stored_at_ms));
        let Some(known) = known else { return Ok(false) };
        Ok(match ciphertext {
            Ciphertext::Session(_) => true,
            Ciphertext::Prekey(message) => {
                message.identity_key().serialize().as_ref() == known.identity_key.0.as_slice()
                    && message.registration_id() == known.registration_id
            }
        })
    }

    fn read(&self, origin: Origin, name: &EnvelopeName, ciphertext: &Ciphertext) -> Result<Vec<Event>, SdkError> {
        let txn = self.store.begin();
        let address = signal::address(origin.account, origin.device)?;
        let plain = signal::decrypt(&txn, &address, ciphertext, &self.env)?;
        let content = match content::open(&plain) {
            Ok(content) => content,
            Err(error) => {
                // the session is fine: keep its progress, drop the content
                self.take_in(&txn, origin.seq, name)?;
                txn.commit(Durability::Later)?;
                return Err(error.into());
            }
        };
        let events = self.interpret(&txn, origin, content)?;
        self.take_in(&txn, origin.seq, name)?;
        txn.commit(Durability::Later)?;
        Ok(events)
    }

    /// Passes over a message that is refused without doubt about the session.
    fn refuse(&mut self, origin: Origin, error: &SdkError) -> Result<Received, SdkError> {
        self.pass_over(origin.seq)?;
        let Origin { account, device, .. } = origin;
        Ok(Received::Done(vec![Event::Undecryptable { account, device, reason: error.to_string() }]))
    }

    /// Passes over a message of a device that no checked directory names. One that was removed after it had sent the message
    /// is no forgery, but nobody can tell any more whose it was: the loss is told.
    fn stranger(&mut self, origin: Origin) -> Result<Received, SdkError> {
        let Origin { account, device, .. } = origin;
        let peer = self.store.begin().peer(account)?;
        let is_back = peer.as_ref().is_some_and(|peer| peer.is_back(device));
        if peer.is_some_and(|peer| peer.claimed.is_none() && !peer.lists(device)) {
            let txn = self.store.begin();
            self.advance(&txn, origin.seq)?;
            if txn.conversation(account)?.is_some_and(|c| c.state == ConversationState::Accepted) {
                txn.add_notice(account, Notice::Undecryptable { device }, self.new_id(), self.env.now_ms())?;
            }
            txn.commit(Durability::Later)?;
            let reason = "the device that sent it was removed before it arrived".to_owned();
            return Ok(Received::Done(vec![Event::Undecryptable { account, device, reason }]));
        }
        self.pass_over(origin.seq)?;
        if !self.reported.first(account, device) {
            return Ok(Received::Done(Vec::new()));
        }
        let reason = match is_back {
            true => "it was removed before, and nobody has said here that it may come back",
            false => "no wallet of the account vouches for the key it uses",
        };
        Ok(Received::Done(vec![Event::Uncertified { account, device, reason: reason.to_owned() }]))
    }

    /// Passes over a message that the session could not read, and lets its sender know, where that may be.
    fn undecryptable(
        &mut self,
        origin: Origin,
        ciphertext: &Ciphertext,
        error: &SdkError,
    ) -> Result<Received, SdkError> {
        let Origin { account, device, .. } = origin;
        tracing::warn!(%account, %device, seq = origin.seq, "a message could not be decrypted");
        let txn = self.store.begin();
        self.advance(&txn, origin.seq)?;
        let state = txn.conversation(account)?.map(|conversation| conversation.state);
        let welcome = account == self.me.account || state == Some(ConversationState::Accepted);
        if welcome && account != self.me.account {
            txn.add_notice(account, Notice::Undecryptable { device }, self.new_id(), self.env.now_ms())?;
        }
        let blocked = state == Some(ConversationState::Blocked);
        if welcome || (!blocked && is_to_missing_keys(ciphertext, error)) {
            self.owe_reset(&txn, origin)?;
        }
        txn.commit(Durability::Now)?;
        Ok(Received::Done(vec![Event::Undecryptable { account, device, reason: error.to_string() }]))
    }

    fn pass_over(&mut self, seq: u64) -> Result<(), SdkError> {
        let txn = self.store.begin();
        self.advance(&txn, seq)?;
        Ok(txn.commit(Durability::Later)?)
    }

    /// Goes past an envelope that was read, and knows it from now on.
    fn take_in(&self, txn: &Txn<'_>, seq: u64, name: &EnvelopeName) -> Result<(), SdkError> {
        txn.set_taken_in(name)?;
        self.advance(txn, seq)
    }

    fn advance(&self, txn: &Txn<'_>, seq: u64) -> Result<(), SdkError> {
        let epoch = txn.cursor()?.unwrap_or_default().epoch;
        Ok(txn.set_cursor(MailboxCursor { epoch, seq })?)
    }
}

/// The store failed: the message is as good as it was, and must not be passed over.
fn is_our_fault(error: &SdkError) -> bool {
    matches!(
        error,
        SdkError::Store(_)
            | SdkError::Internal(_)
            | SdkError::Signal(libsignal_protocol::SignalProtocolError::ApplicationCallbackError(..))
    )
}

fn is_duplicate(error: &SdkError) -> bool {
    matches!(error, SdkError::Signal(libsignal_protocol::SignalProtocolError::DuplicatedMessage(..)))
}
