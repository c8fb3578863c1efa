//! What waits to be sent, in order, and survives a crash.

use nepto_proto::api::Base64;
use nepto_proto::content::Content;
use nepto_proto::{AccountId, ClientMsgId};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::seal::BLIND_BYTES;
use super::{Range, StoreError, Table, Txn, from_json};

/// Content on its way to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub(crate) order: u64,
    /// The account that gets it.
    pub to: AccountId,
    /// Drawn once and kept through every try: the server stores it once.
    pub id: ClientMsgId,
    /// An encoded `Content`.
    pub(crate) content: Base64,
    /// The own other devices are told as well.
    pub(crate) sync: bool,
    /// The history holds a message of this id.
    pub(crate) shown: bool,
    /// This device says it by itself: whoever it goes to is not accepted by it.
    #[serde(default)]
    pub(crate) automatic: bool,
    /// A message that was sent before and could not be read.
    #[serde(default)]
    pub(crate) again: Option<Again>,
}

/// Which message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Again {
    pub original: ClientMsgId,
    /// Devices that came later must not get it.
    pub written_at_ms: u64,
}

impl Outgoing {
    /// Content for an account alone, which the history does not show. The order is drawn when it is queued.
    pub(crate) fn new(to: AccountId, id: ClientMsgId, content: &Content) -> Self {
        let content = content.encode_to_vec().into();
        Self { order: 0, to, id, content, sync: false, shown: false, automatic: false, again: None }
    }
}

/// Receipts that were earned and not sent yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PendingReceipts {
    pub peer: Option<AccountId>,
    pub delivered: Vec<ClientMsgId>,
    pub read: Vec<ClientMsgId>,
}

/// Peers whose receipts go out in one round.
const RECEIPT_PEERS_MAX: usize = 64;

impl Txn<'_> {
    pub fn queue(&self, item: &Outgoing) -> Result<(), StoreError> {
        self.put_json(Table::Outbox, &self.queue_key(item)?, item)
    }

    pub fn unqueue(&self, item: &Outgoing) -> Result<(), StoreError> {
        self.delete(Table::Outbox, &self.queue_key(item)?);
        Ok(())
    }

    /// The oldest item of each conversation that is not busy, up to `limit`.
    pub fn queue_heads(&self, busy: &dyn Fn(AccountId) -> bool, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        let mut heads = Vec::new();
        let mut from: Option<[u8; BLIND_BYTES]> = Some([0; BLIND_BYTES]);
        while let Some(conversation) = from.filter(|_| heads.len() < limit) {
            let range = Range { from: &conversation, ..Range::all(&[], 1) };
            let Some((key, value)) = self.scan(Table::Outbox, range)?.pop() else { break };
            let item: Outgoing = from_json(&value)?;
            if !busy(item.to) {
                heads.push(item);
            }
            from = key.first_chunk().and_then(|name| u128::from_be_bytes(*name).checked_add(1)).map(u128::to_be_bytes);
        }
        Ok(heads)
    }

    /// Conversations apart, and within each the order.
    fn queue_key(&self, item: &Outgoing) -> Result<Vec<u8>, StoreError> {
        let name = self.blind(Table::Outbox, &[item.to.uuid().as_bytes()])?;
        Ok([name.as_slice(), &item.order.to_be_bytes()].concat())
    }

    pub fn queue_is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.scan(Table::Outbox, Range::all(&[], 1))?.is_empty())
    }

    /// Changes the receipts that a peer is owed.
    pub fn owe_receipt(&self, peer: AccountId, change: impl FnOnce(&mut PendingReceipts)) -> Result<(), StoreError> {
        let key = self.blind(Table::Receipts, &[peer.uuid().as_bytes()])?;
        let mut owed: PendingReceipts = self.get_json(Table::Receipts, &key)?.unwrap_or_default();
        owed.peer = Some(peer);
        change(&mut owed);
        self.put_json(Table::Receipts, &key, &owed)
    }

    /// Takes all receipts that are owed.
    pub fn take_receipts(&self) -> Result<Vec<PendingReceipts>, StoreError> {
        let rows = self.scan(Table::Receipts, Range::all(&[], RECEIPT_PEERS_MAX))?;
        rows.into_iter()
            .map(|(key, value)| {
                self.delete(Table::Receipts, &key);
                from_json(&value)
            })
            .collect()
    }
}
