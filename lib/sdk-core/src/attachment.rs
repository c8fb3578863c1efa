//! Files of messages: each is encrypted by a key of its own, which travels in the message and nowhere else (docs/PROTOCOL.md,
//! "Attachments").
//!
//! The file and zeros after it are cut into segments, each sealed by AES-256-GCM. A nonce says which segment it is and whether it
//! is the last one, so none can be left out, moved or put at the end (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár, 2015). The zeros
//! bring the length to one that many files have (Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files",
//! PoPETs 2019): at most 12 % more, and so little of the length is told.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use nepto_proto::MediaId;
use nepto_proto::content::{self, ATTACHMENTS_MAX, Text};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::model::{Attachment, AttachmentKey, Message};

/// Bytes of an encrypted segment; the last one may be shorter.
pub const SEGMENT_BYTES: usize = 64 * 1024;
/// Of them, the tag.
const TAG_BYTES: usize = 16;
/// Bytes of the file, or zeros, in a segment.
const PLAIN_BYTES: usize = SEGMENT_BYTES - TAG_BYTES;
/// A shorter file is padded to this.
const PADDED_BYTES_MIN: u64 = 1_024;
/// Associated data of every segment.
const PURPOSE: &[u8] = b"nepto attachment 1";
/// The longest name of a file, UTF-8.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest media type.
const TYPE_BYTES_MAX: usize = 100;

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// It has another length than was said: it changed while it was read, or what came is no such file.
    #[error("the file has another length than was said")]
    Length,
    /// A segment that the key did not seal, or that was sealed for another place.
    #[error("the file was changed on its way: it can't be decrypted")]
    Tampered,
    /// Something else than zeros behind the file, or another digest.
    #[error("the file is not the one that was sent")]
    Other,
}

/// The length that a file of this length is padded to.
pub fn padded(bytes: u64) -> u64 {
    if bytes <= PADDED_BYTES_MIN {
        return PADDED_BYTES_MIN;
    }
    let exponent = u64::from(bytes.ilog2());
    let bits = exponent - u64::from(exponent.ilog2()) - 1;
    let mask = (1_u64 << bits) - 1;
    bytes.saturating_add(mask) & !mask
}

/// The length of a file of this length, encrypted.
pub fn encrypted_bytes(bytes: u64) -> u64 {
    let padded = padded(bytes);
    padded.saturating_add(padded.div_ceil(PLAIN_BYTES as u64).saturating_mul(TAG_BYTES as u64))
}

/// The cipher of one file, and which segment is next.
struct Segments {
    cipher: Aes256Gcm,
    next: u32,
    /// Of all segments together: bytes of the file, and zeros, in those that are still to come.
    left: u64,
}

impl Segments {
    fn new(key: &AttachmentKey, bytes: u64) -> Self {
        Self { cipher: Aes256Gcm::new(key.bytes().into()), next: 0, left: padded(bytes) }
    }

    /// Bytes of the file, and zeros, in the next segment.
    fn plain_bytes(&self) -> usize {
        self.left.min(PLAIN_BYTES as u64) as usize
    }

    /// The nonce of the next segment, which has so many bytes.
    fn nonce(&mut self, plain_bytes: usize) -> Result<[u8; 12], AttachmentError> {
        let mut nonce = [0; 12];
        nonce[7..11].copy_from_slice(&self.next.to_be_bytes());
        self.left -= plain_bytes as u64;
        nonce[11] = u8::from(self.left == 0);
        self.next = self.next.checked_add(1).ok_or(AttachmentError::Length)?;
        Ok(nonce)
    }

    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        let nonce = self.nonce(plain.len())?;
        let payload = Payload { msg: plain, aad: PURPOSE };
        self.cipher.encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| AttachmentError::Length)
    }

    fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        let nonce = self.nonce(sealed.len() - TAG_BYTES)?;
        let payload = Payload { msg: sealed, aad: PURPOSE };
        self.cipher.decrypt(Nonce::from_slice(&nonce), payload).map_err(|_| AttachmentError::Tampered)
    }
}

/// Encrypts a file as it is read.
pub struct Encryptor {
    segments: Segments,
    /// Bytes of the file that are still to come.
    left: u64,
    held: Zeroizing<Vec<u8>>,
    digest: Sha256,
}

impl Encryptor {
    /// For a file of so many bytes. A key is for one file.
    pub fn new(key: &AttachmentKey, bytes: u64) -> Self {
        Self { segments: Segments::new(key, bytes), left: bytes, held: Zeroizing::default(), digest: Sha256::new() }
    }

