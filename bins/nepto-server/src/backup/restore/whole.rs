//! A backup, read to its end before anything else is done with it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use anyhow::{Context, ensure};
use nepto_kit::db::snapshot;

use crate::backup::archive::{Contents, Entry, Reader};
use crate::backup::images;

/// A file of the server's is smaller.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A backup that can be read more than once.
pub struct Backup {
    file: File,
    identities: Vec<Box<dyn age::Identity>>,
}

/// A backup that was read to its end.
pub struct Whole {
    pub contents: Contents,
    pub files: Vec<KeptFile>,
    pub streams: Vec<String>,
    /// The domains of each store.
    pub stores: Vec<Vec<String>>,
}

pub struct KeptFile {
    pub name: String,
    pub contents: Vec<u8>,
}

impl Backup {
    pub fn open(backup: &Path, identity: &Path) -> anyhow::Result<Self> {
        let identities = age::IdentityFile::from_file(identity.to_string_lossy().into_owned());
        let identities = identities.with_context(|| format!("the key {} can't be read", identity.display()))?;
        let identities = identities.into_identities();
        let identities = identities.with_context(|| format!("{} holds no private key of age", identity.display()))?;
        let file = File::open(backup);
        let file = file.with_context(|| format!("the backup {} can't be read", backup.display()))?;
        Ok(Self { file, identities })
    }

    pub fn reader(&self) -> anyhow::Result<Reader<io::BufReader<&File>>> {
        (&self.file).rewind()?;
        Reader::new(&self.identities, io::BufReader::with_capacity(1 << 20, &self.file))
    }

    /// Reads all of it: what is in it, and the files.
    pub fn check(&self) -> anyhow::Result<Whole> {
        let mut reader = self.reader()?;
        let (mut files, mut streams, mut stores) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(entry) = reader.entry()? {
            let mut contents = reader.stream();
            match &entry {
                Entry::Databases { domains, sealed } => {
                    let checked = self.unseal(*sealed, contents).and_then(snapshot::check);
                    checked.with_context(|| entry.title())?;
                    stores.push(domains.clone());
                }
                Entry::Stream { name, .. } => streams.push(name.clone()),
                Entry::Images { .. } => images::check(contents).with_context(|| entry.title())?,
                Entry::File { name } => {
                    let mut bytes = Vec::new();
                    contents.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
                    ensure!(bytes.len() as u64 <= FILE_BYTES_MAX, "{} is too large", entry.title());
                    files.push(KeptFile { name: name.clone(), contents: bytes });
                }
            }
        }
        Ok(Whole { contents: reader.contents()?, files, streams, stores })
    }
    /// What the process that had the databases encrypted by itself is decrypted.
    pub fn unseal<'a>(&self, sealed: bool, contents: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
        if !sealed {
            return Ok(Box::new(contents));
        }
        let decryptor = age::Decryptor::new(contents)?;
        let identities = self.identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity);
        Ok(Box::new(decryptor.decrypt(identities).context("this key does not open the databases in the backup")?))
    }
}
