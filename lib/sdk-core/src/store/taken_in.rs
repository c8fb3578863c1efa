//! Envelopes that were taken in, so that none is called lost that comes again.
//!
//! A server that was restored delivers again what was read long ago. libsignal knows a message for as long as it keeps the
//! chain of its key, which are the last few turns of a conversation; an older one fails as a damaged one does. What is
//! remembered is bounded: each envelope takes the place of the one that came [`ENVELOPES_MAX`] before it.

use nepto_proto::wire::Envelope;

use super::profile::Counter;
use super::seal::BLIND_BYTES;
use super::{StoreError, Table, Txn};

/// Envelopes that are remembered: twice what a mailbox holds, as servers are shipped.
pub(crate) const ENVELOPES_MAX: u64 = 20_000;

/// What an envelope is known by.
pub(crate) type EnvelopeName = [u8; BLIND_BYTES];

impl Txn<'_> {
    /// The name of an envelope. The ciphertext is part of it, so that nobody makes another message look known; whether it is
    /// a request is not, as that may be otherwise the next time.
    pub fn envelope_name(&self, envelope: &Envelope) -> Result<EnvelopeName, StoreError> {
        let Envelope { from, from_device, client_msg_id, r#type, ciphertext, request: _ } = envelope;
        let (device, kind) = (from_device.to_be_bytes(), r#type.to_be_bytes());
        self.blind(Table::TakenIn, &[from.as_slice(), &device, client_msg_id, &kind, ciphertext])
    }

    /// Whether an envelope was taken in, as far as that is remembered.
    pub fn is_taken_in(&self, name: &EnvelopeName) -> Result<bool, StoreError> {
        Ok(self.get(Table::TakenIn, name)?.is_some())
    }

    /// Remembers an envelope that is not remembered yet, in the place of the oldest one.
    pub fn set_taken_in(&self, name: &EnvelopeName) -> Result<(), StoreError> {
        let place = (self.next(Counter::TakenIn)? % ENVELOPES_MAX).to_be_bytes();
        if let Some(oldest) = self.get(Table::TakenInOrder, &place)? {
            self.delete(Table::TakenIn, &oldest);
        }
        self.put(Table::TakenIn, name, Vec::new());
        self.put(Table::TakenInOrder, &place, name.to_vec());
        Ok(())
    }
}
