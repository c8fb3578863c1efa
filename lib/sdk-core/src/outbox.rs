//! From content to ciphertexts: one for every device of the recipient and every other device of one's own.

use nepto_proto::content::{self, Content, SentSync, content::Kind};
use nepto_proto::limits::FRAME_BYTES_MAX;
use nepto_proto::wire::{ClientFrame, DeviceCiphertext, SendDm, client_frame};
use nepto_proto::{AccountId, ClientMsgId, DeviceId};
use prost::Message as _;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::SdkError;
use crate::core::Core;
use crate::event::Event;
use crate::model::{Change, Failure, MessageId, Notice, Status};
use crate::resets::is_meant_for;
use crate::signal;
use crate::store::backend::Durability;
use crate::store::peers::Peer;
use crate::store::profile::Counter;
use crate::store::queue::Outgoing;
use crate::store::{StoreError, Txn};

/// Room in a frame beside the `SendDm`: tag, length, id.
const FRAME_OVERHEAD_BYTES: usize = 64;

/// What it takes to send an item.
#[derive(Debug)]
pub enum Prepared {
    /// This frame. The ratchets have moved on and are stored.
    Frame(Box<Frame>),
    /// Nothing: there is no other device to tell.
    Local,
    /// First the directory of this account.
    NeedDirectory(AccountId),
    /// First bundles of these devices.
    NeedBundles(AccountId, Vec<DeviceId>),
}

/// A frame to send.
#[derive(Debug)]
pub struct Frame {
    /// The content, encrypted for each device that gets it.
    pub send: SendDm,
    /// The own devices did not fit in and are told separately.
    pub sync_later: bool,
}

impl Core {
    /// Puts content into the queue.
    pub(crate) fn enqueue(
        &self,
        txn: &Txn<'_>,
        to: AccountId,
        id: ClientMsgId,
        content: &Content,
        (sync, shown): (bool, bool),
    ) -> Result<(), StoreError> {
        self.push(txn, Outgoing { sync, shown, ..Outgoing::new(to, id, content) })
    }

    /// Puts an item at the end of the queue.
    pub(crate) fn push(&self, txn: &Txn<'_>, item: Outgoing) -> Result<(), StoreError> {
        let order = txn.next(Counter::Order)?;
        txn.queue(&Outgoing { order, ..item })
    }

    /// The oldest item of each conversation that is not busy, up to `limit`.
    pub fn queue_heads(&self, busy: &dyn Fn(AccountId) -> bool, limit: usize) -> Result<Vec<Outgoing>, SdkError> {
        Ok(self.store.begin().queue_heads(busy, limit)?)
    }

    /// Whether nothing waits to be sent.
    pub fn queue_is_empty(&self) -> Result<bool, SdkError> {
        Ok(self.store.begin().queue_is_empty()?)
    }

    /// Encrypts an item for all devices, as they are known now. What it used up is committed before this returns, so that the
    /// frame may leave.
    pub fn prepare(&mut self, item: &Outgoing) -> Result<Prepared, SdkError> {
        let txn = self.store.begin();
        let me = self.me.account;
        let Some(peer) = self.current_peer(&txn, item.to)? else { return Ok(Prepared::NeedDirectory(item.to)) };
        let own = match item.sync && item.to != me {
            true => match self.current_peer(&txn, me)? {
                // an uncertified device among one's own, a foreign root, or one that came back: then none of them is told
                Some(own) if own.refused.is_empty() && own.claimed.is_none() && own.returned.is_empty() => Some(own),
                Some(_) => None,
                None => return Ok(Prepared::NeedDirectory(me)),
            },
            false => None,
        };
        may_send(&peer)?;
        if item.again.is_some_and(|again| !is_meant_for(&peer, again.written_at_ms)) {
            return Err(SdkError::NotMeantFor(item.to));
        }
        for account in std::iter::once(&peer).chain(&own) {
            let missing = self.without_session(&txn, account)?;
            if !missing.is_empty() {
                return Ok(Prepared::NeedBundles(account.account, missing));
            }
        }
        let content = content_of(item)?;
        let to_devices = self.encrypt_for(&txn, &peer, &content)?;
        let own_devices = match &own {
            Some(own) => self.encrypt_for(&txn, own, &sent_sync(item.to, item.id, content))?,
            None => Vec::new(),
        };
        if to_devices.is_empty() && item.to == me {
            return Ok(Prepared::Local);
        }
        let mut send = SendDm {
            client_msg_id: item.id.to_vec(),
            to: item.to.to_vec(),
            to_devices,
            own_devices,
            recipient_only: own.is_none() && item.to != me,
            automatic: item.automatic,
        };
        let sync_later = !send.own_devices.is_empty() && !fits(&send);
        if sync_later {
            send.own_devices.clear();
            send.recipient_only = true;
        }
        // a key that was used must be gone before its ciphertext leaves
        txn.commit(Durability::Now)?;
        Ok(Prepared::Frame(Box::new(Frame { send, sync_later })))
    }

