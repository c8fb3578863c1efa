//! The file of a backup: one age file (<https://age-encryption.org/v1>) with everything in it.
//!
//! Inside stands a line that says what it is, and then records: a byte for the kind, the length as four bytes (little-endian), and
//! as many bytes. An entry is its description, its contents in pieces, and their digest; the last record of all lists the entries
//! again. age authenticates each 64 KiB and the end, so nothing can be changed, left out or cut off; the digests and the list say
//! that whoever wrote it was through with it.

use std::io::{self, Read, Write};

use age::stream::{StreamReader, StreamWriter};
use age::x25519::Recipient;
use anyhow::{Context, bail, ensure};
use nepto_kit::seal;
use nepto_kit::stream_copy::Description;
use serde::{Deserialize, Serialize};

const HEAD: &[u8] = b"nepto backup 1\n";
/// The largest record.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// Larger contents are written in pieces.
const PIECE_BYTES: usize = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// A store with the databases of these domains, all of one moment.
    Databases {
        /// Names of domains.
        domains: Vec<String>,
        /// Whether it was encrypted once more, by the process that it came from.
        sealed: bool,
    },
    /// A stream of JetStream.
    Stream {
        /// Its name.
        name: String,
        /// What NATS wants to know when it takes it back.
        description: Box<Description>,
    },
    /// The images of tokens.
    Images {
        /// How many, at most.
        count: usize,
    },
    /// A file that the server needs.
    File {
        /// What it is, as the name of a file.
        name: String,
    },
}

impl Entry {
    /// As people call it.
    pub fn title(&self) -> String {
        match self {
            Self::Databases { domains, .. } => format!("the databases of {}", domains.join(", ")),
            Self::Stream { name, .. } => format!("the stream {name}"),
            Self::Images { count } => format!("{count} images of tokens"),
            Self::File { name } => format!("the file {name}"),
        }
    }

    /// Refuses names that no backup of ours has, before they are shown to somebody.
    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Databases { domains, .. } => domains.iter().try_for_each(|domain| check_shown(domain)),
            Self::Stream { name, .. } | Self::File { name } => check_shown(name),
            Self::Images { .. } => Ok(()),
        }
    }
}

/// Whoever knows a public key can write a backup for it, so a text in it may hold what a terminal obeys instead of showing it, or
/// what turns the direction of what follows.
fn check_shown(text: &str) -> anyhow::Result<()> {
    let is_unsafe = |char: char| {
        char.is_control()
            || matches!(
                char,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            )
    };
    ensure!(!text.contains(is_unsafe), "{text:?} is nothing that `backup` writes");
    Ok(())
}

/// An entry as the list at the end has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// As people call it.
    pub title: String,
    /// Of its contents.
    pub bytes: u64,
    /// BLAKE3 of its contents, hexadecimal.
    pub digest: String,
}

/// The last record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The version of the server that wrote it.
    pub version: String,
    /// When the databases were cut, as people read it.
    pub made_at: String,
    /// All entries, in their order.
    pub entries: Vec<Listed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Entry = 1,
    Piece = 2,
    End = 3,
    Contents = 4,
}

/// Writes an archive.
pub struct Writer<W: Write> {
    output: StreamWriter<W>,
    entries: Vec<Listed>,
    digest: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    /// Begins one that these recipients can read.
    pub fn new(recipients: &[Recipient], output: W) -> anyhow::Result<Self> {
        let mut output = seal::writer(recipients, output)?;
        output.write_all(HEAD)?;
        Ok(Self { output, entries: Vec::new(), digest: blake3::Hasher::new() })
    }

    /// Begins an entry.
    pub fn begin(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.digest = blake3::Hasher::new();
        self.entries.push(Listed { title: entry.title(), bytes: 0, digest: String::new() });
        self.record(Kind::Entry, &serde_json::to_vec(entry)?)
    }

    /// Writes some of its contents, which are read back in the same pieces if they are small enough.
    pub fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.digest.update(piece);
            self.record(Kind::Piece, piece)?;
        }
        if let Some(entry) = self.entries.last_mut() {
            entry.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Ends the entry.
    pub fn end(&mut self) -> anyhow::Result<()> {
        let digest = self.digest.finalize();
        if let Some(entry) = self.entries.last_mut() {
            entry.digest = digest.to_hex().to_string();
        }
        self.record(Kind::End, digest.as_bytes())
    }

    /// Writes the list and ends the file. Without this it is cut short, and whoever reads it sees that.
    pub fn finish(mut self, version: &str, made_at: String) -> anyhow::Result<W> {
        let contents = Contents { version: version.to_owned(), made_at, entries: std::mem::take(&mut self.entries) };
        self.record(Kind::Contents, &serde_json::to_vec(&contents)?)?;
        Ok(self.output.finish()?)
    }

    fn record(&mut self, kind: Kind, bytes: &[u8]) -> anyhow::Result<()> {
        self.output.write_all(&[kind as u8])?;
        self.output.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        Ok(self.output.write_all(bytes)?)
    }
}

