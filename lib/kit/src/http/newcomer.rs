//! What a connection sends before anybody knows whose it is: the head of its request, and then, as a WebSocket, a hello.
//!
//! A frame costs the memory that its header announces, and may announce a hundred times what a hello needs. So frames of
//! strangers are looked at as they come by (RFC 6455, 5.2), before anything makes room for them.

use nepto_proto::limits::HELLO_BYTES_MAX;

use super::frame_header::FrameHeaderReader;

/// Follows what comes.
#[derive(Default)]
pub struct Newcomer {
    end: HeadEnd,
    /// Bytes after the end of the head: a client must wait for the answer before it sends a frame (RFC 6455, 4.1).
    surplus: bool,
    /// Of all frames.
    bytes: usize,
    header: FrameHeaderReader,
    /// Of the frame that is coming: its mask and payload.
    left: usize,
}

/// It sends more than a hello.
#[derive(Debug, PartialEq, Eq)]
pub struct NoHello;

impl Newcomer {
    /// Bytes of a head, and whatever follows it at once.
    pub fn head(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.surplus |= self.end == HeadEnd::Found;
            self.end = self.end.after(byte);
        }
    }

    /// Something came while a request is answered: the rest of its body, or what no socket may begin with.
    pub fn ahead(&mut self) {
        self.surplus = true;
    }

    /// The next bytes of a WebSocket.
    pub fn frames(&mut self, mut bytes: &[u8]) -> Result<(), NoHello> {
        self.bytes += bytes.len();
        if self.surplus || self.bytes > HELLO_BYTES_MAX {
            return Err(NoHello);
        }
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            let Some((&byte, rest)) = bytes[skipped..].split_first() else { return Ok(()) };
            bytes = rest;
            if let Some(header) = self.header.read(byte) {
                let announced = header.bytes_to_follow();
                if announced > HELLO_BYTES_MAX as u64 {
                    return Err(NoHello);
                }
                self.left = announced as usize;
            }
        }
    }
}

/// Whether a head has ended: with an empty line, whichever line ends it has (RFC 9112, 2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum HeadEnd {
    #[default]
    InLine,
    Line,
    Return,
    Found,
}

impl HeadEnd {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Found, _) | (Self::Line | Self::Return, b'\n') => Self::Found,
            (_, b'\n') => Self::Line,
            (Self::Line, b'\r') => Self::Return,
            _ => Self::InLine,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A masked frame as far as its mask, that announces so much.
    fn announcing(length: usize) -> Vec<u8> {
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame
    }

    fn frame(length: usize) -> Vec<u8> {
        [announcing(length), vec![0xff; length]].concat()
    }

    #[test]
    fn a_frame_that_is_announced_too_large_is_refused_before_it_comes() {
        for length in [HELLO_BYTES_MAX + 1, 65_535, 65_536, 256 * 1024, usize::MAX / 2] {
            assert_eq!(Newcomer::default().frames(&announcing(length)), Err(NoHello), "{length}");
            let mut after_pings = Newcomer::default();
            after_pings.frames(&frame(100)).unwrap();
            after_pings.frames(&frame(0)).unwrap();
            assert_eq!(after_pings.frames(&announcing(length)), Err(NoHello), "{length}");
        }
    }

    #[test]
    fn frames_before_the_handshake_is_answered_are_refused_however_the_head_ends() {
        for end in ["\r\n\r\n", "\n\n", "\r\n\n", "\n\r\n"] {
            let head = format!("GET /v1/socket HTTP/1.1{end}");
            let mut patient = Newcomer::default();
            patient.head(head.as_bytes());
            assert_eq!(patient.frames(&frame(300)), Ok(()), "{end:?}");
            let mut hasty = Newcomer::default();
            hasty.head(&[head.as_bytes(), &announcing(256 * 1024)].concat());
            assert_eq!(hasty.frames(&[]), Err(NoHello), "{end:?}");
        }
    }

    proptest! {
        #[test]
        fn small_frames_pass_in_whatever_pieces_they_come(
            lengths in proptest::collection::vec(0..700_usize, 1..6), pieces in proptest::collection::vec(1..50_usize, 1..20)
        ) {
            let all: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
            let (mut newcomer, mut rest) = (Newcomer::default(), &all[..]);
            let mut passed = Ok(());
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                passed = passed.and_then(|()| newcomer.frames(now));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(passed.is_ok(), all.len() <= HELLO_BYTES_MAX);
            prop_assert!(passed.is_err() || newcomer.left == 0);
        }
    }
}
