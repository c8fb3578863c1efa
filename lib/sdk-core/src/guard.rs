//! What is checked before libsignal may see a message.
//!
//! The ratchet crate beneath libsignal 0.85 reads past the end of a malformed `pq_ratchet` field, and does so before the
//! MAC is checked: a stranger could crash the receiver. [`check`] accepts exactly what that reader can read to its end.

use libsignal_protocol::{PreKeySignalMessage, SignalMessage};

/// A message that would crash its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message with a malformed post-quantum field was refused: {0}")]
pub struct GuardError(&'static str);

const CHUNK_BYTES: usize = 32;
const CHUNK_NUMBER_MAX: u64 = 65_535;

/// Checks a message of an established session.
pub fn check_session(message: &SignalMessage) -> Result<(), GuardError> {
    check(message.pq_ratchet())
}

/// Checks the message inside one that sets a session up.
pub fn check_prekey(message: &PreKeySignalMessage) -> Result<(), GuardError> {
    check(message.message().pq_ratchet())
}

/// Checks a `pq_ratchet` field: empty, of a version that the reader skips, or version 1 and complete.
pub fn check(field: &[u8]) -> Result<(), GuardError> {
    let Some((&version, mut rest)) = field.split_first() else { return Ok(()) };
    if version != 1 {
        return Ok(());
    }
    if varint(&mut rest)? == 0 {
        return Err(GuardError("its epoch is 0"));
    }
    if varint(&mut rest)? > u64::from(u32::MAX) {
        return Err(GuardError("its index is too large"));
    }
    let (&kind, mut rest) = rest.split_first().ok_or(GuardError("it has no type"))?;
    match kind {
        // none, and the acknowledgement of the first ciphertext: no chunk follows
        0 | 4 => Ok(()),
        1..=6 => {
            if varint(&mut rest)? > CHUNK_NUMBER_MAX {
                return Err(GuardError("its chunk number is too large"));
            }
            if rest.len() < CHUNK_BYTES { Err(GuardError("its chunk is too short")) } else { Ok(()) }
        }
        _ => Err(GuardError("its type is unknown")),
    }
}

/// LEB128 of at most ten bytes that fits into 64 bits.
fn varint(rest: &mut &[u8]) -> Result<u64, GuardError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(GuardError("it ends inside a number"))?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(GuardError("a number in it is too long"))
}
