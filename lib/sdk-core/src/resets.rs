//! Sessions that can't be continued: setting them up again, telling the sender what was not read, and sending that again.
//!
//! A message that can't be decrypted is owed a `SessionReset`, which travels in a new session and names the message. Who gets
//! one learns that a device here was connected, so who was not accepted gets one only for a first message that was encrypted
//! to keys which this device does not have, which honest people meet after a restore; and only a few, whoever asks. It accepts
//! nobody: its frame says that it is automatic.
//!
//! Texts that are named are sent again, once, and only to devices that they were meant for: a device that the recipient got
//! later must not make old messages readable by asking for them.

use std::time::Duration;

use libsignal_protocol::SignalProtocolError;
use nepto_proto::content::{Content, SessionReset, Text, content::Kind};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};
use sha2::{Digest, Sha256};

use crate::SdkError;
use crate::attachment::with_files;
use crate::core::Core;
use crate::event::Event;
use crate::inbox::Origin;
use crate::interpret::write_ref;
use crate::model::{Body, ConversationState, Failure, Message, MessageId, Notice, Status};
use crate::outbox::sent_sync;
use crate::signal::{self, Ciphertext};
use crate::store::Txn;
use crate::store::backend::Durability;
use crate::store::peers::Peer;
use crate::store::queue::{Again, Outgoing};
use crate::store::resets::UNREAD_MAX;

/// A peer device gets at most one reset in this time.
const RESET_EVERY: Duration = Duration::from_secs(60);
/// An account that was not accepted gets so many in [`STRANGER_MEMORY`],
const RESETS_OF_STRANGER_MAX: usize = 3;
const STRANGER_MEMORY: Duration = Duration::from_secs(86_400);
/// and all of them together so many in an hour.
const RESETS_OF_STRANGERS_MAX: usize = 10;
const STRANGERS_MEMORY: Duration = Duration::from_secs(3_600);
/// A device that was seen first so soon after a text was written is one that the text was meant for: to send the first one
/// to somebody is what makes their devices known.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// Texts that one reset makes one send again, the newest.
const SENT_AGAIN_MAX: usize = 50;

/// Whether it is a first message to prekeys that are not, or no longer, here.
pub(crate) fn is_to_missing_keys(ciphertext: &Ciphertext, error: &SdkError) -> bool {
    use SignalProtocolError::{InvalidKyberPreKeyId, InvalidPreKeyId, InvalidSignedPreKeyId};
    let missing = matches!(error, SdkError::Signal(InvalidPreKeyId | InvalidSignedPreKeyId | InvalidKyberPreKeyId));
    matches!(ciphertext, Ciphertext::Prekey(_)) && missing
}

impl Core {
    /// A message could not be decrypted: its sender is to be told.
    pub(crate) fn owe_reset(&self, txn: &Txn<'_>, origin: Origin) -> Result<(), SdkError> {
        let now_ms = self.env.now_ms();
        let device = (origin.account, origin.device);
        // what comes soon after a reset was on its way before its sender heard of it
        let renew =
            txn.resets_since(&of_device(origin.account, origin.device), before(now_ms, RESET_EVERY))?.is_empty();
        Ok(txn.owe_reset(device, origin.id, renew, now_ms)?)
    }

    /// Queues the resets that are due. `true` if there were any.
    pub fn queue_resets(&mut self) -> Result<bool, SdkError> {
        let txn = self.store.begin();
        let now_ms = self.env.now_ms();
        let mut any = false;
        for owed in txn.owed_resets()? {
            let (account, device) = (owed.account, owed.device);
            let state = txn.conversation(account)?.map(|conversation| conversation.state);
            let welcome = account == self.me.account || state == Some(ConversationState::Accepted);
            let too_late = owed.since_ms < before(now_ms, STRANGER_MEMORY);
            if too_late || state == Some(ConversationState::Blocked) {
                txn.forget_owed_reset(&owed)?;
                continue;
            }
            let name = of_device(account, device);
            let waits = !txn.resets_since(&name, before(now_ms, RESET_EVERY))?.is_empty();
            if waits || !(welcome || self.stranger_may_hear(&txn, account, now_ms)?) {
                continue;
            }
            if owed.renew {
                signal::archive_session(&txn, &signal::address(account, device)?)?;
            }
            let unread = owed.unread.iter().map(|id| id.to_vec()).collect();
            let kind = Some(Kind::SessionReset(SessionReset { unread, device: device.into() }));
            let content = Content { sent_at_ms: now_ms, expire_after_s: 0, kind };
            let automatic = account != self.me.account;
            self.push(&txn, Outgoing { automatic, ..Outgoing::new(account, self.new_id().id, &content) })?;
            txn.note_reset(&name, now_ms, before(now_ms, STRANGER_MEMORY))?;
            if !welcome {
                for name in [of_stranger(account), OF_STRANGERS.to_vec()] {
                    txn.note_reset(&name, now_ms, before(now_ms, STRANGER_MEMORY))?;
                }
            }
            txn.forget_owed_reset(&owed)?;
            any = true;
        }
        txn.commit(if any { Durability::Now } else { Durability::Later })?;
        Ok(any)
    }

    fn stranger_may_hear(&self, txn: &Txn<'_>, account: AccountId, now_ms: u64) -> Result<bool, SdkError> {
        let own = txn.resets_since(&of_stranger(account), before(now_ms, STRANGER_MEMORY))?;
        let all = txn.resets_since(OF_STRANGERS, before(now_ms, STRANGERS_MEMORY))?;
        Ok(own.len() < RESETS_OF_STRANGER_MAX && all.len() < RESETS_OF_STRANGERS_MAX)
    }