    /// The next bytes of the file. Returns what can be uploaded by now.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(AttachmentError::Length)?;
        self.held.extend_from_slice(bytes);
        self.sealed()
    }

    /// The end of the file. Returns the rest that is to be uploaded, and the SHA-256 of everything that is.
    pub fn finish(mut self) -> Result<(Vec<u8>, [u8; 32]), AttachmentError> {
        if self.left > 0 {
            return Err(AttachmentError::Length);
        }
        let mut rest = Vec::new();
        while self.segments.left > 0 {
            let plain_bytes = self.segments.plain_bytes();
            self.held.resize(plain_bytes, 0);
            rest.append(&mut self.sealed()?);
        }
        Ok((rest, self.digest.finalize().into()))
    }

    fn sealed(&mut self) -> Result<Vec<u8>, AttachmentError> {
        let mut sealed = Vec::new();
        loop {
            let plain_bytes = self.segments.plain_bytes();
            if plain_bytes == 0 || self.held.len() < plain_bytes {
                self.digest.update(&sealed);
                return Ok(sealed);
            }
            sealed.append(&mut self.segments.seal(&self.held[..plain_bytes])?);
            self.held.drain(..plain_bytes);
        }
    }
}

/// Decrypts a file as it comes. What it returns is genuine so far, and the file only once [`Decryptor::finish`] says so.
pub struct Decryptor {
    segments: Segments,
    /// Bytes of the file that are still to come.
    left: u64,
    held: Vec<u8>,
    digest: Sha256,
    expected: [u8; 32],
}

impl Decryptor {
    /// For the file that a message names.
    pub fn new(attachment: &Attachment) -> Self {
        Self {
            segments: Segments::new(&attachment.key, attachment.bytes),
            left: attachment.bytes,
            held: Vec::new(),
            digest: Sha256::new(),
            expected: attachment.digest,
        }
    }

    /// The next bytes that came. Returns bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        self.digest.update(bytes);
        self.held.extend_from_slice(bytes);
        let mut opened = Vec::new();
        loop {
            let plain_bytes = self.segments.plain_bytes();
            if plain_bytes == 0 {
                return if self.held.is_empty() { Ok(opened) } else { Err(AttachmentError::Length) };
            }
            let sealed_bytes = plain_bytes + TAG_BYTES;
            if self.held.len() < sealed_bytes {
                return Ok(opened);
            }
            let plain = Zeroizing::new(self.segments.open(&self.held[..sealed_bytes])?);
            self.held.drain(..sealed_bytes);
            let of_file = self.left.min(plain.len() as u64);
            let (file, padding) = plain.split_at(of_file as usize);
            if padding.iter().any(|byte| *byte != 0) {
                return Err(AttachmentError::Other);
            }
            self.left -= of_file;
            opened.extend_from_slice(file);
        }
    }

    /// Nothing more comes: whether that was all of it.
    pub fn finish(self) -> Result<(), AttachmentError> {
        if self.segments.left > 0 || !self.held.is_empty() {
            return Err(AttachmentError::Length);
        }
        let digest: [u8; 32] = self.digest.finalize().into();
        if digest == self.expected { Ok(()) } else { Err(AttachmentError::Other) }
    }
}

impl AttachmentKey {
    /// A fresh one.
    pub fn random(env: &Env) -> Self {
        Self::from_bytes(env.bytes())
    }
}

/// A name for a file that was sent: one part of a path, which shows what it is. Never empty, hidden, a device or above a folder.
pub fn safe_name(name: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
            // what turns the direction of reading makes `gpj.exe` of `exe.jpg`, and what can't be seen hides the end
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let name: String = name.chars().map(|c| if is_bad(c) { '_' } else { c }).collect();
    let name = name.trim_matches(|c: char| c == '.' || c.is_whitespace());
    // room for a number behind it
    let mut end = name.len().min(NAME_BYTES_MAX - 55);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let (name, stem) = (&name[..end], name.split('.').next().unwrap_or_default().to_ascii_uppercase());
    let is_device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")));
    match name {
        "" => "file".to_owned(),
        name if is_device => format!("_{name}"),
        name => name.to_owned(),
    }
}

/// As a message carries it.
fn write(attachment: &Attachment) -> content::Attachment {
    content::Attachment {
        media_id: attachment.media.to_vec(),
        key: attachment.key.bytes().to_vec(),
        digest: attachment.digest.to_vec(),
        size: attachment.bytes,
        name: attachment.name.clone(),
        media_type: attachment.media_type.clone(),
    }
}

fn read(attachment: content::Attachment) -> Option<Attachment> {
    let fits = attachment.name.len() <= NAME_BYTES_MAX && attachment.media_type.len() <= TYPE_BYTES_MAX;
    let attachment = Some(attachment).filter(|_| fits)?;
    Some(Attachment {
        media: MediaId::from_bytes(&attachment.media_id).ok()?,
        key: AttachmentKey::from_bytes(attachment.key.try_into().ok()?),
        digest: attachment.digest.try_into().ok()?,
        bytes: attachment.size,
        name: attachment.name,
        media_type: attachment.media_type,
    })
}

/// The files that a text brings along; `None` if it has too many, or one that can't be understood.
pub(crate) fn read_all(attachments: Vec<content::Attachment>) -> Option<Vec<Attachment>> {
    if attachments.len() > ATTACHMENTS_MAX { None } else { attachments.into_iter().map(read).collect() }
}

/// A text with the files of a message.
pub(crate) fn with_files(text: Text, message: &Message) -> Text {
    Text { attachments: message.attachments.iter().map(write).collect(), ..text }
}

#[cfg(test)]
mod tests;
