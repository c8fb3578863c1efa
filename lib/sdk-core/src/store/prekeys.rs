//! Private halves of prekeys.

use nepto_proto::api::Base64;
use serde::{Deserialize, Serialize};

use super::{Range, StoreError, Table, Txn};

/// A prekey, as libsignal serializes it, and how long it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct PrekeyRow {
    pub record: Base64,
    /// Handed out once, and gone when used.
    pub one_time: bool,
    /// Since when a newer one is in use.
    pub retired_at_ms: Option<u64>,
}

/// Prekeys looked at in one clean-up.
const CLEAN_MAX: usize = 10_000;
/// Repeated-use prekeys of a kind that a device has at once: they are replaced weekly, and after a restore.
const REPEATED_USE_MAX: usize = 32;

impl Txn<'_> {
    pub fn prekey(&self, table: Table, id: u32) -> Result<Option<PrekeyRow>, StoreError> {
        self.get_json(table, &id.to_be_bytes())
    }

    pub fn set_prekey(&self, table: Table, id: u32, row: &PrekeyRow) -> Result<(), StoreError> {
        self.put_json(table, &id.to_be_bytes(), row)
    }

    pub fn delete_prekey(&self, table: Table, id: u32) {
        self.delete(table, &id.to_be_bytes());
    }

    /// One-time prekeys with ids below a number, the newest first, up to a bound.
    pub fn newest_one_time(&self, table: Table, below: u32, limit: usize) -> Result<Vec<(u32, PrekeyRow)>, StoreError> {
        let below = below.to_be_bytes();
        // repeated-use keys lie in between
        let range = Range { to: Some(&below), descending: true, ..Range::all(&[], limit + REPEATED_USE_MAX) };
        let mut found = Vec::new();
        for (key, value) in self.scan(table, range)? {
            let row: PrekeyRow = super::from_json(&value)?;
            if let (true, Ok(id)) = (row.one_time && found.len() < limit, key.try_into()) {
                found.push((u32::from_be_bytes(id), row));
            }
        }
        Ok(found)
    }

    /// Marks a repeated-use prekey as replaced.
    pub fn retire_prekey(&self, table: Table, id: u32, now_ms: u64) -> Result<(), StoreError> {
        let Some(mut row) = self.prekey(table, id)? else { return Ok(()) };
        row.retired_at_ms = Some(now_ms);
        self.set_prekey(table, id, &row)
    }

    /// Deletes prekeys that nobody can use any more: replaced ones whose time is over, and one-time ones beyond a number
    /// of newer ones.
    pub fn clean_prekeys(
        &self,
        table: Table,
        is_over: impl Fn(u64) -> bool,
        one_time_max: usize,
    ) -> Result<(), StoreError> {
        let mut one_time = 0;
        let newest_first = Range { descending: true, ..Range::all(&[], CLEAN_MAX) };
        for (key, value) in self.scan(table, newest_first)? {
            let row: PrekeyRow = super::from_json(&value)?;
            one_time += usize::from(row.one_time);
            let gone = match row.retired_at_ms {
                Some(at_ms) => is_over(at_ms),
                None => row.one_time && one_time > one_time_max,
            };
            if gone {
                self.delete(table, &key);
                self.forget_uses(table, &key)?;
            }
        }
        Ok(())
    }

    /// Uses are remembered as long as their key: without it their messages can't be read again.
    fn forget_uses(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if table == Table::KyberPrekey {
            for (used, _) in self.scan(Table::KyberUsed, Range::all(key, usize::MAX))? {
                self.delete(Table::KyberUsed, &used);
            }
        }
        Ok(())
    }

    /// Remembers the use of a last-resort prekey. `false`: the same message was used before.
    pub fn first_use(&self, kyber: u32, ec: u32, base_key: &[u8]) -> Result<bool, StoreError> {
        let key = self.blind(Table::KyberUsed, &[&kyber.to_be_bytes(), &ec.to_be_bytes(), base_key])?;
        let key = [kyber.to_be_bytes().as_slice(), &key].concat();
        if self.get(Table::KyberUsed, &key)?.is_some() {
            return Ok(false);
        }
        self.put(Table::KyberUsed, &key, Vec::new());
        Ok(true)
    }
}