    /// A peer, or another device of one's own, set a session up again, and names what it could not read.
    pub(crate) fn was_reset(
        &self,
        txn: &Txn<'_>,
        origin: Origin,
        reset: &SessionReset,
    ) -> Result<Vec<Event>, SdkError> {
        let Origin { account, device, .. } = origin;
        let own = account == self.me.account;
        let wanted = own || txn.conversation(account)?.is_some_and(|c| c.state == ConversationState::Accepted);
        let mine = reset.device == u32::from(self.me.device);
        let ids = reset.unread.iter().take(UNREAD_MAX).filter_map(|id| ClientMsgId::from_bytes(id).ok());
        let (mut resent, mut unread) = (Vec::new(), Vec::new());
        if wanted && mine {
            let mut named = ids.map(|id| self.named(txn, account, id)).collect::<Result<Vec<_>, _>>()?;
            named.sort_by_key(|named| named.as_ref().map(|(message, _)| message.order));
            let skipped = named.len().saturating_sub(SENT_AGAIN_MAX);
            for (place, (message, again)) in named.into_iter().enumerate().filter_map(|(n, named)| Some((n, named?))) {
                let id = message.id.id;
                if own {
                    self.sync_again(txn, &message)?;
                    resent.push(id);
                } else if place >= skipped && !again && self.send_unread_again(txn, &message, again_id(id))? {
                    resent.push(id);
                } else {
                    self.set_unread(txn, message)?;
                    unread.push(id);
                }
            }
        }
        if !own {
            let notice = Notice::SessionReset { device, resent: resent.len() as u32, unread: unread.len() as u32 };
            txn.add_notice(account, notice, self.new_id(), self.env.now_ms())?;
        }
        Ok(vec![Event::SessionReset { account, device, resent, unread }])
    }

    /// The own text that an id names, and whether that was sent again already.
    fn named(&self, txn: &Txn<'_>, peer: AccountId, id: ClientMsgId) -> Result<Option<(Message, bool)>, SdkError> {
        let original = txn.sent_again_as(id)?;
        let name = MessageId { author: self.me.account, id: original.unwrap_or(id) };
        let again = original.is_some() || txn.sent_again_as(again_id(id))?.is_some();
        // one's own devices name messages of any conversation
        let about = |message: &Message| peer == self.me.account || message.conversation == peer;
        let message = txn.message(name)?.filter(|message| about(message) && matches!(message.body, Body::Text(_)));
        Ok(message.filter(|message| !matches!(message.status, Status::Failed(_))).map(|message| (message, again)))
    }

    /// Queues a text once more, under another id that leads to the first. `false` if a device has come since it was written.
    pub(crate) fn send_unread_again(
        &self,
        txn: &Txn<'_>,
        message: &Message,
        id: ClientMsgId,
    ) -> Result<bool, SdkError> {
        let peer = txn.peer(message.conversation)?;
        let Some(peer) = peer.filter(|peer| is_meant_for(peer, message.at_ms)) else { return Ok(false) };
        let Some(content) = text_content(message, true) else { return Ok(false) };
        txn.set_sent_again(id, message.id.id)?;
        let again = Again { original: message.id.id, written_at_ms: message.at_ms };
        self.push(txn, Outgoing { again: Some(again), ..Outgoing::new(peer.account, id, &content) })?;
        Ok(true)
    }

    fn sync_again(&self, txn: &Txn<'_>, message: &Message) -> Result<(), SdkError> {
        let Some(content) = text_content(message, false) else { return Ok(()) };
        let sync = sent_sync(message.conversation, message.id.id, content);
        Ok(self.enqueue(txn, self.me.account, self.new_id().id, &sync, (false, false))?)
    }

    fn set_unread(&self, txn: &Txn<'_>, mut message: Message) -> Result<(), SdkError> {
        message.status = Status::Failed(Failure::Unread);
        Ok(txn.set_message(&message)?)
    }
}

/// Whether an account has no device that came after something was written.
pub(crate) fn is_meant_for(peer: &Peer, written_at_ms: u64) -> bool {
    peer.newest_ms() <= written_at_ms.saturating_add(KNOWN_WITHIN.as_millis() as u64)
}

fn text_content(message: &Message, again: bool) -> Option<Content> {
    let Body::Text(body) = message.body.clone() else { return None };
    let again = if again { message.id.id.to_vec() } else { Vec::new() };
    let text = Text { body, reply_to: message.reply_to.map(write_ref), again, ..Text::default() };
    let text = with_files(text, message);
    let Message { sent_at_ms, expire_after_s, .. } = *message;
    Some(Content { sent_at_ms, expire_after_s, kind: Some(Kind::Text(text)) })
}

/// The id of the second try: always the same for the same message, and not the same as it, which the server knows already.
fn again_id(id: ClientMsgId) -> ClientMsgId {
    let digest = Sha256::new().chain_update(b"nepto sent again").chain_update(id.uuid().as_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    ClientMsgId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn before(now_ms: u64, time: Duration) -> u64 {
    (now_ms + 1).saturating_sub(time.as_millis() as u64)
}

/// Whose resets are counted: of one device, of an account that was not accepted, of all of those.
fn of_device(account: AccountId, device: DeviceId) -> Vec<u8> {
    [account.uuid().as_bytes().as_slice(), &[device.get()]].concat()
}

fn of_stranger(account: AccountId) -> Vec<u8> {
    account.uuid().as_bytes().to_vec()
}

const OF_STRANGERS: &[u8] = b"strangers";