/// Reads an archive. It is whole only once [`entry`](Reader::entry) has returned nothing.
pub struct Reader<R: Read> {
    input: StreamReader<R>,
    read: Vec<Listed>,
    digest: blake3::Hasher,
    is_within: bool,
    contents: Option<Contents>,
}

impl<R: Read> Reader<R> {
    /// Opens one with the private keys of its recipients.
    pub fn new(identities: &[Box<dyn age::Identity>], input: R) -> anyhow::Result<Self> {
        let decryptor = age::Decryptor::new(input).context("this is no backup: it is not encrypted by age")?;
        let input = decryptor.decrypt(identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity));
        let input = input.context("this key does not open the backup")?;
        let mut reader =
            Self { input, read: Vec::new(), digest: blake3::Hasher::new(), is_within: false, contents: None };
        let mut head = [0; HEAD.len()];
        reader.exact(&mut head)?;
        ensure!(head == *HEAD, "this is no backup of Nepto, or one of a newer version");
        Ok(reader)
    }

    /// The next entry; what nobody read of the one before is read first. Nothing behind the last.
    pub fn entry(&mut self) -> anyhow::Result<Option<Entry>> {
        while self.piece()?.is_some() {}
        match self.record()? {
            (Kind::Entry, description) => {
                let entry: Entry = serde_json::from_slice(&description)?;
                entry.check()?;
                self.digest = blake3::Hasher::new();
                self.is_within = true;
                self.read.push(Listed { title: entry.title(), bytes: 0, digest: String::new() });
                Ok(Some(entry))
            }
            (Kind::Contents, contents) => {
                let contents: Contents = serde_json::from_slice(&contents)?;
                check_shown(&contents.version)?;
                check_shown(&contents.made_at)?;
                ensure!(contents.entries == self.read, "the list at its end names other entries than there are");
                // only then did age see its own end
                ensure!(self.input.read(&mut [0]).context(CUT)? == 0, "something follows behind its end");
                self.contents = Some(contents);
                Ok(None)
            }
            (kind, _) => bail!("a record of the kind {kind:?} stands where an entry should begin"),
        }
    }

    /// The next piece of the entry; nothing behind the last, after the digest was compared.
    pub fn piece(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if !self.is_within {
            return Ok(None);
        }
        let record = self.record()?;
        let entry = self.read.last_mut().context("no entry has begun")?;
        match record {
            (Kind::Piece, piece) => {
                self.digest.update(&piece);
                entry.bytes += piece.len() as u64;
                Ok(Some(piece))
            }
            (Kind::End, digest) => {
                let computed = self.digest.finalize();
                ensure!(digest == computed.as_bytes(), "the digest of {} is another one", entry.title);
                entry.digest = computed.to_hex().to_string();
                self.is_within = false;
                Ok(None)
            }
            (kind, _) => bail!("a record of the kind {kind:?} stands within {}", entry.title),
        }
    }

    /// The contents of the entry that has begun, as a stream.
    pub fn stream(&mut self) -> Pieces<'_, R> {
        Pieces { reader: self, piece: io::Cursor::default() }
    }

    /// The list, once everything was read.
    pub fn contents(self) -> anyhow::Result<Contents> {
        self.contents.context(CUT)
    }

    fn record(&mut self) -> anyhow::Result<(Kind, Vec<u8>)> {
        let (mut kind, mut length) = ([0], [0; 4]);
        self.exact(&mut kind)?;
        let kind = [Kind::Entry, Kind::Piece, Kind::End, Kind::Contents].into_iter().find(|one| *one as u8 == kind[0]);
        let kind = kind.context("there is no such kind of record: a newer version wrote this backup")?;
        self.exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        ensure!(length <= RECORD_BYTES_MAX, "a record of {length} bytes is too large");
        let mut bytes = vec![0; length];
        self.exact(&mut bytes)?;
        Ok((kind, bytes))
    }

    fn exact(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        self.input.read_exact(bytes).context(CUT)
    }
}

const CUT: &str = "the backup is cut short, or was changed";

/// The contents of an entry.
pub struct Pieces<'a, R: Read> {
    reader: &'a mut Reader<R>,
    piece: io::Cursor<Vec<u8>>,
}

