//! What identifies a message of ours: 16 bytes that serve as `client_msg_id` and head every ciphertext.
//!
//! It says who sent it, the how-manieth it was, and when it should have been sent, so that whatever comes back is
//! recognized without a table.

/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 16;

/// Whether a message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Fills caches and finds every path once.
    WarmUp = 0,
    /// What the results count.
    Measured = 1,
}

/// The stamp of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Differs between runs against one server, 24 bits.
    pub run: u32,
    /// Whether it counts.
    pub phase: Phase,
    /// The sender's place among the devices, 24 bits.
    pub sender: u32,
    /// Counts the sender's messages.
    pub seq: u32,
    /// When it should have been sent, microseconds since the run began, 40 bits.
    pub intended_us: u64,
}

impl Stamp {
    /// The stamp as it lies at the head of a message.
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[0..3].copy_from_slice(&self.run.to_be_bytes()[1..]);
        bytes[3] = self.phase as u8;
        bytes[4..7].copy_from_slice(&self.sender.to_be_bytes()[1..]);
        bytes[7..11].copy_from_slice(&self.seq.to_be_bytes());
        bytes[11..16].copy_from_slice(&self.intended_us.to_be_bytes()[3..]);
        bytes
    }

    /// From the first bytes; `None` if there are too few, or they are not ours.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Some(Self {
            run: number(0..3) as u32,
            phase: match bytes[3] {
                0 => Phase::WarmUp,
                1 => Phase::Measured,
                _ => return None,
            },
            sender: number(4..7) as u32,
            seq: number(7..11) as u32,
            intended_us: number(11..16),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        let stamp = Stamp {
            run: 0xab_cdef,
            phase: Phase::Measured,
            sender: 19_999,
            seq: u32::MAX - 1,
            intended_us: 3_600_000_000_123,
        };
        let stamp = Stamp { intended_us: stamp.intended_us & 0xff_ffff_ffff, ..stamp };
        assert_eq!(Stamp::read(&stamp.to_bytes()), Some(stamp));
        assert_eq!(Stamp::read(&[0; 15]), None);
        assert_eq!(Stamp::read(&[9; 16]), None);
    }
}
