//! An upload, as its row has it: who may write next, and which pieces there are. Pure.
//!
//! What must hold: the pieces that a row names follow each other without a gap or an overlap, from 0 to `received`, whatever is
//! tried in whatever order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nepto_proto::{AccountId, ErrorCode};

/// A piece that is stored by itself. The memory of one writer is some more than that.
pub const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// Pieces beside those that are full: so often an upload may be interrupted.
const PIECES_SPARE: u64 = 256;
/// A writer that is not heard of for so long is gone.
pub const CLAIM: Duration = Duration::from_secs(30);

/// An unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Whose it is.
    pub account: AccountId,
    /// Bytes in all.
    pub length: u64,
    /// Bytes that have arrived and are stored.
    pub received: u64,
    /// What they are in, in order.
    pub pieces: Vec<Piece>,
    /// Who writes.
    pub writer: Option<Writer>,
    /// When it is forgotten, milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// Some bytes of an upload, stored under a name that nobody else uses. As text: `<name>:<bytes>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub name: String,
    pub bytes: u64,
}

/// A claim to be the one who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Drawn at random.
    pub claim: String,
    /// Until when, unless it is heard of again.
    pub until_ms: i64,
}

/// Why nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is at another offset.
    Offset(u64),
    /// Somebody else writes, or took over.
    Busy,
    /// More bytes than were announced.
    TooLong,
    /// More pieces than are kept.
    Pieces,
}

impl Refusal {
    /// The code that names it.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Offset(_) => ErrorCode::UploadOffset,
            Self::Busy => ErrorCode::UploadBusy,
            Self::TooLong => ErrorCode::TooLarge,
            Self::Pieces => ErrorCode::UploadPieces,
        }
    }

    /// For people.
    pub fn detail(self) -> String {
        match self {
            Self::Offset(at) => format!("the upload is at offset {at}"),
            Self::Busy => "another request writes to this upload; try again when it has ended".to_owned(),
            Self::TooLong => "more bytes than `Upload-Length` announced".to_owned(),
            Self::Pieces => String::new(),
        }
    }
}

impl Upload {
    /// Whether all bytes have arrived.
    pub const fn is_complete(&self) -> bool {
        self.received == self.length
    }

    /// Whether somebody writes who was heard of lately.
    pub fn is_claimed(&self, now_ms: i64) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.until_ms > now_ms)
    }

    /// Somebody wants to write from here on.
    pub fn claim(&mut self, offset: u64, claim: &str, now_ms: i64) -> Result<(), Refusal> {
        if self.is_claimed(now_ms) {
            return Err(Refusal::Busy);
        }
        if offset != self.received {
            return Err(Refusal::Offset(self.received));
        }
        if self.pieces.len() as u64 >= self.length / PIECE_BYTES as u64 + PIECES_SPARE {
            return Err(Refusal::Pieces);
        }
        self.writer = Some(Writer { claim: claim.to_owned(), until_ms: now_ms + CLAIM.as_millis() as i64 });
        Ok(())
    }

    /// The writer is still there, and these pieces are stored; there may be none.
    pub fn append(&mut self, claim: &str, pieces: &[Piece], now_ms: i64) -> Result<(), Refusal> {
        let writer = self.writer.as_mut().filter(|writer| writer.claim == claim).ok_or(Refusal::Busy)?;
        let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        if bytes > self.length - self.received {
            return Err(Refusal::TooLong);
        }
        writer.until_ms = now_ms + CLAIM.as_millis() as i64;
        self.received += bytes;
        self.pieces.extend_from_slice(pieces);
        Ok(())
    }

    /// The writer has ended. Whoever is not the writer any more changes nothing.
    pub fn release(&mut self, claim: &str) {
        self.writer = self.writer.take().filter(|writer| writer.claim != claim);
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.bytes)
    }
}