impl<R: Read> Read for Pieces<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(bytes)?;
            if read > 0 || bytes.is_empty() {
                return Ok(read);
            }
            match self.reader.piece().map_err(|error| io::Error::other(format!("{error:#}")))? {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use age::x25519::Identity;

    use super::*;

    fn identities(identity: &Identity) -> Vec<Box<dyn age::Identity>> {
        vec![Box::new(identity.clone())]
    }

    fn archive(identity: &Identity) -> Vec<u8> {
        let mut writer = Writer::new(&[identity.to_public()], Vec::new()).unwrap();
        for (name, bytes) in [("tokens.pem", &b"secret"[..]), ("empty", b""), ("large", &[7; 3 * PIECE_BYTES + 5])] {
            writer.begin(&Entry::File { name: name.to_owned() }).unwrap();
            writer.put(bytes).unwrap();
            writer.end().unwrap();
        }
        writer.finish("1.2.3", "now".to_owned()).unwrap()
    }

    /// Titles and sizes of all entries.
    fn read(identity: &Identity, archive: &[u8]) -> anyhow::Result<Vec<(String, u64)>> {
        let mut reader = Reader::new(&identities(identity), archive)?;
        while reader.entry()?.is_some() {}
        Ok(reader.contents()?.entries.into_iter().map(|entry| (entry.title, entry.bytes)).collect())
    }

    #[test]
    fn what_was_written_is_read_and_only_by_whom_it_is_for() {
        let (owner, other) = (Identity::generate(), Identity::generate());
        let archive = archive(&owner);
        let entries = read(&owner, &archive).unwrap();
        let sizes: Vec<u64> = entries.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(sizes, [6, 0, 3 * PIECE_BYTES as u64 + 5]);
        assert_eq!(entries[0].0, "the file tokens.pem");
        assert!(!archive.windows(6).any(|bytes| bytes == b"secret"));
        let refused = read(&other, &archive).unwrap_err().to_string();
        assert!(refused.contains("this key does not open"), "{refused}");
    }

    #[test]
    fn what_is_cut_flipped_or_longer_is_refused() {
        let owner = Identity::generate();
        let archive = archive(&owner);
        let whole = archive.len();
        // also behind each chunk of age, where only the mark of the last one tells
        let chunks = (0..8).map(|chunk| whole.saturating_sub(16 + chunk * (64 * 1024 + 16)));
        for cut in [0, 10, 200, whole / 2, whole - 1].into_iter().chain(chunks) {
            assert!(read(&owner, &archive[..cut]).is_err(), "cut behind {cut} of {whole} bytes");
        }
        for at in (0..whole).step_by(whole / 40) {
            let mut flipped = archive.clone();
            flipped[at] ^= 1;
            assert!(read(&owner, &flipped).is_err(), "flipped at {at} of {whole}");
        }
        assert!(read(&owner, &[&archive[..], b"x"].concat()).is_err());
    }

    #[test]
    fn what_a_terminal_obeys_is_refused_and_not_shown() {
        let owner = Identity::generate();
        let escape = "\u{1b}]0;owned\u{7}\u{202e}";
        let refused = |entry: Option<Entry>, version: &str, made_at: &str| {
            let mut writer = Writer::new(&[owner.to_public()], Vec::new()).unwrap();
            if let Some(entry) = entry {
                writer.begin(&entry).unwrap();
                writer.end().unwrap();
            }
            let archive = writer.finish(version, made_at.to_owned()).unwrap();
            format!("{:#}", read(&owner, &archive).unwrap_err())
        };
        let databases = Entry::Databases { domains: vec!["auth".to_owned(), escape.to_owned()], sealed: false };
        for said in [
            refused(Some(Entry::File { name: escape.to_owned() }), "1.2.3", "now"),
            refused(Some(databases), "1.2.3", "now"),
            refused(None, escape, "now"),
            refused(None, "1.2.3", escape),
        ] {
            assert!(said.contains("nothing that `backup` writes") && !said.contains(char::is_control), "{said}");
        }
    }

    #[test]
    fn a_writer_that_broke_off_leaves_nothing_that_counts() {
        let owner = Identity::generate();
        let mut writer = Writer::new(&[owner.to_public()], Vec::new()).unwrap();
        writer.begin(&Entry::File { name: "a".to_owned() }).unwrap();
        writer.put(b"b").unwrap();
        writer.end().unwrap();
        // as age ends it, but without the list
        let archive = writer.output.finish().unwrap();
        assert!(format!("{:#}", read(&owner, &archive).unwrap_err()).contains("cut short"));
    }
}
