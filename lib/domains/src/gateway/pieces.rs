//! Pieces of messages. RFC 6455 lets a client cut a message into any number of frames, also empty ones, and the library
//! shows only whole messages: pieces are counted where the bytes come in.
//!
//! A piece of a kilobyte costs nothing, its bytes are worth it; a smaller one costs as much as a frame of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nepto_kit::http::frame_header::{FrameHeader, FrameHeaderReader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::allowance::{Allowance, Passage};

/// A piece of at least so many bytes is free.
const PIECE_BYTES: u64 = 1_024;

/// A client cut its messages into too many small pieces.
#[derive(Debug, thiserror::Error)]
#[error("too many small pieces of messages")]
pub struct TooManyPieces;

/// A stream under a WebSocket that ends when too many small pieces come in.
#[derive(Debug)]
pub struct Pieces<S> {
    stream: S,
    frames: Frames,
    allowance: Allowance,
}

impl<S> Pieces<S> {
    pub fn new(stream: S, allowance: Allowance) -> Self {
        Self { stream, frames: Frames::default(), allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let small = self.frames.read(&buffer.filled()[before..]);
        if small > 0 && self.allowance.spend(small, Instant::now()) == Passage::Over {
            return Poll::Ready(Err(io::Error::other(TooManyPieces)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where the stream stands between one frame and the next.
#[derive(Debug, Default)]
struct Frames {
    header: FrameHeaderReader,
    /// Bytes of the frame that are still to come.
    left: u64,
}

impl Frames {
    /// Takes bytes as they come and counts the small pieces that begin in them.
    fn read(&mut self, mut bytes: &[u8]) -> u32 {
        let mut small = 0u32;
        loop {
            let passed = self.left.min(bytes.len() as u64);
            self.left -= passed;
            let Some((&byte, rest)) = bytes[passed as usize..].split_first() else { return small };
            bytes = rest;
            if let Some(header) = self.header.read(byte) {
                small = small.saturating_add(u32::from(is_small_piece(&header)));
                self.left = header.bytes_to_follow();
            }
        }
    }
}

/// Control frames are never cut; whole messages of data are no pieces.
const fn is_small_piece(header: &FrameHeader) -> bool {
    header.opcode < 8 && (!header.is_last || header.opcode == 0) && header.length < PIECE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A masked frame, as clients send it.
    fn frame(is_last: bool, opcode: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![(u8::from(is_last) << 7) | opcode];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..65_536 => bytes.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
            _ => bytes.extend([&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat()),
        }
        bytes.extend([1, 2, 3, 4]);
        // a payload that looks like the header of an empty piece
        bytes.extend(std::iter::repeat_n(0, length));
        bytes
    }

    #[test]
    fn only_small_pieces_are_counted() {
        for (is_last, opcode, length, small) in [
            (true, 2, 5, 0),
            (true, 9, 0, 0),
            (false, 2, 0, 1),
            (false, 0, 0, 1),
            (true, 0, 1_023, 1),
            (false, 0, 1_024, 0),
            (false, 2, 70_000, 0),
        ] {
            assert_eq!(Frames::default().read(&frame(is_last, opcode, length)), small, "{opcode} {length}");
        }
    }

    proptest! {
        #[test]
        fn however_the_bytes_come_the_same_is_counted(
            frames in proptest::collection::vec((any::<bool>(), 0u8..11, prop_oneof![0usize..130, 1_000usize..1_100]), 1..20),
            cuts in proptest::collection::vec(1usize..700, 1..40),
        ) {
            let pieces = |(is_last, opcode, length): &(bool, u8, usize)| {
                u32::from(*opcode < 8 && (!is_last || *opcode == 0) && *length < 1_024)
            };
            let expected: u32 = frames.iter().map(pieces).sum();
            let bytes: Vec<u8> = frames.iter().flat_map(|(last, opcode, length)| frame(*last, *opcode, *length)).collect();
            let (mut reader, mut rest, mut found) = (Frames::default(), &bytes[..], 0);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                found += reader.read(now);
                rest = later;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