impl FromStr for Piece {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, bytes) = text.rsplit_once(':').ok_or(())?;
        Ok(Self { name: name.to_owned(), bytes: bytes.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::account;

    fn upload(length: u64) -> Upload {
        Upload { account: account(1), length, received: 0, pieces: Vec::new(), writer: None, expires_at_ms: 0 }
    }

    /// What somebody who uploads may do, or what may happen to them.
    #[derive(Debug, Clone)]
    enum Step {
        /// Begins to write at an offset, which may be a guess.
        Claim { who: usize, offset: u64 },
        /// Stores the next bytes, and says so.
        Append { who: usize, bytes: u64 },
        /// Stores the next bytes, and is cut before it says so.
        Cut { who: usize, bytes: u64 },
        /// Ends in order.
        Release { who: usize },
        /// So many seconds go by.
        Wait { seconds: i64 },
    }

    fn step(length: u64) -> impl Strategy<Value = Step> {
        let (who, bytes) = (0..3usize, 1..=length);
        prop_oneof![
            (who.clone(), 0..=length).prop_map(|(who, offset)| Step::Claim { who, offset }),
            (who.clone(), bytes.clone()).prop_map(|(who, bytes)| Step::Append { who, bytes }),
            (who.clone(), bytes).prop_map(|(who, bytes)| Step::Cut { who, bytes }),
            who.prop_map(|who| Step::Release { who }),
            (1..40_i64).prop_map(|seconds| Step::Wait { seconds }),
        ]
    }

    /// Writers who do as the server does: a name for each piece, the bytes stored before the row names them.
    struct World {
        file: Vec<u8>,
        upload: Upload,
        stored: HashMap<String, Vec<u8>>,
        /// Claim and next offset of each, while they believe to be the writer.
        writers: [Option<(String, u64)>; 3],
        now_ms: i64,
        drawn: u32,
    }

    impl World {
        fn store(&mut self, who: usize, bytes: u64) -> Option<(String, Piece)> {
            let (claim, at) = self.writers[who].as_mut()?;
            let from = *at as usize;
            let to = self.file.len().min(from + bytes as usize);
            *at = to as u64;
            self.drawn += 1;
            let piece = Piece { name: format!("{from}-{claim}-{}", self.drawn), bytes: (to - from) as u64 };
            self.stored.insert(piece.name.clone(), self.file[from..to].to_vec());
            Some((claim.clone(), piece))
        }

        fn take(&mut self, step: &Step) {
            match *step {
                Step::Claim { who, offset } => {
                    self.drawn += 1;
                    let claim = format!("claim{}", self.drawn);
                    let before = self.upload.clone();
                    match self.upload.claim(offset, &claim, self.now_ms) {
                        Ok(()) => self.writers[who] = Some((claim, offset)),
                        Err(_) => assert_eq!(self.upload, before, "a refusal changes nothing"),
                    }
                }
                Step::Append { who, bytes } => {
                    let Some((claim, piece)) = self.store(who, bytes) else { return };
                    let before = self.upload.clone();
                    if self.upload.append(&claim, &[piece], self.now_ms).is_err() {
                        assert_eq!(self.upload, before, "a refusal changes nothing");
                        self.writers[who] = None;
                    }
                }
                Step::Cut { who, bytes } => {
                    self.store(who, bytes);
                    self.writers[who] = None;
                }
                Step::Release { who } => {
                    if let Some((claim, _)) = self.writers[who].take() {
                        self.upload.release(&claim);
                    }
                }
                Step::Wait { seconds } => self.now_ms += seconds * 1_000,
            }
        }

        fn bytes(&self) -> Vec<u8> {
            self.upload.pieces.iter().flat_map(|piece| self.stored[&piece.name].clone()).collect()
        }
    }

    proptest! {
        #[test]
        fn whatever_is_cut_retried_or_overlaps_the_bytes_are_the_same(steps in proptest::collection::vec(step(40), 0..120)) {
            let file: Vec<u8> = (0..40).collect();
            let writers = [None, None, None];
            let mut world =
                World { upload: upload(40), stored: HashMap::new(), writers, now_ms: 0, drawn: 0, file };
            for step in &steps {
                world.take(step);
                let bytes = world.bytes();
                prop_assert_eq!(bytes.len() as u64, world.upload.received);
                prop_assert_eq!(&bytes[..], &world.file[..bytes.len()]);
            }
            // whatever happened, one who asks where it is can finish it
            world.take(&Step::Wait { seconds: 31 });
            let offset = world.upload.received;
            world.take(&Step::Claim { who: 0, offset });
            if offset < 40 {
                world.take(&Step::Append { who: 0, bytes: 40 });
            }
            prop_assert!(world.upload.is_complete());
            prop_assert_eq!(world.bytes(), world.file);
        }

        #[test]
        fn a_piece_is_read_as_it_was_written(name in "[0-9a-z-]{1,40}", bytes in any::<u64>()) {
            let piece = Piece { name, bytes };
            prop_assert_eq!(piece.to_string().parse(), Ok(piece));
        }
    }

    #[test]
    fn one_at_a_time_writes_until_it_is_not_heard_of() {
        let mut upload = upload(10);
        upload.claim(0, "a", 0).unwrap();
        assert_eq!(upload.claim(0, "b", 29_999), Err(Refusal::Busy));
        upload.append("a", &[], 20_000).unwrap();
        assert_eq!(upload.claim(0, "b", 49_999), Err(Refusal::Busy), "it was heard of");
        upload.claim(0, "b", 50_000).unwrap();
        let piece = |bytes| [Piece { name: "p".into(), bytes }];
        assert_eq!(upload.append("a", &piece(1), 50_000), Err(Refusal::Busy), "somebody took over");
        upload.release("a");
        assert_eq!(upload.append("b", &piece(11), 50_000), Err(Refusal::TooLong));
        upload.append("b", &piece(10), 50_000).unwrap();
        upload.release("b");
        assert!(upload.is_complete() && upload.writer.is_none());
        assert_eq!(upload.claim(3, "c", 50_000), Err(Refusal::Offset(10)));
    }

    #[test]
    fn an_upload_in_crumbs_is_refused_in_the_end() {
        let mut upload = upload(100_000);
        let crumb = [Piece { name: "p".into(), bytes: 1 }];
        let mut crumbs = 0;
        while upload.claim(crumbs, "a", 0).is_ok() {
            upload.append("a", &crumb, 0).unwrap();
            upload.release("a");
            crumbs += 1;
        }
        assert_eq!((crumbs, upload.claim(crumbs, "a", 0)), (PIECES_SPARE, Err(Refusal::Pieces)));
    }
}