    fn others<'p>(&self, peer: &'p Peer) -> impl Iterator<Item = &'p crate::model::KnownDevice> {
        let me = (self.me.account, self.me.device);
        peer.devices.iter().filter(move |known| (peer.account, known.device) != me)
    }

    fn without_session(&self, txn: &Txn<'_>, peer: &Peer) -> Result<Vec<DeviceId>, SdkError> {
        let mut missing = Vec::new();
        for known in self.others(peer) {
            let address = signal::address(peer.account, known.device)?;
            if !signal::has_session(txn, &address, known, &self.env)? {
                missing.push(known.device);
            }
        }
        Ok(missing)
    }

    fn encrypt_for(&self, txn: &Txn<'_>, peer: &Peer, content: &Content) -> Result<Vec<DeviceCiphertext>, SdkError> {
        let plain = content::seal(content);
        self.others(peer)
            .map(|known| {
                let address = signal::address(peer.account, known.device)?;
                let (kind, ciphertext) = signal::encrypt(txn, &address, &plain, &self.env)?;
                Ok(DeviceCiphertext {
                    device: known.device.into(),
                    registration_id: known.registration_id,
                    r#type: kind.into(),
                    ciphertext: ciphertext.into(),
                })
            })
            .collect()
    }

    /// The server has it: it leaves the queue, and its message says so.
    pub fn sent(&mut self, item: &Outgoing, sync_later: bool) -> Result<Vec<Event>, SdkError> {
        let txn = self.store.begin();
        txn.unqueue(item)?;
        if sync_later {
            let sync = sent_sync(item.to, item.id, content_of(item)?);
            self.enqueue(&txn, self.me.account, sync_id(item.id), &sync, (false, false))?;
        }
        let events = self.set_status(&txn, item, Status::Stored)?;
        txn.commit(Durability::Now)?;
        Ok(events)
    }

    /// It will never be sent: it leaves the queue, and its message says why.
    pub fn failed(&mut self, item: &Outgoing, failure: Failure) -> Result<Vec<Event>, SdkError> {
        let txn = self.store.begin();
        txn.unqueue(item)?;
        let mut events = self.set_status(&txn, item, Status::Failed(failure))?;
        if let Some(change) = change(item)? {
            let conversation = item.to;
            txn.add_notice(conversation, Notice::NotSent { change, failure }, self.new_id(), self.env.now_ms())?;
            events.push(Event::NotSent { conversation, change, failure });
        }
        txn.commit(Durability::Now)?;
        Ok(events)
    }

    fn set_status(&self, txn: &Txn<'_>, item: &Outgoing, status: Status) -> Result<Vec<Event>, SdkError> {
        let id = MessageId { author: self.me.account, id: item.again.map_or(item.id, |again| again.original) };
        let shown = item.shown || item.again.is_some();
        let Some(mut message) = txn.message(id)?.filter(|_| shown) else { return Ok(Vec::new()) };
        // a receipt may have been faster than the server's answer; what is sent again was stored before
        let failed_again = item.again.is_some() && matches!(status, Status::Failed(_));
        if message.status != Status::Pending && !failed_again {
            return Ok(Vec::new());
        }
        message.status = status;
        if status == Status::Stored {
            start_timer(txn, &mut message, self.env.now_ms())?;
        }
        txn.set_message(&message)?;
        Ok(vec![Event::Status { conversation: item.to, id, status }])
    }
}

fn content_of(item: &Outgoing) -> Result<Content, SdkError> {
    Content::decode(item.content.0.as_slice()).map_err(|_| SdkError::Internal("queued content can't be read"))
}

/// What somebody changed by an item. Texts show their own outcome; receipts and the like are nobody's business.
fn change(item: &Outgoing) -> Result<Option<Change>, SdkError> {
    Ok(match content_of(item)?.kind {
        Some(Kind::Reaction(_)) => Some(Change::Reaction),
        Some(Kind::Edit(_)) => Some(Change::Edit),
        Some(Kind::Delete(_)) => Some(Change::Delete),
        Some(Kind::Timer(_)) => Some(Change::Timer),
        _ => None,
    })
}

/// Lets the time of a disappearing message run, unless it runs already. The message is not written.
pub(crate) fn start_timer(txn: &Txn<'_>, message: &mut crate::model::Message, from_ms: u64) -> Result<(), StoreError> {
    if message.expire_after_s > 0 && message.expires_at_ms.is_none() {
        message.expires_at_ms = Some(from_ms.saturating_add(u64::from(message.expire_after_s) * 1000));
        txn.set_due(message)?;
    }
    Ok(())
}

/// Nobody's uncertified device and no unnoticed change is sent to.
fn may_send(peer: &Peer) -> Result<(), SdkError> {
    if let Some((device, reason)) = peer.refused.first() {
        return Err(SdkError::Uncertified { account: peer.account, device: *device, reason: reason.clone() });
    }
    if let Some(claimed) = peer.claimed.clone() {
        return Err(SdkError::RootChanged { account: peer.account, pinned: peer.root.clone(), claimed });
    }
    if let Some(back) = peer.returned.first() {
        return Err(SdkError::DeviceReturned { account: peer.account, device: back.device });
    }
    if peer.changed { Err(SdkError::KeysChanged(peer.account)) } else { Ok(()) }
}

/// For the own devices: what was sent, to whom, and as what.
pub(crate) fn sent_sync(to: AccountId, id: ClientMsgId, content: Content) -> Content {
    let sent_at_ms = content.sent_at_ms;
    let sync = SentSync { to: to.to_vec(), content: Some(Box::new(content)), client_msg_id: id.to_vec() };
    Content { sent_at_ms, expire_after_s: 0, kind: Some(Kind::SentSync(Box::new(sync))) }
}

/// The id of the separate message to the own devices: always the same for the same message, and not the same as it.
fn sync_id(id: ClientMsgId) -> ClientMsgId {
    let digest = Sha256::new().chain_update(b"nepto own sync").chain_update(id.uuid().as_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    ClientMsgId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn fits(send: &SendDm) -> bool {
    let frame = ClientFrame { id: u32::MAX, kind: Some(client_frame::Kind::SendDm(send.clone())) };
    frame.encoded_len() + FRAME_OVERHEAD_BYTES <= FRAME_BYTES_MAX
}

/// Reads the id that a peer gave a message.
pub(crate) fn read_id(author: AccountId, id: &[u8]) -> Option<MessageId> {
    Some(MessageId { author, id: ClientMsgId::new(Uuid::from_slice(id).ok()?) })
}
