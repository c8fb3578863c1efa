//! Messages that could not be read: those that their senders are still to be told of, and those that one sent again oneself.

use nepto_proto::{AccountId, ClientMsgId, DeviceId};
use serde::{Deserialize, Serialize};

use super::{Range, StoreError, Table, Txn, from_json, to_json};

/// Messages named in one `SessionReset`; what goes beyond is lost.
pub(crate) const UNREAD_MAX: usize = 256;
/// Peer devices that are owed a reset at once; beyond them nobody is told.
const OWED_MAX: usize = 1_000;
/// Moments that are remembered of one kind of reset.
const MOMENTS_MAX: usize = 16;
/// Kinds and devices of which moments are remembered, before those whose time is over are forgotten.
const REMEMBERED_MAX: usize = 2_000;

/// A device that is to be told that its messages could not be read, and that a new session is needed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OwedReset {
    pub account: AccountId,
    pub device: DeviceId,
    pub since_ms: u64,
    /// The session that there is has failed. False for messages that were on their way when it was made.
    pub renew: bool,
    pub unread: Vec<ClientMsgId>,
}

impl Txn<'_> {
    /// Adds an unreadable message to what its sender is owed.
    pub fn owe_reset(
        &self,
        (account, device): (AccountId, DeviceId),
        id: ClientMsgId,
        renew: bool,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let key = self.reset_key(account, device)?;
        let fresh = OwedReset { account, device, since_ms: now_ms, renew, unread: Vec::new() };
        let mut owed: OwedReset = match self.get_json(Table::OwedReset, &key)? {
            Some(owed) => owed,
            None if self.scan(Table::OwedReset, Range::all(&[], OWED_MAX))?.len() >= OWED_MAX => return Ok(()),
            None => fresh,
        };
        owed.renew |= renew;
        if owed.unread.len() < UNREAD_MAX && !owed.unread.contains(&id) {
            owed.unread.push(id);
        }
        self.put_json(Table::OwedReset, &key, &owed)
    }

    pub fn owed_resets(&self) -> Result<Vec<OwedReset>, StoreError> {
        let rows = self.scan(Table::OwedReset, Range::all(&[], OWED_MAX))?;
        rows.iter().map(|(_, value)| from_json(value)).collect()
    }

    pub fn forget_owed_reset(&self, owed: &OwedReset) -> Result<(), StoreError> {
        self.delete(Table::OwedReset, &self.reset_key(owed.account, owed.device)?);
        Ok(())
    }

    /// Moments of resets since a time, of whatever this names.
    pub fn resets_since(&self, of: &[u8], since_ms: u64) -> Result<Vec<u64>, StoreError> {
        let key = self.blind(Table::ResetMoments, &[of])?;
        let moments: Vec<u64> = self.get_json(Table::ResetMoments, &key)?.unwrap_or_default();
        Ok(moments.into_iter().filter(|at| *at >= since_ms).collect())
    }

    /// Remembers a moment; those before `since_ms` mean nothing any more.
    pub fn note_reset(&self, of: &[u8], now_ms: u64, since_ms: u64) -> Result<(), StoreError> {
        let rows = self.scan(Table::ResetMoments, Range::all(&[], REMEMBERED_MAX))?;
        if rows.len() >= REMEMBERED_MAX {
            for (key, value) in rows {
                let moments: Vec<u64> = from_json(&value)?;
                if moments.iter().all(|at| *at < since_ms) {
                    self.delete(Table::ResetMoments, &key);
                }
            }
        }
        let mut moments = self.resets_since(of, since_ms)?;
        moments.push(now_ms);
        let newest = moments.len().saturating_sub(MOMENTS_MAX);
        self.put(Table::ResetMoments, &self.blind(Table::ResetMoments, &[of])?, to_json(&&moments[newest..])?);
        Ok(())
    }

    /// The message that was sent again under this id.
    pub fn sent_again_as(&self, id: ClientMsgId) -> Result<Option<ClientMsgId>, StoreError> {
        self.get_json(Table::SentAgain, &self.blind(Table::SentAgain, &[id.uuid().as_bytes()])?)
    }

    /// Remembers under which id a message was sent again. As many as there are messages that were.
    pub fn set_sent_again(&self, id: ClientMsgId, original: ClientMsgId) -> Result<(), StoreError> {
        self.put_json(Table::SentAgain, &self.blind(Table::SentAgain, &[id.uuid().as_bytes()])?, &original)
    }

    fn reset_key(&self, account: AccountId, device: DeviceId) -> Result<[u8; 16], StoreError> {
        self.blind(Table::OwedReset, &[account.uuid().as_bytes(), &[device.get()]])
    }
}
