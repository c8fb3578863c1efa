//! Headers of WebSocket frames (RFC 6455, 5.2), read as their bytes come by. What is wrong with a frame is for the library
//! to say that reads the frames themselves.

/// What a header says of its frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub is_last: bool,
    /// The opcode: 0 continues a message, from 8 on it is a control frame.
    pub opcode: u8,
    /// Whether a mask comes before the payload.
    pub masked: bool,
    /// Bytes of the payload.
    pub length: u64,
}

impl FrameHeader {
    /// Bytes until the next header: the mask and the payload.
    pub const fn bytes_to_follow(&self) -> u64 {
        self.length.saturating_add(if self.masked { 4 } else { 0 })
    }
}

/// A header, as far as it came.
#[derive(Debug, Default)]
pub struct FrameHeaderReader {
    header: FrameHeader,
    next: Next,
}

#[derive(Debug, Clone, Copy, Default)]
enum Next {
    #[default]
    Flags,
    Length,
    /// So many more bytes of an extended length.
    Extended(u8),
}

impl FrameHeaderReader {
    /// Takes the next byte; answers the header once it is whole, and is ready for another one.
    pub fn read(&mut self, byte: u8) -> Option<FrameHeader> {
        self.next = match self.next {
            Next::Flags => {
                self.header = FrameHeader { is_last: byte & 0x80 != 0, opcode: byte & 0x0f, ..FrameHeader::default() };
                Next::Length
            }
            Next::Length => {
                self.header.masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    126 => Next::Extended(2),
                    127 => Next::Extended(8),
                    short => {
                        self.header.length = short.into();
                        Next::Flags
                    }
                }
            }
            Next::Extended(left) => {
                self.header.length = self.header.length << 8 | u64::from(byte);
                if left > 1 { Next::Extended(left - 1) } else { Next::Flags }
            }
        };
        matches!(self.next, Next::Flags).then_some(self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<FrameHeader> {
        let mut reader = FrameHeaderReader::default();
        bytes.iter().filter_map(|byte| reader.read(*byte)).collect()
    }

    /// The examples of RFC 6455, 5.7, without payloads.
    #[test]
    fn headers_are_read_as_the_standard_writes_them() {
        let header = |is_last, opcode, masked, length| FrameHeader { is_last, opcode, masked, length };
        assert_eq!(read(&[0x81, 0x05]), [header(true, 1, false, 5)]);
        assert_eq!(read(&[0x81, 0x85]), [header(true, 1, true, 5)]);
        assert_eq!(read(&[0x01, 0x03, 0x80, 0x02]), [header(false, 1, false, 3), header(true, 0, false, 2)]);
        assert_eq!(read(&[0x82, 0x7e, 0x01, 0x00]), [header(true, 2, false, 256)]);
        assert_eq!(read(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]), [header(true, 2, false, 65_536)]);
        assert_eq!(read(&[0x82, 0x7f, 0, 0, 0]), []);
    }

    #[test]
    fn what_follows_is_never_more_than_can_be_counted() {
        let most = [[0x82, 0xff].as_slice(), &[0xff; 8]].concat();
        assert_eq!(read(&most).first().map(FrameHeader::bytes_to_follow), Some(u64::MAX));
    }
}
